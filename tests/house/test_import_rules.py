"""The arrows of the design: who may import whom, read from the source of every file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OUTER = {"lightning", "pytorch_lightning", "hydra", "omegaconf", "wandb"}
CORE = {"datamodules", "models", "metrics"}
GROUND = {"records", "pictures"}

# What of ours each package may import beside itself. Nobody may import run, and nothing but tests may import tests.
ALLOWED = {
    "metrics": set(),
    "records": {"metrics"},
    "pictures": {"metrics"},
    "datamodules": {"records"},
    "models": set(),
    "lightning_modules": {*CORE, *GROUND},
    "callbacks": {*CORE, *GROUND, "lightning_modules"},
    "reports": {"metrics", *GROUND},
    "benchmarks": {*CORE, *GROUND, "lightning_modules", "callbacks", "reports"},
}
OURS = {*ALLOWED, "run", "tests"}
WITHOUT_OUTER = {"models", "metrics"}
NONDESCRIPT = {"utils", "util", "helpers", "helper", "common", "misc", "base"}

FILES = sorted(path.relative_to(ROOT) for package in ALLOWED for path in (ROOT / package).rglob("*.py"))


def imported_packages(source, path):
    """First part of the name of everything that a file imports, wherever in the file, relative imports resolved."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = path.parts[: -node.level] if node.level else ()
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {".".join([*parts, name]).split(".")[0] for name in names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            found |= {str(name).split(".")[0] for name in names}
    return found


def forbidden_imports(source, path):
    """Names that a file imports against the rules."""
    package = path.parts[0]
    forbidden = OURS - ALLOWED[package] - {package}
    if package in WITHOUT_OUTER:
        forbidden |= OUTER
    return sorted(imported_packages(source, path) & forbidden)


def nondescript_modules(paths):
    """Files and folders whose name says nothing about what is in them."""
    return sorted(str(path) for path in paths if NONDESCRIPT & {part.strip("_") for part in path.with_suffix("").parts})


def test_there_is_something_to_check():
    assert {path.parts[0] for path in FILES} == set(ALLOWED)
    assert Path("datamodules/batch.py") in FILES


def test_every_folder_of_code_has_a_rule():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders - {"tests"} == set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_follow_the_arrows(path):
    assert forbidden_imports((ROOT / path).read_text(encoding="utf-8"), path) == []


def test_no_module_has_a_name_that_says_nothing():
    assert (
        nondescript_modules(path.relative_to(ROOT) for path in [*ROOT.glob("*.py"), *map(ROOT.joinpath, FILES)]) == []
    )


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("models/unet.py", "import lightning.pytorch as pl", ["lightning"]),
        ("models/unet.py", "def f():\n    from omegaconf import DictConfig", ["omegaconf"]),
        ("models/blocks/gate.py", "import torch, wandb", ["wandb"]),
        ("models/blocks/gate.py", "from ...datamodules import batch", ["datamodules"]),
        ("models/blocks/gate.py", "from ..prediction import Prediction", []),
        ("models/blocks/gate.py", "from ... import datamodules", ["datamodules"]),
        ("models/unet.py", "from models.blocks import gate", []),
        ("metrics/cases.py", "from hydra.utils import instantiate", ["hydra"]),
        ("metrics/cases.py", "from datamodules.batch import SpineBatch", ["datamodules"]),
        ("datamodules/slices.py", "import lightning\nimport metrics.cases", ["metrics"]),
        ("datamodules/slices.py", "if TYPE_CHECKING:\n    import models.unet", ["models"]),
        ("lightning_modules/segmentation.py", "from models.prediction import Prediction\nimport lightning", []),
        ("lightning_modules/segmentation.py", "from callbacks.case_table import CaseTable", ["callbacks"]),
        ("callbacks/case_table.py", "import lightning_modules, models, metrics, datamodules, wandb", []),
        ("callbacks/case_table.py", "from reports import tables", ["reports"]),
        ("reports/tables.py", "import metrics.aggregate\nimport models.unet", ["models"]),
        ("benchmarks/training.py", "import callbacks, reports, run", ["run"]),
        ("benchmarks/training.py", "importlib.import_module('run')", ["run"]),
        ("callbacks/run_card.py", "from tests import test_folds", ["tests"]),
    ],
)
def test_the_checker_sees_what_it_forbids(path, source, expected):
    assert forbidden_imports(source, Path(path)) == expected


def test_the_checker_of_names_can_fail():
    odd = [Path("models/utils.py"), Path("metrics/base/dice.py"), Path("reports/_helpers.py")]
    assert nondescript_modules([*odd, Path("models/baseline.py")]) == sorted(map(str, odd))
