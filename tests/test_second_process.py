"""Further processes of a distributed run say what goes wrong as the first does: in one line."""

import os

import pytest

from lightning_modules import tasks
from lightning_modules.command_line import TRACE
from tests.grids import start


@pytest.mark.parametrize("asked", ["0", "1"])
def test_what_a_task_starts_inherits_what_the_user_asked_for(tmp_path, monkeypatch, capsys, asked):
    """Ours for Hydra is not passed on: with it, the second process took the user for one who wants tracebacks."""
    inherited = []

    def train(config):
        inherited.append(os.environ[TRACE])
        raise ValueError("a mistake")

    monkeypatch.setenv(TRACE, asked)
    monkeypatch.setattr(tasks, "train", train)
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
    monkeypatch.setattr(tasks, "train", train)
    assert start(f"hydra.run.dir={tmp_path / 'run'}", "logger=csv") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "paraspine: process 1 of a distributed run (they count from 0): a mistake"
