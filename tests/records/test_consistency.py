"""Runs that do not fit into one table are refused by name."""

import pytest

from records.runs import load_runs
from tests.made.read_runs import SMALL
from tests.made.run_folders import cohort_slices, draw_cases, write_run


def spoil_twice(folder):
    write_run(folder / "again", "unet", fold=0, **SMALL)


def spoil_overlap(folder):
    cases = draw_cases(cohort_slices(8), "unet", 0, 0.86)
    write_run(folder / "again", "unet", fold=1, cases=cases, **SMALL)


def spoil_area(folder):
    cases = draw_cases(cohort_slices(8), "bs_esnet", 0, 0.86)
    cases.loc[3, "area_true_mm2"] = 900.0
    write_run(folder / "again", "bs_esnet", fold=0, cases=cases, **SMALL)


WRONG_TOGETHER = {
    "the same cell twice": (spoil_twice, r"unet, fold 0, seed 0 is there twice: .*unet-f0-s0|is there twice: .*again"),
    "a slice twice": (spoil_overlap, "is scored twice, in .*again|again.* and would weigh double"),
    "cohorts": (
        lambda folder: write_run(folder / "again", card={"cohort": "axial_muscle"}, **SMALL),
        "cannot mix cohorts: .*again",
    ),
    "structures": (
        lambda folder: write_run(folder / "again", structures=("disc", "canal"), **SMALL),
        "cannot mix structures: .*again",
    ),
    "data": (lambda folder: write_run(folder / "again", card={"data": "e" * 32}, **SMALL), "hashes of the data.*again"),
    "splits": (
        lambda folder: write_run(folder / "again", card={"split": "f" * 32}, **SMALL),
        "splits by patient.*again",
    ),
    "budgets": (
        lambda folder: write_run(folder / "again", settings={"trainer.max_epochs": 200, "scale.epochs": 200}, **SMALL),
        "share their budget, but .* differ in scale.epochs: .*200.*trainer.max_epochs",
    ),
    "clipping": (
        lambda folder: write_run(folder / "again", settings={"trainer.gradient_clip_val": None}, **SMALL),
        "share their budget, but .*again and .*unet-f0-s0 differ in trainer.gradient_clip_val: None and 1.0",
    ),
    "true masks": (spoil_area, "has another area in"),
}


@pytest.mark.parametrize("wrong", WRONG_TOGETHER)
def test_runs_that_do_not_fit_together_are_refused_by_name(tmp_path, wrong):
    write_run(tmp_path / "unet-f0-s0", "unet", **SMALL)
    spoil, message = WRONG_TOGETHER[wrong]
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_runs([tmp_path])
