"""What is said of regions: the paper's table of them, intervals, counts, and where errors lie."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from reports.chapters.parts import Part, nobody
from reports.evidence import Evidence
from reports.plots.distribution import spread
from reports.readouts.regions import POOLED, regions_of_row, shown_regions
from reports.region_scores import region_names
from reports.render.blocks import Block, Figures, Folded, Grid
from reports.render.formats import DASH, count, interval, is_number, number, pick, spoken
from reports.render.tables import PATIENTS, Column, Line, Table, counts
from reports.setting import label_of

PRINTED = {
    **{"area_true_mm2": "area of the truth, mm²", "area_pred_mm2": "area of the prediction, mm²", "dice": "Dice, %"},
    **{"csa_error_percent": "error of the area, %", "precision": "precision, %", "recall": "recall, %"},
    "segmented_percent": "slices with a prediction, %",
}
NAMES = PRINTED | {
    **{"csa_error_mm2": "error of the area, mm²", "csa_bias_percent": "bias of the area, %"},
    **{"csa_bias_mm2": "bias of the area, mm²", POOLED: "error of a patient's pooled area, %"},
}
SHARE_OF_SLICES = "segmented_percent"
DIGITS = {
    **dict.fromkeys(("area_true_mm2", "area_pred_mm2", "csa_error_mm2", "csa_bias_mm2"), 0),
    **dict.fromkeys(("dice", "precision", "recall"), 1),
}


def _number(title: str, name: str, ends: str = "") -> Column:
    """A column with the digits of each line's measure."""
    return Column(
        title,
        lambda line: number(line[name], DIGITS.get(line["metric"], 2)),
        kind="text",
        below=(lambda line: _ends(line, ends)) if ends else None,
    )


def _ends(line: Line, kind: str) -> str:
    how = str(line.get(f"{kind}_interval", ""))
    return interval(line.get(f"{kind}_low"), line.get(f"{kind}_high"), DIGITS.get(line["metric"], 2), kind=how)


MEASURE = Column("measure", lambda line: NAMES[line["metric"]], kind="text", tone="name")
PAPER = Table(
    title="{label}: regions, mean ± SD over slices as the paper prints them{how}",
    main=True,
    columns=[MEASURE],
    notes=[
        "Mean ± SD over slices [mean ± 1.96 SD / √slices], which takes the slices of a patient for independent; in "
        "brackets behind it the paper's number. Relative errors are of slices on which the truth is not empty."
    ],
)
COUNTED = Table(
    title="{label}: slices of each region, over all seeds",
    columns=[
        Column("region", "region", kind="words", tone="name"),
        *counts(num_slices="slices"),
        Column(
            "with a prediction",
            "num_segmented",
            digits=0,
            below=lambda line: f"(paper: {line['published_mean']:.2f} %)" if is_number(line["published_mean"]) else "",
        ),
        Column("without a prediction", lambda line: line["num_slices"] - line["num_segmented"], digits=0),
        *counts(num_missed="missed", num_empty_truth="truth empty"),
        *counts(num_false_alarms="invented", num_unlabelled="not annotated"),
    ],
    notes=["Slices whose truth is empty have no relative error of the area and no recall."],
)
INTERVALS = Table(
    title="{label}: regions, 95 % intervals of the means by what is taken for independent",
    columns=[
        MEASURE,
        Column("region", "region", kind="words"),
        _number("mean of slices", "slice_mean"),
        Column("as printed", lambda line: _ends(line, "slice")[1:-1], kind="text"),
        Column("slices of a patient together", lambda line: _ends(line, "clustered")[1:-1], kind="text"),
        _number("median", "slice_median"),
        *counts(num_values="slices"),
        _number("mean of patients", "patient_mean", "patient"),
        PATIENTS,
    ],
    notes=[
        "As printed: mean ± 1.96 SD / √slices. Slices of a patient together: the interval of the same mean when "
        "patients are drawn, not slices. Mean of patients: of each patient's mean over slices.",
        "Bias: prediction minus truth. Below six patients, the last two are ranges of the patients' values.",
    ],
)


def region_tables(evidence: Evidence) -> list[Block]:
    """What a paper on regions prints, a table a row, with the paper's numbers; nothing where there are no regions."""
    regions, blocks, others = shown_regions(evidence["regions"]), [], []
    rest = [name for name in dict.fromkeys(evidence["regions"]["region"]) if name not in regions]
    for row in dict.fromkeys(evidence["regions"]["row"]):
        lines = regions_of_row(evidence["regions"], row, regions)
        blocks.append(_as_printed(evidence, row, regions, lines))
        outputs = regions_of_row(evidence["region_outputs"], row, regions)
        if outputs:
            alone = ", as the network judges each on its own, before they are one mask"
            notes = ["Where its probability is above one half. Other tables are of the one mask that is made of them."]
            notes += _sums(evidence, regions, outputs)
            own = [name for name in regions if (name, "dice") in outputs]
            blocks.append(_as_printed(evidence, row, own, outputs, alone, notes))
        label = label_of(evidence, row)
        counted = [lines[region, SHARE_OF_SLICES] for region in regions]
        measured = [lines[region, metric] for metric in NAMES for region in regions]
        blocks.append(COUNTED.of(counted, evidence.labels, label=label))
        grid = INTERVALS.of(measured, evidence.labels, label=label)
        blocks.append(Folded(summary="Intervals: slices, patients", blocks=[grid]))
        lines = regions_of_row(evidence["regions"], row, rest)
        others += [_as_printed(evidence, row, rest, lines, ", the other regions")] if rest else []
    return [*blocks, Folded(summary="The other regions", blocks=others)] if others else blocks


def region_errors(evidence: Evidence) -> list[Block]:
    """How errors spread over slices; nothing where there are no regions."""
    regions = shown_regions(evidence["regions"])
    if not regions:
        return []
    label = label_of(evidence, evidence.reference)
    own = pick(evidence["region_cases"], row=evidence.reference)
    text = (
        f"Every slice of {label} on which the measure is defined, as violin and points; long line: mean, short line: "
        "median. Errors beyond the axis are counted at its end."
    )
    metrics = ("dice", "csa_error_percent")
    drawn = Figures(figures=lambda: [spread(own, regions, name, NAMES[name]) for name in metrics], caption=text)
    return [drawn]


def muscle_sentences(evidence: Evidence) -> list[str]:
    """Dice of the reference's regions, and how often its grades are right; none where it has no scored regions.

    Elsewhere grades are a matter of their section: in young patients one grade is right by chance.
    """
    regions, texts = shown_regions(evidence["regions"]), []
    lines = regions_of_row(evidence["regions"], evidence.reference, regions)
    ranges = any(line["patient_interval"] == "range" for line in lines.values())
    ends = "the range of the patients" if ranges else "95 % intervals"
    found = [
        f"{spoken(region)} {number(line['patient_mean'])} "
        f"{interval(line['patient_low'], line['patient_high'])}{_paper_dice(line)}".strip()
        for region in regions
        if is_number((line := lines.get((region, "dice"), {})).get("patient_mean"))
    ]
    if not found:
        return texts
    texts.append(f"Dice of the regions, patient means in percent with {ends}: {', '.join(found)}.")
    for line in pick(evidence["grade_agreement"], row=evidence.reference).to_dict("records"):
        if is_number(line["accuracy"]):
            around = interval(line["accuracy_low"], line["accuracy_high"], scale=100)
            value = f"right in {number(line['accuracy'], scale=100)} % {around}".strip()
            known = is_number(line["kappa"])
            chance = f"weighted kappa {number(line['kappa'], 2)}" if known else "but all of them have one grade"
            texts.append(
                f"Grades of {spoken(line['structure'])} ({spoken(line['scale'])}) are {value} of "
                f"{count(line['accuracy_patients'])} patients, {chance}."
            )
    return texts


def _paper_dice(line: Mapping[str, Any]) -> str:
    """The paper's number, which is a mean over slices."""
    return f" (paper, over slices: {number(line['published_mean'])})" if is_number(line["published_mean"]) else ""


Known = Mapping[tuple[str, str], dict[str, Any]]


def _as_printed(
    evidence: Evidence, row: str, regions: Sequence[str], known: Known, how: str = "", notes: Sequence[str] = ()
) -> Grid:
    def column(region: str) -> Column:
        def written(line: Line, kind: str) -> str:
            return _mean_sd(known.get((region, line["metric"]), {}), kind, DIGITS.get(line["metric"], 2))

        def paper(line: Line) -> str:
            text = written(line, "published")
            return "" if text == DASH else f"({text})"

        return Column(spoken(region), lambda line: written(line, "slice"), kind="text", below=paper)

    columns, lines = [column(region) for region in regions], [{"metric": metric} for metric in PRINTED]
    words = {"label": label_of(evidence, row), "how": how}
    return PAPER.of(lines, evidence.labels, columns=columns, notes=notes, **words)


def _sums(evidence: Evidence, regions: Sequence[str], lines: Known) -> list[str]:
    """Sentences on wholes whose parts are shown too: what share of their area the parts have together."""
    members = {name: set(parts) for name, parts in region_names(evidence.runs.runs).items() if name in regions}
    area: dict[str, float] = {name: lines.get((name, "area_pred_mm2"), {}).get("slice_mean", nan) for name in regions}
    texts = []
    for whole, structures in members.items():
        parts = [name for name in regions if name in members and members[name] < structures]
        together = sum(len(members[name]) for name in parts)
        divided = together == len(structures) == len(set().union(*(members[name] for name in parts)))
        if divided and area[whole] > 0 and all(is_number(area[name]) for name in parts):
            share = number(sum(area[name] for name in parts) / area[whole], scale=100)
            texts.append(
                f"The areas of {' and '.join(map(spoken, parts))} add up to {share} % of that of {spoken(whole)}."
            )
    return texts


def _mean_sd(line: Mapping[str, Any], kind: str, digits: int) -> str:
    """Mean, SD and interval, as far as they are known; of a share of slices, whose SD says nothing more, the mean."""
    mean, sd, low, high = (line.get(f"{kind}_{name}") for name in ("mean", "sd", "low", "high"))
    if not is_number(mean):
        return DASH
    if line["metric"] == SHARE_OF_SLICES:
        return number(mean, digits)
    after = f" ± {number(sd, digits)}" if is_number(sd) else ""
    return f"{number(mean, digits)}{after} {interval(low, high, digits)}".strip()


PARTS = [
    Part("table", 3, region_tables, "Every measure of the regions", missed_by=nobody),
    Part("muscles", 0, region_errors, "Errors of the regions", missed_by=nobody),
]
