"""The networks that ship: what their cards say, and that they work on people whom they have never seen."""

import pandas as pd
import pytest
from hydra.utils import instantiate

from lightning_modules.tasks import training
from lightning_modules.tasks.trained_network import read_trained
from records.starters import card_facts, sha256, shipped_starters
from tests.conftest import SHARED, compose_line

STARTERS = shipped_starters()


def test_both_views_have_one():
    assert [path.stem for path in STARTERS] == ["starter_axial", "starter_sagittal"]


@pytest.mark.parametrize("path", STARTERS, ids=lambda path: path.stem)
def test_a_starter_is_small_and_what_its_card_says(path, composed):
    facts, trained = card_facts(path.with_suffix(".md")), read_trained(path)
    view = path.stem.removeprefix("starter_")
    assert facts["sha256"] == sha256(path)
    assert path.stat().st_size <= 16 * 2**20
    parameters = sum(weight.numel() for weight in trained.weights.values())
    assert facts["parameters"] == f"{parameters / 1e6:.2f} M"
    assert parameters <= 8e6
    assert facts["command"].startswith(f"python run.py experiment=starter_{view} trainer=starter")
    known = instantiate(composed(f"experiment=starter_{view}").anatomy)
    assert list(trained.anatomy.structures) == list(known.structures) == facts["structures"].split(", ")
    words = path.with_suffix(".md").read_text().split("---", 2)[2]
    assert "synthetic patients" in words
    assert "not for diagnosis" in words


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the public cohorts are not part of the repository")
@pytest.mark.parametrize(
    ("view", "cohort", "least"), [("sagittal", "sagittal_discs", 0.6), ("axial", "axial_muscle", 0.45)]
)
def test_a_starter_outlines_people(tmp_path, generated, view, cohort, least):
    """Far below what its card states, and far above what a network reaches that confuses sides or levels."""
    root = SHARED / "data" / cohort
    line = (f"experiment=fine_tuned_{view}", f"cohort={cohort}", f"cohort.root={root}", "split=all")
    training.test(compose_line(tmp_path / "test", generated, *line, "task=test", "checkpoint=starter"))
    cases = pd.read_csv(tmp_path / "test" / "cases.csv")
    assert cases.groupby("patient")["dice"].mean().mean() > least
