"""Slice, then patient, then cohort: the numbers of a summary by hand, from tables small enough to check."""

import io
import json
from math import nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.aggregate import HITS, METRICS, check_cases, patient_means, summarise
from metrics.cases import CASE_COLUMNS, FACTOR_COLUMNS, MECHANISM_COLUMNS, SCORE_COLUMNS

FILL = {
    "scored": 0.5,
    "missed": 0.0,
    "false_alarm": 0.0,
    "absent": nan,
    "unlabelled": nan,
}


def row(patient, number, structure, dice=None, *, status="scored", case=None, **values):
    """A row in which every score is that of its status, but for those given."""
    filled = dict.fromkeys(SCORE_COLUMNS, FILL[status])
    if status == "missed":
        filled |= {"precision": nan, "hd95_mm": 200.0, "assd_mm": 200.0, "csa_error_percent": 100.0}
    if status == "false_alarm":
        filled |= {"recall": nan, "hd95_mm": nan, "assd_mm": nan, "csa_error_percent": nan}
    filled |= {"structure": structure, "status": status, "dice": FILL[status] if dice is None else dice}
    identity = {"case": case or f"{patient}_a", "patient": patient, "level": "L4/5", "slice": number}
    return {**identity, **filled, **values}


def table(*rows):
    return pd.DataFrame(list(rows), columns=list(CASE_COLUMNS))


def test_the_keys_of_a_mean_tell_patients_of_two_runs_apart():
    rows = table(row("a", 0, "psoas", 1.0), row("a", 1, "psoas", 0.0), row("a", 0, "psoas", 0.5, case="other"))
    found = patient_means(rows.assign(row=["unet", "unet", "bs_esnet"]), "dice", by=("row", "patient"))
    assert found["psoas"].to_dict() == {("bs_esnet", "a"): 0.5, ("unet", "a"): 0.5}


def test_a_patient_with_many_slices_counts_once():
    many = [row("a", number, "psoas", 1.0) for number in range(9)]
    summary = summarise(table(*many, row("b", 0, "psoas", 0.0)))
    assert summary["dice"] == {"mean": 0.5, "psoas": 0.5}
    assert summary["slice_level"]["dice"]["psoas"]["mean"] == pytest.approx(0.9)


def test_the_primary_endpoint_is_the_mean_over_patients_of_their_mean_over_structures():
    cases = table(
        *(row("a", 0, "disc", 0.8), row("a", 1, "disc", 1.0), row("a", 0, "psoas", 0.5)),
        *(row("b", 0, "disc", 0.6), row("b", 0, "psoas", status="absent")),
    )
    summary = summarise(cases)
    # Patient a: disc 0.9, psoas 0.5, mean 0.7; patient b: disc 0.6 alone. The mean over structures would be 0.625.
    assert summary["dice"] == pytest.approx({"mean": 0.65, "disc": 0.75, "psoas": 0.5})
    means = patient_means(cases, "dice")
    assert list(means.index) == ["a", "b"]
    assert list(means.columns) == ["disc", "psoas"]
    assert means.to_numpy() == pytest.approx(np.array([[0.9, 0.5], [0.6, nan]]), nan_ok=True)


def test_two_contrasts_of_a_patient_are_slices_of_one_patient():
    cases = table(
        row("a", 0, "disc", 0.2, case="water"), row("a", 0, "disc", 0.4, case="fat"), row("b", 0, "disc", 0.9)
    )
    assert summarise(cases)["dice"]["mean"] == pytest.approx(0.6)
    assert summarise(cases)["num_slices"] == 3


def test_misses_count_and_hd95_over_hits_stands_beside():
    cases = table(
        row("a", 0, "disc", hd95_mm=2.0), row("a", 1, "disc", status="missed"), row("b", 0, "disc", hd95_mm=4.0)
    )
    summary = summarise(cases)
    assert summary["dice"]["disc"] == pytest.approx((0.25 + 0.5) / 2)
    assert summary["hd95_mm"]["disc"] == pytest.approx((101 + 4) / 2)
    assert summary[HITS]["disc"] == pytest.approx(3.0)


def test_everything_undefined_is_counted():
    cases = table(
        *(row("a", 0, "disc"), row("a", 0, "psoas", status="missed"), row("a", 0, "lamina", status="unlabelled")),
        *(row("b", 0, "disc", status="false_alarm"), row("b", 0, "psoas", status="absent")),
        *(row("b", 0, "lamina", status="unlabelled"), row("c", 7, "lamina", status="unlabelled")),
    )
    summary = summarise(cases)
    counts = {name: summary[name] for name in summary if name.startswith("num_")}
    assert counts == {
        **{"num_missed": 1, "num_false_alarms": 1, "num_absent": 1, "num_unlabelled": 3},
        **{"num_undefined": 5, "num_patients": 3, "num_patients_undefined": 1, "num_slices": 3},
    }
    named = {name: count for name, count in summary["undefined"].items() if count}
    assert named == {"precision": 1, "recall": 1, "hd95_mm": 1, "assd_mm": 1, "csa_error_percent": 1}
    assert summary["dice"]["lamina"] is None


def test_slice_level_is_mean_and_sample_sd_over_slices():
    values = [(0.9, 0.5), (0.7, 0.9), (0.8, 0.1)]
    rows = [row("a", n, name, v) for n, pair in enumerate(values) for name, v in zip("xy", pair, strict=True)]
    levels = summarise(table(*rows))["slice_level"]["dice"]
    assert levels["x"] == pytest.approx({"mean": 0.8, "sd": 0.1})
    per_slice = np.mean(values, axis=1)
    assert levels["mean"] == pytest.approx({"mean": per_slice.mean(), "sd": per_slice.std(ddof=1)})
    assert summarise(table(rows[0]))["slice_level"]["dice"]["x"] == {"mean": 0.9, "sd": None}


def test_detection_by_hand_for_both_boxes():
    cases = table(
        row("a", 0, "disc", box_iou=0.5, mask_box_iou=0.9),
        row("a", 1, "disc", box_iou=0.49, mask_box_iou=0.8),
        row("a", 2, "disc", status="missed"),
        row("b", 0, "disc", box_iou=0.7, mask_box_iou=0.1),
        row("b", 1, "disc", status="false_alarm"),
        row("b", 2, "disc", status="absent"),
        row("c", 0, "disc", status="missed"),
    )
    detection = summarise(cases)["detection"]
    # Own box: a finds 1 of 3 with 2 tries, b 1 of 1 with 2, c 0 of 1 with none (no precision).
    assert detection["own_box"] == pytest.approx({"precision": (1 / 2 + 1 / 2) / 2, "recall": (1 / 3 + 1 + 0) / 3})
    assert detection["mask_box"] == pytest.approx({"precision": (2 / 2 + 0) / 2, "recall": (2 / 3 + 0 + 0) / 3})


def test_a_table_without_any_truth_has_no_number_but_its_counts():
    summary = summarise(table(row("a", 0, "disc", status="absent"), row("a", 1, "disc", status="unlabelled")))
    for name in (*METRICS, HITS):
        assert summary[name] == {"mean": None, "disc": None}
    assert summary["detection"]["own_box"] == {"precision": None, "recall": None}
    assert (summary["num_absent"], summary["num_unlabelled"], summary["num_undefined"]) == (1, 1, 0)


def test_the_table_read_back_from_csv_gives_the_same_summary_in_json():
    statuses = ("scored", "missed", "false_alarm", "absent", "unlabelled")
    cases = table(*(row("a", n, "disc", status=status, detected=n == 0) for n, status in enumerate(statuses)))
    read = pd.read_csv(io.StringIO(cases.to_csv(index=False)))
    summary = summarise(cases)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary == summarise(read)
    assert isinstance(summary["num_missed"], int)
    assert patient_means(read, "detected").loc["a", "disc"] == pytest.approx(0.2)


@settings(deadline=None, max_examples=20)
@given(
    scores=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(0, 1) | st.just(nan)),
        min_size=1,
        max_size=25,
    ),
    order=st.randoms(use_true_random=False),
)
def test_agrees_with_loops_in_any_order(scores, order):
    rows = [row(patient, number, name, value) for number, (patient, name, value) in enumerate(scores)]
    per_patient = []
    for patient in sorted({patient for patient, _, _ in scores}):
        found = {}
        for owner, name, value in scores:
            if owner == patient and not np.isnan(value):
                found.setdefault(name, []).append(value)
        if found:
            per_patient.append(np.mean([np.mean(values) for values in found.values()]))
    expected = np.mean(per_patient) if per_patient else None
    order.shuffle(rows)
    assert summarise(table(*rows))["dice"]["mean"] == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        (table(), "no row"),
        (table(row("a", 0, "disc"), row("a", 0, "disc")), "case a_a, slice 0: disc is scored twice"),
        (table(row("a", 0, "mean")), "rename it in the anatomy"),
        (table(row("a", 0, "disc") | {"status": "lost"}), "status lost; expected one of scored, missed"),
        (table(row("a", 0, "disc")).drop(columns=["dice", "case"]), "lacks the columns case, dice"),
    ],
    ids=["empty", "twice", "called mean", "status", "columns"],
)
def test_a_table_whose_means_would_be_wrong_is_refused(cases, message):
    with pytest.raises(ValueError, match=message):
        check_cases(cases)
    with pytest.raises(ValueError, match=message):
        summarise(cases)


def test_what_a_network_shows_of_its_working_is_averaged_like_any_metric_and_never_counted_as_undefined():
    cases = table(
        *(row("a", 0, "disc", preliminary_dice=0.8), row("a", 1, "disc", preliminary_dice=0.6)),
        row("b", 0, "disc", preliminary_dice=0.1),
    )
    summary = summarise(cases)
    assert summary["preliminary_dice"] == pytest.approx({"mean": 0.4, "disc": 0.4})
    assert not set(MECHANISM_COLUMNS[1:]) & set(summary), "a network without a part has no mean of it"
    assert summary["num_undefined"] == 0


def test_a_table_of_before_these_columns_is_summarised_as_before():
    cases = table(row("a", 0, "disc", 0.8))
    old = cases.drop(columns=[*MECHANISM_COLUMNS, *FACTOR_COLUMNS])
    assert summarise(old) == summarise(cases)


def test_what_is_asked_for_alone_is_as_in_the_whole_summary():
    cases = table(
        *(row("a", 0, "disc", 0.8), row("a", 1, "disc", 1.0, box_iou=0.4), row("a", 0, "psoas", 0.5)),
        *(row("b", 0, "disc", 0.6), row("b", 0, "psoas", status="missed")),
    )
    whole, part = summarise(cases), summarise(cases, ("box_iou", "mask_box_iou"))
    assert set(whole) - set(part) == {*METRICS, HITS} - {"dice", "box_iou", "mask_box_iou"}
    for name in ("dice", "box_iou", "mask_box_iou", "detection", "num_missed", "num_patients", "num_slices"):
        assert part[name] == whole[name]
    assert part["slice_level"] == {name: whole["slice_level"][name] for name in ("dice", "box_iou", "mask_box_iou")}
