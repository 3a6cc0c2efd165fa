"""Numbers of a results page can be followed: to a table that is stored beside it, and that to a command on the page."""

import re

import pandas as pd
import pytest

from tests.made.pages import ROOT, run_lines, sections

RESULTS = ROOT / "docs" / "results"
STORED = sorted(path for path in (RESULTS / "tables").iterdir() if path.is_dir())
FILES = ("table.csv", "claims.csv")


@pytest.fixture(params=STORED, ids=lambda path: path.name)
def stored(request):
    return request.param


def sections_on(stored):
    """Pages and texts of the sections that link to the files of a folder."""
    targets = [f"](tables/{stored.name}/{file})" for file in FILES]
    found = [(page, text) for page in sorted(RESULTS.glob("*.md")) for text in sections(page).values()]
    return [(page, text) for page, text in found if all(target in text for target in targets)]


def test_one_section_prints_a_stored_table_and_how_it_is_made_again(stored):
    ((page, text),) = sections_on(stored)
    table = pd.read_csv(stored / "table.csv")
    means = table.loc[(table["structure"] == "mean") & table["patient_mean"].notna(), "patient_mean"]
    assert len(means) > 1
    assert not {f"{mean:.1f}" for mean in means} - set(re.findall(r"\d+\.\d", text))
    sweep = stored.name.split("-")[0]
    assert any(f"sweep={sweep}" in line.split() for line in run_lines(page))


def test_every_stored_claim_has_an_answer(stored):
    claims = pd.read_csv(stored / "claims.csv")
    assert len(claims)
    assert claims["verdict"].notna().all()
