"""However a run is told to end, it ends as told, and the same command ends at the numbers of an undisturbed run."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import lightning
import pandas as pd
import pytest
import torch

from callbacks.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint, TorchCheckpointIO
from lightning_modules.tasks import ending, training
from lightning_modules.tasks.command_line import run_command, told
from tests.conftest import ROOT, TINY_PHANTOM, UNDRAWN, compose_line
from tests.made.grids import start

BARE = (*UNDRAWN, "callbacks.prediction_writer.enabled=false")  # quick
LINE = (*TINY_PHANTOM, "experiment=unet", "trainer=smoke", "scale.epochs=2", *BARE)
PHASES = {
    "training": "on_train_batch_start",
    "validation": "on_validation_batch_start",
    "testing": "on_test_batch_start",
    "writing": "on_save_checkpoint",
}
CODES = {"SIGTERM": 143, "SIGINT": 130, "SIGUSR1": 138}
CASES = [
    pytest.param(name, phase, code, marks=() if (name, phase) == ("SIGTERM", "training") else pytest.mark.slow)
    for name, code in CODES.items()
    for phase in PHASES
]


class SendAt(lightning.Callback):
    """Sends a signal to this process, once, in a phase."""

    def __init__(self, name: str, phase: str) -> None:
        def send(*arguments, **options) -> None:
            if self.left:
                self.left = False
                os.kill(os.getpid(), getattr(signal, name))

        self.left = True
        setattr(self, PHASES[phase], send)


@pytest.fixture
def hearing(monkeypatch):
    """Signals are heard as in a process of its own, without the thread that would end this one."""
    before = {signum: signal.getsignal(signum) for signum in ending.STOPS}
    monkeypatch.setattr(ending, "_listening", [True])
    for name in ("_heard", "_said", "last_words"):
        monkeypatch.setattr(ending, name, [])
    ending.hear()
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def interrupted(config, monkeypatch, name: str, phase: str) -> ending.Stopped:
    """Trains until the signal comes."""
    build = training.build
    with monkeypatch.context() as patch:
        patch.setattr(training, "build", lambda given: build(given, SendAt(name, phase)))
        with pytest.raises(ending.Stopped) as stopped:
            training.train(config)
    ending._heard.clear()
    return stopped.value


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, generated) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    training.train(compose_line(folder, generated, *LINE))
    return folder


def assert_same(one: Path, other: Path) -> None:
    files = [folder / "checkpoints" / "best.ckpt" for folder in (one, other)]
    best = [torch.load(path, weights_only=True)["state_dict"] for path in files]
    assert all(torch.equal(value, best[1][key]) for key, value in best[0].items())
    for name in ("cases.csv", "metrics.csv"):
        tables = [pd.read_csv(folder / name) for folder in (one, other)]
        clocks = [column for column in ("training_s", "images_per_s") if column in tables[0]]
        pd.testing.assert_frame_equal(*(table.drop(columns=clocks) for table in tables))


@pytest.mark.parametrize(("name", "phase", "code"), CASES)
def test_a_signal_ends_a_run_anywhere_and_the_same_command_ends_as_undisturbed(
    undisturbed, composed, tmp_path, monkeypatch, hearing, name, phase, code
):
    config = composed(*LINE)
    assert interrupted(config, monkeypatch, name, phase).code == code
    assert not (tmp_path / "run" / "summary.json").exists()
    training.train(config)
    assert_same(undisturbed, tmp_path / "run")


@pytest.mark.slow
def test_slurms_warning_leaves_no_checkpoint_of_lightnings_and_one_that_is_there_is_not_taken(
    undisturbed, composed, tmp_path, monkeypatch, hearing
):
    slurm = {"NTASKS": "1", "JOB_NAME": "train", "JOB_ID": "7", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for key, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    monkeypatch.setattr(shutil, "which", lambda name: None)  # Lightning warns where srun is installed
    config = composed(*LINE)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "hpc_ckpt_1.ckpt").write_text("of an older version")
    interrupted(config, monkeypatch, "SIGUSR1", "validation")
    assert [path.name for path in tmp_path.rglob("hpc_ckpt*")] == ["hpc_ckpt_1.ckpt"]
    training.train(config)
    assert_same(undisturbed, tmp_path / "run")


@pytest.mark.parametrize(("code", "said"), [(0, "job 7 waits in the queue again"), (1, "requeue 7: no such job")])
def test_a_slurm_job_that_is_warned_goes_back_into_the_queue(tmp_path, monkeypatch, capsys, hearing, code, said):
    tool = tmp_path / "scontrol"
    tool.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/asked\necho no such job >&2\nexit {code}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    ending.say_goodbye(signal.SIGUSR1)
    assert (tmp_path / "asked").read_text().split() == ["requeue", "7"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("paraspine: stopped by SIGUSR1; the same command goes on")
    assert said in line


def test_the_last_line_is_followed_by_what_was_still_to_be_said(monkeypatch, capsys, hearing):
    def stops() -> None:
        ending.last_words.append(lambda: print("the grid's list"))
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(sys, "argv", ["run.py"])
    with pytest.raises(SystemExit) as end:
        run_command(stops, ROOT / "conf")
    assert end.value.code == 143
    printed = capsys.readouterr()
    assert printed.err == "\nparaspine: stopped by SIGTERM; the same command goes on from here\n"
    assert printed.out == "the grid's list\n"


@pytest.mark.slow
def test_a_run_goes_on_where_its_folder_was_moved_to(undisturbed, generated, tmp_path, monkeypatch, hearing):
    interrupted(compose_line(tmp_path / "here", generated, *LINE), monkeypatch, "SIGTERM", "testing")
    kept = torch.load(tmp_path / "here" / "checkpoints" / "last.ckpt", weights_only=True)
    for place in (tmp_path, generated, ROOT, Path.home()):
        assert not strings_with(str(place), kept)
    shutil.move(tmp_path / "here", tmp_path / "there")
    training.train(compose_line(tmp_path / "there", generated, *LINE))
    assert_same(undisturbed, tmp_path / "there")


@pytest.mark.slow
def test_a_run_goes_on_where_data_and_home_were_moved_to(undisturbed, generated, tmp_path, monkeypatch, hearing):
    interrupted(compose_line(tmp_path / "run", generated, *LINE), monkeypatch, "SIGTERM", "testing")
    data = Path(shutil.copytree(generated, tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    training.train(compose_line(tmp_path / "run", data, *LINE))
    assert_same(undisturbed, tmp_path / "run")


@pytest.mark.slow
def test_a_run_goes_on_that_was_killed_while_one_checkpoint_took_the_place_of_another(
    undisturbed, composed, tmp_path, monkeypatch, hearing
):
    config = composed(*LINE)
    interrupted(config, monkeypatch, "SIGTERM", "testing")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").unlink()  # the one before it was renamed already
    training.train(config)
    assert_same(undisturbed, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_goes_on_that_was_killed_in_any_phase(undisturbed, generated, tmp_path, phase):
    places = (f"hydra.run.dir={tmp_path / 'run'}", f"paths.data={generated}", f"paths.cache={generated}/cache")
    command = [sys.executable, "-m", "tests.made.killed_at", phase, *LINE, "logger=csv", *places]
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # as here, or sums come out otherwise
    killed = subprocess.run(command, cwd=ROOT, env=threads, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    command[1:4] = ["run.py"]
    again = subprocess.run(command, cwd=ROOT, env=threads, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert_same(undisturbed, tmp_path / "run")


def strings_with(part: str, value) -> list[str]:
    """Strings anywhere in a checkpoint that contain `part`."""
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in strings_with(part, each)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in strings_with(part, each)]
    return [value] if isinstance(value, str) and part in value else []


@pytest.mark.parametrize("old", [False, True], ids=["names", "absolute paths of older versions"])
def test_a_checkpoint_keeps_its_best_score_in_another_folder(old):
    before, after = (BestCheckpoint(dirpath=f"/{place}/checkpoints", monitor="val/score") for place in ("a", "b"))
    best = "/a/checkpoints/best.ckpt"
    before.best_model_path = before.kth_best_model_path = best
    before.best_model_score = before.kth_value = torch.tensor(0.9)
    before.best_k_models = {best: torch.tensor(0.9)}
    state = super(type(before).__mro__[1], before).state_dict() if old else before.state_dict()
    assert old == bool(strings_with("/a/", state))
    after.load_state_dict(state)
    assert after.best_model_score == 0.9
    assert after.kth_value == 0.9
    assert list(after.best_k_models) == [after.best_model_path] == ["/b/checkpoints/best.ckpt"]


def test_a_disk_that_is_full_leaves_the_checkpoint_of_before(tmp_path, monkeypatch):
    writer, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    writer.save_checkpoint({"epoch": 1}, path)

    def half(self, checkpoint, path, storage_options=None) -> None:
        Path(path).write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed\nframe 0")

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", half)
    with pytest.raises(OSError, match="PytorchStreamWriter failed writing") as full:
        writer.save_checkpoint({"epoch": 2}, path)
    line = told(full.value, ROOT / "conf")
    assert line is not None
    assert line.startswith(f"{path}: cannot be written")
    assert "\n" not in line
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize(
    "phase", [*(pytest.param(each, marks=pytest.mark.slow) for each in PHASES if each != "testing"), "testing"]
)
def test_a_run_folder_that_vanishes_is_named_and_not_made_anew(composed, tmp_path, monkeypatch, phase):
    def vanish(*arguments, **options) -> None:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)

    callback, build = lightning.Callback(), training.build
    setattr(callback, PHASES[phase], vanish)
    monkeypatch.setattr(training, "build", lambda given: build(given, callback))
    with pytest.raises(OSError, match=str(tmp_path / "run")) as vanished:
        training.train(composed(*(word for word in LINE if "prediction_writer" not in word)))
    line = told(vanished.value, ROOT / "conf")
    assert line is not None
    assert str(tmp_path / "run") in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", ["hydra.run.dir", "paths.cache", "paths.data"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys, setting):
    (tmp_path / "file").write_text("no folder")
    places = {name: f"{tmp_path}/{name}" for name in ("hydra.run.dir", "paths.cache", "paths.data")}
    places[setting] = f"{tmp_path}/file/folder"
    assert start(*LINE, "logger=csv", *(f"{name}={place}" for name, place in places.items())) == 1
    told_lines = capsys.readouterr().err.splitlines()
    (line,) = [each for each in told_lines if each.startswith("paraspine: ")]
    assert f"{tmp_path}/file/folder" in line
    assert "Not a directory" in line
    assert not any("Error executing job" in each for each in told_lines), "Hydra's own line"


PHASES_LEFT_OUT = [
    pytest.param("trainer.limit_val_batches=0", marks=pytest.mark.slow),
    pytest.param("+trainer.check_val_every_n_epoch=9", marks=pytest.mark.slow),
    "+trainer.max_steps=1",
]


@pytest.mark.parametrize("phases", PHASES_LEFT_OUT)
def test_without_validation_the_last_state_is_the_best(composed, tmp_path, phases):
    training.train(composed(*LINE, phases))
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == (1 if "max_steps" in phases else 4)
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.slow
def test_without_a_test_the_training_is_kept_and_not_repeated(composed, tmp_path, caplog):
    config = composed(*LINE, "trainer.limit_test_batches=0")
    checkpoints, times = tmp_path / "run" / "checkpoints", []
    for _ in range(2):
        with caplog.at_level("INFO"):
            training.train(config)
        times.append({path.name: path.stat().st_mtime_ns for path in checkpoints.iterdir()})
        assert "not tested; task=test checkpoint=" in caplog.text
    assert times[0] == times[1]
    assert set(times[0]) == {"best.ckpt", "last.ckpt", "last.previous.ckpt"}
    assert not (tmp_path / "run" / "summary.json").exists()


def test_last_checkpoints_state_is_of_names():
    last = LastCheckpoint(dirpath="/a/checkpoints")
    last.best_model_path = "/a/checkpoints/last.ckpt"
    assert not strings_with("/a", last.state_dict())
