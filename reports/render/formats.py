"""Values for print: numbers as text, and the rows of a table by their keys. An undefined number is a dash."""

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

DASH = "–"
MINUS = "−"


def is_number(value: Any) -> bool:
    """Whether there is a finite number to print."""
    return isinstance(value, Real) and math.isfinite(value)


def number(value: Any, digits: int = 1, *, signed: bool = False, scale: float = 1.0) -> str:
    """A number times `scale` with so many digits and a true minus sign."""
    if not is_number(value):
        endless = isinstance(value, Real) and math.isinf(value)
        return (f"{MINUS if value < 0 else ''}∞") if endless else DASH
    rounded = round(value * scale, digits) + 0.0  # no minus before a zero
    sign = "+" if signed and rounded > 0 else ""
    return f"{sign}{rounded:,.{digits}f}".replace("-", MINUS)


def percent(value: Any, digits: int = 1) -> str:
    """A share of 0..1 as percent, without the sign."""
    return number(value, digits, scale=100.0)


def points(value: Any, digits: int = 2) -> str:
    """A difference of shares as signed percentage points."""
    return number(value, digits, signed=True, scale=100.0)


def interval(low: Any, high: Any, digits: int = 1, *, signed: bool = False, scale: float = 1.0, kind: str = "") -> str:
    """Both ends, or nothing where there are none; a range of values is no interval, and is called one."""
    if not (is_number(low) and is_number(high)):
        return ""
    ends = (number(end, digits, signed=signed, scale=scale) for end in (low, high))
    return f"(range {' to '.join(ends)})" if kind == "range" else f"[{' to '.join(ends)}]"


def p_value(value: Any) -> str:
    """A p as papers print it."""
    if not is_number(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(value: Any) -> str:
    """A whole number."""
    return number(value, 0)


def word(value: Any) -> str:
    """A text; empty for a missing one."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def spoken(name: str) -> str:
    """A structure's name as one writes it."""
    return name.replace("_", " ")


def listed(names: Iterable[Any], limit: int = 8) -> str:
    """Distinct names joined by commas, the rest counted."""
    known = list(dict.fromkeys(str(name) for name in names))
    shown = ", ".join(known[:limit])
    return f"{shown} and {len(known) - limit} more" if len(known) > limit else shown


def pick(frame: pd.DataFrame, **equals: Any) -> pd.DataFrame:
    """Rows whose columns have these values; none where a column is missing."""
    if frame.empty or not set(equals) <= set(frame.columns):
        return frame.iloc[:0]
    keep = pd.Series(data=True, index=frame.index)
    for column, value in equals.items():
        keep &= frame[column] == value
    return frame.loc[keep]


def record(frame: pd.DataFrame, **equals: Any) -> dict[str, Any]:
    """The first such row as a dictionary, empty where there is none."""
    found = pick(frame, **equals)
    return {str(key): value for key, value in found.iloc[0].items()} if len(found) else {}


def has_values(frame: pd.DataFrame, *columns: str) -> bool:
    """Whether any row has a number in one of the columns."""
    return any(bool(np.isfinite(numbers(frame, column)).any()) for column in columns)


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A column as floats, NaN where there is no number; empty where there is no such column."""
    if column not in frame.columns:
        return np.zeros(0)
    return np.asarray(pd.to_numeric(frame[column], errors="coerce"), dtype=float)
