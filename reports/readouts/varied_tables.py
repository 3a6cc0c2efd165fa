"""What is said of a setting that the paper varies: its values, the noise of seeds, and the gain by structure."""

from functools import partial
from math import isnan
from typing import Any

import pandas as pd

from reports.chapters.parts import Part, nobody
from reports.evidence import Evidence
from reports.papers import varied_settings
from reports.plots.intervals import gain_by_area, value_differences
from reports.render.blocks import Block, Figure, Figures, Gap, Heading, Text
from reports.render.formats import interval, is_number, number, p_value, pick, record
from reports.render.tables import COUNT, P_HOLM, PATIENTS, PERCENT, POINTS, POINTS_SD, Column, Table
from reports.statistics.comparisons import ALPHA, NUM_FLIPS
from reports.statistics.patients import MEAN

DIFFERENCE: dict[str, Any] = {"interval": "difference", **POINTS}
SEED_SD = Column("seed SD, points", "seed_sd", **POINTS_SD)
VALUES = Table(
    title="Values of {name}, Dice by patient",
    caption="Mean over structures, seeds averaged; differences are to {name} {control}.",
    main=True,
    columns=[
        Column("row", "row", kind="row"),
        Column("{name}", lambda line: plain_value(line["value"]), kind="text"),
        Column("paper, Dice, %", "published"),
        Column("its difference, points", "published_difference", digits=2, signed=True),
        Column("ours, Dice, %", "mean", interval="ci95", **PERCENT),
        Column("difference, points", "difference", **DIFFERENCE),
        P_HOLM,
        SEED_SD,
        Column("seeds", "num_seeds", **COUNT),
        PATIENTS,
    ],
)
GAINS = Table(
    title="Gain by structure, from the smallest up: {title}",
    caption="Paired by patient. Exploratory.",
    main=True,
    columns=[
        Column("structure", "structure", kind="words", tone="name"),
        Column("true area, mm²", "area_mm2", **COUNT),
        Column("{name} {control}, Dice, %", "dice_control", **PERCENT),
        Column("{name} {value}, Dice, %", "dice", **PERCENT),
        Column("gain, points", "difference", **DIFFERENCE),
        P_HOLM,
        SEED_SD,
        Column("patients", "num_pairs", **COUNT),
    ],
    notes=["Area: true, where the structure is there; mean over slices, then patients. p: Holm over the structures."],
)


def varied(evidence: Evidence) -> list[Block]:
    """Everything about the settings that the paper varies; empty if it varies none."""
    blocks: list[Block] = [Text(sentence, tone="lead") for sentence in noise_sentences(evidence)]
    for base, (path, _) in varied_settings(evidence.published).items():
        name = setting_name(path)
        table = pick(evidence["varied"], path=path)
        printed = [row for row in dict.fromkeys(evidence.published["row"]) if row.startswith(f"{base} {path}=")]
        missing = [row for row in printed if row not in evidence.rows]
        if len(table):
            control = str(table["control"].iloc[0])
            paper = table["published"] - table.loc[table["value"] == control, "published"].iloc[0]
            own = table.assign(published_difference=paper.where(table["value"] != control))
            words: dict[str, Any] = {"name": name, "control": plain_value(control)}
            blocks += [_figure(evidence, table, path), VALUES.of(own, evidence.labels, **words)]
        if printed and len(table) <= 1:
            text = f"Fewer than two values of {name} have a finished run, so its effect cannot be told."
            blocks.append(Gap(text, f"python run.py experiment={missing[0]}" if missing else ""))
        gains = pick(evidence["varied_gains"], path=path)
        blocks += _gains(evidence, gains, name) if len(gains) else []
    return blocks


def _figure(evidence: Evidence, table: pd.DataFrame, path: str) -> Block:
    noise = record(evidence["varied_noise"], path=path)
    text = "Differences are paired by patient, seeds averaged; the paper states no intervals."
    if is_number(noise.get("noise_range")):
        text += " Grey: as high as the range that 95 % of draws without any effect stay below."

    def drawn() -> list[Figure]:
        values = [plain_value(value) for value in table["value"]]
        return [value_differences(table, noise, name=setting_name(path), values=values)]

    return Figures(figures=drawn, caption=text)


def _gains(evidence: Evidence, table: pd.DataFrame, name: str) -> list[Block]:
    title = gain_title(table.iloc[0])
    value, control = (plain_value(str(table[key].iloc[0])) for key in ("value", "control"))
    drawn = partial(gain_by_area, table.loc[table["structure"] != MEAN], title=title)
    bar = "The bar is the 95 % interval over patients (below six patients the range)."
    return [
        Heading("Gain against the size of the structure"),
        *(Text(sentence) for sentence in size_sentences(evidence)),
        Figures(figures=lambda: [drawn()], caption=bar),
        GAINS.of(table, evidence.labels, title=title, name=name, value=value, control=control),
    ]


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
        low, high, kind = (line[f"correlation_{end}"] for end in ("low", "high", "interval"))
        verdict = "not told apart"
        if kind != "range":
            verdict = "small structures gain more" if high < 0 else verdict
            verdict = "large structures gain more" if low > 0 else verdict
        found = f"{number(line['correlation'], 2)} {interval(low, high, 2, kind=str(kind))}"
        texts.append(
            f"Rank correlation of a structure's gain with its area, within patients: "
            f"{found}, n = {number(line['num_correlated'], 0)}: {verdict}."
        )
    return texts


def gain_title(line: Any) -> str:
    """What is subtracted from what: `alpha 1 minus alpha 0`."""
    name = setting_name(line["path"])
    return f"{name} {plain_value(line['value'])} minus {name} {plain_value(line['control'])}"


def count_words(count: int) -> str:
    """A small number as a word."""
    names = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return names[count] if count < len(names) else str(count)


def _stated(p: float) -> str:
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


PARTS = [Part("setting", 0, varied, missed_by=nobody)]
