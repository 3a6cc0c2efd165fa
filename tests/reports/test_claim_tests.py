"""Each test of the claims ledger beside superiority, and the tables of the mechanism."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from reports.claims.claim import Side
from reports.claims.samples import correlation, pseudo_values
from reports.claims.values import PatientValues
from reports.readouts.mechanism import ARMS, PRELIMINARY, SALIENCY, arms_table, preliminary_table, saliency_table
from tests.made.claim_evidence import STRUCTURES, draw_cases, make_evidence
from tests.reports.test_claims import CLAIMS, judged

OWN = Side(row="bs_esnet", metric="preliminary_dice", structure="mean")


def with_preliminary(slope: float, *, offset: float = 0.0, num_patients: int = 20) -> pd.DataFrame:
    """Cases whose box IoU follows the preliminary Dice with this slope; `offset` parts the structures in both."""
    cases = draw_cases("bs_esnet", 0.94, num_patients=num_patients)
    rng = np.random.default_rng(3)
    quality, scatter = rng.normal(0, 0.03, len(cases)), rng.normal(0, 0.03, len(cases))
    easy = offset * cases["structure"].map({name: index for index, name in enumerate(STRUCTURES)})
    return cases.assign(
        preliminary_dice=0.8 + easy + quality,
        preliminary_ceiling_dice=0.97,
        box_iou=0.6 + easy + slope * quality + scatter,
    )


@pytest.mark.parametrize(("slope", "verdict"), [(1.0, "reproduced"), (0.0, "within noise"), (-1.0, "contradicted")])
def test_correlation_within_structures(slope, verdict):
    cases = with_preliminary(slope, offset=0.1)
    found = judged(make_evidence(cases), "detection-follows-preliminary-mask").iloc[0]
    parts = [spearmanr(part["preliminary_dice"], part["box_iou"]).statistic for _, part in cases.groupby("structure")]
    assert found["verdict"] == verdict
    assert found["effect"] == pytest.approx(np.mean(parts), abs=0.03)
    assert spearmanr(cases["preliminary_dice"], cases["box_iou"]).statistic > max(parts)  # what ranking within avoids


def test_interval_of_a_correlation_is_that_of_a_bootstrap_over_patients():
    cases = with_preliminary(0.7, num_patients=40)
    found = judged(make_evidence(cases), "detection-follows-preliminary-mask").iloc[0]
    rng, patients = np.random.default_rng(0), sorted(set(cases["patient"]))
    groups = dict(list(cases.groupby("patient")[["structure", "preliminary_dice", "box_iou"]]))
    drawn = []
    for _ in range(300):
        sample = pd.concat([groups[name] for name in rng.choice(patients, len(patients))], ignore_index=True)
        ranks = sample.groupby("structure")[["preliminary_dice", "box_iou"]].rank()
        drawn.append(np.corrcoef(ranks.to_numpy().T)[0, 1])
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found["ci95_low"] == pytest.approx(low, abs=0.04)
    assert found["ci95_high"] == pytest.approx(high, abs=0.04)


def test_pseudo_values_of_a_mean_are_the_values():
    values = np.random.default_rng(0).normal(size=12)
    assert pseudo_values(lambda kept: float(values[kept].mean()), 12) == pytest.approx(values)


def test_a_constant_column_has_no_correlation():
    cases = with_preliminary(1.0).assign(box_iou=0.5)
    assert len(correlation(PatientValues(make_evidence(cases)), OWN, "box_iou")) == 0
    found = judged(make_evidence(cases), "detection-follows-preliminary-mask").iloc[0]
    assert found["verdict"] == "not testable"
    assert "constant" in found["note"]


@pytest.mark.parametrize(("quality", "verdict"), [(0.945, "reproduced"), (0.9, "within noise"), (0.85, "contradicted")])
def test_second_rater_is_the_bar_of_non_inferiority(quality, verdict):
    noise = 0.05 if verdict == "within noise" else 0.004
    tables = [draw_cases("bs_esnet", quality, noise=noise), draw_cases("second_rater", 0.9, noise=noise)]
    assert judged(make_evidence(*tables), "as-good-as-manual")["verdict"].tolist() == [verdict]


@pytest.mark.parametrize(("dice", "verdict"), [(0.98, "reproduced"), (0.94, "within noise"), (0.8, "not reached")])
def test_mean_dice_reaches_the_stated_value(dice, verdict):
    found = judged(make_evidence(draw_cases("bs_esnet", dice)), "mean-dice").iloc[0]
    assert found["verdict"] == verdict
    assert found["effect"] == pytest.approx(dice, abs=0.02)


def test_detection_counts_misses_and_wrong_boxes_by_hand():
    cases = draw_cases("bs_esnet", 0.9, num_patients=6, num_slices=1)
    cases.loc[cases["patient"] == "p000", "box_iou"] = [0.5, 0.49, 0.9, 0.0]
    cases.loc[cases.index[3], "status"] = "missed"
    ledger = judged(make_evidence(cases), "detection-precision", "detection-recall", "one-box-an-organ")
    assert ledger["effect"].tolist() == pytest.approx([(5 + 2 / 3) / 6, (5 + 2 / 4) / 6, (5 + 3 / 4) / 6])


def test_misses_and_spread_are_better_when_fewer():
    good, bad = draw_cases("bs_esnet", 0.9, noise=0.01), draw_cases("mask_rcnn", 0.9, noise=0.1)
    bad.loc[bad["structure"] == "canal", "status"] = "missed"
    spread = replace(CLAIMS["steadier-canal"], other_row="mask_rcnn")
    ledger = judged(make_evidence(good, bad), "fewer-misses-than-anchors", "fewer-false-alarms-than-anchors", spread)
    assert ledger["verdict"].tolist() == ["reproduced", "not testable", "reproduced"]
    assert ledger["effect"].iloc[0] == pytest.approx(1 / len(STRUCTURES))


@pytest.mark.parametrize(
    ("shift", "noise", "verdict"),
    [(0.0, 0.004, "reproduced"), (0.02, 0.1, "within noise"), (0.06, 0.004, "contradicted")],
)
def test_one_weak_level_contradicts_evenness(shift, noise, verdict):
    cases = draw_cases("bs_esnet", 0.9, num_patients=24, num_slices=4, noise=noise)
    cases.loc[cases["level"] == "L5/S1", "dice"] -= shift
    found = judged(make_evidence(cases), "no-level-left-behind").iloc[0]
    assert found["verdict"] == verdict
    if verdict == "contradicted":
        assert found["effect"] == pytest.approx(-0.75 * shift, abs=0.01)
        assert "level L5/S1" in found["note"]


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "reproduced"), (-0.04, "contradicted")])
def test_two_groups_of_slices_are_compared_by_patients(shift, verdict):
    cases = draw_cases("bs_esnet", 0.9, num_patients=24, num_slices=2)
    cases.loc[cases["quadratus_lumborum"] == 1, "dice"] += shift
    found = judged(make_evidence(cases), "quadratus-no-influence").iloc[0]
    assert found["verdict"] == verdict
    assert found["effect"] == pytest.approx(shift, abs=0.005)


def test_costs_are_compared_as_shares():
    evidence = make_evidence(
        draw_cases("bs_esnet", 0.9), costs={"bs_esnet": 1.0, "nonlocal_unet": 2.0, "attention_unet": 1.0}
    )
    ledger = judged(evidence, "cheaper-than-nonlocal-unet", "cheaper-than-attention-unet")
    assert ledger["verdict"].tolist() == ["reproduced", "within noise"]
    assert ledger["effect"].tolist() == [0.5, 0.0]


@pytest.mark.parametrize(("dice", "verdict"), [((0.94, 0.92, 0.9), "reproduced"), ((0.94, 0.9, 0.92), "contradicted")])
def test_an_order_of_rows_breaks_at_one_link(dice, verdict):
    rows = ("bs_esnet", "unet", "mask_rcnn")
    claim = replace(CLAIMS["order-of-rows"], row=";".join(rows))
    tables = [draw_cases(row, quality) for row, quality in zip(rows, dice, strict=True)]
    assert judged(make_evidence(*tables), claim)["verdict"].tolist() == [verdict]


def test_saliency_is_summed_over_the_structures_of_a_slice():
    shares = {"saliency_share": 0.1, "area_share": 0.05}
    bs_esnet = draw_cases("bs_esnet", 0.9, **shares)
    flat = draw_cases("attention_unet", 0.9, saliency_share=0.05, area_share=0.05)
    bs_esnet.loc[bs_esnet["structure"] == "canal", ["saliency_share", "area_share"]] = np.nan
    evidence = make_evidence(bs_esnet, flat, draw_cases("unet", 0.9, saliency_share=np.nan, area_share=np.nan))
    table = saliency_table(evidence).set_index("row")
    assert list(table.index) == ["bs_esnet", "attention_unet"]
    assert table.loc["bs_esnet", ["share_inside", "area_share", "enrichment"]].tolist() == pytest.approx([0.3, 0.15, 2])
    assert table.loc["attention_unet", "enrichment"] == pytest.approx(1)
    ledger = judged(evidence, "saliency-inside-bs-esnet", "saliency-inside-attention-unet")
    assert ledger["verdict"].tolist() == ["reproduced", "not reached"]


def test_mechanism_tables_have_their_columns_and_values():
    own = with_preliminary(1.0)
    evidence = make_evidence(own, own.assign(arm="none", dice=own["dice"] - 0.1), own.assign(arm="shuffled"))
    arms, preliminary = arms_table(evidence), preliminary_table(evidence)
    found = (arms, preliminary, saliency_table(evidence))
    assert [tuple(table.columns) for table in found] == [ARMS, PRELIMINARY, SALIENCY]
    assert arms["arm"].tolist() == ["predicted", "none", "shuffled"]
    assert arms["difference"].tolist() == pytest.approx([np.nan, -0.1, 0.0], nan_ok=True)
    assert arms["p_holm"].iloc[1] < 0.001 < arms["p_holm"].iloc[2] == 1
    assert preliminary.loc[0, "ceiling_dice"] == pytest.approx(0.97)
    assert (
        preliminary.loc[0, "correlation_low"]
        < preliminary.loc[0, "correlation"]
        < preliminary.loc[0, "correlation_high"]
    )
    assert saliency_table(evidence).empty


def test_mechanism_tables_are_empty_where_there_is_nothing():
    evidence = make_evidence(draw_cases("unet", 0.9))
    assert all(build(evidence).empty for build in (arms_table, preliminary_table, saliency_table))
