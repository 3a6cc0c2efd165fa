"""A table declared once: where its columns come from and how they are written.

`Table.of` makes its lines a block; Markdown, LaTeX and the terminal (`reports.render.text`) and the page print that.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import pandas as pd

from reports.render.blocks import Block, Cell, Folded, Grid
from reports.render.formats import DASH, interval, is_number, number, p_value, spoken, word
from reports.statistics.intervals import FEWEST_FOR_TEST

Line = Mapping[str, Any]
# How a column is written: shares in percent, with one decimal; differences of them, with two and their sign.
PERCENT: dict[str, Any] = {"scale": 100.0}
POINTS: dict[str, Any] = {"scale": 100.0, "digits": 2, "signed": True}
POINTS_SD: dict[str, Any] = {"scale": 100.0, "digits": 2}
COUNT: dict[str, Any] = {"digits": 0}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its head; unit behind a comma.
        of: Column of the frame, or a function of a line.
        kind: "number", "p", "row" (called by its label), "words" (a name as one writes it) or "text".
        digits: Decimals of a number.
        scale: What it is multiplied by.
        signed: Whether a plus is written.
        interval: Beginning of the columns `_low`, `_high` and `_interval` (else `interval`) that stand below a number.
        below: What else stands below.
        absent: What an undefined number is written as.
        bold: Column, or a function of a line, that says whether the cell is bold.
        tone: Style of the page.
        optional: Left out where it is a dash on every line.
        short: Shown in a terminal.
    """

    title: str
    of: str | Callable[[Line], Any]
    _: KW_ONLY
    kind: str = "number"
    digits: int = 1
    scale: float = 1.0
    signed: bool = False
    interval: str = ""
    below: Callable[[Line], str] | None = None
    absent: str | Callable[[Line], str] = DASH
    bold: str | Callable[[Line], bool] = ""
    tone: str = ""
    optional: bool = False
    short: bool = False

    @property
    def header(self) -> str:
        """The head with what its brackets are."""
        return f"{self.title} [95 %]" if self.interval else self.title

    def cell(self, line: Line, labels: Mapping[str, str]) -> Cell:
        """What stands in it."""
        value = self.of(line) if callable(self.of) else line.get(self.of)
        parts = (self._ends(value, line), self.below(line) if self.below else "")
        bold = self.bold(line) if callable(self.bold) else line.get(self.bold)
        tone = self.tone or {"row": "name", "words": "prose"}.get(self.kind, "")
        text = self._text(value, line, labels)
        return Cell(text=text, below=" ".join(filter(None, parts)), bold=str(bold) == "True", tone=tone)

    def _text(self, value: Any, line: Line, labels: Mapping[str, str]) -> str:
        if self.kind == "row":
            return labels.get(str(value), str(value))
        if self.kind in ("words", "text"):
            return (spoken(word(value)) if self.kind == "words" else word(value)) or DASH
        if is_number(value):
            return (
                p_value(value) if self.kind == "p" else number(value, self.digits, signed=self.signed, scale=self.scale)
            )
        absent = self.absent(line) if callable(self.absent) else self.absent
        return number(value) if absent == DASH else absent

    def _ends(self, value: Any, line: Line) -> str:
        if not (self.interval and is_number(value)):
            return ""
        low, high = (line.get(f"{self.interval}_{end}") for end in ("low", "high"))
        start, colon, _ = self.interval.rpartition(":")  # of a line of `wide`
        kind = line.get(f"{self.interval}_interval", line.get(f"{start}{colon}interval"))
        return interval(low, high, self.digits, signed=self.signed, scale=self.scale, kind=word(kind))


def _untested(line: Line) -> str:
    return "not testable" if 0 < line.get("num_pairs", 0) < FEWEST_FOR_TEST else DASH


ROW = Column("row", "row", kind="row", short=True)
PATIENTS = Column("patients", "num_patients", **COUNT)
P_HOLM = Column("p after Holm", "p_holm", kind="p", absent=_untested)


def counts(**titles: str) -> list[Column]:
    """Columns of whole numbers: their columns of the frame, and what they are called."""
    return [Column(title, name, **COUNT) for name, title in titles.items()]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table without its lines; title, caption, heads and notes may hold words in braces that `of` is given.

    Attributes:
        title: What it is, in a heading.
        columns: From left to right.
        caption: What else has to be said before it.
        notes: What has to be said behind it.
        main: Whether LaTeX prints it.
        stacked: Whether each line becomes a card on a narrow screen.
        terminal: Whether a terminal shows its short columns.
    """

    title: str
    columns: Sequence[Column]
    caption: str = ""
    notes: Sequence[str] = ()
    main: bool = False
    stacked: bool = False
    terminal: bool = False

    def of(
        self,
        lines: pd.DataFrame | Iterable[Line],
        labels: Mapping[str, str],
        *,
        columns: Sequence[Column] = (),
        notes: Sequence[str] = (),
        **words: Any,
    ) -> Grid:
        """The table of these lines.

        Args:
            lines: A frame, or its lines.
            labels: What rows are called.
            columns: Further columns, behind its own.
            notes: Further notes, as they stand.
            words: What stands in braces.
        """
        records: Any = lines.to_dict("records") if isinstance(lines, pd.DataFrame) else list(lines)
        shown = [*self.columns, *columns]
        cells = [[column.cell(line, labels) for line in records] for column in shown]
        kept = [
            place
            for place, column in enumerate(shown)
            if not column.optional or any(cell.text != DASH for cell in cells[place])
        ]
        # Names of people's own rows may hold braces.
        header = [column.header.format(**words) for column in self.columns] + [column.header for column in columns]
        short = [position for position, place in enumerate(kept) if shown[place].short] if self.terminal else ()
        return Grid(
            title=self.title.format(**words),
            header=[header[place] for place in kept],
            rows=[[cells[place][position] for place in kept] for position in range(len(records))],
            caption=self.caption.format(**words),
            notes=[*(note.format(**words) for note in self.notes), *notes],
            main=self.main,
            short=short,
            stacked=self.stacked,
        )

    def first_and_rest(self, first: pd.DataFrame, rest: pd.DataFrame, labels: Mapping[str, str]) -> list[Block]:
        """What is read first, and the same for each structure behind a fold."""
        if rest.empty:
            return [self.of(first, labels)]
        each = self.of(rest, labels)
        each = replace(each, title=f"{each.title}: each structure", caption="Exploratory.", notes=())
        return [self.of(first, labels), Folded(summary="Each structure", blocks=[each])]


def wide(frame: pd.DataFrame, keys: Sequence[str], by: str) -> list[dict[str, Any]]:
    """A line for each of `keys`; what a line of the frame has stands in it under `NAME:column`, NAME being its `by`."""
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in frame.to_dict("records"):
        line = lines.setdefault(tuple(record[key] for key in keys), {key: record[key] for key in keys})
        line |= {f"{record[by]}:{name}": value for name, value in record.items()}
    return list(lines.values())
