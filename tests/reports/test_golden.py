"""Numbers of a report may not move: every CSV file of small fixed ones is what it was.

Numbers are compared with nine significant digits, since processors add up in different orders; longer tables by a
digest of every column. Where a number is meant to change, `python -m tests.made.golden_reports` writes them anew, and
the CHANGELOG says why.
"""

import pytest

from reports.evidence import TABLES
from reports.readouts import files
from tests.made.golden_reports import GOLDEN, REPORTS, golden_evidence, golden_tables


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "values" else pytest.mark.slow) for name in REPORTS]
)
def test_every_table_of_a_report_is_what_it_was(tmp_path, name):
    evidence = golden_evidence(name, tmp_path / "runs")
    (tmp_path / "report").mkdir()
    found = golden_tables(evidence, tmp_path / "report")
    known = {path.name: path.read_text(encoding="utf-8") for path in (GOLDEN / name).iterdir()}
    assert found.keys() == known.keys()
    moved = {file: _difference(found[file], known[file]) for file in known if found[file] != known[file]}
    assert not moved
    assert set(evidence.tables) == {*TABLES, *files()}, "what each table is, TABLES or the FILES of a read-out say"


def _difference(found, known):
    """The first lines that differ."""
    pairs = zip(found.splitlines(), known.splitlines(), strict=False)
    return [pair for pair in pairs if pair[0] != pair[1]][:3] or "another number of lines"
