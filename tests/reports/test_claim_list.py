"""The file of claims: what is refused, and what a group of structures is."""

import csv
from math import isnan, nan

import pandas as pd
import pytest

from reports.claims.ledger import CLAIMS_FILE, COLUMNS, load_claims, published_structures
from reports.claims.values import in_group
from reports.papers import load_published

STRUCTURES = ("disc", "psoas_left", "psoas_right", "multifidus_left")
GOOD = {
    "id": "beats-unet",
    "paper": "bs_esnet",
    "section": "Table 1",
    "claim": "Better than the U-Net",
    "test": "superior",
    "family": "table 1",
    "row": "bs_esnet",
    "other_row": "unet",
    "metric": "dice",
    "structure": "mean",
    "cost": "sweep=bs_esnet_table1",
}


def write_lines(path, *lines):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(lines)
    return path


def load(path):
    return load_claims(path, margin=0.005, structures=STRUCTURES)


def test_the_papers_claims_are_sound():
    claims = load_claims(CLAIMS_FILE, margin=0.004, structures=published_structures(CLAIMS_FILE.parent))
    known = {claim.id: claim for claim in claims}
    assert known["mean-dice"].margin == 0.004
    assert known["mean-dice"].value == 0.94
    assert isnan(known["fewer-misses-than-anchors"].margin)
    assert {claim.paper for claim in claims} == {"bs_esnet", "scarnet", "baur", "msff"}
    found = known["gains-of-vertebrae"]
    assert (found.value, found.upper) == (0.0176, 0.0289)


def test_margins_of_the_second_paper_are_half_its_differences_and_at_most_half_a_point():
    claims = load_claims(CLAIMS_FILE, margin=0.005, structures=published_structures(CLAIMS_FILE.parent))
    printed = pd.concat([load_published(name) for name in ("scarnet_table1", "scarnet_table2")])
    means = printed.groupby(["row", "structure"])["mean"].last() / 100
    tested = [claim for claim in claims if claim.paper == "scarnet" and claim.test == "superior"]
    tested = [
        claim for claim in tested if claim.metric == "dice" and claim.family in ("table 1", "table 2", "structures")
    ]
    assert len(tested) == 22
    for claim in tested:
        printed_row = claim.other_row.partition(" (")[0]  # of shape models with found points
        half = (means[claim.row, claim.structure] - means[printed_row, claim.structure]) / 2
        assert claim.margin == pytest.approx(min(half, 0.005), abs=2e-4), claim.id


def test_numbers_and_the_margin_of_the_report_are_read(tmp_path):
    lines = [GOOD, {**GOOD, "id": "b", "test": "equivalent", "margin": "report"}, {**GOOD, "id": "c", "margin": "0.01"}]
    margins = [claim.margin for claim in load(write_lines(tmp_path / "claims.csv", *lines))]
    assert margins == pytest.approx([nan, 0.005, 0.01], nan_ok=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test": "better"}, "unknown test 'better'"),
        ({"id": "beats-unet"}, "the id beats-unet is taken"),
        ({"test": "equivalent"}, "needs margin"),
        ({"test": "at_least", "margin": "0"}, "needs value"),
        ({"family": ""}, "needs family"),
        ({"other_row": ""}, "compares two sides"),
        ({"other_stratum": "level L4/5"}, "two strata have none"),
        ({"test": "equivalent", "margin": "report", "other_row": "unet;mask_rcnn"}, "one row on either side"),
        ({"test": "ordered", "row": "bs_esnet"}, "two rows or more"),
        ({"structure": "psoas+kidney"}, "'kidney' is no structure"),
        ({"structure": "pso"}, "'pso' is no structure"),
        ({"metric": "beauty"}, "unknown metric 'beauty'"),
        ({"test": "cheaper", "margin": "0", "metric": "dice"}, "unknown metric 'dice'"),
        ({"margin": "half"}, "margin is 'half'"),
        ({"margin": "-0.1"}, "expected zero or more"),
        ({"test": "none"}, "needs remark"),
        ({"test": "gains", "value": "0.01 to 0.02", "margin": "0"}, "it alone, takes `low to high`"),
        ({"test": "gains_within", "value": "0.01", "margin": "0"}, "it alone, takes `low to high`"),
        ({"test": "gains_within", "value": "0.02 to 0.01", "margin": "0"}, "the lower end first"),
        ({"test": "synergistic"}, "other_row of the test synergistic is 3 rows"),
        ({"test": "faster", "margin": "0"}, "unknown metric 'dice'"),
        ({"metric": "grade_kappa", "structure": "back_muscles"}, "at_least and at_most alone take it"),
    ],
)
def test_a_line_that_makes_no_test_is_refused_by_its_number(tmp_path, change, words):
    path = write_lines(tmp_path / "claims.csv", GOOD, {**GOOD, "id": "other", **change})
    with pytest.raises(ValueError, match=r"claims\.csv, line 3: ") as error:
        load(path)
    assert words in str(error.value)


def test_other_columns_and_unquoted_commas_are_refused(tmp_path):
    path = write_lines(tmp_path / "claims.csv", GOOD)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.rstrip("\n") + ",more\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: more than"):
        load(path)
    path.write_text(text.replace("remark", "comment"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"has the columns .*comment.*; expected .*remark"):
        load(path)


@pytest.mark.parametrize(
    ("group", "members"),
    [
        ("mean", set(STRUCTURES)),
        ("psoas", {"psoas_left", "psoas_right"}),
        ("disc+multifidus_left", {"disc", "multifidus_left"}),
        ("pso", set()),
    ],
)
def test_groups_of_structures(group, members):
    assert {name for name in STRUCTURES if in_group(name, group)} == members
