"""Offline wandb runs, read back by wandb's own reader."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OfflineRun:
    """One `offline-run-*` folder."""

    folder: Path
    records: list[dict[str, Any]]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.records if record["type"] == kind]

    @property
    def start(self) -> dict[str, Any]:
        (record,) = self.of_kind("run")
        return record

    @property
    def config(self) -> dict[str, Any]:
        config = self.start["config"]["update"]
        return {name: value for name, value in config.items() if name != "_wandb"}

    @property
    def history(self) -> list[dict[str, Any]]:
        return [record["item"] for record in self.of_kind("history")]

    @property
    def summary(self) -> dict[str, Any]:
        return {name: value for record in self.of_kind("summary") for name, value in record["update"].items()}

    @property
    def keys(self) -> set[str]:
        """What was logged; of a picture or table, its name alone."""
        return {name.split(".")[0] for row in (*self.history, self.summary) for name in row}

    def media(self, name: str) -> dict[str, Any]:
        """How the last picture or table of a name was logged."""
        row = [row for row in self.history if f"{name}._type" in row][-1]
        return {key.removeprefix(f"{name}."): value for key, value in row.items() if key.startswith(f"{name}.")}

    def curve(self, name: str) -> dict[int, float]:
        """Values over the epochs."""
        return {row["epoch"]: row[name] for row in self.history if name in row}


def read_run(folder: Path) -> OfflineRun:
    words = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return OfflineRun(folder, [json.loads(line) for line in lines])


def only_run(run_folder: Path) -> OfflineRun:
    """The one offline run of a run folder that `wandb sync` would be given."""
    (folder,) = (run_folder / "wandb").glob("offline-run-*")
    return read_run(folder)
