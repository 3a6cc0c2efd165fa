"""What is printed of a setting that the paper varies: a sentence, and tables of text cells."""

from math import isnan
from typing import Any

from reports.cells import GAP, Section, Text, number, p_value, with_interval, words
from reports.evidence import Evidence
from reports.statistics.comparisons import ALPHA, NUM_FLIPS
from reports.statistics.intervals import FEWEST_FOR_TEST
from reports.statistics.patients import MEAN


def setting_name(path: str) -> str:
    """The last word of a dotted path."""
    return path.rpartition(".")[2]


def plain_value(value: str) -> str:
    """A value as one writes it: 1 for 1.0."""
    return value.removesuffix(".0")


def noise_sentences(evidence: Evidence) -> list[str]:
    """Whether the effect of each varied setting is larger than what seeds do, with the test and the margin."""
    texts = []
    for line in evidence["varied_noise"].to_dict("records"):
        name, best, worst = setting_name(line["path"]), plain_value(line["best"]), plain_value(line["worst"])
        start = (
            f"Between {count_words(line['num_values'])} values of {name} the mean Dice differs by "
            f"{number(100 * line['range'], 2)} points (highest at {best}, lowest at {worst})"
        )
        if isnan(line["p"]):
            texts.append(f"{start}; one seed: whether that is more than another seed would change is not known.")
            continue
        larger = line["p"] < ALPHA
        texts.append(
            f"{start}, which is {'larger than' if larger else 'within'} seed noise: if {name} had no effect, chance "
            f"alone would give up to {number(100 * line['noise_range'], 2)} points (95 % of {NUM_FLIPS} draws that "
            f"deal the values anew among the trainings of each fold, of all seeds; {_stated(line['p'])}). "
            f"{line['num_seeds']} seeds; SD over seeds of one value: {number(100 * line['seed_sd'], 2)} points. Margin "
            f"of interest: {number(100 * evidence.margin, 1)} points."
        )
    return texts


def size_sentences(evidence: Evidence) -> list[str]:
    """Whether small structures gain more."""
    texts = []
    for line in evidence["varied_gains"].to_dict("records"):
        if line["structure"] != MEAN or not line["num_correlated"] > 0:
            continue
        ends = (line["correlation_low"], line["correlation_high"], str(line["correlation_interval"]))
        verdict = "not told apart"
        if line["correlation_interval"] != "range":
            verdict = "small structures gain more" if ends[1] < 0 else verdict
            verdict = "large structures gain more" if ends[0] > 0 else verdict
        texts.append(
            f"Rank correlation of a structure's gain with its area, within patients: "
            f"{with_interval(line['correlation'], *ends)}, n = {number(line['num_correlated'], 0)}: {verdict}."
        )
    return texts


def varied_sections(evidence: Evidence) -> list[Section]:
    """The values, then what they gain on each structure."""
    return [_values(evidence), _gains(evidence)]


def gain_title(line: Any) -> str:
    """What is subtracted from what: `alpha 1 minus alpha 0`."""
    name = setting_name(line["path"])
    return f"{name} {plain_value(line['value'])} minus {name} {plain_value(line['control'])}"


def count_words(count: int) -> str:
    """A small number as a word."""
    names = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return names[count] if count < len(names) else str(count)


def _values(evidence: Evidence) -> Section:
    table, lines = evidence["varied"], []
    for line in table.to_dict("records"):
        printed = table.loc[(table["path"] == line["path"]) & (table["value"] == line["control"]), "published"].iloc[0]
        cells = (
            plain_value(line["value"]),
            number(line["published"]),
            number(line["published"] - printed, 2),
            with_interval(100 * line["mean"], 100 * line["ci95_low"], 100 * line["ci95_high"], line["interval"], 1),
            *_difference(line),
            number(100 * line["seed_sd"], 2),
            number(line["num_seeds"], 0),
            number(line["num_patients"], 0),
        )
        lines.append((Text(evidence.labels[line["row"]]), *map(Text, cells)))
    name = setting_name(str(table["path"].iloc[0])) if len(table) else ""
    control = plain_value(str(table["control"].iloc[0])) if len(table) else ""
    header = ("Method", name, "published Dice %", "published difference", "ours, Dice % [95 %]")
    header += (f"difference to {name} {control}", "p Holm", "seed SD", "seeds", "n")
    return Section(title=f"Values of {name}, Dice by patient", header=header, lines=tuple(lines), main=True)


def _gains(evidence: Evidence) -> Section:
    lines = []
    for line in evidence["varied_gains"].to_dict("records"):
        cells = (number(line["area_mm2"], 0), number(100 * line["dice_control"]), number(100 * line["dice"]))
        cells += (*_difference(line), number(100 * line["seed_sd"], 2), number(line["num_pairs"], 0))
        lines.append((Text(words(line["structure"])), *map(Text, cells)))
    records = evidence["varied_gains"].to_dict("records")
    title = f"Gain by structure, from the smallest up: {gain_title(records[0])}" if records else ""
    control, own = (f"{key} Dice %" for key in ("without,", "with,"))
    header = ("structure", "true area mm²", control, own, "gain [95 %]", "p Holm", "seed SD", "n")
    return Section(title=title, header=header, lines=tuple(lines), main=True)


def _stated(p: float) -> str:
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _difference(line: Any) -> tuple[str, str]:
    """The difference with its interval, and p."""
    if not line["num_pairs"]:
        return GAP, GAP
    ends = (100 * line["difference_low"], 100 * line["difference_high"], str(line["difference_interval"]))
    testable = line["num_pairs"] >= FEWEST_FOR_TEST
    return with_interval(100 * line["difference"], *ends), p_value(line["p_holm"], testable=testable)
