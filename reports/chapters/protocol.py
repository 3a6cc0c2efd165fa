"""Rules of the measurement, gaps and commands: the last section of the page."""

from reports.endpoint import averaged_words
from reports.evidence import Evidence
from reports.render.blocks import Block, Folded, Gap, Lines, Text

RULES = (
    "The unit is the patient: a value is averaged over a patient's slices, then over {averaged}, then over patients. "
    "Predictions are compared with the untouched annotation on the image's own pixels. A structure that was missed or "
    "invented has Dice 0; one that is absent from both is undefined and counted. Below 6 patients there is a range and "
    "no test; from 6 to 19 a t interval; from 20 a BCa bootstrap. p after Holm over the rows."
)


def rules(evidence: Evidence) -> list[Block]:
    """In short."""
    return [Text(RULES.format(averaged=averaged_words(evidence)))]


def commands(evidence: Evidence) -> list[Block]:
    """What is missing, and how all of it is made again."""
    problems = list(evidence.runs.problems)
    said = "Left out or missing:" if problems else "No run folder was left out and no cell is missing."
    blocks: list[Block] = [Text(said), *([Lines(lines=problems)] if problems else [])]
    blocks.append(Text("To repeat the grid and this report:"))
    blocks.append(Lines(lines=repeat_commands(evidence), code=True))
    typed = list(dict.fromkeys(str(run.card["command"]) for run in evidence.runs.everything if run.card.get("command")))
    if typed:
        summary = f"The {len(typed)} command{'s' * (len(typed) != 1)} as run"
        blocks.append(Folded(summary=summary, blocks=[Lines(lines=typed, code=True)]))
    else:
        blocks.append(Gap("No run_card.json says with which command its run was started."))
    return blocks


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
