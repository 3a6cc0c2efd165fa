"""Printed tables of what is read out beside the scores: key points, levels, measurements, speed, labels, fusions."""

from typing import Any

from records.readout_files import HEATMAP
from reports.cells import GAP, INCOMPLETE, Section, Text, number, p_value, with_interval, words
from reports.evidence import Evidence
from reports.statistics.agreement import name_and_unit


def readout_sections(evidence: Evidence) -> list[Section]:
    """All of them; one without a line is left out by the caller."""
    builders = (curve_section, _fusion, _keypoints, _levels, _agreement, _thresholds, _convergence)
    return [build(evidence) for build in builders]


def curve_section(evidence: Evidence) -> Section:
    """Labels against accuracy: Dice with and without key points of other patients, or a network to start from."""
    lines = []
    for line in _records(evidence["curve"], metric="dice"):
        low, high = 100 * line["difference_low"], 100 * line["difference_high"]
        kind = str(line["difference_interval"])
        testable = line["num_pairs"] >= 6
        paired = bool(line["num_pairs"])
        cells = (
            number(line["masked_patients"], 0),
            str(line["supervision"]) + ("" if line["complete"] else INCOMPLETE),
            number(line["num_draws"], 0),
            number(line["num_patients"], 0),
            _percent(line, "mean", "ci95"),
            number(100 * line["draw_sd"], 2),
            with_interval(100 * line["difference"], low, high, kind) if paired else GAP,
            p_value(line["p_holm"], testable=testable) if paired else GAP,
        )
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Method", "patients with masks", "supervision", "draws", "n", "Dice % [95 %]", "draw SD")
    header += ("difference to full", "p Holm")
    return Section(title="Labels against accuracy", header=header, lines=tuple(lines), main=True)


def _fusion(evidence: Evidence) -> Section:
    lines = []
    for line in _records(evidence["fusion"]):
        low, high = 100 * line["difference_low"], 100 * line["difference_high"]
        kind = str(line["difference_interval"])
        cells = (
            number(line["num_patients"], 0),
            _percent(line, "dice", "ci95"),
            evidence.labels.get(line["single"], line["single"]) or GAP,
            number(100 * line["single_dice"]),
            with_interval(100 * line["difference"], low, high, kind),
            p_value(line["p_holm"], testable=line["num_pairs"] >= 6) if line["single"] else GAP,
        )
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Fusion", "n", "Dice % [95 %]", "single model", "its Dice %", "difference to it", "p Holm")
    return Section(title="Fusions of several models, apart from single ones", header=header, lines=tuple(lines))


def _keypoints(evidence: Evidence) -> Section:
    lines = []
    for line in _records(evidence["keypoints"]):
        source = "heat map" if line["source"] == HEATMAP else "centre of its mask"
        mean = with_interval(line["mean_mm"], line["ci95_low"], line["ci95_high"], str(line["interval"]))
        counts = ("num_points", "num_missing", "num_one_off", "num_further_off", "num_astray")
        cells = (source, words(line["structure"]), number(line["num_patients"], 0), mean)
        cells += (number(line["median_mm"], 2), number(line["p95_mm"], 2), *(number(line[name], 0) for name in counts))
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Method", "key point of", "structure", "n", "error mm [95 %]", "median", "95th percentile", "visible")
    header += ("not found", "at a neighbour", "farther off", "at none")
    return Section(title="Key points, distance in millimetres", header=header, lines=tuple(lines))


def _levels(evidence: Evidence) -> Section:
    counts = ("num_structures", "num_right", "num_one_off", "num_further_off", "num_other_kind", "num_missed")
    lines = []
    for line in _records(evidence["levels"]):
        share = _percent(line, "level_error", "ci95")
        patients = f"{line['num_patients_off']} of {line['num_patients']}"
        cells = (words(line["structure"]), share, *(number(line[name], 0) for name in counts), patients)
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Method", "structure", "wrong level % [95 %]", "slices", "right", "one off", "farther off", "other kind")
    header += ("missed", "patients")
    return Section(title="Structures that carry the number of another level", header=header, lines=tuple(lines))


def _agreement(evidence: Evidence) -> Section:
    lines = []
    for line in _records(evidence["agreement"]):
        structure = f"{words(line['structure'])} {line['side']}".strip()
        name, unit, scale = name_and_unit(str(line["measure"]))
        ends = (scale * line["bias_low"], scale * line["bias_high"], str(line["bias_interval"]))
        bias = with_interval(scale * line["bias"], *ends)
        limits = f"{number(scale * line['limit_low'], 2)} to {number(scale * line['limit_high'], 2)}"
        agreement = with_interval(line["icc"], line["icc_low"], line["icc_high"], "", 3)
        cells = (f"{name} {unit.replace('²', '2')}".strip(), structure, number(line["num_patients"], 0))
        cells += (number(scale * line["truth_mean"], 2),)
        cells += (bias, limits if limits != f"{GAP} to {GAP}" else GAP, agreement, number(line["num_missing"], 0))
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Method", "measure", "structure", "n", "truth", "bias [95 %]", "limits of agreement", "ICC(2,1) [95 %]")
    header += ("not measured",)
    return Section(title="Measurements, prediction minus truth, one value a patient", header=header, lines=tuple(lines))


def _thresholds(evidence: Evidence) -> Section:
    counts = ("num_units", "true_below", "predicted_below", "both_below", "missed_below", "missed_not_below")
    lines = []
    for line in _records(evidence["thresholds"]):
        shares = [_percent(line, name, name, f"{name}_interval") for name in ("sensitivity", "specificity")]
        kappa = number(line["kappa"], 2)
        if line["kappa_interval"]:
            kappa = with_interval(line["kappa"], line["kappa_low"], line["kappa_high"], "")
        cells = (words(line["structure"]), number(line["threshold_mm2"], 0), str(line["unit"]))
        cells += (*(number(line[name], 0) for name in counts), *shares, kappa)
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Method", "structure", "threshold mm2", "of", "n", "truth below", "predicted below", "both below")
    header += (
        "missed, truth below",
        "missed, truth not below",
        "sensitivity % [95 %]",
        "specificity % [95 %]",
        "kappa",
    )
    return Section(title="Areas below a threshold", header=header, lines=tuple(lines))


def _convergence(evidence: Evidence) -> Section:
    lines = []
    for line in _records(evidence["convergence"]):
        own = with_interval(line["epochs_to_95"], line["low"], line["high"], str(line["interval"]), 1)
        ends = (line["difference_low"], line["difference_high"], str(line["difference_interval"]))
        cells = (number(line["num_trainings"], 0), number(line["epochs"], 0), number(100 * line["final_dice"], 1), own)
        lines.append(
            (Text(evidence.labels[line["row"]]), *map(Text, (*cells, with_interval(line["difference"], *ends, 1))))
        )
    title = "Epochs until the validation Dice is at 95 % of its last value, mean over trainings"
    header = ("Method", "trainings", "of epochs", "last Dice %", "epochs", "difference to the reference")
    return Section(title=title, header=header, lines=tuple(lines))


def _records(table: Any, **equals: str) -> list[dict[str, Any]]:
    for name, value in equals.items():
        table = table.loc[table[name] == value]
    return [{str(key): value for key, value in line.items()} for line in table.to_dict("records")]


def _percent(line: dict[str, Any], mean: str, ends: str, kind: str = "interval") -> str:
    low, high = 100 * line[f"{ends}_low"], 100 * line[f"{ends}_high"]
    if not line[kind]:
        return number(100 * line[mean])
    return with_interval(100 * line[mean], low, high, str(line[kind]), 1)
