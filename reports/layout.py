"""What a report prints, as sections of text cells: the same for Markdown, LaTeX and the terminal."""

from collections.abc import Sequence
from math import isnan
from typing import Any

from records.runs import AS_PUBLISHED, BY_PATIENT
from reports.cells import GAP, INCOMPLETE, Section, Text, number, p_value, with_interval, words
from reports.claims.judge import is_share
from reports.costs import SEEN, encoder_weights, rows_shown
from reports.endpoint import averaged_words, averages_regions, compared_names
from reports.evidence import Evidence
from reports.muscles.sections import grade_sections, region_sections
from reports.readout_sections import readout_sections
from reports.statistics.patients import MEAN
from reports.summaries import slice_level
from reports.varied.sections import varied_sections


def sections(evidence: Evidence) -> list[Section]:
    """All tables of a report that have a line, the paper's first."""
    splits = [split for split in (BY_PATIENT, AS_PUBLISHED) if split in set(evidence["table"]["split"])]
    found = region_sections(evidence)
    found += [build(evidence, split) for split in splits for build in (_paper, _primary, _structures)]
    found += grade_sections(evidence) + varied_sections(evidence)
    found += [build(evidence) for build in (_inflation, _arms)] + readout_sections(evidence)
    found += [build(evidence) for build in (_costs, _shown, _detection, _ranks, _claims, _folds)]
    return [section for section in found if section.lines]


def _paper(evidence: Evidence, split: str) -> Section:
    """The paper's table: a line published and a line ours, mean and SD over slices."""
    table = evidence["table"].loc[evidence["table"]["split"] == split].set_index(["row", "structure"])
    structures = [*evidence.averaged, MEAN]
    lines = []
    for row in dict.fromkeys(table.index.get_level_values("row")):
        records: Any = [table.loc[(row, structure)] for structure in structures]
        label = str(records[0]["label"])
        printed = [_mean_sd(record["published_mean"], record["published_sd"]) for record in records]
        if any(text != GAP for text in printed):
            lines.append((Text(label), Text("published"), *map(Text, printed), Text(GAP)))
            label = ""
        own = [Text(_mean_sd(record["slice_mean"], record["slice_sd"]), bool(record["bold"])) for record in records]
        mark = INCOMPLETE if records[0]["num_slices"] and not records[0]["complete"] else ""
        last = records[-1]
        kind = _kind(evidence, split, row)
        endpoint = with_interval(last["patient_mean"], last["ci95_low"], last["ci95_high"], kind, 1)
        lines.append((Text(label), Text(f"ours{mark}"), *own, Text(endpoint, bool(last["bold"]))))
    lines += _detection_lines(evidence, split, structures)
    header = ("Method", "", *map(words, evidence.averaged), "mean", "patients' mean [95 %]")
    title = f"Dice in percent, mean ± SD over slices, published and ours (split {split})"
    return Section(title=title, header=header, lines=tuple(lines), main=True)


def _detection_lines(evidence: Evidence, split: str, structures: Sequence[str]) -> list[tuple[Text, ...]]:
    printed = evidence.published.loc[evidence.published["metric"] == "box_iou"]
    means = dict(zip(printed["structure"], printed["mean"], strict=True))
    own = evidence["cases"].loc[
        (evidence["cases"]["row"] == evidence.reference)
        & (evidence["cases"]["split"] == split)
        & (evidence["cases"]["arm"] == "")
    ]
    found = slice_level(own, "box_iou") if len(own) and not averages_regions(evidence) else {}
    lines = []
    if means and set(evidence.runs.structures) <= set(means):
        means[MEAN] = sum(means[name] for name in evidence.runs.structures) / len(evidence.runs.structures)
        cells = [Text(number(means.get(name))) for name in structures]
        lines.append((Text("Detection IoU (%)"), Text("published"), *cells, Text(GAP)))
    if found:
        cells = [Text(number(100 * found[name][0])) for name in structures]
        label = "" if lines else "Detection IoU (%)"
        lines.append((Text(label), Text(f"ours, {evidence.labels[evidence.reference]}"), *cells, Text(GAP)))
    return lines


def _primary(evidence: Evidence, split: str) -> Section:
    """Primary endpoint: interval, comparison with the reference, seeds, and what went missing."""
    table = evidence["table"].loc[(evidence["table"]["split"] == split) & (evidence["table"]["structure"] == MEAN)]
    counts = {str(line["row"]): line for line in table.to_dict("records")}
    lines = []
    weights = encoder_weights(evidence["costs"])
    for record in _statistics(evidence, split, MEAN):
        count = counts[record["row"]]
        compared, testable = bool(record["reference"]), bool(record["testable"])
        low, high = 100 * record["difference_low"], 100 * record["difference_high"]
        difference = with_interval(100 * record["difference"], low, high, record["difference_interval"])
        tests = [p_value(record[name], testable=testable or not compared) for name in P_VALUES]
        cells = [
            number(record["num_patients"], 0),
            _endpoint(record),
            difference,
            *(tests if compared else [GAP] * len(P_VALUES)),
            number(record["effect_size"], 2),
            number(100 * record["seed_sd"], 2),
            number(count["hd95_mm"], 2),
            *(number(count[name], 0) for name in ("missed", "false_alarms", "undefined")),
            *((weights.get(record["row"]) or GAP,) if weights else ()),
        ]
        mark = "" if count["complete"] else INCOMPLETE
        label = Text(f"{evidence.labels[record['row']]}{mark}", bool(record["bold"]))
        lines.append((label, *(Text(cell) for cell in cells)))
    header = ("Method", "n", "Dice % [95 %]", f"difference to {evidence.labels[evidence.reference]}")
    header += ("p Wilcoxon", "p permutation", "p Holm", "p equivalence", "dz", "seed SD", "HD95 mm", "missed")
    header += ("false alarms", "undefined", *(("encoder weights",) if weights else ()))
    title = f"Primary endpoint, mean over {averaged_words(evidence)}, by patient (split {split})"
    return Section(title=title, header=header, lines=tuple(lines), main=True)


def _structures(evidence: Evidence, split: str) -> Section:
    """Patient-level Dice of every structure; exploratory."""
    names = compared_names(evidence)
    records = {name: {r["row"]: r for r in _statistics(evidence, split, name)} for name in names}
    lines = []
    for row in evidence.rows:
        own = [records[name].get(row) for name in names]
        if any(record is not None for record in own):
            cells = [Text(_endpoint(r), bool(r["bold"])) if r is not None else Text(GAP) for r in own]
            lines.append((Text(evidence.labels[row]), *cells))
    title = f"Dice by structure, mean over patients and 95 % interval; exploratory (split {split})"
    return Section(title=title, header=("Method", *map(words, names)), lines=tuple(lines))


P_VALUES = ("p_wilcoxon", "p_permutation", "p_holm", "p_equivalence")


def _inflation(evidence: Evidence) -> Section:
    lines = []
    for line in evidence["inflation"].to_dict("records"):
        low, high = 100 * line["ci95_low"], 100 * line["ci95_high"]
        interval = with_interval(100 * line["difference"], low, high, str(line["interval"]))
        means = (number(100 * line["by_patient"]), number(100 * line["as_published"]))
        cells = (words(str(line["structure"])), *means, interval, number(line["num_patients"], 0))
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Method", "structure", "by patient", "as published", "inflation [95 %]", "n")
    return Section(title="What folds dealt by image add to Dice, points", header=header, lines=tuple(lines))


def _arms(evidence: Evidence) -> Section:
    table = evidence["statistics"]
    chosen = table.loc[(table["arm"] != "") & (table["structure"] == MEAN) & (table["metric"] == "dice")]
    lines = []
    for line in chosen.to_dict("records"):
        low, high = 100 * line["difference_low"], 100 * line["difference_high"]
        difference = with_interval(100 * line["difference"], low, high, str(line["difference_interval"]))
        p_holm = p_value(line["p_holm"], testable=bool(line["testable"]))
        cells = (
            str(line["arm"]),
            str(line["split"]),
            number(line["num_patients"], 0),
            _endpoint(line),
            difference,
            p_holm,
        )
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Method", "arm", "split", "n", "Dice % [95 %]", "difference to its own test", "p Holm")
    return Section(title="Arms: the same network tested in other ways", header=header, lines=tuple(lines))


def _costs(evidence: Evidence) -> Section:
    lines = []
    for line in evidence["costs"].loc[evidence["costs"]["num_runs"] > 0].to_dict("records"):
        memory = number(line["peak_memory_mb"], 0) + (f" ({line['peak_memory_of']})" if line["peak_memory_of"] else "")
        cells = (
            number(line["parameters"] / 1e6, 2),
            number(line["flop_per_image"] / 1e9, 2),
            number(line["ms_per_image"], 1),
            memory,
            number(line["training_s"], 0),
            number(line["num_runs"], 0),
        )
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Method", "parameters, M", "GFLOP per image", "ms per image", "peak memory, MB", "training, s", "runs")
    return Section(title="Costs, mean over runs", header=header, lines=tuple(lines), main=True)


def _shown(evidence: Evidence) -> Section:
    """Cells and what a training was shown: PROTOCOL, "Fair rows"."""
    lines = []
    for line in rows_shown(evidence["costs"]):
        cells = (line["cells_mm"] or GAP, line["paper_cells_mm"] or GAP, *(number(line[name], 0) for name in SEEN))
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    header = ("Method", "cells mm (low-level, bottleneck)", "the paper's", *SEEN.values())
    title = "How coarse a row sees and what a training was shown, mean over runs"
    return Section(title=title, header=header, lines=tuple(lines), main=True)


def _detection(evidence: Evidence) -> Section:
    lines = []
    for line in evidence["detection"].to_dict("records"):
        shares = (number(100 * line[name]) for name in ("iou", "precision", "recall"))
        box = "the network's own" if line["box"] == "network" else "of its mask"
        lines.append(
            (Text(evidence.labels[line["row"]]), Text(box), *map(Text, shares), Text(number(line["num_patients"], 0)))
        )
    header = ("Method", "box", "IoU %", "precision % at 0.5", "recall % at 0.5", "n")
    return Section(title="Detection, mean over patients", header=header, lines=tuple(lines), main=True)


def _ranks(evidence: Evidence) -> Section:
    table = evidence["ranks"].pivot(index="row", columns="rank", values="probability")
    rows = [row for row in evidence.rows if row in table.index]
    lines = tuple(
        (Text(evidence.labels[row]), *(Text(number(100 * value, 0)) for value in table.loc[row])) for row in rows
    )
    title = "Rank by the primary endpoint when the patients are drawn again, percent of 10 000 draws"
    return Section(title=title, header=("Method", *(f"rank {rank}" for rank in table.columns)), lines=lines)


def _claims(evidence: Evidence) -> Section:
    lines = []
    for line in evidence["claims"].to_dict("records"):
        cells = [str(line.get(name, "")) for name in ("id", "claim", "verdict")]
        scale = 100 if is_share(str(line.get("test", "")), str(line.get("metric", ""))) else 1
        known = isinstance(line.get("effect"), float)
        effect = number(scale * line["effect"], 2 if scale > 1 else 4) if known else str(line.get("effect", ""))
        lines.append(tuple(map(Text, (*cells, effect, str(line.get("num_patients", "")), str(line.get("note", ""))))))
    header = ("id", "claim", "verdict", "effect", "n", "note")
    return Section(
        title="Claims of the paper, effects of Dice and IoU in percent or points", header=header, lines=tuple(lines)
    )


def _folds(evidence: Evidence) -> Section:
    lines = tuple(
        tuple(
            Text(str(line[name]) if str(line[name]) else GAP)
            for name in ("split", "fold", "part", "num_patients", "num_slices", "levels")
        )
        for line in evidence["folds"].to_dict("records")
    )
    return Section(title="Folds", header=("split", "fold", "part", "patients", "slices", "levels"), lines=lines)


def _statistics(evidence: Evidence, split: str, structure: str) -> list[dict[str, Any]]:
    table = evidence["statistics"]
    chosen = (table["split"] == split) & (table["arm"] == "") & (table["stratum"] == "") & (table["metric"] == "dice")
    return [
        {str(key): value for key, value in record.items()}
        for record in table.loc[chosen & (table["structure"] == structure)].to_dict("records")
    ]


def _endpoint(record: Any) -> str:
    low, high = 100 * record["ci95_low"], 100 * record["ci95_high"]
    return with_interval(100 * record["mean"], low, high, str(record["interval"]), 1)


def _kind(evidence: Evidence, split: str, row: str) -> str:
    return next((str(r["interval"]) for r in _statistics(evidence, split, MEAN) if r["row"] == row), "")


def _mean_sd(mean: float, sd: float) -> str:
    if isnan(mean):
        return GAP
    return number(mean) if isnan(sd) else f"{number(mean)} ± {number(sd)}"
