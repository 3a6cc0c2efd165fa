"""Run folders that differ in the weight of the key points alone, and what each of them predicted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from omegaconf import DictConfig, OmegaConf

from records.folder import RunFolder
from records.identity import reduced, row_name
from records.predictions import INDEX, read_arrays
from records.registry import IDENTITY
from records.whole_files import read_json

LAMBDA = ("objective", "terms", "keypoints", "weight")
Slice = tuple[str, int]  # case, slice


@dataclass(frozen=True, kw_only=True)
class Member:
    """One trained and tested network.

    Attributes:
        folder: Of the run.
        row: What tables call it.
        weight: Its lambda.
    """

    folder: Path
    row: str
    weight: float

    @property
    def config(self) -> DictConfig:
        """The configuration it was run with."""
        config = OmegaConf.load(self.folder / "config.yaml")
        assert isinstance(config, DictConfig)
        return config

    @cached_property
    def files(self) -> Mapping[Slice, Path]:
        """Where the prediction of each test slice lies."""
        index = self.folder / INDEX
        table = self._table(index, "callbacks.prediction_writer.enabled=true")
        return {_slice(row): index.parent / str(row["file"]) for row in table.to_dict("records")}

    @cached_property
    def keypoints(self) -> Mapping[Slice, Mapping[str, tuple[float, float]]]:
        """(x, y) of the key points of each test slice, from the heat maps; NaN where a map showed none."""
        table = self._table(self.folder / "keypoints.csv", "a network with heat maps")
        found: dict[Slice, dict[str, tuple[float, float]]] = {}
        for row in table.to_dict("records"):
            if row["source"] == "heatmap":
                found.setdefault(_slice(row), {})[row["structure"]] = (
                    float(row["x"] or "nan"),
                    float(row["y"] or "nan"),
                )
        return found

    def mask(self, where: Slice) -> UInt8[np.ndarray, "H W"]:
        """The predicted mask of a slice."""
        return read_arrays(self.files[where])["predicted_mask"]

    def _table(self, path: Path, needs: str) -> pd.DataFrame:
        if not path.exists():
            raise ValueError(f"task=fuse: {path} is missing; test again with {needs} (retrain=true trains anew)")
        return pd.read_csv(path, dtype=str, keep_default_na=False)


def find_ensembles(paths: Sequence[str | Path]) -> list[tuple[Member, ...]]:
    """Groups the trained runs in these folders, and below them, by all that they have in common.

    Returns:
        Members of each group, lowest weight first; groups in the order of their folders.

    Raises:
        ValueError: If a folder does not exist, a run is unfinished or has no key-point loss, or a group has a single
            member or the same weight twice.
    """
    groups: dict[str, list[Member]] = {}
    for folder in sorted({found for path in paths for found in _run_folders(Path(path).expanduser())}):
        settings = reduced(read_json(folder / IDENTITY, "train this run anew (retrain=true)"))
        if settings.get("task") != "train":
            continue  # masks that were scored, or an earlier fusion
        member, common = _member(folder, settings)
        groups.setdefault(common, []).append(member)
    if not groups:
        raise ValueError(f"task=fuse: there is no trained run in {', '.join(map(str, paths))}")
    for members in groups.values():
        weights = [member.weight for member in members]
        if len(set(weights)) < len(weights) or len(weights) < 2:
            raise ValueError(
                f"task=fuse: label fusion decides between networks of different lambda; {members[0].row} has "
                f"{', '.join(f'{member.weight:g} ({member.folder})' for member in members)} of otherwise the same "
                "settings. Give the folder of a whole sweep=scarnet_lambda, each lambda once"
            )
    return [tuple(sorted(members, key=lambda member: member.weight)) for members in groups.values()]


def _slice(row: Mapping[Any, str]) -> Slice:
    return row["case"], int(row["slice"])


def _run_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise ValueError(f"task=fuse: there is no folder {path}; give the folder of a sweep=scarnet_lambda as runs=DIR")
    return [found.parent.resolve() for found in path.rglob(IDENTITY)]


def _member(folder: Path, settings: dict[str, Any]) -> tuple[Member, str]:
    """A run, and its settings without lambda as one text; `settings` is emptied of it."""
    if not RunFolder(folder).finished:
        raise ValueError(f"task=fuse: {folder} is not finished; the command of its sweep goes on with it")
    term: Any = settings
    for key in LAMBDA[:-1]:
        term = term.get(key) or {}
    if LAMBDA[-1] not in term:
        raise ValueError(f"task=fuse: {folder} was trained without {'.'.join(LAMBDA)}; fuse rows with key points")
    weight = float(term.pop(LAMBDA[-1]))
    choices = read_json(folder / "run_card.json", "train this run anew (retrain=true)")["choices"]
    row = row_name(choices.get("experiment", "network"), choices.get("ablation", "none"))
    return Member(folder=folder, row=row, weight=weight), f"{row} {json.dumps(settings, sort_keys=True)}"
