"""Processes that prepare data end with the one that started them, however it ended."""

import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import TINY_PHANTOM
from tests.made.processes import assert_gone, children_of, started

POOL = """
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from datamodules.store.worker_end import end_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        waiting = [pool.submit(time.sleep, 60) for _ in range(2)]
        [future.result() for future in waiting]
"""


def wait_for_children(process: subprocess.Popen, word: str, number: int) -> dict[int, str]:
    deadline = time.monotonic() + 180
    while True:
        children = children_of(process.pid)
        if sum(word in line for line in children.values()) >= number:
            return children
        assert process.poll() is None
        assert time.monotonic() < deadline, children
        time.sleep(0.05)


@pytest.mark.slow
def test_a_pools_processes_end_with_the_one_that_was_killed(tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    process = subprocess.Popen([sys.executable, str(tmp_path / "pool.py")])
    children = wait_for_children(process, "spawn_main", 2)
    time.sleep(2)  # they have begun to work
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert_gone(children)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_ends_while_patients_are_written_leaves_no_process(tmp_path, signum):
    words = (*TINY_PHANTOM, "phantom.num_patients=400", "cohort.num_workers=2", "trainer=smoke", "logger=csv")
    paths = (f"paths.data={tmp_path}/data", f"paths.cache={tmp_path}/cache", f"hydra.run.dir={tmp_path}/run")
    process = started(tmp_path, "experiment=unet", *words, *paths)
    children = wait_for_children(process, "phantom.worker", 2)
    process.send_signal(signum)
    output, _ = process.communicate(timeout=40)
    assert_gone(children)
    if signum == signal.SIGTERM:
        assert process.returncode == 143, output
        assert "Traceback" not in output
        assert not list((tmp_path / "data").glob(".*")), "an unfinished cohort"
