"""What a chapter is made of; the template draws each block by its kind, and tables are printed elsewhere, too."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Section:
    """A chapter as it is drawn: `key` is its anchor."""

    key: str
    title: str
    blocks: Sequence["Block"]


@dataclass(frozen=True)
class Text:
    """A paragraph; `tone` is "", "lead" (the result in one sentence) or "warning" (what a reader must not overlook)."""

    kind: ClassVar[str] = "text"
    text: str
    tone: str = ""


@dataclass(frozen=True)
class Gap:
    """Something that could not be shown: what is missing, and the command that provides it."""

    kind: ClassVar[str] = "gap"
    text: str
    command: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading inside a chapter."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table: a value, and a smaller second line below it. `tone` names a style of the template."""

    text: str
    below: str = ""
    bold: bool = False
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A `reports.render.tables.Table` with its lines; `short` are the columns that a terminal shows."""

    kind: ClassVar[str] = "table"
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    notes: Sequence[str] = ()
    main: bool = False
    short: Sequence[int] = ()
    stacked: bool = False


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture: `source` is a data URI, `width` its natural width in CSS pixels."""

    source: str
    alt: str
    width: int
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures beside each other where there is room; given as a function, they are drawn for the page alone."""

    kind: ClassVar[str] = "figures"
    figures: Sequence[Figure] | Callable[[], Sequence[Figure]]
    caption: str = ""

    @property
    def drawn(self) -> Sequence[Figure]:
        """The figures."""
        return self.figures() if callable(self.figures) else self.figures


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """A case of a gallery: what it is, and a picture per column, or a word where there is none."""

    title: str
    note: str
    pictures: Sequence[Figure | str]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures in rows (cases) and columns; `legend` holds (name, "#rrggbb")."""

    kind: ClassVar[str] = "gallery"
    caption: str
    columns: Sequence[str]
    rows: Sequence[PictureRow]
    legend: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Facts as pairs of a term and what it is."""

    kind: ClassVar[str] = "terms"
    terms: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Lines:
    """A list of sentences, or of commands in a fixed-width font."""

    kind: ClassVar[str] = "lines"
    lines: Sequence[str]
    code: bool = False


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Blocks that a reader opens when wanted."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: Sequence["Block"] = field(default_factory=tuple)


Block = Text | Gap | Heading | Grid | Figures | Gallery | Terms | Lines | Folded


def grids(blocks: Iterable[Block]) -> Iterator[Grid]:
    """Every table that has a line, folded ones among them."""
    for block in blocks:
        if isinstance(block, Folded):
            yield from grids(block.blocks)
        elif isinstance(block, Grid) and block.rows:
            yield block
