"""Printed tables of muscle and fat: regions as the paper has them, intervals, grades."""

from typing import Any

from records.readout_files import PREDICTED, TRUE
from reports.cells import GAP, Section, Text, number, with_interval, words
from reports.evidence import Evidence
from reports.muscles.areas import METRICS, POOLED, regions_of_row, shown_regions

NAMES = {
    **{"area_true_mm2": "area of the truth, mm2", "area_pred_mm2": "area of the prediction, mm2", "dice": "Dice %"},
    **{"csa_error_percent": "error of the area %", "precision": "precision %", "recall": "recall %"},
    **{"segmented_percent": "slices with a prediction %", "csa_error_mm2": "error of the area, mm2"},
    **{"csa_bias_percent": "bias of the area %", "csa_bias_mm2": "bias of the area, mm2"},
    POOLED: "error of a patient's pooled area %",
}
PERCENT = ("dice", "precision", "recall")  # levels, with one digit behind the point; everything else has two


def region_sections(evidence: Evidence) -> list[Section]:
    """Regions as a paper prints them; a table without a line is left out by the caller."""
    return [_regions(evidence), _region_intervals(evidence)]


def grade_sections(evidence: Evidence) -> list[Section]:
    """Grades of fat, which are no primary endpoint."""
    return [_grades(evidence), _confusion(evidence)]


def _regions(evidence: Evidence) -> Section:
    """The paper's table: a line published and a line ours, mean and SD over slices."""
    regions = shown_regions(evidence["regions"])
    lines = []
    for row in dict.fromkeys(evidence["regions"]["row"]):
        found = regions_of_row(evidence["regions"], row, regions)
        label = evidence.labels[row]
        for metric in METRICS:
            own = [found[region, metric] for region in regions]
            digits = _digits(metric)
            printed = [_mean_sd(line, "published_mean", "published_sd", digits) for line in own]
            if any(text != GAP for text in printed):
                lines.append((Text(label), Text(NAMES[metric]), Text("published"), *map(Text, printed)))
                label = ""
            share = metric == "segmented_percent"  # of slices, whose SD says nothing more
            ours = [
                number(line["slice_mean"], 2) if share else _mean_sd(line, "slice_mean", "slice_sd", digits)
                for line in own
            ]
            lines.append((Text(label), Text(NAMES[metric]), Text("ours"), *map(Text, ours)))
            label = ""
    header = ("Method", "measure", "", *map(words, regions))
    return Section(
        title="Regions, mean ± SD over slices, published and ours", header=header, lines=tuple(lines), main=True
    )


def _region_intervals(evidence: Evidence) -> Section:
    regions, lines = shown_regions(evidence["regions"]), []
    for line in _records(evidence["regions"]):
        if line["region"] in regions:
            slices, clustered, patients = (_ends(line, *names) for names in MEANS)
            median = number(line["slice_median"], _digits(line["metric"]))
            cells = (NAMES[line["metric"]], words(line["region"]), slices, clustered, median)
            counts = (number(line[name], 0) for name in ("num_patients", "num_values", "num_empty_truth"))
            lines.append((Text(evidence.labels[line["row"]]), *map(Text, (*cells, patients, *counts))))
    header = ("Method", "measure", "region", "slices [95 % as printed]", "slices [95 % by patient]", "median")
    header += ("mean of patients [95 %]", "patients", "slices", "truth empty")
    return Section(title="Regions: intervals over slices and over patients", header=header, lines=tuple(lines))


MEANS = (("slice_mean", "slice"), ("slice_mean", "clustered"), ("patient_mean", "patient"))


def _ends(line: dict[str, Any], mean: str, kind: str) -> str:
    """A mean with one of its intervals."""
    how = str(line.get(f"{kind}_interval", ""))
    return with_interval(line[mean], line[f"{kind}_low"], line[f"{kind}_high"], how, _digits(line["metric"]))


def _grades(evidence: Evidence) -> Section:
    lines = []
    for line in _records(evidence["grade_agreement"]):
        values = [
            with_interval(line[name], line[f"{name}_low"], line[f"{name}_high"], str(line[f"{name}_interval"]))
            if line[f"{name}_interval"]
            else number(line[name], 2)
            for name in ("accuracy", "kappa", "ac1")
        ]
        counts = (number(line[name], 0) for name in ("num_patients", "num_ungraded"))
        cells = (words(line["structure"]), words(line["scale"]), *values, *counts)
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Method", "muscle", "scale", "accuracy [95 %]", "weighted kappa [95 %]", "AC1 [95 %]", "n", "no grade")
    return Section(
        title="Grades of patients, predicted against true masks", header=header, lines=tuple(lines), main=True
    )


def _confusion(evidence: Evidence) -> Section:
    lines = []
    for line in _records(evidence["grade_confusion"]):
        cells = [str(line[name]) for name in (TRUE, PREDICTED, "num_patients")]
        names = (words(line["structure"]), words(line["scale"]))
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, (*names, *cells))))
    header = ("Method", "muscle", "scale", "truth", "prediction", "patients")
    return Section(title="Patients of each pair of grades", header=header, lines=tuple(lines))


def _records(table: Any) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in line.items()} for line in table.to_dict("records")]


def _mean_sd(line: dict[str, Any], mean: str, sd: str, digits: int) -> str:
    text = number(line[mean], digits)
    return text if text == GAP or number(line[sd]) == GAP else f"{text} ± {number(line[sd], digits)}"


def _digits(metric: str) -> int:
    return 1 if metric in PERCENT else 2
