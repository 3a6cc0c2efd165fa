"""The pages on design: the house is the one that stands, and sections of the protocol that sources cite are there."""

import re

import pytest

from tests.house.test_import_rules import ALLOWED
from tests.made.pages import ROOT, anchors, sections, text_of

HOUSE, PROTOCOL = ROOT / "docs" / "house.md", ROOT / "docs" / "protocol.md"
# `docs/protocol.md, "Section"`; in sources also PROTOCOL, section (the beginning of its name).
CITED = re.compile(r"(?:docs/protocol\.md|\bPROTOCOL(?:\.md)?), (?:\"(?P<quoted>[^\"]+)\"|(?P<bare>[a-z][a-z ]+[a-z]))")
SOURCES = [
    path for place in (*ALLOWED, "conf") for path in (ROOT / place).rglob("*.*") if path.suffix in (".py", ".yaml")
]


def headings(page):
    return [name.lower() for name in sections(page)]


def citations(text):
    """Names of sections; a comment may go on in the next line."""
    joined = re.sub(r"\s*\n\s*(?:#\s*)?", " ", text)
    return [(match["quoted"] or match["bare"]).lower() for match in CITED.finditer(joined)]


@pytest.mark.parametrize("path", [path for path in SOURCES if citations(path.read_text())], ids=lambda path: path.stem)
def test_a_section_of_the_protocol_that_is_cited_is_there(path):
    for name in citations(path.read_text()):
        assert any(head.startswith(name) for head in headings(PROTOCOL)), name


def test_a_citation_is_seen_however_it_is_broken():
    text = 'as (docs/protocol.md, "Fair\n    # rows") says, and PROTOCOL, fat: more'
    assert citations(text) == ["fair rows", "fat"]
    assert len([path for path in SOURCES if citations(path.read_text())]) > 10
    assert "fair-rows" in anchors(PROTOCOL)


def test_the_rooms_are_those_that_stand():
    (tree,) = re.findall(r"^## Rooms\n+```\n(.*?)^```$", text_of(HOUSE), re.MULTILINE | re.DOTALL)
    named, above = [], ""
    for line in tree.splitlines():
        name = line.split()[0]
        above = above if line.startswith(" ") else name
        named.append(above + name if line.startswith(" ") else name)
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert {f"{name}/" for name in (*ALLOWED, "conf", "docs", "tests")} <= set(named)


def test_the_arrows_are_those_that_are_enforced():
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", sections(HOUSE)["Import arrows"], re.MULTILINE)
    assert {room: set(re.findall(r"`(\w+)`", may)) for room, may in rows} == ALLOWED
