"""Rules of the measurement, folds, gaps and commands: the last section of the page."""

from reports.endpoint import averaged_words
from reports.evidence import Evidence
from reports.render.blocks import Block, Folded, Gap, Lines, Text
from reports.render.tables import Column, Table, counts

RULES = (
    "The unit is the patient: a value is averaged over a patient's slices, then over {averaged}, then over patients. "
    "Predictions are compared with the untouched annotation on the image's own pixels. A structure that was missed or "
    "invented has Dice 0; one that is absent from both is undefined and counted. Below 6 patients there is a range and "
    "no test; from 6 to 19 a t interval; from 20 a BCa bootstrap. p after Holm over the rows."
)
FOLDS = Table(
    title="Folds",
    caption="Who was in which part of which fold.",
    columns=[
        *(Column(name, lambda line, name=name: line[name], kind="text") for name in ("split", "fold", "part")),
        *counts(num_patients="patients", num_slices="slices"),
        Column("levels", "levels", kind="text"),
    ],
)


def protocol(evidence: Evidence) -> list[Block]:
    """Rules in short, folds, gaps and commands."""
    blocks: list[Block] = [
        Text(RULES.format(averaged=averaged_words(evidence))),
        _fold_table(evidence),
    ]
    problems = list(evidence.runs.problems)
    blocks.append(
        Text("Left out or missing:") if problems else Text("No run folder was left out and no cell is missing.")
    )
    blocks += [Lines(lines=problems)] if problems else []
    blocks.append(Text("To repeat the grid and this report:"))
    blocks.append(Lines(lines=repeat_commands(evidence), code=True))
    commands = list(
        dict.fromkeys(str(run.card["command"]) for run in evidence.runs.everything if run.card.get("command"))
    )
    if commands:
        summary = f"The {len(commands)} command{'s' * (len(commands) != 1)} as run"
        blocks.append(Folded(summary=summary, blocks=[Lines(lines=commands, code=True)]))
    else:
        blocks.append(Gap("No run_card.json says with which command its run was started."))
    return blocks


def _fold_table(evidence: Evidence) -> Block:
    if evidence["folds"].empty:
        return Gap("No run folder has a split.csv, so folds cannot be listed.")
    return FOLDS.of(evidence["folds"], evidence.labels)


def repeat_commands(evidence: Evidence) -> list[str]:
    """The sweep that made these runs, as it was typed if all agree, and the report over the same folders."""
    typed = list(dict.fromkeys(str(run.card.get("command")) for run in evidence.runs.everything))
    parents = list(dict.fromkeys(run.folder.parent for run in evidence.runs.everything if not run.arm))
    sweeps = {path: [table.stem.removeprefix("grid_") for table in sorted(path.glob("grid_*.csv"))] for path in parents}
    lines = []
    for path, names in sweeps.items():
        for name in names:
            known = [command for command in typed if f"sweep={name}" in command.split()]
            moved = "" if path.name in names else f" hydra.sweep.dir={path}"
            lines.append(known[0] if len(known) == 1 else f"python run.py sweep={name}{moved}")
    runs = ",".join(str(path) for path in parents)
    return [*lines, f"python run.py task=report 'runs=[{runs}]'"]
