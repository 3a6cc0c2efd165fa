"""Where records come from: command, commit, versions, data and split."""

import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from datamodules.slices import SliceDataModule

PACKAGES = ("torch", "lightning", "hydra-core", "omegaconf", "monai", "albumentations", "SimpleITK", "numpy", "scipy")


def run_card(data: SliceDataModule) -> dict[str, Any]:
    """What `run_card.json` says.

    `data` is the hash of the prepared slices, which depend on the network's grid; `cohort_content` that of the cohort's
    files and labels alone, the same for every row of a table.
    """
    return {
        **code_card(),
        "choices": _choices(),
        "data": data.store.fingerprint,
        "cohort_content": data.cohort.fingerprint(),
        "split": data.split.fingerprint,
        "patients": {part: len(data.patients(part)) for part in data.indices},
        "slices": {part: len(rows) for part, rows in data.indices.items()},
        "supervision": _supervision(data),
        "cohort": data.cohort.name,
        "nominal_spacing": data.cohort.nominal_spacing,
        "licence": data.cohort.licence,
        "citation": data.cohort.citation,
    }


def code_card() -> dict[str, Any]:
    """Command, commit and versions: what was run, whatever on."""
    return {
        "command": shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
        **_commit(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def _supervision(data: SliceDataModule) -> dict[str, Any]:
    """Who trains with what: names of the patients of this fold, and the cohort that brought further weak ones.

    Those who keep their masks include those who validate. With a budget of masks these are other patients than the
    split's file says, which knows of no budget.
    """
    taught, weak = data.teaching, data.weak_cohort
    return {
        "masked_patients": list(taught.masked_patients),
        "validation_patients": list(taught.validation_patients),
        "weak_patients": list(taught.weak_patients),
        "weak_cohort": weak and {"name": weak.name, "licence": weak.licence, "citation": weak.citation},
    }


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
