"""The paper's table with ours beside it, and the primary endpoint, for either split."""

from typing import Any

from records.runs import AS_PUBLISHED
from reports.chapters.parts import Part
from reports.endpoint import averaged_words, averages_regions
from reports.evidence import Evidence
from reports.papers import printed_boxes
from reports.readouts.costs import encoder_weights
from reports.readouts.statistics import comparisons
from reports.render.blocks import Block, Gap, Grid, Heading, Lines
from reports.render.formats import DASH, has_values, is_number, number, pick, spoken
from reports.render.tables import COUNT, Column, Line, Table, counts, wide
from reports.setting import label_of, main_split, splits_by_image, sweep
from reports.statistics.patients import MEAN
from reports.summaries import slice_level


def _state(line: Line) -> str:
    """What a reader must know of a row's numbers; empty if all folds are there."""
    if not line.get("finished", True):
        return "no finished run"
    said = (
        ("oracle, told of the true masks", line.get("oracle")),
        ("folds are missing", not line.get("complete", True)),
    )
    return "; ".join(text for text, holds in said if holds)


SYSTEM = Column("row", "row", kind="row", below=_state, short=True)
PAPER = Table(
    title="Dice in percent, mean ± SD over slices, ours and (published), split {split}",
    main=True,
    columns=[SYSTEM],
)
PRIMARY = Table(
    title="Primary endpoint: Dice, patient mean over {averaged}, split {split}",
    main=True,
    terminal=True,
    columns=[
        SYSTEM,
        Column("paper", "published_mean"),
        Column("Dice, %", "patient_mean", interval="ci95", bold="bold", short=True),
        Column("patients", "num_patients", **COUNT, short=True),
        *counts(num_slices="slices"),
        Column("missed", "missed", **COUNT, short=True),
        *counts(false_alarms="false alarms", undefined="undefined"),
        Column("HD95, mm", "hd95_mm", digits=2, optional=True),
        Column("encoder weights", "weights", kind="text", optional=True),
    ],
)


def paper_tables(evidence: Evidence) -> list[Block]:
    """Tables of the main split, then of the published one."""
    main, table = main_split(evidence), evidence["table"]
    if table.empty:
        return []
    paper, endpoint = _tables(evidence, main)
    blocks: list[Block] = [paper, Lines(lines=_notes(evidence)), endpoint]
    if main == AS_PUBLISHED or not (splits_by_image(evidence) or AS_PUBLISHED in set(table["split"])):
        return blocks
    blocks.append(Heading("Split as published"))
    if AS_PUBLISHED in set(table["split"]):
        return [*blocks, *_tables(evidence, AS_PUBLISHED), *comparisons(evidence, AS_PUBLISHED)]
    text = "No run was split as the paper did (by image, so that a patient may be in training and test)."
    return [*blocks, Gap(text, f"{sweep(evidence)} split=as_published")]


def _tables(evidence: Evidence, split: str) -> tuple[Grid, Grid]:
    """The paper's table, and the primary endpoint of each row with what does not show in a mean."""
    table = pick(evidence["table"], split=split)
    oracles = [run.row for run in evidence.runs.runs if run.oracle]
    table = table.assign(finished=table["row"].isin(list(evidence.rows)), oracle=table["row"].isin(oracles))
    names = [name for name in evidence.averaged if name in set(table["structure"])]
    lines = wide(table, ["row", "finished", "complete", "oracle"], "structure") + _boxes(evidence, split)
    columns = [_ours(spoken(name), name) for name in names] + [_ours("mean", MEAN)]
    notes = ["In brackets: the paper's number."] if has_values(table, "published_mean") else []
    paper = PAPER.of(lines, evidence.labels, columns=columns, notes=notes, split=split)
    own, weights = pick(table, structure=MEAN), encoder_weights(evidence["costs"])
    own = own.assign(weights=[weights.get(row, "") for row in own["row"]])
    united = "Missed, false alarms, undefined: of all regions together, a slice once for each region."
    printed = "Paper: mean of its printed means, which are over slices."
    said = ((united, averages_regions(evidence)), (printed, has_values(own, "published_mean")))
    notes, averaged = [text for text, here in said if here], averaged_words(evidence)
    return paper, PRIMARY.of(own, evidence.labels, notes=notes, averaged=averaged, split=split)


def _ours(title: str, name: str) -> Column:
    """Ours, and the paper's number below."""

    def below(line: Line) -> str:
        return f"({text})" if (text := _mean_sd(line, f"{name}:published")) != DASH else ""

    return Column(title, lambda line: _mean_sd(line, f"{name}:slice"), kind="text", below=below, bold=f"{name}:bold")


def _mean_sd(line: Line, start: str) -> str:
    mean, sd = line.get(f"{start}_mean"), line.get(f"{start}_sd")
    return f"{number(mean)} ± {number(sd)}" if is_number(mean) and is_number(sd) else number(mean)


def _boxes(evidence: Evidence, split: str) -> list[dict[str, Any]]:
    """A line of box IoU, of the reference and of a paper that prints one of every structure."""
    structures, printed = evidence.runs.structures, printed_boxes(evidence.published)
    line: dict[str, Any] = {}
    if set(structures) <= set(printed):
        printed[MEAN] = sum(printed[name] for name in structures) / len(structures)
        line |= {f"{name}:published_mean": mean for name, mean in printed.items()}
    own = pick(evidence["cases"], row=evidence.reference, split=split, arm="")
    if len(own) and not averages_regions(evidence):
        line |= {f"{name}:slice_mean": 100 * mean for name, (mean, _) in slice_level(own, "box_iou").items()}
    return [{"row": f"box IoU of {label_of(evidence, evidence.reference)}, %", **line}] if line else []


def _notes(evidence: Evidence) -> list[str]:
    """What has to be read with the table; gaps are listed in the last chapter and only counted here."""
    problems = {problem.rstrip(".").lower() for problem in evidence.runs.problems}
    notes = ["No published table is beside ours (report.table)."] if evidence.published.empty else []
    notes += [note for note in evidence.notes if note.rstrip(".").lower() not in problems]
    counted = f"{len(problems)} gaps or folders left out: listed under protocol, the last section."
    return [*notes, counted] if problems else notes


PARTS = [Part("table", 0, paper_tables, gap="There is no result to put beside the paper's table.", command="{sweep}")]
