"""Areas below a threshold: states of slices and patients, counts, agreement with intervals, and what the page says."""

from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd
import pytest

from metrics.grade_agreement import weighted_kappa
from metrics.resampling import interval_of_counts, interval_of_tables
from metrics.structure_areas import area_row
from records.readout_files import Readouts, read_morphometry
from records.runs import load_runs
from reports.chapters.contents import printed_tables
from reports.collect import gather
from reports.readouts.thresholds import thresholds
from reports.task import write_tables
from reports.thresholds import (
    BELOW,
    MISSED,
    NOT_BELOW,
    ONE_LEVEL,
    SLICE,
    TWO_LEVELS,
    build_threshold_errors,
    build_thresholds,
    patient_states,
    threshold_slices,
)
from tests.made.run_folders import write_run

pytestmark = pytest.mark.slow  # whole reports

NODE = {"morphometry": {"narrow_below_mm2": {"sac": 100}}}


def measured(*slices):
    """Rows of morphometry.csv from (patient, level, slice, true area, predicted area); None: not drawn."""
    rows = []
    for patient, level, number, true, other in slices:
        place = {"case": f"{patient}_{level}", "patient": patient, "slice": number, "level": level}
        for source, area in (("truth", true), ("prediction", other)):
            rows += [place | area_row("sac", area, 100) | {"source": source}]
            rows += [place | area_row("disc", 1000.0) | {"source": source}]
    return pd.DataFrame(rows)


def spine(patient, *areas):
    """One slice a level, (true, predicted) area each."""
    return [(patient, f"L{k + 2}/{k + 3}", 0, *pair) for k, pair in enumerate(areas)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "a", num_patients=3, settings=NODE)
    return load_runs([folder]).runs[0]


@pytest.fixture
def of(run, tmp_path):
    """The slices of a run that measured these, read back from a file as a report reads them."""

    def slices(*rows, **changes):
        path = tmp_path / "morphometry.csv"
        measured(*rows).to_csv(path, index=False)
        return threshold_slices([replace(run, readouts=Readouts(morphometry=read_morphometry(path)), **changes)])

    return slices


def line(table, unit=SLICE):
    (found,) = table.loc[table["unit"] == unit].to_dict("records")
    return found


def test_what_is_missed_is_missed_and_what_is_not_there_or_not_drawn_does_not_count(of):
    areas = [(90.0, 80.0), (90.0, 0.0), (110.0, 99.0), (100.0, 120.0), (0.0, 50.0), (None, 50.0), (150.0, 0.0)]
    slices = of(*spine("p", *areas))
    assert slices["prediction"].tolist() == [BELOW, MISSED, BELOW, NOT_BELOW, MISSED]
    assert slices["truth"].tolist() == [BELOW, BELOW, NOT_BELOW, NOT_BELOW, NOT_BELOW]
    assert set(slices["structure"]) == {"sac"}
    found = line(build_thresholds(slices))
    counts = ("both_below", "only_truth", "missed_below", "only_prediction", "both_not_below", "missed_not_below")
    assert [found[name] for name in counts] == [1, 0, 1, 1, 1, 1]
    assert (found["true_below"], found["predicted_below"], found["num_units"]) == (2, 2, 5)
    assert (found["sensitivity"], found["specificity"]) == pytest.approx((1 / 2, 1 / 3))
    assert found["kappa"] == pytest.approx(0.4), "of the three that have a prediction"
    assert found["threshold_mm2"] == 100


@pytest.mark.parametrize(
    ("areas", "one", "two"),
    [
        ([(90, 90), (150, 150), (150, 150)], (BELOW, BELOW), (NOT_BELOW, NOT_BELOW)),
        ([(90, 150), (90, 90), (150, 150)], (BELOW, BELOW), (BELOW, NOT_BELOW)),
        ([(90, 90), (90, 0), (150, 150)], (BELOW, BELOW), (BELOW, MISSED)),
        ([(150, 0), (150, 150), (150, 150)], (NOT_BELOW, MISSED), (NOT_BELOW, NOT_BELOW)),
        ([(90, 90), (90, 90), (150, 0)], (BELOW, BELOW), (BELOW, BELOW)),
        ([(0, 50), (90, 90), (90, 90)], (BELOW, BELOW), (BELOW, BELOW)),
    ],
)
def test_a_patient_is_below_by_the_number_of_its_levels(of, areas, one, two):
    slices = of(*spine("p", *(map(float, pair) for pair in areas)))
    for number, expected in ((1, one), (2, two)):
        (found,) = patient_states(slices, number)[["truth", "prediction"]].to_numpy().tolist()
        assert tuple(found) == expected, number


def test_a_level_is_its_narrowest_slice_and_missed_only_as_a_whole(of):
    rows = [("p", "L3/4", 0, 150.0, 0.0), ("p", "L3/4", 1, 90.0, 140.0), ("p", "L4/5", 0, 150.0, 150.0)]
    slices = of(*rows)
    assert patient_states(slices, 1)[["truth", "prediction"]].to_numpy().tolist() == [[BELOW, NOT_BELOW]]
    assert patient_states(slices, 2)[["truth", "prediction"]].to_numpy().tolist() == [[NOT_BELOW, NOT_BELOW]]


def test_who_has_one_level_is_in_the_first_reading_alone(of):
    table = build_thresholds(of(*spine("p", (90.0, 90.0)), *spine("q", (90.0, 90.0), (90.0, 150.0))))
    assert [line(table, unit)["num_units"] for unit in (SLICE, ONE_LEVEL, TWO_LEVELS)] == [3, 2, 1]


def test_seeds_are_counted_and_belong_to_their_patient(of):
    rows = spine("p", (90.0, 90.0), (150.0, 150.0))
    both = pd.concat([of(*rows), of(*rows, seed=1)])
    table = build_thresholds(both)
    assert [line(table, unit)["num_units"] for unit in (SLICE, ONE_LEVEL)] == [4, 2]
    assert [line(table, unit)["num_patients"] for unit in (SLICE, ONE_LEVEL)] == [1, 1]


def test_states_without_a_case_have_no_number(of):
    found = line(build_thresholds(of(*spine("p", (150.0, 150.0)), *spine("q", (160.0, 150.0)))))
    assert np.isnan(found["sensitivity"])
    assert found["specificity"] == 1
    assert np.isnan(found["kappa"])
    assert found["specificity_interval"] == ""
    (error,) = build_threshold_errors(of(*spine("p", (150.0, 150.0)))).to_dict("records")
    assert (error["num_slices"], error["num_patients"]) == (0, 0)
    assert np.isnan(error["bias_mm2"])


def test_errors_are_those_near_the_threshold(of):
    areas = [(75.0, 85.0), (125.0, 121.0), (126.0, 300.0), (74.0, 1.0), (100.0, 0.0)]
    (error,) = build_threshold_errors(of(*spine("p", *areas))).to_dict("records")
    assert (error["near_low_mm2"], error["near_high_mm2"]) == (75, 125)
    assert (error["num_slices"], error["num_missed"]) == (3, 1)
    assert (error["bias_mm2"], error["absolute_mm2"]) == pytest.approx((3.0, 7.0))


def test_intervals_keep_the_slices_of_a_patient_together(of):
    rng = np.random.default_rng(5)
    alone, together = [], []
    for k in range(30):
        true, other = 100 + rng.normal(0, 20), rng.normal(0, 15)
        pairs = [(true, true + other)] * 3
        alone += spine(f"p{k:02}", pairs[0])
        together += spine(f"p{k:02}", *pairs)
    one, three = (line(build_thresholds(of(*rows))) for rows in (alone, together))
    for name in ("sensitivity", "specificity", "kappa"):
        ends = [name, f"{name}_low", f"{name}_high"]
        assert [three[end] for end in ends] == pytest.approx([one[end] for end in ends], abs=0.02), name
        assert one[ends[1]] < one[name] < one[ends[2]]
    assert (one["kappa_interval"], one["sensitivity_interval"]) == ("BCa", "t"), "30 patients, of whom 16 are below"


def test_tables_of_single_counts_have_the_interval_of_their_sum():
    counts = np.array([[20.0, 4.0], [3.0, 13.0]])
    cells = np.repeat(np.arange(4), counts.ravel().astype(int))
    tables = np.eye(4)[cells].reshape(-1, 2, 2)
    one, other = interval_of_counts(counts, weighted_kappa), interval_of_tables(tables, weighted_kappa)
    assert (other.value, other.kind) == (one.value, one.kind)
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=0.02)
    few = interval_of_tables(tables[::4], weighted_kappa)
    assert few.kind == "t"
    none = interval_of_tables(np.zeros((0, 2, 2)), weighted_kappa)
    assert np.isnan(none.value)
    assert none.kind == ""


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("narrow")
    rng = np.random.default_rng(1)
    for row, error in (("unet", 12.0), ("bs_esnet", 4.0)):
        made = write_run(folder / row, row, num_patients=3, num_folds=1, settings=NODE)
        true = {f"p{k:03}": rng.normal(115, 20, 3) for k in range(24)}
        rows = [
            item
            for name, areas in true.items()
            for item in spine(name, *((area, max(area + rng.normal(0, error), 0.0)) for area in areas.tolist()))
        ]
        measured(*rows, ("p000", "L6/7", 0, 80.0, 0.0)).to_csv(made / "morphometry.csv", index=False)
    return gather(load_runs([folder]), table="bs_esnet_table1", reference=None, margin=0.005)


def test_the_page_has_three_readings_and_the_error(evidence):
    *tables, errors = thresholds(evidence)
    assert [table.title.split(": ")[1] for table in tables] == [
        "slices",
        "patients, at least one level",
        "patients, at least two levels",
    ]
    for table in (*tables, errors):
        assert [row[0].text for row in table.rows] == [evidence.labels[row] for row in evidence.rows]
        assert {len(row) for row in table.rows} == {len(table.header)}
    own = evidence["thresholds"].loc[evidence["thresholds"]["unit"] == SLICE].set_index("row")
    cells = dict(zip(tables[0].header, tables[0].rows[0], strict=True))
    assert cells["sensitivity, % [95 %]"].text == f"{100 * own.loc['unet', 'sensitivity']:.1f}"
    assert (cells["missed"].text, cells["missed"].below) == ("1", "1 below")
    assert cells["row"].below == "sac below 100 mm²"
    assert cells["n"].below == "24 patients"
    printed = [found for found in printed_tables(evidence) if found.title.startswith("Areas below a threshold")]
    assert printed == tables


def test_the_page_says_why_there_is_no_number(evidence):
    cells = {"sensitivity": nan, "specificity": nan, "kappa": nan, "missed_below": 0, "missed_not_below": 0}
    nobody = evidence["thresholds"].assign(num_units=0, **cells)
    *tables, _ = thresholds(evidence.with_tables(thresholds=nobody))
    assert [cell.text for cell in tables[2].rows[0][-3:]] == ["no case"] * 3
    alike = evidence["thresholds"].assign(num_units=5, **cells)
    *tables, _ = thresholds(evidence.with_tables(thresholds=alike))
    assert [cell.text for cell in tables[0].rows[0][-3:]] == ["none below", "all below", "all alike"]


def test_the_tables_are_written(evidence, tmp_path):
    write_tables(evidence, tmp_path)
    for name in ("thresholds", "threshold_errors"):
        assert len(pd.read_csv(tmp_path / f"{name}.csv")) == len(evidence[name]) > 0


def test_without_a_threshold_there_is_nothing(tmp_path):
    write_run(tmp_path / "a", "unet", num_patients=3)
    found = gather(load_runs([tmp_path]), table="bs_esnet_table1", reference=None, margin=0.005)
    assert thresholds(found) == []
    assert found["thresholds"].empty
    assert found["threshold_errors"].empty
