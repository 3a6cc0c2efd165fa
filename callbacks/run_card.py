"""Where a run came from: command, commit, versions, data and split."""

import json
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning
from hydra.core.hydra_config import HydraConfig

from lightning_modules.records import replace_text
from lightning_modules.segmentation import SegmentationModule

PACKAGES = ("torch", "lightning", "hydra-core", "omegaconf", "monai", "albumentations", "SimpleITK", "numpy", "scipy")


class RunCard(lightning.Callback):
    """Writes `run_card.json` and the split (`split.csv`) into `folder` before anything is trained or tested."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Writes both files."""
        assert isinstance(pl_module, SegmentationModule)
        if not trainer.is_global_zero:
            return
        data = pl_module.data
        card = {
            "command": shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
            **_commit(),
            "choices": _choices(),
            "data": data.store.fingerprint,
            "split": data.split.fingerprint,
            "patients": {part: len(data.patients(part)) for part in data.indices},
            "slices": {part: len(rows) for part, rows in data.indices.items()},
            "cohort": data.cohort.name,
            "licence": data.cohort.licence,
            "citation": data.cohort.citation,
            "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
        }
        replace_text(self.folder / "run_card.json", json.dumps(card, indent=2) + "\n")
        data.split.write(self.folder / "split.csv")


def _choices() -> dict[str, str]:
    """The chosen file of every group of conf/, as a table names a row; empty where Hydra did not start the run."""
    if not HydraConfig.initialized():
        return {}
    chosen = HydraConfig.get().runtime.choices
    return {str(group): str(name) for group, name in chosen.items() if not str(group).startswith("hydra/")}


def _commit() -> dict[str, Any]:
    """Commit of the code and whether it was changed since; None outside a checkout."""
    here = Path(__file__).parent
    try:
        answer = [
            subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": answer[0], "dirty": bool(answer[1])}
