"""A setting that a paper varies: its rows, the paper's numbers beside them, seed noise, and gain by size."""

from math import isnan, nan

import numpy as np
import pandas as pd
import pytest

from records.runs import load_runs
from reports.chapters.contents import printed_tables
from reports.claims.judge import judge
from reports.claims.ledger import CLAIMS_FILE, load_claims, published_structures
from reports.collect import gather
from reports.papers import load_published, place_of, printed_row, varied_settings
from reports.plots.intervals import paired_differences
from reports.readouts.gains import build_gains, rank_correlations
from reports.readouts.varied import build_noise, build_values
from reports.readouts.varied_tables import noise_sentences, size_sentences, varied
from reports.statistics.patients import patient_scores
from reports.task import write_tables
from tests.made.claim_evidence import draw_cases, make_evidence
from tests.made.run_folders import write_run

PATH = "objective.terms.segmentation.alpha"
TABLES = ("msff_table1", "msff_table2_alpha", "msff_table3")
PUBLISHED = load_published(TABLES)
AREAS = {"dural_sac": 150.0, "ligamentum_flavum": 70.0, "psoas": 1100.0, "disc": 1200.0}
STRUCTURES = tuple(AREAS)
ROWS = {value: "msff" if value == 1 else f"msff {PATH}={value}" for value in (0.0, 0.5, 1.0, 2.0)}
LEDGER = load_claims(CLAIMS_FILE, margin=0.005, structures=published_structures(CLAIMS_FILE.parent))
CLAIMS = {claim.id: claim for claim in LEDGER if claim.paper == "msff"}


def cases_of(means, *, seeds=(0, 1, 2), seed_sd=0.0, gain=0.0, num_patients=12):
    """Case tables of values of alpha: mean Dice of each, a shift of each training, and a gain that falls with area.

    Two folds, each a training of its own.
    """
    tables = []
    for value, dice in means.items():
        for seed in seeds:
            shifts = np.random.default_rng([seed, int(10 * value)]).normal(0, seed_sd, 2)
            settings = {"num_patients": num_patients, "num_slices": 1, "structures": STRUCTURES, "noise": 0.002}
            table = draw_cases(ROWS[value], dice, seed=seed, **settings)
            area = table["structure"].map(AREAS)
            fold = table["patient"].str[1:].astype(int) % 2
            scores = table["dice"] + shifts[fold] + (value > 0) * gain / area
            tables.append(table.assign(area_true_mm2=area, fold=fold, dice=scores))
    return pd.concat(tables, ignore_index=True)


def tables_of(cases):
    rows = [row for row in ROWS.values() if row in set(cases["row"])]
    scores = patient_scores(cases, ("dice",))
    values = build_values(scores, rows, PUBLISHED)
    gains = build_gains(cases, scores, rows, PUBLISHED)
    return {"varied": values, "varied_noise": build_noise(cases, scores, values), "varied_gains": gains}


def evidence_of(tables):
    return make_evidence(cases_of({1.0: 0.9}), reference="msff").with_tables(**tables)


def test_several_tables_are_one_without_double_rows():
    assert not PUBLISHED.duplicated(["row", "structure"]).any()
    assert len(PUBLISHED) == 7 + 7 + 1
    means = PUBLISHED.set_index("row")["mean"]
    assert means[["msff", f"msff {PATH}=0.0", "msff_no_msff"]].tolist() == pytest.approx([89.11, 88.71, 87.06])
    assert varied_settings(PUBLISHED) == {"msff": (PATH, "1.0")}


@pytest.mark.parametrize(
    ("row", "printed", "place"),
    [
        ("fcn8s", "fcn8s", 0),
        ("msff", "msff", 6),
        ("msff scale.name=paper", "msff", 6),
        (f"msff {PATH}=0.0", f"msff {PATH}=0.0", 7),
        (f"msff {PATH}=0.0 scale.name=paper", f"msff {PATH}=0.0", 7),
        (f"msff {PATH}=0.7", "", 6),
        (f"msff scale.name=paper {PATH}=0.7", "", 6),
        ("msff_fused", "", 15),
    ],
)
def test_the_papers_number_stands_beside_the_same_value_alone(row, printed, place):
    assert (printed_row(row, PUBLISHED), place_of(row, PUBLISHED)) == (printed, place)


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ((1,), ["msff"]),
        ((1.0, 0.0), [f"msff {PATH}=0.0", "msff"]),
        ((0.5,), [f"msff {PATH}=0.5"]),
        ((2, 0.1), [f"msff {PATH}=0.1", f"msff {PATH}=2.0"]),
    ],
)
def test_every_value_but_the_papers_own_is_a_row_named_by_it(tmp_path, values, rows):
    for value in values:
        settings = {PATH: value}
        write_run(tmp_path / f"{value}", "msff", num_patients=2, num_folds=1, structures=("disc",), settings=settings)
    runs = load_runs([tmp_path], varied_settings(PUBLISHED))
    assert sorted({run.row for run in runs.runs}) == sorted(rows)


def test_values_differ_from_the_smallest_and_have_the_papers_beside():
    table = tables_of(cases_of({2.0: 0.90, 0.0: 0.88, 1.0: 0.91})).pop("varied")
    assert table["value"].tolist() == ["0.0", "1.0", "2.0"]
    assert table["published"].tolist() == pytest.approx([88.71, 89.11, 89.09])
    assert isnan(table["difference"][0])
    assert table["difference"][1:].tolist() == pytest.approx([0.03, 0.02], abs=0.002)
    assert (table["p_holm"][1:] < 0.05).all()
    assert table["num_seeds"].tolist() == [3] * 3


@pytest.mark.parametrize(
    ("means", "larger", "words"),
    [
        ({0.0: 0.90, 0.5: 0.91, 1.0: 0.93, 2.0: 0.91}, True, "larger than seed noise"),
        (dict.fromkeys(ROWS, 0.9), False, "within seed noise"),
    ],
)
def test_an_effect_is_told_from_seed_noise(means, larger, words):
    tables = tables_of(cases_of(means, seed_sd=0.003))
    line = tables["varied_noise"].iloc[0]
    assert (line["p"] < 0.05) == larger == (line["range"] > line["noise_range"])
    assert (line["num_folds"], line["num_seeds"], line["num_values"]) == (2, 3, 4)
    (text,) = noise_sentences(evidence_of(tables))
    assert words in text
    assert "Margin of interest: 0.5 points" in text


def test_the_plot_shows_the_difference_of_the_patients_that_both_have():
    table = pd.DataFrame({"value": [0.0, 1.0], "control": 0.0, "mean": [0.80, 0.79], "difference": [np.nan, -0.02]})
    assert paired_differences(table) == pytest.approx([0, -0.02])


def test_noise_of_two_trainings_by_hand():
    """Two values, two seeds on the same patients: of the six ways to deal four trainings, two give what was found."""
    cases = cases_of({0.0: 0.5, 1.0: 0.6}, seeds=(0, 1)).assign(fold=0)
    cases["dice"] = np.where(cases["row"] == "msff", 0.6, 0.5)
    line = tables_of(cases)["varied_noise"].iloc[0]
    assert line["range"] == pytest.approx(0.1)
    assert line["p"] == pytest.approx(1 / 3, abs=0.03)
    assert line["noise_range"] == pytest.approx(0.1)


def test_one_seed_tells_nothing_about_noise():
    tables = tables_of(cases_of({0.0: 0.88, 1.0: 0.91}, seeds=(0,)))
    assert isnan(tables["varied_noise"]["p"].iloc[0])
    (text,) = noise_sentences(evidence_of(tables))
    assert "one seed" in text


def test_gains_stand_in_the_order_of_area_and_the_correlation_is_theirs():
    tables = tables_of(cases_of({0.0: 0.85, 1.0: 0.85}, gain=2.0))
    gains = tables["varied_gains"].set_index("structure")
    assert list(gains.index) == ["ligamentum_flavum", "dural_sac", "psoas", "disc", "mean"]
    expected = [2.0 / AREAS[name] for name in gains.index[:-1]]
    assert gains["difference"][:-1].tolist() == pytest.approx(expected, abs=0.003)
    assert gains["area_mm2"][:-1].tolist() == sorted(AREAS.values())
    assert gains.loc["mean", "correlation_high"] < 0
    (text,) = size_sentences(evidence_of(tables))
    assert text.endswith("small structures gain more.")


def test_rank_correlation_by_hand():
    gains = pd.DataFrame({"a": [3.0, 1.0, 1.0, nan], "b": [2.0, 2.0, 1.0, 1.0], "c": [1.0, 3.0, 1.0, 2.0]})
    areas = pd.DataFrame({"a": [1.0] * 4, "b": [2.0] * 4, "c": [9.0] * 4})
    assert rank_correlations(gains, areas).tolist() == pytest.approx([-1.0, 1.0])


@pytest.mark.parametrize(
    ("means", "gain", "verdicts"),
    [
        ({0.0: 0.85, 1.0: 0.86}, 2.0, ["reproduced"] * 3),
        ({0.0: 0.86, 1.0: 0.86}, 0.0, ["not reached", "within noise", "not reached"]),
    ],
)
def test_claims_about_the_varied_setting(means, gain, verdicts):
    cases = cases_of(means, gain=gain, seed_sd=0.0005)
    evidence = make_evidence(cases, reference="msff").with_tables(**tables_of(cases))
    chosen = ("ligamentum-flavum-gains", "small-structures-gain-most", "alpha-beyond-seeds")
    ledger = judge(evidence, tuple(CLAIMS[name] for name in chosen)).set_index("id")
    assert ledger.loc[list(chosen), "verdict"].tolist() == verdicts


def test_a_missing_value_is_asked_for_by_a_command_that_trains_it():
    evidence = make_evidence(cases_of({1.0: 0.9}), reference="msff")
    (note,) = judge(evidence, (CLAIMS["size-adaptive-loss-helps"],))["note"]
    assert f"python run.py sweep=msff_table2 experiment=msff {PATH}=0.0" in note


def test_claims_of_the_paper_are_margined_by_its_numbers():
    """Half the published difference, at most half a point."""
    means = PUBLISHED.set_index("row")["mean"] / 100
    families = ("msff table 1", "msff neighbours", "alpha")
    tested = [claim for claim in CLAIMS.values() if claim.test == "superior" and claim.family in families]
    tested = [claim for claim in tested if not isnan(claim.margin)]
    assert len(tested) == 12
    for claim in tested:
        half = (means[claim.row] - means[claim.other_row]) / 2
        assert claim.margin == pytest.approx(min(half, 0.005), abs=1e-4), claim.id


@pytest.mark.slow
def test_the_report_has_the_setting_encoder_weights_and_what_is_reconstructed(tmp_path):
    common = {"num_patients": 6, "num_folds": 1, "structures": ("disc", "lamina")}
    for value in (0.0, 1.0):
        write_run(tmp_path / f"{value}", "msff", settings={PATH: value, "model.weights": None}, **common)
    settings = {"model.weights": "/of/ours/vgg11.pth", "paper.reconstructed": True}
    write_run(tmp_path / "lumnet", "lumnet", settings=settings, **common)
    runs = load_runs([tmp_path], varied_settings(PUBLISHED))
    evidence = gather(runs, table=["msff_table2_alpha"], reference=None, margin=0.005)
    assert (evidence.reference, evidence.rows) == ("msff", (f"msff {PATH}=0.0", "msff", "lumnet"))
    printed = {table.title: table for table in printed_tables(evidence)}
    primary = printed["Primary endpoint: Dice, patient mean over structures, split by patient"]
    assert primary.header[-1] == "encoder weights"
    assert [(line[0].text, line[-1].text) for line in primary.rows if not line[0].below] == [
        ("MSFF network, alpha 0", "none"),
        ("MSFF network, alpha 1", "none"),
        ("lumnet (reconstructed)", "vgg11.pth"),
    ]
    assert [line[1].text for line in printed["Values of alpha, Dice by patient"].rows] == ["0", "1"]
    gains = printed["Gain by structure, from the smallest up: alpha 1 minus alpha 0"]
    assert [line[0].text for line in gains.rows] == ["disc", "lamina", "mean"]
    assert [block.kind for block in varied(evidence)] == ["text", "figures", "table", "heading", "figures", "table"]
    write_tables(evidence, tmp_path / "lumnet")
    for name in ("varied", "varied_noise", "varied_gains"):
        assert len(pd.read_csv(tmp_path / "lumnet" / f"{name}.csv")) == len(evidence[name]) > 0
