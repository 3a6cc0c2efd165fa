"""Pages of the documentation taken apart: code blocks, commands, links, anchors, what stands in backticks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "models").rglob("*.md")),
    *(ROOT / "benchmarks" / "README.md", ROOT / "reports" / "published" / "README.md"),
]
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = "python run.py"


@dataclass(frozen=True)
class Block:
    """A code block: its language ("" for none) and its text."""

    page: Path
    language: str
    text: str


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> list[Block]:
    return [Block(page, match["language"], match["text"]) for match in FENCE.finditer(text_of(page))]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text_of(page))


def spans(page: Path) -> list[str]:
    """What stands in backticks; in a table, \\| is |."""
    return [found.replace("\\|", "|") for found in re.findall(r"`([^`\n]+)`", prose(page))]


def links(page: Path) -> list[str]:
    """Targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]+`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """What a link may name behind #, as GitHub makes it of the headings."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", head).lower()).replace(" ", "-") for head in heads]
    return {word if number == 0 else f"{word}-{number}" for word, number in zip(words, _earlier(words), strict=True)}


def _earlier(words: list[str]) -> list[int]:
    return [words[:place].count(word) for place, word in enumerate(words)]


def sections(page: Path) -> dict[str, str]:
    """Text below each heading, up to the next one."""
    parts = re.split(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def run_lines(page: Path) -> list[str]:
    """Arguments of every `python run.py` in the code blocks of a page."""
    lines = [part.strip() for block in blocks(page) for line in block.text.splitlines() for part in line.split("&&")]
    return [line.removeprefix(RUN).strip() for line in lines if line.startswith(RUN)]


def swept(line: str) -> list[list[str]]:
    """Of every setting of a command, one override for each of its values: `a=1,2 b=3` is [[a=1, a=2], [b=3]]."""
    words = [word for word in shlex.split(line) if word != "-m"]
    return [list(_values(each)) for each in OverridesParser.create().parse_overrides(words)]


def _values(override: Override) -> Iterator[str]:
    if not override.is_sweep_override():
        yield str(override.input_line)
        return
    for value in override.sweep_iterator(transformer=Transformer.encode):
        yield f"{override.get_key_element()}={value}"
