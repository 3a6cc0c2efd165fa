"""The tests of the claims ledger that the SCAR-Net paper needs: gains, ranges, synergy, speed, few masks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reports.claims.judge import judge
from tests.made.claim_evidence import draw_cases, make_evidence
from tests.made.spine_folders import STRUCTURES, VERTEBRAE
from tests.reports.test_claims import CLAIMS, VERDICTS, judged

SYNERGY = ("scarnet_baseline", "scarnet_mcca", "scarnet_at", "scarnet")


def spine(row, dice, **rest):
    return draw_cases(row, dice, structures=STRUCTURES, num_slices=1, **rest)


def trainings(**epochs):
    """Epochs to 95 % of the rows' trainings, each on folds 0, 1, 2, ..."""
    lines = [(row, fold, 0, count) for row, counts in epochs.items() for fold, count in enumerate(counts)]
    return pd.DataFrame(lines, columns=["row", "fold", "seed", "epochs_to_95"])


def test_every_claim_of_the_paper_gets_a_verdict():
    quality = dict(zip(SYNERGY, (0.93, 0.94, 0.945, 0.955), strict=True))
    evidence = make_evidence(*(spine(row, dice, precision=dice, recall=dice) for row, dice in quality.items()))
    ledger = judge(evidence)
    assert list(ledger["id"]) == [name for name, claim in CLAIMS.items() if claim.paper == "scarnet"]
    assert set(ledger["verdict"]) <= VERDICTS
    assert (ledger.loc[ledger["verdict"] == "not testable", "note"] != "").all()
    found = ledger.set_index("id")["verdict"]
    assert found[["mcca-helps", "both-beat-adapter", "balanced-errors"]].tolist() == ["reproduced"] * 3
    assert found[["scarnet-order-of-rows", "beats-dgmsnet"]].tolist() == ["contradicted", "not testable"]


@pytest.mark.parametrize(
    ("gain", "noise", "verdict"),
    [
        (0.0166, 0.001, "reproduced"),
        (0.013, 0.001, "reproduced"),
        (0.008, 0.001, "not reached"),
        (-0.008, 0.001, "contradicted"),
        (0.012, 0.05, "within noise"),
    ],
)
def test_a_stated_gain_is_reached_or_not(gain, noise, verdict):
    tables = [spine("scarnet", 0.92 + gain, noise=noise), spine("scarnet_baseline", 0.92, noise=noise)]
    found = judged(make_evidence(*tables), "average-gain").loc["average-gain"]
    assert found["verdict"] == verdict
    assert found["ci95_low"] < found["effect"] < found["ci95_high"]
    if noise < 0.01:
        assert found["effect"] == pytest.approx(gain, abs=0.001)


@pytest.mark.parametrize(
    ("gains", "noise", "verdict"),
    [
        ((0.018, 0.02, 0.022, 0.025, 0.028), 0.0005, "reproduced"),
        ((0.018, 0.02, 0.005, 0.025, 0.028), 0.0005, "not reached"),
        ((0.018, 0.02, 0.022, 0.025, 0.06), 0.0005, "not reached"),
        ((0.018, 0.02, -0.02, 0.025, 0.028), 0.0005, "contradicted"),
        ((0.018, 0.02, 0.022, 0.025, 0.028), 0.03, "within noise"),
    ],
    ids=["inside", "one too small", "one too large", "one worse", "noise"],
)
def test_gains_of_every_structure_lie_in_a_range(gains, noise, verdict):
    baseline, better = spine("scarnet_baseline", 0.92, noise=noise), spine("scarnet", 0.92, noise=noise)
    better["dice"] += better["structure"].map(dict(zip(VERTEBRAE, gains, strict=True))).fillna(0)
    found = judged(make_evidence(baseline, better), "gains-of-vertebrae").loc["gains-of-vertebrae"]
    assert found["verdict"] == verdict
    if verdict in ("not reached", "contradicted"):
        odd = VERTEBRAE[int(np.argmax(np.abs(np.array(gains) - 0.0233)))]
        assert f"farthest from the range is {odd}" in found["note"]


def test_gains_of_too_few_patients_are_not_tested():
    tables = [spine(row, 0.92, num_patients=5) for row in ("scarnet", "scarnet_baseline")]
    ledger = judged(make_evidence(*tables), "average-gain", "gains-of-vertebrae")
    assert ledger["verdict"].tolist() == ["not testable"] * 2
    assert "L1 has fewer than 6 patients" in ledger.loc["gains-of-vertebrae", "note"]


@pytest.mark.parametrize(("more", "verdict"), [(0.01, "reproduced"), (0.0, "within noise"), (-0.01, "contradicted")])
def test_two_changes_add_more_than_the_sum_of_each(more, verdict):
    quality = dict(zip(SYNERGY, (0.92, 0.93, 0.925, 0.935 + more), strict=True))
    tables = [spine(row, dice, noise=0.004) for row, dice in quality.items()]
    found = judged(make_evidence(*tables), "modules-complement").loc["modules-complement"]
    assert found["verdict"] == verdict
    assert found["effect"] == pytest.approx(more, abs=0.002)


def test_synergy_needs_all_four_rows():
    tables = [spine(row, 0.92) for row in SYNERGY[:3]]
    found = judged(make_evidence(*tables), "modules-complement").loc["modules-complement"]
    assert (found["verdict"], "no finished run of the row scarnet;" in found["note"]) == ("not testable", True)


@pytest.mark.parametrize(
    ("own", "verdict", "effect"),
    [
        ([7, 8, 7, 8, 7, 8], "reproduced", 0.25),
        ([10, 10, 9, 10, 10, 10], "not reached", 1 / 60),
        ([12, 13, 12, 13, 12, 13], "contradicted", -0.25),
        ([5, 12, 9, 6, 11, 8], "within noise", 0.15),
        ([7, 8, 7, 8, 7], "not testable", 0.26),
    ],
)
def test_speed_is_the_share_of_epochs_saved(own, verdict, effect):
    evidence = make_evidence(spine("scarnet_at", 0.9), trainings=trainings(scarnet_at=own, scarnet_baseline=[10] * 6))
    found = judged(evidence, "adapter-learns-faster").loc["adapter-learns-faster"]
    assert (found["verdict"], found["num_patients"]) == (verdict, 0)
    assert found["effect"] == pytest.approx(effect)
    assert f"n = {len(own)} trainings, paired by fold and seed" in found["note"]


def test_speed_without_trainings_names_the_command():
    found = judged(make_evidence(spine("scarnet", 0.9)), "scarnet-learns-faster").loc["scarnet-learns-faster"]
    assert found["verdict"] == "not testable"
    assert "run: python run.py sweep=scarnet_table1 experiment=scarnet" in found["note"]


def test_rotated_images_are_an_arm():
    own = spine("scarnet", 0.95)
    evidence = make_evidence(
        own, own.assign(arm="rotated_15", dice=own["dice"] - 0.02), own.assign(arm="shifted_20_mm_up")
    )
    ledger = judged(evidence, "bears-rotation-15", "bears-shift-20-mm-up", "bears-shift-20-mm-back")
    assert ledger["verdict"].tolist() == ["contradicted", "reproduced", "not testable"]
    assert "arms=robustness" in ledger.loc["bears-shift-20-mm-back", "note"]


def test_key_points_of_others_are_judged_on_trainings_with_few_masks_alone():
    arms = [spine("scarnet", dice, arm=arm) for arm, dice in (("full_6", 0.85), ("mixed_6", 0.88))]
    claims = (CLAIMS["key-points-help-6"], CLAIMS["key-points-help-12"], CLAIMS["both-beat-baseline"])
    evidence = make_evidence(spine("unet", 0.9), beside=pd.concat(arms))
    ledger = judged(evidence, *claims)
    assert ledger["verdict"].tolist() == ["reproduced", "not testable", "not testable"]
    assert ledger.loc["key-points-help-6", "effect"] == pytest.approx(0.03, abs=0.005)
    assert "no result of the arm mixed_12" in ledger.loc["key-points-help-12", "note"]


def test_fewer_wrong_numbers_are_better():
    rng = np.random.default_rng(0)
    tables = [
        spine(row, 0.9).assign(level_error=lambda cases, share=share: (rng.random(len(cases)) < share) * 1.0)
        for row, share in (("scarnet", 0.05), ("scarnet_baseline", 0.5))
    ]
    claim = CLAIMS["fewer-wrong-numbers"]
    reverse = replace(claim, id="reverse", row="scarnet_baseline", other_row="scarnet", family="reverse")
    assert judged(make_evidence(*tables), claim, reverse)["verdict"].tolist() == ["reproduced", "contradicted"]
