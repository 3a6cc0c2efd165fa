"""The budget of care: settings are listed by what those who validate score, and nobody who is tested is looked at."""

import json

import pandas as pd
import pytest

from reports.care import care_table, print_care
from tests.made.run_folders import STRUCTURES, write_run

TWO = STRUCTURES[:2]


def write_arm(folder, *, lr: float, scores: list[float], row: str = "bs_esnet", patients: int = 9):
    """A run whose patients who validate score so from epoch to epoch."""
    write_run(folder, row=row, structures=TWO, settings={"optimizer": {"lr": lr}})
    epochs = pd.DataFrame(
        {"epoch": range(len(scores)), "val/score": scores, "val/dice": [score + 0.01 for score in scores]}
    )
    epochs.to_csv(folder / "metrics.csv", index=False)
    card = json.loads((folder / "run_card.json").read_text())
    card["patients"] = {"train": 20, "validation": patients, "test": 9}
    (folder / "run_card.json").write_text(json.dumps(card))


def test_settings_of_a_row_stand_best_first_with_the_epoch_that_counts(tmp_path, capsys):
    write_arm(tmp_path / "slow", lr=0.001, scores=[0.5, 0.7, 0.6])
    write_arm(tmp_path / "fast", lr=0.004, scores=[0.6, 0.8])
    write_arm(tmp_path / "other", lr=0.001, scores=[0.9], row="unet")
    table = care_table(tmp_path)
    assert table["row"].tolist() == ["bs_esnet", "bs_esnet", "unet"]
    assert table["score"].tolist() == [0.8, 0.7, 0.9]
    assert table["epoch"].tolist() == [2, 2, 1]
    assert table["dice"].tolist() == pytest.approx([0.81, 0.71, 0.91])
    assert ["0.004" in name for name in table["setting"]] == [True, False, False]
    assert table["box_iou"].isna().all()
    print_care(table)
    printed = capsys.readouterr().out
    assert "Patients who validate: 9" in printed
    assert "81.0" in printed


def test_scores_of_two_grids_are_not_compared(tmp_path):
    write_arm(tmp_path / "older", lr=0.001, scores=[0.5])
    write_arm(tmp_path / "newer", lr=0.004, scores=[0.6])
    config = tmp_path / "newer" / "config.yaml"
    config.write_text(config.read_text() + "metrics:\n  score: [dice]\n")
    with pytest.raises(ValueError, match=r"older validated on the pixels of the scans.*retrain=true"):
        care_table(tmp_path)


def test_without_patients_who_validate_there_is_nothing_to_choose_by(tmp_path):
    write_arm(tmp_path / "run", lr=0.001, scores=[0.5])
    pd.DataFrame({"epoch": [0]}).to_csv(tmp_path / "run" / "metrics.csv", index=False)
    with pytest.raises(ValueError, match=r"no training here has patients who validate.*validation_fraction"):
        care_table(tmp_path)
