"""What was compared, on whom, and what came of it: the first section of the page."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from records.runs import Run
from reports.chapters.order import order_sentence
from reports.endpoint import averaged_words, averages_regions
from reports.evidence import Evidence
from reports.readouts.labels import curve_sentence
from reports.readouts.region_tables import muscle_sentences
from reports.region_scores import region_names
from reports.render.blocks import Block, Gap, Lines, Terms, Text
from reports.render.formats import count, interval, is_number, listed, numbers, percent, pick, record, spoken, word
from reports.setting import label_of, main_split, primary_comparisons, sweep, trained

SYNTHETIC = (
    "Synthetic data. These patients were generated; no person was scanned. The numbers compare programs with each "
    "other and say nothing about accuracy on people."
)

NO_TABLE = "No run was trained on all masks, so there is no table of rows; these are runs beside one."


def headline(evidence: Evidence) -> list[Block]:
    """The result in a sentence, and what it rests on."""
    if not evidence.runs.everything:
        problems = [Lines(lines=list(evidence.runs.problems))] if evidence.runs.problems else []
        return [Gap("There is no finished run to report.", sweep(evidence)), *problems]
    runs = trained(evidence) or [run for run in evidence.runs.everything if not run.arm]
    blocks: list[Block] = []
    if is_synthetic(runs):
        blocks.append(Text(SYNTHETIC, tone="warning"))
    small = not_paper_size(runs)
    if small:
        blocks.append(Text(small, tone="warning"))
    unfinished = unfinished_rows(evidence)
    if unfinished:
        blocks.append(Text(unfinished, tone="warning"))
    leads = [primary_sentence(evidence)] if evidence.rows else [NO_TABLE, curve_sentence(evidence)]
    blocks += [Text(sentence, tone="lead") for sentence in (*leads, *muscle_sentences(evidence)) if sentence]
    compared = (order_sentence(evidence), significance_sentence(evidence)) if evidence.rows else ()
    blocks += [Text(sentence) for sentence in compared if sentence]
    return [*blocks, Terms(terms=[(term, text) for term, text in _facts(evidence, runs) if text])]


def is_synthetic(runs: list[Run]) -> bool:
    """Whether the cohort was generated, by its licence, its citation or its maker."""
    said = " ".join(
        f"{run.card.get('licence', '')} {run.card.get('citation', '')} {run.card.get('cohort', '')}" for run in runs
    )
    return "synthetic" in said.lower() or "phantom" in said.lower()


def not_paper_size(runs: list[Run]) -> str:
    """A warning if any run was trained smaller than the paper says; empty if none was."""
    names = {str(scale["name"]) for run in runs if (scale := run.config.get("scale")) and "name" in scale}
    if not names - {"paper"}:
        return ""
    paper = next((run.config["paper"] for run in runs if run.config.get("paper")), {})
    stated = ", ".join(
        f"{key.replace('_', ' ')} {paper[key]}"
        for key in ("epochs", "width", "batch_size")
        if paper.get(key) is not None
    )
    return f"Not the paper's size: trained with the preset {listed(sorted(names))}" + (
        f". The paper, as the experiments state it: {stated}." if stated else "."
    )


def unfinished_rows(evidence: Evidence) -> str:
    """A warning if folds of a row, or a part of one, are missing; empty if none are."""
    table = pick(evidence["table"], split=main_split(evidence), structure="mean")
    started = table.loc[(table["num_slices"] > 0) & ~table["complete"].astype(bool)] if len(table) else table
    if started.empty:
        return ""
    names = listed(label_of(evidence, row) for row in started["row"])
    return f"Not every fold was tested to its end: numbers of {names} are of a part of the cohort."


def primary_sentence(evidence: Evidence) -> str:
    """The primary endpoint of the reference, with its interval."""
    found = record(
        evidence["statistics"],
        split=main_split(evidence),
        arm="",
        row=evidence.reference,
        stratum="",
        structure="mean",
        metric="dice",
    )
    label = label_of(evidence, evidence.reference)
    if not found or not is_number(found.get("mean")):
        return f"Primary endpoint (Dice, patient mean over {averaged_words(evidence)}): no value for {label}."
    ends = interval(found.get("ci95_low"), found.get("ci95_high"), scale=100)
    kind = word(found.get("interval"))
    named = f" ({'range over patients' if kind == 'range' else f'95 % {kind} interval'} {ends[1:-1]} %)" if ends else ""
    patients = count(found.get("num_patients"))
    value = f"{label} reaches a Dice of {percent(found['mean'])} %{named}"
    return f"Primary endpoint: {value}, patient mean over {averaged_words(evidence)}, n = {patients} patients."


def significance_sentence(evidence: Evidence) -> str:
    """How many rows differ from the reference in the primary endpoint."""
    if len(evidence.rows) == 1:
        return ""
    primary = primary_comparisons(evidence)
    tested = primary.loc[np.isfinite(numbers(primary, "p_holm"))] if len(primary) else primary
    if tested.empty:
        return "No difference between rows was testable: too few patients, or no row beside the reference."
    differ = tested.loc[tested["p_holm"].astype(float) < 0.05]
    named = f" ({listed(label_of(evidence, row) for row in differ['row'])})" if len(differ) else ""
    return f"{len(differ)} of {len(tested)} rows differ from the reference beyond chance, p < 0.05 after Holm{named}."


def _facts(evidence: Evidence, runs: list[Run]) -> list[tuple[str, str]]:
    cards = [run.card for run in runs]
    tables = [run.cases for run in runs]
    own = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    num_slices = len(own[["case", "slice"]].drop_duplicates()) if {"case", "slice"} <= set(own.columns) else 0
    num_patients = own["patient"].nunique() if "patient" in own else 0
    rows = evidence.rows or tuple(dict.fromkeys(run.row for run in runs))
    compared = f"{len(rows)} row{'s' * (len(rows) != 1)}: " + listed((label_of(evidence, row) for row in rows), 20)
    folds = sorted({run.fold for run in runs if run.fold is not None})
    commits = [
        f"{str(card['commit'])[:10]}{' with changes' if card.get('dirty') else ''}"
        for card in cards
        if card.get("commit")
    ]
    return [
        ("Compared", compared),
        ("Cohort", evidence.runs.cohort),
        ("Licence", listed(card["licence"] for card in cards if card.get("licence"))),
        ("Citation", listed(card["citation"] for card in cards if card.get("citation"))),
        ("Structures", listed((name.replace("_", " ") for name in evidence.runs.structures), 20)),
        ("Regions", _regions(evidence)),
        ("Tested on", f"{num_patients} patients, {num_slices} slices" if num_slices else ""),
        ("Split", f"{runs[0].split}, {len(folds)} fold{'s' * (len(folds) != 1)} ({listed(folds)})"),
        ("Seeds", listed(sorted({run.seed for run in runs}))),
        ("Runs", f"{len(runs)}"),
        ("Size", _size(runs)),
        ("Code", listed(commits)),
        ("Report written", date.today().isoformat()),
    ]


def _regions(evidence: Evidence) -> str:
    """What each averaged region is made of."""
    members = region_names(evidence.runs.runs) if averages_regions(evidence) else {}
    known = [name for name in evidence.averaged if name in members]
    return "; ".join(f"{spoken(name)}: {' + '.join(map(spoken, members[name]))}" for name in known)


def _size(runs: Sequence[Run]) -> str:
    """Presets and what they mean, as far as the configurations say."""
    texts = []
    for run in runs:
        config = run.config
        scale = config.get("scale") or {}
        grid = (config.get("grids") or {}).get(scale.get("name")) or {}
        side = " x ".join(str(side) for side in grid.get("size", ()))
        parts = [f"preset {scale['name']}"] if "name" in scale else []
        parts += [f"{side} pixels of {grid.get('spacing_mm')} mm"] if side else []
        parts += [run.trained_epochs] if run.trained_epochs else []
        parts += [f"{key.replace('_', ' ')} {scale[key]}" for key in ("width", "batch_size") if key in scale]
        texts += [", ".join(parts)] if parts else []
    return listed(texts, 3).replace(", preset", "; preset")
