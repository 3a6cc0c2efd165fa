"""The folder of a run: its name, its lock, its configuration, and whether it is finished."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

# These say where and how fast a run is made, not what comes out of it.
NOT_IN_NAME = ("hydra", "logger", "retrain")
WITHOUT_VALUE = ("machine", "paths", "output")


def cell_name(*, _root_: DictConfig) -> str:
    """Twelve characters that name a configuration without its machine; resolves `cell` in Hydra's folder names."""
    text = json.dumps(identity(_root_), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def identity(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration without what depends on the machine, and, of a training, without where data lie."""
    raw: Any = OmegaConf.to_container(config, resolve=False)
    raw = {key: value for key, value in raw.items() if key not in NOT_IN_NAME}
    for key in WITHOUT_VALUE:
        raw[key] = dict.fromkeys(raw[key]) if isinstance(raw[key], dict) else None
    if raw["task"] == "train":
        raw["checkpoint"] = None
        raw["cohort"]["root"] = None
    resolved = OmegaConf.to_container(OmegaConf.create(raw), resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


class RunFolder:
    """One run on disk.

    Args:
        path: The folder.
        config: The composed configuration of the run.
    """

    def __init__(self, path: str | Path, config: DictConfig) -> None:
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

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for this process; the system frees it when the process ends, however it ends.

        Raises:
            ValueError: If another process is at work on it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ValueError(
                    f"another process is at work in {self.path}: wait for it, or choose another folder by hydra.run.dir"
                ) from None
            yield

    def clear(self) -> None:
        """Deletes what an earlier run left, but for the lock that is held."""
        for entry in self.path.iterdir():
            if entry.name != ".lock":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def claim(self) -> None:
        """Writes config.yaml, or checks that the one there describes the same run.

        Raises:
            ValueError: If the folder holds a run of another configuration; names what differs.
        """
        path = self.path / "config.yaml"
        if path.exists():
            before = identity(_read(path))
            different = sorted(differences(before, identity(self.config)))
            if different:
                raise ValueError(
                    f"{self.path} holds a run with other settings: {'; '.join(different)}. Choose another folder "
                    "(hydra.run.dir=DIR), or start anew in this one (retrain=true)"
                )
            return
        partial = path.with_suffix(".partial")
        OmegaConf.save(self.config, partial)
        partial.replace(path)


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


def _read(path: Path) -> DictConfig:
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    return config
