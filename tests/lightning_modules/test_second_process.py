"""Further processes of a distributed run say what goes wrong as the first does: in one line."""

import os

import lightning
import pytest

from lightning_modules.segmentation import SegmentationModule
from lightning_modules.tasks import command_line, training
from lightning_modules.tasks.command_line import TRACE
from lightning_modules.tasks.orderly_end import OrderlyEnd
from tests.made.grids import start


@pytest.mark.parametrize("asked", ["0", "1"])
def test_what_a_task_starts_inherits_what_the_user_asked_for(tmp_path, monkeypatch, capsys, asked):
    """Ours for Hydra is not passed on: with it, the second process took the user for one who wants tracebacks."""
    inherited = []

    def train(config):
        inherited.append(os.environ[TRACE])
        raise ValueError("a mistake")

    monkeypatch.setenv(TRACE, asked)
    monkeypatch.setattr(training, "train", train)
    line = (f"hydra.run.dir={tmp_path / 'run'}", "logger=csv")
    if asked == "1":
        with pytest.raises(ValueError, match="a mistake"):
            start(*line)
    else:
        assert start(*line) == 1
        assert capsys.readouterr().err.splitlines() == ["paraspine: a mistake"]
    assert inherited == [asked]
    assert os.environ[TRACE] == asked


def test_a_further_process_says_which_it_is(tmp_path, monkeypatch, capsys):
    def train(config):
        raise ValueError("a mistake")

    monkeypatch.setenv(TRACE, "0")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(training, "train", train)
    assert start(f"hydra.run.dir={tmp_path / 'run'}", "logger=csv") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "paraspine: process 1 of a distributed run (they count from 0): a mistake"


class Trainer(lightning.Trainer):
    """Of one of two processes."""

    is_global_zero = progress_bar_callback = None

    def __init__(self, first: bool) -> None:
        self.is_global_zero = first


@pytest.fixture
def second(tmp_path, monkeypatch):
    """Starts what the second process of a run is, whose training raises an error in the trainer."""

    def begin(error: Exception, *, first: bool = False) -> int:
        def train(config):
            module = SegmentationModule.__new__(SegmentationModule)
            OrderlyEnd().on_exception(Trainer(first), module, error)
            raise error

        monkeypatch.setattr(training, "train", train)
        return start(f"hydra.run.dir={tmp_path / 'run'}", "logger=csv")

    monkeypatch.setattr(command_line, "_said_at_once", [])
    monkeypatch.setenv(TRACE, "0")
    monkeypatch.setenv("LOCAL_RANK", "1")
    return begin


def test_a_further_process_says_it_before_it_is_ended_and_only_once(second, capsys):
    assert second(ValueError("a mistake")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("(they count from 0): a mistake")


def test_the_first_process_names_one_that_is_lost_in_a_line(second, monkeypatch, capsys):
    monkeypatch.setenv("LOCAL_RANK", "0")
    error = RuntimeError("[pair.cc:561] Connection closed by peer [127.0.0.1]:2450. This is typically caused by ...")
    assert second(error, first=True) == 1
    assert capsys.readouterr().err.splitlines() == [
        "paraspine: another process of this distributed run has ended: killed, most often because memory ran out, "
        "where no line of its own says why"
    ]


def test_a_further_process_that_lost_another_leaves_the_word_to_the_first(second, capsys):
    """Whoever told the first to end has its line already; a second one, of killed processes, would be wrong."""
    assert second(RuntimeError("[pair.cc:561] Connection closed by peer [127.0.0.1]:2450.")) == 1
    assert capsys.readouterr().err == ""
