"""The folder of a run: its lock, its configuration, and whether it is finished."""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from records.identity import as_text, differences, identity, reduced
from records.registry import IDENTITY, Written
from records.whole_files import read_json, replace_text

ERROR = "error.txt"  # what went wrong in a grid's cell: one line, then the traceback
LAST_CHECKPOINTS = ("last.ckpt", "last.previous.ckpt")  # the latest first; the other is there in case it is damaged
LOCK_PATIENCE_S = 1.0  # another process may be asking whether the folder is in use, which takes the lock for an instant


class InUseError(ValueError):
    """Another process is at work in a run folder."""


def is_first_process() -> bool:
    """Whether this process leads its run; Lightning numbers those that it starts for further devices."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


class RunFolder:
    """One run on disk.

    Args:
        path: The folder.
        config: The composed configuration of the run; None to look at the folder only.
    """

    def __init__(self, path: str | Path, config: DictConfig | None = None) -> None:
        self.path = Path(path)
        self.config = config

    @property
    def last_checkpoints(self) -> list[Path]:
        """Where an interrupted training may go on, the latest first."""
        paths = (self.path / "checkpoints" / name for name in LAST_CHECKPOINTS)
        return [path for path in paths if path.exists()]

    @property
    def finished(self) -> bool:
        """Whether the summary, the last thing that a run writes, is there."""
        return (self.path / "summary.json").exists()

    @property
    def begun(self) -> bool:
        """Whether a run ever began here."""
        return (self.path / IDENTITY).exists()

    def missing_arms(self, arms: Iterable[str]) -> list[str]:
        """Those of these further tests that have no summary here yet."""
        return [str(name) for name in arms if not (self.arm(str(name)) / "summary.json").exists()]

    def arm(self, name: str) -> Path:
        """Where a further test keeps its cases.csv and summary.json."""
        return self.path / "arms" / name

    @property
    def in_use(self) -> bool:
        """Whether another process is at work here; changes nothing, creates nothing."""
        if not (self.path / ".lock").exists():
            return False
        with (self.path / ".lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for this process; the system frees it when the process ends, however it ends.

        The further processes of a distributed run work under the lock of their first.

        Raises:
            InUseError: If another process is at work on it.
        """
        if not is_first_process():
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            give_up = time.monotonic() + LOCK_PATIENCE_S
            while not _taken(lock.fileno()):
                if time.monotonic() > give_up:
                    raise InUseError(
                        f"another process is at work in {self.path}: wait for it, or choose another folder by "
                        "hydra.run.dir"
                    )
                time.sleep(0.05)
            yield

    def clear(self) -> None:
        """Deletes what an earlier run has registered here, and nothing else."""
        Written(self.path).delete()

    def forget_resumption(self) -> None:
        """Deletes what only an interrupted run needs: with the optimizer's state it is the largest file of a run."""
        for path in self.last_checkpoints:
            path.unlink()

    def claim(self) -> None:
        """Checks that a run here is the same one, and writes config.yaml, resolved.

        A run that goes on or is tested anew is described by what it goes on with, where that is no part of the name
        (paths, how fat is measured); a finished training stays as it is. What an earlier attempt failed of is
        forgotten: the one that begins will say how it ends.

        Raises:
            ValueError: If the folder holds a run of another configuration, naming what differs; if it is damaged; if
                it is no run's and has files that a run would overwrite.
        """
        assert self.config is not None, "only a run with a configuration claims its folder"
        path, ours = self.path / IDENTITY, identity(self.config)
        if path.exists():
            stored = read_json(
                path,
                "nobody can tell which run lies there. Put the file back, start anew in this folder (retrain=true), or "
                "choose another one (hydra.run.dir=DIR)",
            )
            different = sorted(differences(reduced(stored), ours))
            if different:
                raise ValueError(
                    f"{self.path} holds a run with other settings: {'; '.join(different)}. Choose another folder "
                    "(hydra.run.dir=DIR), or start anew in this one (retrain=true)"
                )
        Written(self.path).add("config.yaml", IDENTITY)
        (self.path / ERROR).unlink(missing_ok=True)
        if path.exists() and self.finished and ours["task"] == "train":
            return
        replace_text(path, as_text(ours))
        replace_text(self.path / "config.yaml", OmegaConf.to_yaml(self.config, resolve=True))

    def other_morphometry(self) -> str:
        """In what this command measures muscles in another way than the finished run here; "" where in nothing."""
        assert self.config is not None, "only a run with a configuration compares itself"
        nodes = [
            OmegaConf.select(each, "morphometry") for each in (OmegaConf.load(self.path / "config.yaml"), self.config)
        ]
        before, now = (None if node is None else OmegaConf.to_container(node, resolve=True) for node in nodes)
        return "; ".join(differences(before, now, "morphometry")) if before else ""


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
