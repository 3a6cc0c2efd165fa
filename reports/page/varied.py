"""A setting that the paper varies in one system: its values, the noise of seeds, and the gain by structure."""

from typing import Any

from reports.evidence import Evidence
from reports.page.blocks import Block, Cell, Figures, Gap, Heading, Table, Text
from reports.page.setting import label_of
from reports.page.values import DASH, count, interval, is_number, number, p_value, percent, pick, points, record, spoken
from reports.papers import varied_settings
from reports.plots.intervals import gain_by_area, value_differences
from reports.statistics.patients import MEAN
from reports.varied.sections import gain_title, noise_sentences, plain_value, setting_name, size_sentences


def varied(evidence: Evidence) -> list[Block]:
    """Everything about the settings that the paper varies; empty if it varies none."""
    blocks: list[Block] = [Text(sentence, tone="lead") for sentence in noise_sentences(evidence)]
    for base, (path, _) in varied_settings(evidence.published).items():
        name = setting_name(path)
        table = pick(evidence["varied"], path=path)
        printed = [row for row in dict.fromkeys(evidence.published["row"]) if row.startswith(f"{base} {path}=")]
        missing = [row for row in printed if row not in evidence.rows]
        if len(table):
            blocks += [_figure(evidence, table, path), _table(evidence, table, name)]
        if printed and len(table) <= 1:
            text = f"Fewer than two values of {name} have a finished run, so its effect cannot be told."
            blocks.append(Gap(text, f"python run.py experiment={missing[0]}" if missing else ""))
        gains = pick(evidence["varied_gains"], path=path)
        if len(gains):
            blocks += _gains(evidence, gains, name)
    return blocks


def _figure(evidence: Evidence, table: Any, path: str) -> Block:
    name, values = setting_name(path), [plain_value(value) for value in table["value"]]
    noise = record(evidence["varied_noise"], path=path)
    text = "Differences are paired by patient, seeds averaged; the paper states no intervals."
    if is_number(noise.get("noise_range")):
        text += " Grey: as high as the range that 95 % of draws without any effect stay below."
    return Figures(figures=[value_differences(table, noise, name=name, values=values)], caption=text)


def _table(evidence: Evidence, table: Any, name: str) -> Table:
    rows = []
    for line in table.to_dict("records"):
        ends = interval(line["difference_low"], line["difference_high"], 2, signed=True, scale=100)
        paired = bool(line["num_pairs"])
        rows.append(
            [
                Cell(text=plain_value(line["value"]), below=label_of(evidence, line["row"]), tone="name"),
                Cell(text=number(line["published"])),
                Cell(text=percent(line["mean"]), below=interval(line["ci95_low"], line["ci95_high"], scale=100)),
                Cell(text=points(line["difference"]) if paired else DASH, below=ends if paired else ""),
                Cell(text=p_value(line["p_holm"])),
                Cell(text=percent(line["seed_sd"], 2)),
                Cell(text=count(line["num_seeds"])),
                Cell(text=count(line["num_patients"])),
            ]
        )
    control = plain_value(str(table["control"].iloc[0]))
    header = [name, "paper, Dice %", "ours, Dice %", f"difference to {name} {control}, points", "p after Holm"]
    caption = f"Every value of {name}: Dice, patient mean over structures, seeds averaged."
    return Table(caption=caption, header=[*header, "seed SD, points", "seeds", "patients"], rows=rows)


def _gains(evidence: Evidence, table: Any, name: str) -> list[Block]:
    title = gain_title(table.iloc[0])
    rows = []
    for line in table.to_dict("records"):
        ends = interval(line["difference_low"], line["difference_high"], 2, signed=True, scale=100)
        rows.append(
            [
                Cell(text="mean" if line["structure"] == MEAN else spoken(line["structure"]), tone="name"),
                Cell(text=count(line["area_mm2"])),
                Cell(text=percent(line["dice_control"])),
                Cell(text=percent(line["dice"])),
                Cell(text=points(line["difference"]), below=ends),
                Cell(text=p_value(line["p_holm"])),
                Cell(text=percent(line["seed_sd"], 2)),
                Cell(text=count(line["num_pairs"])),
            ]
        )
    value, control = (plain_value(str(table[key].iloc[0])) for key in ("value", "control"))
    header = ["structure", "true area, mm²", f"{name} {control}, %", f"{name} {value}, %", "gain, points"]
    caption = f"Gain of each structure, from the smallest up: {title}; paired by patient. Exploratory."
    note = "Area: true, where the structure is there; mean over slices, then patients. p: Holm over the structures."
    header += ["p after Holm", "seed SD, points", "patients"]
    drawn = gain_by_area(table.loc[table["structure"] != MEAN], title=title)
    return [
        Heading("Gain against the size of the structure"),
        *(Text(sentence) for sentence in size_sentences(evidence)),
        Figures(figures=[drawn], caption="The bar is the 95 % interval over patients (below six patients the range)."),
        Table(caption=caption, header=header, rows=rows, notes=[note]),
    ]
