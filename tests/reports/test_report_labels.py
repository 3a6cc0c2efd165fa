"""Runs that are no part of a table: few masks, no masks, several models fused; and their tables."""

import re

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from records.runs import load_runs
from reports.chapters.contents import sections
from reports.collect import collect, gather
from reports.readouts.curve import build_curve, curve_cases, patient_values, unequal_training
from reports.readouts.labels import curve_sentence
from reports.statistics.comparisons import wilcoxon_p
from tests.made.spine_folders import write_curve, write_spine, write_spines

pytestmark = pytest.mark.slow  # whole reports

SMALL = {"num_patients": 8, "num_folds": 2}
GAINS = {3: 0.04, 6: 0.01}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    write_curve(folder, GAINS, draws=(0, 1), **SMALL)
    return folder


@pytest.fixture(scope="module")
def curve(folder):
    runs = load_runs([folder]).curve
    return build_curve(runs, patient_values(runs))


def point(curve, masked, supervision, metric="dice"):
    found = curve.query("masked_patients == @masked and supervision == @supervision and metric == @metric")
    assert len(found) == 1
    return found.iloc[0]


def by_patient(folder, name):
    """Dice of each patient, mean over structures, of one training."""
    cases = pd.concat([pd.read_csv(path) for path in folder.glob(f"{name}-f*/cases.csv")])
    return cases.groupby(["patient", "structure"])["dice"].mean().groupby("patient").mean()


def test_differences_are_paired_by_patient_and_averaged_over_draws(folder, curve):
    gaps = [by_patient(folder, f"mixed-3-d{draw}") - by_patient(folder, f"full-3-d{draw}") for draw in (0, 1)]
    expected = pd.concat(gaps, axis=1).mean(axis=1)
    found = point(curve, 3, "mixed")
    assert found["difference"] == pytest.approx(expected.mean())
    assert found["difference"] == pytest.approx(GAINS[3], abs=0.002)
    assert (found["num_pairs"], found["num_shared_draws"], found["difference_interval"]) == (8, 2, "t")
    assert found["p_wilcoxon"] == pytest.approx(wilcoxon_p(expected.to_numpy()))
    assert found["p_holm"] == pytest.approx(2 * found["p_wilcoxon"])  # over the two points


def test_means_are_over_patients_and_their_spread_over_draws(folder, curve):
    draws = pd.concat([by_patient(folder, f"full-6-d{draw}") for draw in (0, 1)], axis=1)
    found = point(curve, 6, "full")
    assert found["mean"] == pytest.approx(draws.mean(axis=1).mean())
    assert found["draw_sd"] == pytest.approx(draws.mean().std())
    assert (found["num_patients"], found["num_draws"], found["num_trainings"]) == (8, 2, 2)
    assert found["complete"]
    assert np.isnan(found["difference"])


def test_a_draw_that_one_arm_lacks_is_in_no_difference(tmp_path):
    write_curve(tmp_path, {6: 0.02}, draws=(0, 1), **SMALL)
    for fold in (0, 1):
        (tmp_path / f"full-6-d1-f{fold}" / "summary.json").unlink()
    runs = load_runs([tmp_path]).curve
    found = point(build_curve(runs, patient_values(runs)), 6, "mixed")
    only = by_patient(tmp_path, "mixed-6-d0") - by_patient(tmp_path, "full-6-d0")
    assert found["difference"] == pytest.approx(only.mean())
    assert (found["num_shared_draws"], found["num_draws"]) == (1, 2)
    assert set(curve_cases(runs)["seed"]) == {0}


def test_a_missing_fold_is_a_gap_of_its_training_and_its_point_incomplete(tmp_path):
    write_curve(tmp_path, {6: 0.02}, draws=(0,), **SMALL)
    (tmp_path / "mixed-6-d0-f1" / "summary.json").unlink()
    runs = load_runs([tmp_path])
    assert "gap: scarnet, by patient, mixed, 6 masks, draw 0, seed 0: no finished cell for fold 1" in runs.problems
    found = build_curve(runs.curve, patient_values(runs.curve)).set_index("supervision").query("metric == 'dice'")
    assert found["complete"].to_dict() == {"full": True, "mixed": False}
    assert found.loc["mixed", "num_pairs"] == 4


def test_a_trained_network_to_start_from_is_an_arm_of_its_own(tmp_path):
    """Few masks, from scratch and from the starter: one row, paired by patient, and said in words."""
    for init, name, quality in ((None, "scratch", 0.7), ("starter", "starter", 0.8)):
        for fold in range(2):
            write_spine(
                tmp_path / f"{name}-f{fold}",
                supervision="full",
                masked_patients=2,
                fold=fold,
                quality=quality,
                settings={"model.init": init},
                **SMALL,
            )
    runs = load_runs([tmp_path]).curve
    assert {run.row for run in runs} == {"scarnet"}
    found = build_curve(runs, patient_values(runs)).query("metric == 'dice'").set_index("supervision")
    assert found.index.tolist() == ["full", "full from starter"]
    assert found.loc["full from starter", "difference"] == pytest.approx(0.1, abs=0.01)
    assert found.loc["full from starter", "num_pairs"] == 8
    evidence = collect(load_runs([tmp_path]), table="scarnet_table1", reference=None, margin=0.005)
    assert curve_sentence(evidence).startswith("Starting from the weights of starter changes the Dice of Baseline+MCCA")


def test_trainings_of_unequal_length_are_called_unequal(folder, curve):
    assert unequal_training(curve) == ""
    longer = curve.assign(num_images=curve["num_images"] * np.where(curve["supervision"] == "mixed", 2, 1))
    assert "between 3200 and 6400 images" in unequal_training(longer)


def test_few_masks_never_join_the_table(folder, tmp_path):
    write_spines(tmp_path, {"scarnet": 0.95}, **SMALL)
    together = load_runs([folder, tmp_path])
    assert {run.masked_patients for run in together.runs} == {None}
    assert {run.row for run in together.everything} == {"scarnet"}
    both = gather(together, table="scarnet_table1", reference=None, margin=0.005)
    alone = gather(load_runs([tmp_path]), table="scarnet_table1", reference=None, margin=0.005)
    pd.testing.assert_frame_equal(both["table"], alone["table"])
    pd.testing.assert_frame_equal(both["statistics"], alone["statistics"])
    assert len(both["curve"])
    assert alone["curve"].empty


def test_a_curve_without_a_table_is_a_report(folder):
    evidence = collect(load_runs([folder]), table="scarnet_table1", reference=None, margin=0.005)
    assert (evidence.rows, len(evidence["table"]), len(evidence["curve"].query("metric == 'dice'"))) == (
        (),
        0,
        4,
    )
    assert any("no table" in note for note in evidence.notes)
    claims = evidence["claims"].set_index("id")
    assert claims.loc["key-points-help-3", ["verdict", "num_patients"]].tolist() == ["reproduced", 8]
    assert claims.loc["key-points-help-3", "effect"] == pytest.approx(GAINS[3], abs=0.002)
    assert claims.loc["key-points-help-12", "verdict"] == "not testable"
    assert "sweep=scarnet_masks" in claims.loc["key-points-help-12", "note"]


def test_the_page_of_a_curve_speaks_of_the_curve_alone(folder):
    evidence = collect(load_runs([folder]), table="scarnet_table1", reference=None, margin=0.005)
    found = {section.key: section.blocks for section in sections(evidence)}
    assert list(found) == ["headline", "labels", "claims", "protocol"]
    text = str(found["headline"])
    said = curve_sentence(evidence)
    words = "change the Dice of Baseline+MCCA+AT, in points by patients with masks:"
    assert re.search(
        rf"{re.escape(words)} \+\S+ \[.*\] with 3, \S+ \[.*\] with 6 \(95 % intervals; 8 patients, 2 draws", said
    )
    assert said in text
    assert "8 patients" in text
    assert "Missing" not in text
    assert str(folder) in str(found["protocol"])


def test_supervision_makes_rows_and_other_scanners_too(tmp_path):
    write_spine(tmp_path / "a", supervision="full", **SMALL)
    write_spine(tmp_path / "b", supervision="mixed", **SMALL)
    card = {"supervision": {"weak_cohort": {"name": "elsewhere"}}, "data": "e" * 32, "split": "f" * 32}
    write_spine(tmp_path / "c", supervision="mixed", card=card, **SMALL)
    found = {run.row for run in load_runs([tmp_path]).runs}
    assert found == {f"scarnet supervision={name}" for name in ("full", "mixed", "mixed elsewhere")}


def test_other_scanners_bring_no_other_test_patients(tmp_path):
    write_spine(tmp_path / "a", **SMALL)
    card = {"supervision": {"weak_cohort": {"name": "elsewhere"}}, "data": "e" * 32, "split": "f" * 32}
    write_spine(tmp_path / "b", card=card, num_patients=9, num_folds=2)
    with pytest.raises(ValueError, match=r"test patients of fold 0, by patient .* in .*/a; .* in .*/b"):
        load_runs([tmp_path])


def test_without_masks_only_key_points_are_reported(tmp_path):
    write_spines(tmp_path, {"scarnet": 0.95}, **SMALL)
    write_spine(tmp_path / "k", supervision="keypoint", sources=("heatmap",), quality=0.2, **SMALL)
    evidence = gather(load_runs([tmp_path]), table="scarnet_table1", reference=None, margin=0.005)
    assert evidence.rows == ("scarnet",)
    assert set(evidence["keypoints"]["row"]) == {"scarnet", "scarnet supervision=keypoint"}
    assert set(evidence["levels"]["row"]) == {"scarnet"}
    assert any("Trained without any mask" in note for note in evidence.notes)


def fuse(folder, row="scarnet_fused", **rest):
    write_spine(folder, row, settings={"task": "fuse", "row": row}, **rest)


def test_fusions_are_compared_with_their_single_models_in_a_table_of_their_own(tmp_path):
    write_spines(tmp_path, {"scarnet": 0.93, "scarnet_at": 0.9}, **SMALL)
    for fold in (0, 1):
        fuse(tmp_path / f"fused-f{fold}", quality=0.95, fold=fold, **SMALL)
    evidence = gather(load_runs([tmp_path]), table="scarnet_table1", reference=None, margin=0.005)
    assert evidence.rows == ("scarnet_at", "scarnet")
    assert set(evidence["ranks"]["row"]) == {"scarnet_at", "scarnet"}
    line = evidence["fusion"].set_index(["row", "single"]).loc[("scarnet_fused", "scarnet")]
    assert line["difference"] == pytest.approx(line["dice"] - line["single_dice"])
    assert line["difference"] == pytest.approx(0.02, abs=0.005)
    assert (line["num_patients"], line["num_pairs"], len(evidence["fusion"])) == (8, 8, 1)
    assert line["p_holm"] == line["p_wilcoxon"] < 0.05


def test_a_fusion_alone_is_a_line_without_a_comparison(tmp_path):
    fuse(tmp_path / "fused", num_patients=8, num_folds=1)
    evidence = gather(load_runs([tmp_path]), table="scarnet_table1", reference=None, margin=0.005)
    assert evidence["fusion"][["row", "single", "num_pairs"]].to_numpy().tolist() == [["scarnet_fused", "", 0]]
    assert evidence["fusion"]["difference"].isna().all()


def test_moved_images_may_have_other_true_areas_but_each_the_same(tmp_path):
    folders = [write_spine(tmp_path / row, row, arms={"rotated_15": 0.0}, **SMALL) for row in ("scarnet", "scarnet_at")]
    for folder in folders:
        path = folder / "arms" / "rotated_15" / "cases.csv"
        path.write_text(path.read_text().replace(",1000.0,", ",900.0,"))
    # The summary holds no area, so that it is still that of the table.
    assert len(load_runs([tmp_path]).runs) == 4
    path = folders[0] / "arms" / "rotated_15" / "cases.csv"
    path.write_text(path.read_text().replace(",900.0,", ",800.0,"))
    with pytest.raises(ValueError, match=r"has another area in .*rotated_15 than in .*rotated_15"):
        load_runs([tmp_path])


def test_the_draw_is_no_setting_and_a_batch_is_one(tmp_path):
    for name, node in (("a", {"draw": 1}), ("b", {"batch": {"masked": 3}})):
        write_spine(tmp_path / name, fold=name == "b", **SMALL)
        config = OmegaConf.load(tmp_path / name / "config.yaml")
        OmegaConf.update(config, "supervision", node)
        OmegaConf.save(config, tmp_path / name / "config.yaml")
    found = {run.row for run in load_runs([tmp_path]).runs}
    assert found == {"scarnet supervision.batch.masked=absent", "scarnet supervision.batch.masked=3"}
