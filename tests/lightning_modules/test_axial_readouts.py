"""morphometry.csv of axial masks: of a test, of somebody else's masks, of cases that were drawn in part."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from datamodules.store.stored_slices import StoredSlices
from lightning_modules.evaluation.evaluated import slice_with_mask
from lightning_modules.evaluation.measurement import morphometry_settings
from lightning_modules.evaluation.readouts import morphometry
from lightning_modules.tasks import training
from lightning_modules.tasks.scoring import score
from metrics.morphometry import IDENTITY_COLUMNS, MORPHOMETRY_COLUMNS
from tests.conftest import TINY_PHANTOM, UNDRAWN, compose_line

pytestmark = pytest.mark.slow  # whole trainings and tests

LINE = (*TINY_PHANTOM, "trainer=smoke", "experiment=unet", "scale.epochs=1")
LINE += tuple(word for word in UNDRAWN if "keypoint" not in word)
BACK = ("multifidus", "erector_spinae")
MUSCLES = {"psoas", *BACK}


def table_of(folder) -> pd.DataFrame:
    """The table with texts as they stand."""
    return pd.read_csv(
        folder / "morphometry.csv", keep_default_na=False, na_values={"csa_mm2": "", "fat_pixel_share": ""}
    )


@pytest.fixture(scope="module")
def tested(tmp_path_factory, generated):
    """Run folder of a network that was trained for a moment, its configuration, and its data."""
    folder = tmp_path_factory.mktemp("axial") / "run"
    config = compose_line(folder, generated, *LINE)
    training.train(config)
    return folder, config, training.build_data(config)


@pytest.fixture(scope="module")
def scored(tmp_path_factory, generated, tested):
    """Run folder of the second rater's masks."""
    folder = tmp_path_factory.mktemp("scored") / "run"
    masks = tested[2].cohort.root / "second_rater"
    score(compose_line(folder, generated, *TINY_PHANTOM, "task=score", f"masks={masks}", "row=second_rater"))
    return folder


def test_a_test_leaves_the_measures_of_both_masks(tested):
    folder, _, data = tested
    table = table_of(folder)
    assert tuple(table.columns) == MORPHOMETRY_COLUMNS
    num_slices = len(pd.read_csv(folder / "cases.csv")[["case", "slice"]].drop_duplicates())
    assert table["source"].value_counts().to_dict() == {"truth": 13 * num_slices, "prediction": 13 * num_slices}
    assert set(table["structure"]) == {*MUSCLES, "back_muscles", "canal"}
    assert not (folder / "keypoints.csv").exists()
    assert not (folder / "figures" / "keypoints.png").exists()
    assert "val/keypoint_error_mm" not in pd.read_csv(folder / "metrics.csv")
    order = data.store.table["case"].tolist()
    assert table["case"].map(order.index).is_monotonic_increasing


@pytest.mark.parametrize("of", ["tested", "scored"])
def test_areas_are_those_of_cases_csv(of, request):
    folder = request.getfixturevalue(of)
    folder = folder if of == "scored" else folder[0]
    table, cases = table_of(folder), pd.read_csv(folder / "cases.csv", keep_default_na=False)
    single = table[table["structure"].isin(MUSCLES | {"canal"}) & (table["side"] != "both")]
    names = [f"{row.structure}_{row.side}".rstrip("_") for row in single.itertuples()]
    found = single.assign(structure=names).pivot(index=["case", "slice", "structure"], columns="source")["csa_mm2"]
    cases = cases.set_index(["case", "slice", "structure"]).loc[found.index]
    np.testing.assert_allclose(found["truth"], cases["area_true_mm2"].astype(float), rtol=1e-5)
    np.testing.assert_allclose(found["prediction"], cases["area_pred_mm2"].astype(float), rtol=1e-5)
    assert found["truth"].gt(0).all()


def test_the_truth_of_a_patient_is_the_same_whoever_is_scored_against_it(tested, scored):
    """Two ways to the same rows: slices of a test as batches bring them, and the whole cohort case by case."""
    ours, theirs = table_of(tested[0]), table_of(scored)
    ours, theirs = (table[table["source"] == "truth"] for table in (ours, theirs))
    theirs = theirs[theirs["case"].isin(ours["case"])]
    pd.testing.assert_frame_equal(ours.reset_index(drop=True), theirs.reset_index(drop=True))
    assert theirs["patient"].nunique() < table_of(scored)["patient"].nunique()


def test_fat_is_told_on_pictures_as_stored_over_all_slices_of_a_patient(tested, scored):
    """Otsu on the values of the files, pooled, without the classes that do the work."""
    _, config, data = tested
    settings = morphometry_settings(config)
    table = table_of(scored).query("source == 'truth' and structure == 'back_muscles' and side == 'left'")
    patient, rows = next(group for group in table.groupby("patient") if set(group[1]["fat_state"]) == {"measured"})
    intensities, owners = [], []
    for case in (case for case in data.cohort.cases if case.patient == patient):
        (record,) = data.cohort.read(case)
        left, right = (
            np.isin(record.mask[0], [data.anatomy.class_index(f"{name}_{side}") for name in BACK])
            for side in ("left", "right")
        )
        intensities.append(record.image[0, 0][left | right])
        owners.append(left[left | right])
    threshold = settings.fat.algorithm(np.concatenate(intensities).astype(np.float64))
    expected = [(values[left] > threshold).mean() for values, left in zip(intensities, owners, strict=True)]
    assert len(rows) == len(expected) == 4
    np.testing.assert_allclose(rows["fat_pixel_share"], expected, atol=1e-5)


def item_of(data, **changes):
    """The first test slice with its own annotation as the prediction."""
    index = int(data.indices["test"][0])
    return replace(slice_with_mask(data, index, data.store.native(index).mask), **changes)


def rows_of(readout, *items, data) -> pd.DataFrame:
    gathered = [kept for item in items for kept in readout.of_slice(item, data)]
    return pd.DataFrame(readout.at_end(gathered), columns=list(readout.columns))


def test_what_nobody_drew_is_not_measured(tested):
    """A case with the muscles of the left alone, and one without any mask."""
    _, config, data = tested
    readout = morphometry(data, morphometry_settings(config))
    drawn = [name.endswith("_left") for name in data.anatomy.structures]
    table = rows_of(readout, item_of(data, labelled=np.array([True, *drawn])), data=data)
    assert set(table["fat_state"]) == {"unlabelled"}, "of no muscle were both sides drawn"
    assert table["csa_mm2"].isna().all()
    assert set(table["goutallier_simplified"]) == {""}
    weak = rows_of(readout, item_of(data, has_mask=False), data=data)
    assert set(weak["source"]) == {"prediction"}


def test_a_missed_muscle_has_no_area_and_no_grade(tested):
    _, config, data = tested
    readout = morphometry(data, morphometry_settings(config))
    item = item_of(data)
    table = rows_of(readout, replace(item, predicted_mask=np.zeros_like(item.true_mask)), data=data)
    missed = table[table["source"] == "prediction"]
    assert missed["csa_mm2"].eq(0).all()
    assert set(missed.loc[missed["side"] != "", "fat_state"]) == {"empty"}
    assert set(missed["goutallier_simplified"]) == {""}


def test_swapped_sides_are_named_at_the_end(tested, tmp_path, caplog):
    _, config, data = tested
    readout, item = morphometry(data, morphometry_settings(config)), item_of(data)
    readout.write(tmp_path, readout.of_slice(item, data))
    assert "other side" not in caplog.text
    swap = np.arange(data.anatomy.num_classes)
    for left, right in data.anatomy.mirror:
        pair = [data.anatomy.class_index(left), data.anatomy.class_index(right)]
        swap[pair] = pair[::-1]
    readout.write(tmp_path, readout.of_slice(replace(item, predicted_mask=swap[item.true_mask]), data))
    assert "1 slice(s) of 1 case(s) have predicted back muscles, erector spinae, multifidus, psoas on" in caplog.text
    assert item.case in caplog.text
    assert "annotated" not in caplog.text


def test_an_anatomy_of_unknown_muscles_has_areas_alone(composed, tested, tmp_path):
    data = tested[2]
    masks = data.cohort.root / "second_rater"
    score(composed(*TINY_PHANTOM, "task=score", f"masks={masks}", "row=second_rater", "~morphometry"))
    table, cases = table_of(tmp_path / "run"), pd.read_csv(tmp_path / "run" / "cases.csv")
    assert tuple(table.columns) == MORPHOMETRY_COLUMNS
    assert set(table["structure"]) == set(data.anatomy.structures)
    truth = table[table["source"] == "truth"]
    np.testing.assert_allclose(truth["csa_mm2"], cases["area_true_mm2"], rtol=1e-5)
    assert set(table["fat_state"]) == set(table["goutallier_simplified"]) == {""}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("morphometry/fat=measured", r"fat method measured needs a measured fat fraction, the case has none"),
        ("morphometry/fat=learned", r"fat method learned needs an anatomy with fat"),
        ("morphometry=axial7", r"morphometry names dural_sac, .*the anatomy has disc, canal"),
    ],
)
def test_measures_that_do_not_fit_are_refused_before_anything_is_trained(composed, tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        training.train(composed(*LINE, override))
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_a_finished_run_says_that_its_fat_was_measured_otherwise(tested, generated, caplog):
    folder, config, _ = tested
    assert config.callbacks.morphometry_table.settings == config.morphometry
    training.train(compose_line(folder, generated, *LINE, "morphometry/fat=kmeans_3"))
    assert "morphometry.fat.name: otsu_patient -> kmeans_3" in caplog.text
    caplog.clear()
    training.train(compose_line(folder, generated, *LINE))
    assert "otherwise" not in caplog.text
    assert json.loads((folder / "summary.json").read_text())["test"]["num_slices"]


def test_stored_slices_are_those_of_the_cohort(tested):
    data = tested[2]
    stored = StoredSlices(data.cohort)
    for case in (*data.cohort.cases[:2], data.cohort.cases[0]):
        (record,) = data.cohort.read(case)
        for place, number in enumerate(record.slice_index):
            np.testing.assert_array_equal(stored.slice(case.case, int(number)), record.image[:, place])
    assert {"case", "patient"} < set(IDENTITY_COLUMNS)
