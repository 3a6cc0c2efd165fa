"""Statistics of a report against loops over the case tables, and everything that may be missing."""

from math import isnan

import numpy as np
import pandas as pd
import pytest

from records.runs import AS_PUBLISHED, BY_PATIENT, load_runs
from reports.chapters.notes import write_notes
from reports.collect import gather
from reports.evidence import Evidence
from reports.statistics.comparisons import holm, wilcoxon_p
from reports.statistics.intervals import t_interval
from reports.statistics.patients import patient_scores, primary_values
from reports.statistics.strata import strata, tertile_limits
from tests.made.run_folders import STRUCTURES, cohort_slices, draw_cases, write_grid, write_run

pytestmark = pytest.mark.slow  # whole reports

ROWS = ("unet", "bs_esnet_no_sag", "bs_esnet")
TABLE = "bs_esnet_table1"

TWO = STRUCTURES[:2]  # where it does not matter which


def evidence_of(folder, *, table=TABLE, reference=None, margin=0.005) -> Evidence:
    return gather(load_runs([folder]), table=table, reference=reference, margin=margin)


def line(evidence, row, *, structure="mean", metric="dice", stratum="", split=BY_PATIENT, arm=""):
    table = evidence["statistics"]
    keys = {"row": row, "structure": structure, "metric": metric, "stratum": stratum, "split": split, "arm": arm}
    for name, value in keys.items():
        table = table.loc[table[name] == value]
    assert len(table) == 1, keys
    return table.iloc[0]


def by_hand(folder, row, *, seed=0, column="dice", keep=lambda record: True):
    """Patient's mean over structures of its mean over slices, from the files, with loops."""
    values = {}
    for path in sorted(folder.glob(f"{row}-f*-s{seed}")):
        for record in pd.read_csv(path / "cases.csv").to_dict("records"):
            if keep(record) and not isnan(record[column]):
                values.setdefault(record["patient"], {}).setdefault(record["structure"], []).append(record[column])
    return {patient: np.mean([np.mean(each) for each in found.values()]) for patient, found in sorted(values.items())}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    arms = {"shuffled": 0.05, "annotated": 0.0}
    write_grid(folder, ROWS, num_patients=16, seeds=(0, 1), arms=arms)
    return folder


@pytest.fixture(scope="module")
def evidence(grid):
    return evidence_of(grid)


def test_the_primary_endpoint_is_that_of_loops(grid, evidence):
    for row in ROWS:
        seeds = [by_hand(grid, row, seed=seed) for seed in (0, 1)]
        values = np.array([np.mean([seed[patient] for seed in seeds]) for patient in seeds[0]])
        found = line(evidence, row)
        assert found["mean"] == pytest.approx(values.mean())
        assert (found["ci95_low"], found["ci95_high"]) == pytest.approx(t_interval(values))
        assert (found["num_patients"], found["interval"], found["num_seeds"]) == (16, "t", 2)
        spread = np.std([np.mean(list(seed.values())) for seed in seeds], ddof=1)
        assert found["seed_sd"] == pytest.approx(spread)


def test_differences_are_to_the_proposed_row_and_paired(grid, evidence):
    assert evidence.reference == "bs_esnet"
    values = {}
    for row in ROWS:
        seeds = [by_hand(grid, row, seed=seed) for seed in (0, 1)]
        values[row] = np.array([np.mean([seed[patient] for seed in seeds]) for patient in seeds[0]])
    p_values = [wilcoxon_p(np.round(values[row] - values["bs_esnet"], 12)) for row in ROWS[:2]]
    for row, p_value, adjusted in zip(ROWS, p_values, holm(np.array(p_values)), strict=False):
        found = line(evidence, row)
        assert found["difference"] == pytest.approx((values[row] - values["bs_esnet"]).mean())
        assert (found["p_wilcoxon"], found["p_holm"]) == pytest.approx((p_value, adjusted))
        assert (found["reference"], found["num_pairs"], bool(found["testable"])) == ("bs_esnet", 16, True)
    own = line(evidence, "bs_esnet")
    assert own["reference"] == ""
    assert isnan(own["difference"])
    assert isnan(own["p_holm"])


def test_holm_stays_within_a_column(evidence):
    table = evidence["statistics"].loc[(evidence["statistics"]["reference"] != "") & evidence["statistics"]["testable"]]
    columns = table.groupby(["stratum", "structure", "metric", table["row"].where(table["arm"] != "", "")])
    assert len(columns) > 50
    for _, column in columns:
        expected = holm(column["p_wilcoxon"].to_numpy())
        assert column["p_holm"].to_numpy() == pytest.approx(expected, nan_ok=True)


def test_an_arm_is_compared_with_the_own_test_of_its_row(evidence):
    shuffled, annotated = (line(evidence, "bs_esnet", arm=arm) for arm in ("shuffled", "annotated"))
    assert (shuffled["reference"], annotated["difference"], annotated["p_wilcoxon"]) == ("bs_esnet", 0.0, 1.0)
    assert -0.06 < shuffled["difference"] < -0.03
    assert not evidence["statistics"].loc[evidence["statistics"]["arm"] != "", "bold"].any()


def test_strata_are_parts_of_the_same_loops(grid, evidence):
    cases = evidence["cases"].loc[(evidence["cases"]["arm"] == "") & (evidence["cases"]["row"] == "unet")]
    low, high = tertile_limits(cases, "fat_fraction")
    parts = {
        "level L3/4": lambda record: record["level"] == "L3/4",
        "fat tertile low": lambda record: record["fat_fraction"] <= low,
        "fat tertile middle": lambda record: low < record["fat_fraction"] <= high,
        "fat tertile high": lambda record: record["fat_fraction"] > high,
        "quadratus lumborum present": lambda record: record["quadratus_lumborum"] == 1,
    }
    for name, keep in parts.items():
        seeds = [by_hand(grid, "unet", seed=seed, keep=keep) for seed in (0, 1)]
        found = line(evidence, "unet", stratum=name)
        assert found["num_patients"] == len(seeds[0])
        both = [np.mean([seed[patient] for seed in seeds]) for patient in seeds[0]]
        assert found["mean"] == pytest.approx(np.mean(both))


def test_tertiles_hold_a_third_of_the_slices_each():
    cases = draw_cases(cohort_slices(60), "unet", 0, 0.9)
    parts = dict(strata(cases))
    sizes = [len(parts[f"snr {label}"].drop_duplicates(["case", "slice"])) for label in ("low", "middle", "high")]
    assert sum(sizes) == len(cohort_slices(60))
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("value", [np.nan, 0.3])
def test_a_factor_that_nobody_has_or_that_is_the_same_everywhere_is_no_stratum(value):
    cases = draw_cases(cohort_slices(9), "unet", 0, 0.9).assign(fat_fraction=value, quadratus_lumborum=np.nan, level="")
    names = [name for name, _ in strata(cases)]
    assert names
    assert all(name.startswith(("fascia contrast", "snr")) for name in names)


@pytest.mark.parametrize("shuffle", ["patients", "rows"])
def test_the_order_of_patients_and_rows_changes_nothing(tmp_path, shuffle):
    cases = {row: draw_cases(cohort_slices(12), row, 0, 0.88, TWO) for row in ("unet", "bs_esnet")}
    for number, (row, table) in enumerate(cases.items()):
        write_run(tmp_path / "a" / str(number), row, cases=table, num_folds=1, num_patients=12, structures=TWO)
        table = table.sample(frac=1, random_state=1) if shuffle == "patients" else table
        write_run(tmp_path / "b" / str(9 - number), row, cases=table, num_folds=1, num_patients=12, structures=TWO)
    one, other = (evidence_of(tmp_path / name) for name in "ab")
    keys = ["row", "stratum", "structure", "metric"]
    frames = [each["statistics"].sort_values(keys).reset_index(drop=True) for each in (one, other)]
    pd.testing.assert_frame_equal(*frames, check_like=True)
    pd.testing.assert_frame_equal(one["ranks"], other["ranks"])


def test_a_better_metric_that_is_lower_is_bold_when_lower(tmp_path):
    write_grid(tmp_path, {"unet": 0.80, "bs_esnet": 0.90}, num_patients=20, structures=TWO)
    evidence = evidence_of(tmp_path)
    for metric in ("dice", "hd95_mm"):
        assert [bool(line(evidence, row, metric=metric)["bold"]) for row in ("unet", "bs_esnet")] == [False, True]
    assert line(evidence, "unet", metric="hd95_mm")["mean"] > line(evidence, "bs_esnet", metric="hd95_mm")["mean"]
    assert isnan(line(evidence, "unet", metric="hd95_mm")["p_equivalence"])


@pytest.mark.parametrize("num_patients", [1, 2, 5])
def test_few_patients_are_a_range_and_not_testable(tmp_path, num_patients):
    write_grid(tmp_path, ("unet", "bs_esnet"), num_patients=num_patients, num_folds=1, structures=TWO)
    evidence = evidence_of(tmp_path)
    tests = evidence["statistics"][["p_wilcoxon", "p_permutation", "p_holm", "effect_size"]]
    assert tests.isna().all(axis=None)
    assert set(evidence["statistics"]["interval"]) == {"range"}
    assert not evidence["statistics"][["bold", "testable"]].any(axis=None)
    assert evidence["ranks"].empty
    assert any("Not testable" in note for note in evidence.notes)


def test_ties_everywhere_are_no_difference_and_nothing_is_bold(tmp_path):
    cases = draw_cases(cohort_slices(24), "unet", 0, 0.9, TWO)
    for number, row in enumerate(ROWS):
        write_run(tmp_path / str(number), row, cases=cases, num_folds=1, num_patients=24, structures=TWO)
    evidence = evidence_of(tmp_path)
    assert not evidence["statistics"]["bold"].any()
    compared = evidence["statistics"].loc[
        (evidence["statistics"]["reference"] != "") & evidence["statistics"]["testable"]
    ]
    assert len(compared)
    assert (compared[["p_wilcoxon", "p_permutation", "p_holm"]] == 1).all(axis=None)
    assert (evidence["ranks"].loc[evidence["ranks"]["rank"] == 1, "probability"] == 1).all()


def test_constant_scores_have_a_point_for_an_interval(tmp_path):
    cases = draw_cases(cohort_slices(24), "unet", 0, 0.9)
    cases.loc[cases["dice"].notna(), "dice"] = 0.75
    write_run(tmp_path / "a", "unet", cases=cases, num_folds=1, num_patients=24)
    found = line(evidence_of(tmp_path), "unet")
    assert (found["ci95_low"], found["ci95_high"]) == pytest.approx((0.75, 0.75))
    assert "all values are equal" in found["note"]


def test_rows_with_different_patients_are_compared_on_those_they_share(tmp_path):
    folders = write_grid(tmp_path, ("unet", "bs_esnet"), num_patients=40, num_folds=4, structures=TWO)
    (folders[0] / "summary.json").unlink()
    evidence = evidence_of(tmp_path)
    found = line(evidence, "unet")
    assert (found["num_patients"], found["num_pairs"]) == (30, 30)
    assert found["note"] == "compared on the 30 patients that both have"
    table = primary_values(evidence["scores"], evidence.rows, BY_PATIENT).dropna()
    assert found["difference"] == pytest.approx((table["unet"] - table["bs_esnet"]).mean())
    assert found["difference"] != pytest.approx(found["mean"] - line(evidence, "bs_esnet")["mean"], abs=1e-6)
    complete = evidence["table"].groupby("row")["complete"].first()
    assert (bool(complete["unet"]), bool(complete["bs_esnet"])) == (False, True)


@pytest.mark.parametrize("nominal", [False, True])
def test_millimetres_that_nobody_measured_are_called_nominal(tmp_path, nominal):
    write_run(tmp_path / "run", row="bs_esnet", structures=TWO, card={"nominal_spacing": nominal})
    said = [text for text in write_notes(evidence_of(tmp_path)) if "nominal" in text]
    assert len(said) == nominal


def test_image_level_folds_are_a_table_of_their_own_and_the_inflation(tmp_path):
    write_grid(tmp_path / "a", {"unet": 0.85, "bs_esnet": 0.88}, num_patients=24, structures=TWO)
    write_grid(tmp_path / "b", {"unet": 0.87, "bs_esnet": 0.90}, num_patients=24, split=AS_PUBLISHED, structures=TWO)
    evidence = evidence_of(tmp_path)
    assert set(evidence["table"]["split"]) == {BY_PATIENT, AS_PUBLISHED}
    # A patient is in several image-level folds, and still one patient.
    assert line(evidence, "unet", split=AS_PUBLISHED)["num_patients"] == 24
    found = evidence["inflation"].set_index(["row", "structure"]).loc[("unet", "mean")]
    means = [line(evidence, "unet", split=split)["mean"] for split in (BY_PATIENT, AS_PUBLISHED)]
    assert found["difference"] == pytest.approx(means[1] - means[0])
    assert found["difference"] == pytest.approx(0.02, abs=0.005)
    assert found["ci95_low"] < found["difference"] < found["ci95_high"]


def test_costs_are_means_over_runs_and_gaps_where_nobody_says(tmp_path):
    write_grid(tmp_path, ("unet",), num_patients=8)
    write_run(tmp_path / "rater", "rater", scored=True, num_patients=8)
    costs = evidence_of(tmp_path)["costs"].set_index("row")
    assert (costs.loc["unet", "parameters"], costs.loc["unet", "num_runs"]) == (1_944_000, 2)
    assert costs.loc["unet", "training_s"] == 150
    assert costs.loc["rater", ["parameters", "training_s", "ms_per_image", "num_masked"]].isna().all()
    assert costs.loc["rater", "cells_mm"] == ""


def test_detection_has_the_boxes_of_networks_that_have_some(evidence):
    found = evidence["detection"].set_index(["row", "box"])
    assert set(found.index) == {(row, "mask") for row in ROWS} | {(row, "network") for row in ROWS[1:]}
    assert found.loc[("bs_esnet", "network"), "iou"] < found.loc[("bs_esnet", "mask"), "iou"]


def test_the_fold_table_counts_patients_slices_and_levels(evidence):
    found = evidence["folds"].set_index(["fold", "part"])
    assert found.loc[(0, "test"), ["num_patients", "num_slices"]].tolist() == [8, 16]
    assert found.loc[(0, "test"), "levels"] == "L2/3 8, L3/4 5, L4/5 3"
    assert found.loc[(0, "train"), "levels"] != ""


def test_table_counts_misses_false_alarms_and_undefined(grid, evidence):
    files = [pd.read_csv(path / "cases.csv") for path in sorted(grid.glob("unet-f*"))]
    cases = pd.concat(files)
    found = evidence["table"].set_index(["row", "structure"]).loc[("unet", "psoas_right")]
    own = cases.loc[cases["structure"] == "psoas_right"]
    assert found["missed"] == (own["status"] == "missed").sum() > 0
    assert found["undefined"] == own["dice"].isna().sum()
    assert found["num_slices"] == len(own) / 2
    seeds = [own.iloc[0:0]] + [pd.concat(files[seed::2]) for seed in (0, 1)]
    slices = [each.loc[each["structure"] == "psoas_right", "dice"] for each in seeds[1:]]
    assert found["slice_mean"] == pytest.approx(100 * np.mean([each.mean() for each in slices]))
    assert found["slice_sd"] == pytest.approx(100 * np.mean([each.std() for each in slices]))
    assert found["published_mean"] == 93.9


def test_published_rows_without_a_run_are_gaps(evidence):
    found = evidence["table"].loc[evidence["table"]["row"] == "mask_rcnn"]
    assert len(found) == len(STRUCTURES) + 1
    assert found[["slice_mean", "patient_mean"]].isna().all(axis=None)
    assert not found["complete"].any()
    assert any("Mask R-CNN" in note and "without a finished run" in note for note in evidence.notes)
    assert evidence.rows == ROWS
    order = list(dict.fromkeys(evidence["table"]["row"]))
    assert order[:4] == ["unet", "bs_esnet_no_sag", "bs_esnet_no_deep_supervision", "bs_esnet"]


def test_the_reference_can_be_chosen_and_must_exist(tmp_path):
    grid = tmp_path
    write_grid(grid, ("unet", "bs_esnet"), num_patients=4, structures=TWO)
    assert line(evidence_of(grid, reference="unet"), "bs_esnet")["reference"] == "unet"
    with pytest.raises(ValueError, match=r"reference is 'yolo', which no finished run is; expected one of unet, "):
        evidence_of(grid, reference="yolo")
    with pytest.raises(ValueError, match="margin is 0"):
        evidence_of(grid, margin=0)


def test_without_the_proposed_row_another_is_the_reference_and_it_is_said(tmp_path):
    write_grid(tmp_path, ("unet", "attention_unet"), num_patients=8, structures=TWO)
    evidence = evidence_of(tmp_path)
    assert evidence.reference == "unet"
    assert any("compared with unet, as bs_esnet has no finished run" in note for note in evidence.notes)
    assert evidence_of(tmp_path, table=None).reference == "attention_unet"


def test_one_row_alone_is_compared_with_nothing(tmp_path):
    write_grid(tmp_path, ("unet",), num_patients=8, structures=TWO)
    evidence = evidence_of(tmp_path)
    assert set(evidence["statistics"]["reference"]) == {""}
    assert any("nothing is compared" in note for note in evidence.notes)


def test_scores_leave_out_what_is_undefined():
    cases = draw_cases(cohort_slices(40), "unet", 0, 0.9).assign(row="unet", split=BY_PATIENT, arm="", seed=0)
    scores = patient_scores(cases, ("dice",))
    assert scores["value"].notna().all()
    assert (cases["status"] == "absent").any()
    counted = scores.loc[scores["structure"] == "psoas_right", "patient"]
    assert set(counted) == set(cases.loc[(cases["structure"] == "psoas_right") & cases["dice"].notna(), "patient"])
