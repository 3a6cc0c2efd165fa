"""The folder of a run: its name, its lock, its configuration, and whether it is finished."""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

# These say where and how fast a run is made, not what comes out of it.
NOT_IN_NAME = ("hydra", "logger", "retrain", "arms", "report", "runs", "input", "morphometry")
WITHOUT_VALUE = ("machine", "paths", "output")
IDENTITY = ".identity.json"  # what config.yaml says once the machine is taken out of it
WRITTEN = (
    *(IDENTITY, "config.yaml", "run_card.json", "split.csv", "metrics.csv", "cases.csv", "summary.json"),
    *("keypoints.csv", "confusion.csv", "morphometry.csv"),
    *("checkpoints", "figures", "wandb", "arms", "predictions"),
)
ERROR = "error.txt"  # what went wrong in a grid's cell: one line, then the traceback
LOOKS_ON = ("status", "report")  # tasks that look at a training's folder; they must find it by its name
LOCK_PATIENCE_S = 1.0  # another process may be asking whether the folder is in use, which takes the lock for an instant


class InUseError(ValueError):
    """Another process is at work in a run folder."""


def is_first_process() -> bool:
    """Whether this process leads its run; Lightning numbers those that it starts for further devices."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def row_name(experiment: str, ablation: str) -> str:
    """What a table calls an experiment: `experiment=bs_esnet ablation=no_sag` is the row bs_esnet_no_sag."""
    return experiment if ablation == "none" else f"{experiment}_{ablation}"


def cell_name(*, _root_: DictConfig) -> str:
    """Twelve characters that name a configuration without its machine; resolves `cell` in Hydra's folder names."""
    return hashlib.sha256(_text(identity(_root_)).encode()).hexdigest()[:12]


def identity(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration without what depends on the machine, and, of a training, without where data lie."""
    raw: Any = OmegaConf.to_container(config, resolve=False)
    raw = {key: value for key, value in raw.items() if key not in NOT_IN_NAME}
    # It repeats the node morphometry, which is no part of the name.
    raw.get("callbacks", {}).get("morphometry_table", {}).pop("settings", None)
    # A picture; cells that were trained before there was one keep their names.
    raw.get("callbacks", {}).pop("augmentation_sheet", None)
    raw.get("scale", {}).pop("cell_factor", None)  # refuses to train, and changes nothing of what is trained
    raw["cohort"].pop("sides", None)  # refuses label files, and changes nothing of what is trained
    raw["task"] = "train" if raw["task"] in LOOKS_ON else raw["task"]
    for key in WITHOUT_VALUE:
        raw[key] = dict.fromkeys(raw[key]) if isinstance(raw[key], dict) else None
    if raw["task"] == "train":
        raw["checkpoint"] = None
        raw["cohort"]["root"] = None
        raw["supervision"]["weak_cohort"] = _without_place(raw["supervision"]["weak_cohort"])
    resolved = OmegaConf.to_container(OmegaConf.create(raw), resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


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
    def last_checkpoint(self) -> Path | None:
        """Where an interrupted training goes on, or None."""
        path = self.path / "checkpoints" / "last.ckpt"
        return path if path.exists() else None

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
        """Deletes what an earlier run left here, and nothing that a run does not write."""
        for name in WRITTEN:
            path = self.path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def forget_resumption(self) -> None:
        """Deletes what only an interrupted run needs: with the optimizer's state it is the largest file of a run."""
        (self.path / "checkpoints" / "last.ckpt").unlink(missing_ok=True)

    def claim(self) -> None:
        """Checks that a run here is the same one, and writes config.yaml, resolved.

        A run that goes on or is tested anew is described by what it goes on with, where that is no part of the name
        (paths, how fat is measured); a finished training stays as it is.

        Raises:
            ValueError: If the folder holds a run of another configuration; names what differs.
        """
        assert self.config is not None, "only a run with a configuration claims its folder"
        path, ours = self.path / IDENTITY, identity(self.config)
        if path.exists():
            different = sorted(differences(json.loads(path.read_text()), json.loads(_text(ours))))
            if different:
                raise ValueError(
                    f"{self.path} holds a run with other settings: {'; '.join(different)}. Choose another folder "
                    "(hydra.run.dir=DIR), or start anew in this one (retrain=true)"
                )
            if self.finished and ours["task"] == "train":
                return
        for name, text in (("config.yaml", OmegaConf.to_yaml(self.config, resolve=True)), (IDENTITY, _text(ours))):
            partial = self.path / f".{name}.partial"
            partial.write_text(text, encoding="utf-8")
            partial.replace(self.path / name)

    def other_morphometry(self) -> str:
        """In what this command measures muscles in another way than the finished run here; "" where in nothing."""
        assert self.config is not None, "only a run with a configuration compares itself"
        nodes = [
            OmegaConf.select(each, "morphometry") for each in (OmegaConf.load(self.path / "config.yaml"), self.config)
        ]
        before, now = (None if node is None else OmegaConf.to_container(node, resolve=True) for node in nodes)
        return "; ".join(differences(before, now, "morphometry")) if before else ""


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Leaves in which two nested configurations differ, as "key: before -> after"."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = {**before, **after}
        return [
            text
            for key in keys
            for text in differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if before == after else [f"{path}: {before} -> {after}"]


def _without_place(cohort: Any) -> Any:
    """A cohort without where it lies: a node without its root, a folder as the last part of its path."""
    return {**cohort, "root": None} if isinstance(cohort, dict) else cohort and Path(cohort).name


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _text(tree: dict[str, Any]) -> str:
    return json.dumps(tree, sort_keys=True, default=str)
