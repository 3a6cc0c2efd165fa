"""The recipes of the documentation are written out and run as they stand."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hydra import compose, initialize_config_dir

import lightning_modules.losses
import models
from lightning_modules.tasks import training
from tests.conftest import ROOT, TINY_PHANTOM, UNDRAWN
from tests.made.pages import PAGES, blocks, run_lines
from tests.made.run_folders import write_run

PAGE, NOTEBOOK = ROOT / "docs" / "recipes.md", ROOT / "docs" / "records.md"
# As it stands, whatever its comments say; one of the first names the file.
HEAD = re.compile(r"(?:# @\S+ \S+\n)?# (?P<path>\S+/\S+)\n")
WRITTEN = [block for page in PAGES for block in blocks(page) if block.language in ("python", "yaml")]
FILES = {match["path"]: block.text for block in WRITTEN if (match := HEAD.match(block.text))}
LINES = [block.text for block in WRITTEN if not HEAD.match(block.text)]  # of a notebook
COMMANDS = [
    line
    for page in (PAGE, ROOT / "docs" / "cohorts.md")
    for line in run_lines(page)
    if re.search(r"basic_unet|unet_tversky|my_hospital", line)
]
RECIPES = [
    ("basic_unet", ["models/basic_unet.py", "conf/model/basic_unet.yaml", "conf/experiment/basic_unet.yaml"]),
    (
        "unet_tversky",
        [
            "lightning_modules/losses/tversky.py",
            "conf/objective/cross_entropy_tversky.yaml",
            "conf/experiment/unet_tversky.yaml",
        ],
    ),
    ("my_hospital", ["conf/cohort/my_hospital.yaml"]),
]


def write_hospital(root: Path) -> None:
    """Four patients, an axial slice stack each, with a bright rectangle per muscle."""
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    rows = ["case,patient,image,label"]
    for number in range(6):
        rng = np.random.default_rng(number)
        label = np.zeros((2, 96, 96), dtype=np.uint8)
        for index, column in ((2, 30), (1, 52), (4, 14), (3, 68)):
            label[:, 50:70, column : column + 14] = index
        picture = rng.normal(100, 10, label.shape).astype(np.float32) + 40 * label
        for name, array in (("images", picture), ("labels", label)):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((2.0, 2.0, 4.0))
            sitk.WriteImage(volume, str(root / name / f"p{number}.nii.gz"))
        rows.append(f"p{number},p{number},images/p{number}.nii.gz,labels/p{number}.nii.gz")
    (root / "cohort.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "paths"), RECIPES, ids=[name for name, _ in RECIPES])
def test_a_recipe_runs_as_written(name, paths, tmp_path, generated, monkeypatch):
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(FILES[path])
    # A user writes the files into the checkout; here the packages are taught to look into the test's folder too.
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path / "models")])
    losses = lightning_modules.losses
    monkeypatch.setattr(losses, "__path__", [*losses.__path__, str(tmp_path / "lightning_modules" / "losses")])
    importlib.invalidate_caches()
    (command,) = [line for line in COMMANDS if name in line]
    overrides = [
        *command.split(),
        f"output={tmp_path / 'run'}",
        f"paths={{data: {generated}, cache: {tmp_path / 'cache'}}}",
        f"hydra.searchpath=[file://{tmp_path / 'conf'}]",
        "logger=csv",
        "trainer=smoke",
    ]
    if name == "my_hospital":
        write_hospital(tmp_path / "scans")
        overrides = [override.replace("/scans/lumbar", str(tmp_path / "scans")) for override in overrides]
    else:
        overrides += (*TINY_PHANTOM, *UNDRAWN)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", overrides=overrides)
    training.train(config)
    assert (tmp_path / "run" / "summary.json").exists()
    if name != "my_hospital":  # what a table calls its row, from files that the recipe has
        assert command == f"experiment={name}"
        assert f"conf/experiment/{name}.yaml" in paths
    for path in paths:
        if path.endswith(".py"):
            assert path.removesuffix(".py").replace("/", ".") in sys.modules, "the recipe's file was what ran"


def test_every_recipe_is_run():
    assert set(FILES) == {path for _, paths in RECIPES for path in paths}
    assert len(COMMANDS) == len(RECIPES)


def test_the_lines_of_the_notebook_run(tmp_path, monkeypatch):
    """Those of docs/records.md, on a run folder in place of RUN."""
    (lines,) = LINES
    write_run(tmp_path / "RUN", num_patients=4, predictions=True)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(lines, str(NOTEBOOK), "exec"), found)
    assert found["run"].row == "bs_esnet"
