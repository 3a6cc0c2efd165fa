"""What the summary page shows of the numbers: a few per structure, of which morphometry.csv has every slice."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean
from typing import Any

from metrics.morphometry import probability_column

Rows = Sequence[Mapping[str, Any]]
SIDES = ("right", "left", "both")  # in the order of the picture


@dataclass(frozen=True, kw_only=True)
class Group:
    """Lines of a table under a title of their own."""

    title: str
    rows: list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text."""

    caption: str
    header: list[str]
    groups: list[Group]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a column of morphometry.csv is shown."""

    column: str
    heading: str
    unit: str = "mm"
    factor: float = 1.0
    decimals: int = 1
    both: bool = True  # whether both sides together are shown beside each

    @property
    def header(self) -> str:
        """Heading with its unit."""
        return f"{self.heading}, {self.unit}" if self.unit else self.heading

    def value(self, rows: Rows) -> str:
        """Mean, with the standard deviation between networks; a dash where nothing could be measured."""
        numbers = _numbers(rows, self.column)
        if not numbers:
            return "–"
        spread = _numbers(rows, f"{self.column}_sd")
        texts = [f"{self.factor * fmean(each):.{self.decimals}f}" for each in (numbers, spread) if each]
        return " ± ".join(texts)


AREA = Shown(column="csa_mm2", heading="area", unit="mm²", decimals=0)
BY_SIDE = (
    AREA,
    Shown(column="lean_csa_mm2", heading="lean", unit="mm²", decimals=0, both=False),
    Shown(column="fat_pixel_share", heading="fat pixels", unit="%", factor=100.0),
    Shown(column="fat_fraction_signal", heading="fat signal", unit="%", factor=100.0, both=False),
)
ASYMMETRY = Shown(column="csa_asymmetry_percent", heading="left − right", unit="%")
GRADES = {"goutallier_simplified": "grade I to III", "goutallier": "grade 0 to 4"}
SAGITTAL = {
    "vertebral bodies": (
        Shown(column="anterior_height_mm", heading="height in front"),
        Shown(column="middle_height_mm", heading="in the middle"),
        Shown(column="posterior_height_mm", heading="at the back"),
        Shown(column="depth_mm", heading="depth"),
        Shown(column="wedge_degrees", heading="wedge", unit="°"),
    ),
    "discs": (
        Shown(column="disc_height_mm", heading="height"),
        Shown(column="disc_height_index", heading="height index", unit="", decimals=2),
    ),
    "lumbar spine": (Shown(column="lordosis_degrees", heading="lordosis", unit="°"),),
}


def tables_of(rows: Rows) -> list[Table]:
    """Tables of one patient, from his rows of morphometry.csv, with a group of lines for every block of every scan."""
    blocks = {
        str(name): [row for row in rows if row["label_map"] == name] for name in {row["label_map"]: 0 for row in rows}
    }
    is_sagittal = any(shown.column in row for row in rows for group in SAGITTAL.values() for shown in group)
    return _sagittal(blocks) if is_sagittal else _axial(blocks)


def _axial(blocks: Mapping[str, Rows]) -> list[Table]:
    """A line per structure; means over the slices on which it was found."""
    every = [row for rows in blocks.values() for row in rows]
    if not every:
        return []
    sides = [side for side in SIDES if any(row["side"] == side for row in every)] or [""]
    columns = [shown for shown in BY_SIDE if _numbers(every, shown.column)]
    asymmetry = [ASYMMETRY] if _numbers(every, ASYMMETRY.column) else []
    grades = [column for column in GRADES if any(row.get(column) for row in every)]
    cells = [(shown, side) for shown in columns for side in sides if shown.both or side != "both" or len(sides) == 1]
    header = ["structure", "slices", *(f"{shown.header} {side}".strip() for shown, side in cells)]
    shares = [column for column in grades if _probabilities(every, column)]
    narrow = ["slices below threshold"] if any(row.get("area_threshold") for row in every) else []
    header += [*(shown.header for shown in asymmetry), *(GRADES[column] for column in grades)]
    header += [*(f"networks, {GRADES[column]}" for column in shares), *narrow]
    groups = []
    for name, rows in blocks.items():
        lines = []
        for structure in dict.fromkeys(row["structure"] for row in rows):
            whole = [row for row in rows if row["structure"] == structure and row["side"] in ("both", "")]
            present = {row["slice"] for row in whole if row["csa_mm2"] > 0}
            mine = [row for row in rows if row["structure"] == structure and row["slice"] in present]
            line = [str(structure).replace("_", " "), str(len(present)) if present else "not found"]
            # What has no sides stands where both sides together stand.
            line += [
                shown.value([row for row in mine if row["side"] == side or (not row["side"] and side == sides[-1])])
                for shown, side in cells
            ]
            both = [row for row in mine if row["side"] in ("both", "")]
            line += [shown.value(both) for shown in asymmetry]
            line += [_counted([row[column] for row in both]) for column in grades]
            line += [_listed(_probabilities(both, column)) for column in shares]
            line += [_num_below([row["area_threshold"] for row in both]) for _ in narrow]
            lines.append(line)
        level = next((f" {row['level']}" for row in rows if row["level"]), "")
        groups.append(Group(title=f"{name}{level}", rows=lines))
    return [Table(caption="Means over the slices on which a structure was found", header=header, groups=groups)]


def _sagittal(blocks: Mapping[str, Rows]) -> list[Table]:
    """Of the slice on which most was measured; of several such, the middle one."""
    every = [shown.column for group in SAGITTAL.values() for shown in group]
    shown_rows = {}
    for name, rows in blocks.items():
        counts = Counter(row["slice"] for row in rows for column in every if _numbers([row], column))
        best = sorted(number for number, count in counts.items() if count == max(counts.values()))
        if best:
            middle = best[(len(best) - 1) // 2]
            shown_rows[f"{name}, slice {middle}"] = [row for row in rows if row["slice"] == middle]
    tables = []
    for kind, columns in SAGITTAL.items():
        groups = []
        for title, rows in shown_rows.items():
            lines = [
                [
                    str(row["level"] if row["structure"] == "lumbar" else row["structure"]),
                    *(shown.value([row]) for shown in columns),
                ]
                for row in rows
                if any(_numbers([row], shown.column) for shown in columns)
            ]
            groups += [Group(title=title, rows=lines)] if lines else []
        if groups:
            header = ["structure", *(shown.header for shown in columns)]
            tables.append(Table(caption=kind.capitalize(), header=header, groups=groups))
    return tables


def _numbers(rows: Rows, column: str) -> list[float]:
    """Values of a column that are known."""
    return [float(row[column]) for row in rows if column in row and not isnan(row[column])]


def _probabilities(rows: Rows, scale: str) -> dict[str, float]:
    """Share of the networks that give each grade, on average over the slices that have any."""
    prefix = probability_column(scale, "")
    columns = [name for name in (rows[0] if rows else ()) if name.startswith(prefix)]
    found = {name.removeprefix(prefix): _numbers(rows, name) for name in columns}
    return {grade: fmean(numbers) for grade, numbers in found.items() if numbers}


def _listed(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{grade} {100 * share:.1f} %" for grade, share in shares.items() if share > 0) or "–"


def _num_below(compared: Sequence[str]) -> str:
    told = [text for text in compared if text]
    return f"{told.count('below')} of {len(told)}" if told else "–"


def _counted(grades: Sequence[str]) -> str:
    """Every grade that a slice was given, with the number of slices."""
    given = Counter(grade for grade in grades if grade)
    return (
        ", ".join(f"{grade} ({count})" if given.total() > 1 else grade for grade, count in sorted(given.items())) or "–"
    )
