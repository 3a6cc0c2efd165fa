"""A process ends when it is told to in a moment when Python drops what is raised."""

import signal
import subprocess
import sys
from time import monotonic

import pytest

from lightning_modules.tasks import ending
from tests.conftest import ROOT

# The signal comes while a weak reference's callback runs, as it does behind a backward pass.
WAITS = """
import time, weakref
from lightning_modules.tasks import ending
ending.listen()
class Graph: pass
graph, called = Graph(), []
def callback(_):
    print("called back", flush=True)
    called.append(True)
    time.sleep(60)
reference = weakref.ref(graph, callback)
del graph
time.sleep(60)
"""
FAILS = """
from lightning_modules.tasks import ending
ending.listen()
class Graph:
    def __del__(self): raise ValueError("broken")
graph = Graph()
del graph
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_stop_that_python_drops_is_tried_again(name):
    words = [sys.executable, "-c", WAITS]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "called back\n"
    began = monotonic()
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + getattr(signal, name)
    assert monotonic() - began < ending.GRACE_S / 2, "not by the thread that ends it in any case"
    assert "Traceback" not in said


def test_other_errors_in_destructors_are_told_as_ever():
    done = subprocess.run([sys.executable, "-c", FAILS], cwd=ROOT, capture_output=True, text=True)
    assert "ValueError: broken" in done.stderr
    assert done.returncode == 0
