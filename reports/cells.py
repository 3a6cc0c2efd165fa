"""What a printed table is made of: text cells, and how a number becomes one."""

from dataclasses import dataclass
from math import isinf, isnan
from typing import Any

GAP = "-"
INCOMPLETE = "*"


@dataclass(frozen=True)
class Text:
    """A cell. `bold` by the rule of `reports.statistics.comparisons.bold_rows`."""

    text: str
    bold: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table: `header` and `lines` have the same number of cells; `main` ones are the paper's."""

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[Text, ...], ...]
    main: bool = False


def number(value: Any, digits: int = 1) -> str:
    """A number, or the mark of a gap."""
    if value is None or isnan(value):
        return GAP
    return f"{value:.{digits}f}" if not isinf(value) else ("inf" if value > 0 else "-inf")


def p_value(value: Any, *, testable: bool = True) -> str:
    """A p value; "not testable" where there are too few patients."""
    if not testable:
        return "not testable"
    if value is None or isnan(value):
        return GAP
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def with_interval(mean: Any, low: Any, high: Any, kind: str, digits: int = 2) -> str:
    """Mean and interval; a range is marked, as it is none.

    A level in percent has one digit behind the point, a difference in points two: the margin of interest is half a
    point.
    """
    if mean is None or isnan(mean):
        return GAP
    ends = f"{number(low, digits)} to {number(high, digits)}"
    return f"{number(mean, digits)} [{ends}]" if kind != "range" else f"{number(mean, digits)} (range {ends})"


def words(name: str) -> str:
    """A structure's name as a heading."""
    return name.replace("_", " ")
