"""Numbers that may fall and not rise: a change that lifts one says why."""

from pathlib import Path

from reports.chapters.contents import CHAPTERS
from reports.readouts import declared_parts, files, readouts

ROOT = Path(__file__).resolve().parents[2]
REPORTS = sorted((ROOT / "reports").rglob("*.py"))
MOST_LINES = 5692  # of reports/ without its read-outs, of which there may be more
LONGEST_READOUT = 225
MOST_MENTIONS = 19  # of a read-out's table, outside its own file: claims, pictures, and what is said of it elsewhere


def mentions():
    """Pairs of a read-out's table and a file that knows it, beside those that declare and those that build on it."""
    found = set()
    own = {name: module.__file__ for module in readouts() for name in getattr(module, "FILES", {})}
    for path in REPORTS:
        text = path.read_text(encoding="utf-8")
        found |= {(name, path.relative_to(ROOT).as_posix()) for name in own if f'evidence["{name}"]' in text}
    return sorted((name, path) for name, path in found if own[name] != str(ROOT / path))


def test_reports_do_not_grow():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in REPORTS}
    own = {path: count for path, count in lines.items() if path.parent.name == "readouts"}
    assert sum(lines.values()) - sum(own.values()) <= MOST_LINES
    assert max(own.values()) <= LONGEST_READOUT


def test_a_read_out_is_one_file():
    assert len(mentions()) <= MOST_MENTIONS, mentions()


def test_every_read_out_says_something_in_a_chapter_that_there_is():
    assert {part.chapter for part in declared_parts()} <= set(CHAPTERS)
    assert all(hasattr(module, "PARTS") or hasattr(module, "build") for module in readouts())
    assert len(files()) > 10
