"""A table declared once: what becomes of its lines in a cell, and the same in every form that is printed."""

import numpy as np
import pandas as pd
import pytest

from reports.render.blocks import Folded, grids
from reports.render.tables import COUNT, P_HOLM, PERCENT, POINTS, ROW, Column, Table, counts, wide
from reports.render.text import joined

LABELS = {"a": "System A"}
LINE = {
    "row": "a",
    "dice": 0.9125,
    "dice_low": 0.9,
    "dice_high": 0.93,
    "interval": "t",
    "gap": -0.0123,
    "p_holm": 0.0001,
}


def text_of(column, **changes):
    return joined(column.cell(LINE | changes, LABELS))


@pytest.mark.parametrize(
    ("column", "changes", "expected"),
    [
        (ROW, {}, "System A"),
        (ROW, {"row": "b"}, "b"),
        (Column("Dice, %", "dice", **PERCENT), {}, "91.2"),
        (Column("Dice, %", "dice", interval="dice", **PERCENT), {}, "91.2 [90.0 to 93.0]"),
        (Column("Dice, %", "dice", interval="dice", **PERCENT), {"interval": "range"}, "91.2 (range 90.0 to 93.0)"),
        (
            Column("Dice, %", "dice", interval="dice", **PERCENT),
            {"dice_interval": "range"},
            "91.2 (range 90.0 to 93.0)",
        ),
        (Column("Dice, %", "dice", interval="dice", **PERCENT), {"dice": np.nan}, "–"),
        (Column("gap", "gap", **POINTS), {}, "−1.23"),
        (Column("gap", lambda line: -line["gap"], **POINTS), {}, "+1.23"),
        (P_HOLM, {}, "< 0.001"),
        (P_HOLM, {"p_holm": np.nan}, "–"),
        (P_HOLM, {"p_holm": np.nan, "num_pairs": 3}, "not testable"),
        (Column("n", "num", **COUNT), {"num": 1200}, "1,200"),
        (Column("n", "num", **COUNT), {"num": pd.NA}, "–"),
        (Column("share", "num", absent="none below"), {"num": np.nan}, "none below"),
        (Column("name", "name", kind="words"), {"name": "psoas_left"}, "psoas left"),
        (Column("name", "name", kind="text", below=lambda line: "(more)"), {"name": "a_b"}, "a_b (more)"),
    ],
)
def test_a_value_is_written_by_its_column(column, changes, expected):
    assert text_of(column, **changes) == expected


def test_words_stand_in_braces_and_names_of_people_may_have_some():
    table = Table(title="{what} of {{}}", columns=[ROW], notes=["of {what}"])
    grid = table.of([LINE], LABELS, columns=[Column("{odd}", "dice")], notes=["{as it stands}"], what="Dice")
    assert (grid.title, list(grid.header)) == ("Dice of {}", ["row", "{odd}"])
    assert list(grid.notes) == ["of Dice", "{as it stands}"]


def test_an_optional_column_without_a_value_is_left_out():
    table = Table(title="t", columns=[ROW, Column("x", "x", optional=True), *counts(n="patients")], terminal=True)
    bare, full = (table.of(lines, LABELS) for lines in ([LINE], [LINE, LINE | {"x": 1.0}]))
    assert (list(bare.header), list(full.header)) == (["row", "patients"], ["row", "x", "patients"])
    assert bare.short == [0]


def test_a_column_is_bold_where_its_line_says_so():
    column = Column("Dice", "dice", bold="best")
    assert column.cell(LINE | {"best": np.True_}, LABELS).bold
    assert not column.cell(LINE | {"best": pd.NA}, LABELS).bold
    assert not column.cell(LINE, LABELS).bold


def test_lines_become_wide_by_a_name():
    frame = pd.DataFrame({"row": ["a", "a", "b"], "structure": ["disc", "canal", "disc"], "mean": [0.9, 0.8, 0.7]})
    first, second = wide(frame, ["row"], "structure")
    assert (first["row"], first["disc:mean"], first["canal:mean"]) == ("a", 0.9, 0.8)
    assert "canal:mean" not in second


def test_the_rest_is_folded_and_printed():
    table = Table(title="t", columns=[ROW])
    blocks = table.first_and_rest(pd.DataFrame([LINE]), pd.DataFrame([LINE, LINE]), LABELS)
    assert isinstance(blocks[1], Folded)
    assert [(grid.title, len(grid.rows)) for grid in grids(blocks)] == [("t", 1), ("t: each structure", 2)]
