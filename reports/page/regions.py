"""Regions (overall muscle, its tissue, its fat): the paper's table of them, intervals, counts, and where errors lie."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

from reports.evidence import Evidence
from reports.muscles.areas import POOLED, regions_of_row, shown_regions
from reports.muscles.regions import region_names
from reports.page.blocks import Block, Cell, Figures, Folded, Heading, Table
from reports.page.setting import label_of
from reports.page.values import DASH, count, interval, is_number, number, pick, spoken
from reports.plots.distribution import spread
from reports.plots.intervals import by_stratum

PRINTED = {
    **{"area_true_mm2": "area of the truth, mm²", "area_pred_mm2": "area of the prediction, mm²", "dice": "Dice, %"},
    **{"csa_error_percent": "error of the area, %", "precision": "precision, %", "recall": "recall, %"},
    "segmented_percent": "slices with a prediction, %",
}
NAMES = PRINTED | {
    **{"csa_error_mm2": "error of the area, mm²", "csa_bias_percent": "bias of the area, %"},
    **{"csa_bias_mm2": "bias of the area, mm²", POOLED: "error of a patient's pooled area, %"},
}
COUNTS = {
    **{"num_slices": "slices", "num_segmented": "with a prediction", "num_missed": "missed"},
    **{"num_empty_truth": "truth empty", "num_false_alarms": "invented", "num_unlabelled": "not annotated"},
}
SHARE_OF_SLICES = "segmented_percent"
DIGITS = {
    **dict.fromkeys(("area_true_mm2", "area_pred_mm2", "csa_error_mm2", "csa_bias_mm2"), 0),
    **dict.fromkeys(("dice", "precision", "recall"), 1),
}


def region_tables(evidence: Evidence) -> list[Block]:
    """What a paper on regions prints, a table a row, with the paper's numbers; nothing where there are no regions."""
    regions = shown_regions(evidence["regions"])
    blocks: list[Block] = []
    for row in dict.fromkeys(evidence["regions"]["row"]):
        lines = regions_of_row(evidence["regions"], row, regions)
        blocks.append(_as_printed(evidence, row, regions, lines))
        outputs = regions_of_row(evidence["region_outputs"], row, regions)
        blocks += [_on_their_own(evidence, row, regions, outputs)] if outputs else []
        blocks.append(_counts(evidence, row, regions, lines))
        blocks.append(Folded(summary="Intervals: slices, patients", blocks=[_intervals(evidence, row, regions, lines)]))
    rest = [name for name in dict.fromkeys(evidence["regions"]["region"]) if name not in regions]
    inner = [
        _as_printed(evidence, row, rest, regions_of_row(evidence["regions"], row, rest))
        for row in dict.fromkeys(evidence["regions"]["row"])
    ]
    return [*blocks, Folded(summary="The other regions", blocks=inner)] if rest else blocks


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
    figures = [spread(own, regions, metric, NAMES[metric]) for metric in ("dice", "csa_error_percent")]
    return [Heading("Errors of the regions"), Figures(figures=figures, caption=text)]


def region_strata(evidence: Evidence) -> list[Block]:
    """In which parts of the slices errors are larger; nothing where there are none."""
    regions = shown_regions(evidence["regions"])
    strata = evidence["region_strata"].loc[evidence["region_strata"]["region"].isin(regions)]
    if strata.empty:
        return []
    label = label_of(evidence, evidence.reference)
    figures = [by_stratum(strata, metric, NAMES[metric]) for metric in ("dice", "csa_error_percent")]
    text = (
        f"{label}: mean over patients and 95 % interval (a range below six patients) in parts of the slices. fat "
        "tertile: as the cohort says; true fat, area: thirds of the slices by the share of fat and the area of the "
        "true mask; stack: thirds of a volume in the order of its file. Exploratory."
    )
    table = Folded(summary="The same as a table", blocks=[_strata(strata, regions)])
    return [Heading("Where errors are larger"), Figures(figures=figures, caption=text), table]


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


Lines = Mapping[tuple[str, str], dict[str, Any]]


def _as_printed(evidence: Evidence, row: str, regions: Sequence[str], lines: Lines) -> Table:
    rows = []
    for metric, name in PRINTED.items():
        cells = []
        for region in regions:
            line = lines.get((region, metric), {})
            paper, own = (_mean_sd(line, kind, DIGITS.get(metric, 2)) for kind in ("published", "slice"))
            cells.append(Cell(text=own, below="" if paper == DASH else f"({paper})"))
        rows.append([Cell(text=name, tone="name"), *cells])
    printed = any(is_number(line.get("published_mean")) for line in lines.values())
    notes = ["In brackets: the paper's number."] if printed else []
    notes += [
        "Mean ± SD over slices [mean ± 1.96 SD / √slices], which takes the slices of a patient for independent. "
        "Relative errors are of slices on which the truth is not empty."
    ]
    caption = f"{label_of(evidence, row)}: regions, over slices as the paper prints them."
    return Table(caption=caption, header=["", *map(spoken, regions)], rows=rows, notes=notes)


def _on_their_own(evidence: Evidence, row: str, regions: Sequence[str], lines: Lines) -> Table:
    """The same of outputs that may overlap."""
    table = _as_printed(evidence, row, [name for name in regions if (name, "dice") in lines], lines)
    caption = f"{label_of(evidence, row)}: regions as the network judges each on its own, before they are one mask."
    notes = ["Where its probability is above one half. Other tables are of the one mask that is made of them."]
    return replace(table, caption=caption, notes=[*table.notes, *notes, *_sums(evidence, regions, lines)])


def _sums(evidence: Evidence, regions: Sequence[str], lines: Lines) -> list[str]:
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


def _counts(evidence: Evidence, row: str, regions: Sequence[str], lines: Lines) -> Table:
    rows = []
    for region in regions:
        line = lines.get((region, "segmented_percent"), {})
        share = number(line.get("published_mean"), 2)
        without = (line.get("num_slices") or 0) - (line.get("num_segmented") or 0)
        counts = [Cell(text=count(line.get(name))) for name in COUNTS]
        paper = f"(paper: {share} %)" if share != DASH else ""
        found = Cell(text=counts[1].text, below=paper)
        rows.append([Cell(text=spoken(region), tone="name"), counts[0], found, Cell(text=count(without)), *counts[2:]])
    names = list(COUNTS.values())
    header = ["region", *names[:2], "without a prediction", *names[2:]]
    notes = ["Slices whose truth is empty have no relative error of the area and no recall."]
    caption = f"{label_of(evidence, row)}: slices of each region, over all seeds."
    return Table(caption=caption, header=header, rows=rows, notes=notes)


def _intervals(evidence: Evidence, row: str, regions: Sequence[str], lines: Lines) -> Table:
    rows = []
    for metric, name in NAMES.items():
        for region in regions:
            line, digits = lines.get((region, metric), {}), DIGITS.get(metric, 2)
            ends = {
                kind: interval(line.get(f"{kind}_low"), line.get(f"{kind}_high"), digits)
                for kind in ("slice", "clustered", "patient")
            }
            rows.append(
                [
                    Cell(text=name, below=spoken(region), tone="name"),
                    Cell(text=number(line.get("slice_mean"), digits)),
                    *(Cell(text=ends[kind][1:-1] or DASH) for kind in ("slice", "clustered")),
                    Cell(text=number(line.get("slice_median"), digits)),
                    Cell(text=count(line.get("num_values"))),
                    Cell(text=number(line.get("patient_mean"), digits), below=ends["patient"]),
                    Cell(text=count(line.get("num_patients"))),
                ]
            )
    header = ["measure", "mean of slices", "as printed", "slices of a patient together", "median", "slices"]
    header += ["mean of patients", "patients"]
    notes = [
        "As printed: mean ± 1.96 SD / √slices. Slices of a patient together: the interval of the same mean when "
        "patients are drawn, not slices. Mean of patients: of each patient's mean over slices.",
        "Bias: prediction minus truth. Below six patients, the last two are ranges of the patients' values.",
    ]
    caption = f"{label_of(evidence, row)}: 95 % intervals of the means, by what is taken for independent."
    return Table(caption=caption, header=header, rows=rows, notes=notes)


def _strata(strata: Any, regions: Sequence[str]) -> Table:
    metrics = {"dice": "Dice, %", "csa_error_percent": "error, %", "csa_error_mm2": "error, mm²"}
    keyed = {(line["stratum"], line["region"], line["metric"]): line for line in strata.to_dict("records")}
    rows = []
    for name in dict.fromkeys(strata["stratum"]):
        cells, patients = [], 0
        for region in regions:
            for metric in metrics:
                line = keyed[name, region, metric]
                patients = max(patients, int(line["num_patients"]))
                cells.append(Cell(text=number(line["mean"], 1), below=interval(line["low"], line["high"], 1)))
        rows.append([Cell(text=str(name), tone="name"), Cell(text=count(patients)), *cells])
    header = ["part", "patients", *(f"{spoken(region)}: {title}" for region in regions for title in metrics.values())]
    return Table(caption="Mean over patients and 95 % interval; exploratory.", header=header, rows=rows)


def _mean_sd(line: Mapping[str, Any], kind: str, digits: int) -> str:
    """Mean, SD and interval, as far as they are known; of a share of slices, whose SD says nothing more, the mean."""
    mean, sd, low, high = (line.get(f"{kind}_{name}") for name in ("mean", "sd", "low", "high"))
    if not is_number(mean):
        return DASH
    if line["metric"] == SHARE_OF_SLICES:
        return number(mean, digits)
    after = f" ± {number(sd, digits)}" if is_number(sd) else ""
    return f"{number(mean, digits)}{after} {interval(low, high, digits)}".strip()
