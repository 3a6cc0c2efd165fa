"""Verdicts of the claims ledger on evidence whose truth is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from records.runs import load_runs
from reports.claims.judge import COLUMNS, RULES, judge
from reports.claims.ledger import CLAIMS_FILE, load_claims, published_structures
from reports.claims.run_tests import TESTS
from reports.collect import collect
from reports.readouts.mechanism import arms_table
from tests.made.claim_evidence import draw_cases, make_evidence
from tests.made.run_folders import write_grid

LEDGER = load_claims(CLAIMS_FILE, margin=0.005, structures=published_structures(CLAIMS_FILE.parent))
CLAIMS = {claim.id: claim for claim in LEDGER}
OF_BS_ESNET = [claim.id for claim in LEDGER if claim.paper == "bs_esnet"]
VERDICTS = {"reproduced", "within noise", "not reached", "contradicted", "not testable"}


def judged(evidence, *claims):
    """Rows of the ledger by id, for claims of the file named or given."""
    chosen = tuple(CLAIMS[claim] if isinstance(claim, str) else claim for claim in claims)
    return judge(evidence, chosen).set_index("id")


@pytest.fixture(scope="module")
def whole():
    """Every row and arm of the paper's table but Mask R-CNN and the second rater, 24 patients."""
    quality = {"unet": 0.92, "bs_esnet_no_sag": 0.92, "attention_unet": 0.925, "nonlocal_unet": 0.915}
    quality |= {"bs_esnet_no_deep_supervision": 0.935, "bs_esnet": 0.94}
    tables = [draw_cases(row, dice, num_patients=24) for row, dice in quality.items()]
    tables += [draw_cases("bs_esnet", 0.94, num_patients=24, arm="jittered_05")]
    return make_evidence(*tables, costs=dict.fromkeys(quality, 1e9))


def test_every_claim_of_the_file_gets_a_verdict(whole):
    ledger = judge(whole)
    assert list(ledger.columns) == list(COLUMNS)
    assert list(ledger["id"]) == OF_BS_ESNET
    assert set(ledger["verdict"]) == VERDICTS - {"contradicted"}
    tested = ledger["verdict"] != "not testable"
    assert ledger.loc[tested, "effect"].notna().all()
    assert (ledger.loc[~tested, "note"] != "").all()


def test_the_claims_of_a_paper_are_judged_where_its_system_was_run_or_its_table_is_printed():
    evidence = make_evidence(draw_cases("unet", 0.9))
    assert judge(evidence).empty
    published = pd.DataFrame({"row": ["unet", "bs_esnet"]})
    assert list(judge(replace(evidence, published=published))["id"]) == OF_BS_ESNET


@pytest.mark.slow
def test_the_ledger_of_real_run_folders(tmp_path):
    rows = {"unet": 0.86, "bs_esnet": 0.9}
    write_grid(tmp_path, rows, num_patients=10, structures=("disc", "canal"), arms={"shuffled": 0.0, "none": 0.1})
    evidence = collect(load_runs([tmp_path]), table="bs_esnet_table1", reference=None, margin=0.005)
    ledger = evidence["claims"].set_index("id")
    assert list(ledger.index) == OF_BS_ESNET
    expected = {"beats-unet": "reproduced", "boxes-matter-none": "reproduced", "boxes-matter-shuffled": "not reached"}
    expected |= {"beats-unet-at-l5-s1": "not testable", "best-canal": "not testable", "best-psoas-left": "not testable"}
    assert ledger["verdict"].loc[list(expected)].to_dict() == expected
    assert arms_table(evidence)["arm"].tolist() == ["predicted", "none", "shuffled"]


def test_the_verdict_does_not_depend_on_the_order_of_patients_or_rows(whole):
    shuffled = whole.with_tables(cases=whole["cases"].sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(judge(whole), judge(shuffled))


def test_a_row_better_by_two_points_is_reproduced_and_the_reverse_contradicted():
    claim = CLAIMS["beats-unet"]
    reverse = replace(claim, id="reverse", row="unet", other_row="bs_esnet", family="reverse")
    ledger = judged(make_evidence(draw_cases("unet", 0.92), draw_cases("bs_esnet", 0.94)), claim, reverse)
    assert list(ledger["verdict"]) == ["reproduced", "contradicted"]
    low, effect, high = ledger.loc["beats-unet", ["ci95_low", "effect", "ci95_high"]]
    assert low < 0.02 < high
    assert effect == pytest.approx(0.02, abs=0.003)
    assert ledger.loc["reverse", "effect"] == -effect
    assert list(ledger["num_patients"]) == [12, 12]


@pytest.mark.parametrize(
    ("noise", "superior", "same"), [(0.05, "within noise", "within noise"), (0.003, "not reached", "reproduced")]
)
def test_equal_rows_are_noise_or_equivalent_as_the_scatter_allows(noise, superior, same):
    tables = [draw_cases(row, 0.93, noise=noise) for row in ("unet", "bs_esnet")]
    equivalent = replace(CLAIMS["no-gate-like-unet"], row="bs_esnet")
    ledger = judged(make_evidence(*tables), "beats-unet", equivalent)
    assert list(ledger["verdict"]) == [superior, same]
    assert ("interval excludes an improvement" in ledger.loc["beats-unet", "note"]) == (superior == "not reached")


def test_a_row_that_was_not_run_is_not_testable_and_the_command_is_given():
    evidence = make_evidence(draw_cases("bs_esnet", 0.94))
    ledger = judged(evidence, "beats-unet", "asynchronous-segments-better", "as-good-as-manual", "robust-to-jitter-20")
    assert set(ledger["verdict"]) == {"not testable"}
    commands = [
        "python run.py sweep=bs_esnet_table1 experiment=unet",
        "python run.py sweep=bs_esnet_mechanism experiment=bs_esnet_no_async",
        "python run.py task=score masks=DIR row=second_rater",
        "python run.py sweep=bs_esnet_boxes experiment=bs_esnet",
    ]
    for command, (_, claim) in zip(commands, ledger.iterrows(), strict=True):
        assert claim["note"].split("; ")[1] == f"run: {command}"


def test_missing_strata_columns_and_costs_are_named():
    tables = [
        draw_cases(row, 0.93, fascia_contrast=np.nan) for row in ("unet", "bs_esnet", "bs_esnet_preliminary_half")
    ]
    ledger = judged(make_evidence(*tables), "faded-fascia", "mask-errors-not-grid", "quarter-is-cheaper")
    assert set(ledger["verdict"]) == {"not testable"}
    words = ("fascia contrast low", "preliminary_ceiling_dice", "flop_per_image")
    assert all(word in note for word, note in zip(words, ledger["note"], strict=True))


def test_shuffled_boxes_that_change_nothing_mean_that_the_gate_is_unused():
    own = draw_cases("bs_esnet", 0.94)
    evidence = make_evidence(own, own.assign(arm="shuffled"), own.assign(arm="none", dice=own["dice"] - 0.1))
    ledger = judged(evidence, "boxes-matter-shuffled", "boxes-matter-none")
    assert list(ledger["verdict"]) == ["not reached", "reproduced"]
    assert ledger.loc["boxes-matter-shuffled", "note"].startswith(
        "boxes of other organs do as well: the attention gate is unused"
    )
    assert "unused" not in ledger.loc["boxes-matter-none", "note"]
    assert ledger.loc["boxes-matter-none", "effect"] == pytest.approx(0.1)


def test_fewer_than_six_patients_are_not_testable():
    tables = [draw_cases(row, dice, num_patients=5) for row, dice in {"unet": 0.8, "bs_esnet": 0.95}.items()]
    ledger = judged(make_evidence(*tables), "beats-unet", "mean-dice", "no-level-left-behind")
    assert set(ledger["verdict"]) == {"not testable"}
    assert ledger.loc["beats-unet", "effect"] == pytest.approx(0.15, abs=0.01)
    assert np.isnan(ledger.loc["beats-unet", "ci95_low"])
    assert "n = 5 patients, a test takes 6" in ledger.loc["beats-unet", "note"]


def test_folds_by_image_are_no_evidence():
    tables = [draw_cases(row, 0.9).assign(split="as published") for row in ("unet", "bs_esnet")]
    ledger = judged(make_evidence(*tables), "beats-unet")
    assert ledger.loc["beats-unet", "verdict"] == "not testable"
    assert "with folds by patient" in ledger.loc["beats-unet", "note"]


@pytest.mark.slow
def test_truly_equal_rows_are_hardly_ever_called_better():
    family = ("beats-unet", "beats-attention-unet")
    wrong = []
    for draw in range(150):
        rows = ("bs_esnet", "unet", "attention_unet")
        tables = [draw_cases(row, 0.9, draw=draw, num_patients=10, num_slices=1, structures=("canal",)) for row in rows]
        wrong.append((judged(make_evidence(*tables), *family)["verdict"] == "reproduced").any())
    assert 0 < np.mean(wrong) <= 0.05


def test_a_claim_over_several_rows_needs_all_of_them():
    quality = {"bs_esnet": 0.94, "unet": 0.92, "mask_rcnn": 0.9, "nonlocal_unet": 0.92, "attention_unet": 0.93}
    tables = {row: draw_cases(row, dice) for row, dice in quality.items()}
    ledger = judged(make_evidence(*tables.values()), "best-canal")
    assert ledger.loc["best-canal", "verdict"] == "reproduced"
    assert ledger.loc["best-canal", "effect"] == pytest.approx(0.01, abs=0.004)
    assert "bs_esnet against attention_unet" in ledger.loc["best-canal", "note"]
    tables["attention_unet"] = draw_cases("attention_unet", 0.93, noise=0.08)
    assert judged(make_evidence(*tables.values()), "best-canal").loc["best-canal", "verdict"] == "within noise"
    tables["attention_unet"] = draw_cases("attention_unet", 0.95)
    assert judged(make_evidence(*tables.values()), "best-canal").loc["best-canal", "verdict"] == "contradicted"


def test_seeds_are_averaged_and_patients_without_a_partner_left_out():
    first, second = (draw_cases("bs_esnet", dice, seed=seed, noise=0.0) for seed, dice in ((0, 0.9), (1, 0.94)))
    other = draw_cases("unet", 0.9, noise=0.0, num_patients=12)
    evidence = make_evidence(first, second, other.loc[other["patient"] < "p008"])
    ledger = judged(evidence, "beats-unet")
    assert ledger.loc["beats-unet", "effect"] == pytest.approx(0.02)
    assert ledger.loc["beats-unet", "num_patients"] == 8
    assert "8 of 12 patients" in ledger.loc["beats-unet", "note"]


def test_holm_runs_over_the_family_alone():
    tables = [draw_cases(row, dice) for row, dice in {"bs_esnet": 0.94, "unet": 0.92, "attention_unet": 0.92}.items()]
    alone = judged(make_evidence(*tables), "beats-unet").loc["beats-unet", "note"]
    pair = judged(make_evidence(*tables), "beats-unet", "beats-attention-unet").loc["beats-unet", "note"]
    apart = judged(make_evidence(*tables), "beats-unet", replace(CLAIMS["beats-attention-unet"], family="other"))
    p_alone, p_pair = (float(note.split()[2].rstrip(";")) for note in (alone, pair))
    assert p_pair == pytest.approx(2 * p_alone, rel=0.05)
    assert apart.loc["beats-unet", "note"] == alone


def test_the_rules_explain_every_test():
    text = " ".join(RULES)
    assert [test for test in TESTS if test != "none" and test not in text] == []
