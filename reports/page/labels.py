"""Labels against accuracy, and fusions of models: what is not in the table of single models trained on all masks."""

from collections.abc import Sequence
from typing import Any

from records.run import FROM, FULL
from reports.evidence import Evidence
from reports.page.blocks import Block, Cell, Figures, Gap, Heading, Table, Text
from reports.page.setting import label_of
from reports.page.values import DASH, count, has_values, interval, is_number, number, p_value, percent, pick, points
from reports.plots.intervals import labels_curve
from reports.statistics.comparisons import ALPHA
from reports.statistics.intervals import FEWEST_FOR_TEST

CURVE = "python run.py sweep=scarnet_masks cohort.root=DIR"
FUSE = "python run.py task=fuse runs=DIR output=DIR"
# Metric of the curve, its name and unit, by what it is multiplied, caption.
QUANTITIES = (
    (
        *("dice", "Dice, %", 100.0),
        "Differences are paired by patient within each draw, averaged over draws; p: Wilcoxon, after Holm over the "
        "points of a row.",
    ),
    (
        *("level_error", "wrong level, %", 100.0),
        "Structures that carry the number of another level, percent of those found: what Dice alone does not tell.",
    ),
    (
        *("keypoint_error_mm", "key points, mm", 1.0),
        "Distance of the recognition path's key points from the true ones. Without key points nothing teaches it.",
    ),
)


def labels(evidence: Evidence) -> list[Block]:
    """The curve: what key points of the other patients add, by how many patients have masks."""
    table = pick(evidence["curve"], metric="dice")
    if table.empty or not has_values(table, "mean"):
        return [Gap("No run was trained on the masks of a limited number of patients.", CURVE)]
    figures = [
        labels_curve(table.loc[table["row"] == row], title=label_of(evidence, row))
        for row in dict.fromkeys(table["row"])
    ]
    text = (
        "Dice of the patients (mean over structures; mean over draws of the patients with masks, which are nested "
        "within a draw) and its 95 % interval. Masks of validation patients count. full: masks alone; mixed: and key "
        "points of the other patients; from: the weights were taken from that network."
    )
    blocks: list[Block] = [Text(curve_sentence(evidence), tone="lead"), Figures(figures=figures, caption=text)]
    return blocks + [_points(evidence, *quantity) for quantity in QUANTITIES]


def _points(evidence: Evidence, metric: str, name: str, scale: float, caption: str) -> Block:
    """A line per point of the curve; a gap where no run has the records."""
    table = pick(evidence["curve"], metric=metric)
    if not has_values(table, "mean"):
        return Gap(f"No run of the curve has what this is made from: {name}.", CURVE)
    rows = [_point(evidence, line, scale) for line in table.to_dict("records")]
    return Table(caption=caption, header=_header(name), rows=rows)


def _header(value: str) -> list[str]:
    """Column names of a table of points."""
    names = ["row", "patients with masks", "supervision", value, "draws", "draw SD", "difference to full"]
    return [*names, "p after Holm", "patients"]


def curve_sentence(evidence: Evidence) -> str:
    """What was found at every number of masks at which both arms of a row were trained; empty without a curve."""
    table = pick(evidence["curve"], metric="dice")
    lines = [line for line in table.to_dict("records") if line["num_pairs"]]
    if not lines:
        return "Only one kind of supervision was run: nothing is compared." if len(table) else ""
    row, arm = lines[0]["row"], lines[0]["supervision"]
    lines = [line for line in lines if (line["row"], line["supervision"]) == (row, arm)]
    lines = sorted(lines, key=lambda line: line["masked_patients"])
    found = [f"{points(line['difference'])} {_ends(line)} with {count(line['masked_patients'])}" for line in lines]
    ranges = any(line["difference_interval"] == "range" for line in lines)
    sign = "ranges" if ranges else "95 % intervals"
    return (
        f"{_cause(arm)} the Dice of {label_of(evidence, row)}, in points by patients with masks: {', '.join(found)} "
        f"({sign}; {_spread(lines, 'num_pairs', 'patient')}, {_spread(lines, 'num_shared_draws', 'draw')}). "
        f"{_beyond_chance(lines)}"
    )


def _cause(arm: str) -> str:
    """What a line of the curve has that FULL has not, as the beginning of a sentence."""
    supervision, _, network = arm.partition(FROM)
    if not network:
        return "Key points of the other patients change"
    return f"Starting from the weights of {network} changes" if supervision == FULL else f"{arm} changes"


def _ends(line: dict[Any, Any]) -> str:
    return interval(line["difference_low"], line["difference_high"], 2, signed=True, scale=100)


def _spread(lines: Sequence[dict[Any, Any]], name: str, noun: str) -> str:
    """How many of a thing the points of a curve have: "28 patients", "1 to 3 draws"."""
    fewest, most = (choose(int(line[name]) for line in lines) for choose in (min, max))
    numbers = str(most) if fewest == most else f"{fewest} to {most}"
    return f"{numbers} {noun}{'s' * (most != 1)}"


def _beyond_chance(lines: Sequence[dict[Any, Any]]) -> str:
    tested = [line for line in lines if is_number(line["p_holm"])]
    if not tested:
        return "Too few patients for a test."
    differ = [count(line["masked_patients"]) for line in tested if line["p_holm"] < ALPHA]
    smallest = f"smallest p {p_value(min(line['p_holm'] for line in tested))} after Holm"
    if not differ:
        return f"None is beyond chance ({smallest})."
    return f"Beyond chance with {' and '.join(differ)} ({smallest})."


def _point(evidence: Evidence, line: dict[Any, Any], scale: float) -> list[Cell]:
    paired, testable = bool(line["num_pairs"]), line["num_pairs"] >= FEWEST_FOR_TEST
    difference = interval(line["difference_low"], line["difference_high"], 2, signed=True, scale=scale)
    mean = number(line["mean"], 1 if scale > 1 else 2, scale=scale)
    return [
        Cell(text=label_of(evidence, line["row"]), tone="name"),
        Cell(text=count(line["masked_patients"])),
        Cell(text=str(line["supervision"]), below="" if line["complete"] else "folds are missing"),
        Cell(text=mean, below=interval(line["ci95_low"], line["ci95_high"], scale=scale)),
        Cell(text=count(line["num_draws"])),
        Cell(text=number(line["draw_sd"], 2, scale=scale)),
        Cell(
            text=number(line["difference"], 2, signed=True, scale=scale) if paired else DASH,
            below=difference if paired else "",
        ),
        Cell(text=(p_value(line["p_holm"]) if testable else "not testable") if paired else DASH),
        Cell(text=count(line["num_pairs"] if paired else line["num_patients"])),
    ]


def fusion(evidence: Evidence) -> list[Block]:
    """Fusions beside the single models that they are of."""
    blocks: list[Block] = [Heading("Fusions of several models, apart from single ones")]
    if evidence["fusion"].empty:
        return [*blocks, Gap("No fusion of models was scored.", FUSE)]
    rows = [
        [
            Cell(text=label_of(evidence, line["row"]), tone="name"),
            Cell(text=percent(line["dice"]), below=interval(line["ci95_low"], line["ci95_high"], scale=100)),
            Cell(text=label_of(evidence, line["single"]) or DASH),
            Cell(text=percent(line["single_dice"])),
            Cell(
                text=points(line["difference"]),
                below=interval(line["difference_low"], line["difference_high"], 2, signed=True, scale=100),
            ),
            Cell(text=p_value(line["p_holm"])),
            Cell(text=count(line["num_patients"])),
        ]
        for line in evidence["fusion"].to_dict("records")
    ]
    header = ["fusion", "Dice, %", "single model", "its Dice, %", "difference, points", "p after Holm", "patients"]
    note = "A fusion costs as many trainings as it has models; it takes no part in the table above."
    return [*blocks, Table(caption="Patient mean over structures.", header=header, rows=rows, notes=[note])]
