"""What was compared, on whom, and what came of it: the first chapter."""

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
from reports.statistics.patients import MEAN

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
    warnings = (SYNTHETIC if is_synthetic(runs) else "", not_paper_size(runs), unfinished_rows(evidence))
    leads = [primary_sentence(evidence)] if evidence.rows else [NO_TABLE, curve_sentence(evidence)]
    compared = (order_sentence(evidence), significance_sentence(evidence)) if evidence.rows else ()
    said = {"warning": warnings, "lead": (*leads, *muscle_sentences(evidence)), "": compared}
    texts = [Text(text, tone=tone) for tone, sentences in said.items() for text in sentences if text]
    return [*texts, Terms(terms=[(term, text) for term, text in _facts(evidence, runs).items() if text])]


def is_synthetic(runs: list[Run]) -> bool:
    """Whether the cohort was generated, by its licence, its citation or its maker."""
    said = " ".join(str(run.card.get(name, "")) for run in runs for name in ("licence", "citation", "cohort")).lower()
    return "synthetic" in said or "phantom" in said


def not_paper_size(runs: list[Run]) -> str:
    """A warning if any run was trained smaller than the paper says; empty if none was."""
    names = {str(scale["name"]) for run in runs if (scale := run.config.get("scale")) and "name" in scale}
    if not names - {"paper"}:
        return ""
    stated = stated_size(next((run.config["paper"] for run in runs if run.config.get("paper")), {}))
    size = f" The paper, as the experiments state it: {stated}." if stated else ""
    return f"Not the paper's size: trained with the preset {listed(sorted(names))}.{size}"


def stated_size(node: dict) -> str:
    """Size of a training in words, as far as a node of a configuration says it."""
    known = {key: node.get(key) for key in ("epochs", "width", "batch_size")}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in known.items() if value is not None)


def unfinished_rows(evidence: Evidence) -> str:
    """A warning if folds of a row, or a part of one, are missing; empty if none are."""
    table = pick(evidence["table"], split=main_split(evidence), structure=MEAN)
    started = table.loc[(table["num_slices"] > 0) & ~table["complete"].astype(bool)] if len(table) else table
    names = listed(label_of(evidence, row) for row in started["row"])
    return f"Not every fold was tested to its end: numbers of {names} are of a part of the cohort." if names else ""


def primary_sentence(evidence: Evidence) -> str:
    """The primary endpoint of the reference, with its interval."""
    keys = {"split": main_split(evidence), "arm": "", "stratum": "", "structure": MEAN, "metric": "dice"}
    found = record(evidence["statistics"], row=evidence.reference, **keys)
    label, averaged = label_of(evidence, evidence.reference), averaged_words(evidence)
    if not is_number(found.get("mean")):
        return f"Primary endpoint (Dice, patient mean over {averaged}): no value for {label}."
    ends = interval(found.get("ci95_low"), found.get("ci95_high"), scale=100)
    kind = word(found.get("interval"))
    named = f" ({'range over patients' if kind == 'range' else f'95 % {kind} interval'} {ends[1:-1]} %)" if ends else ""
    value = f"{label} reaches a Dice of {percent(found['mean'])} %{named}"
    patients = count(found.get("num_patients"))
    return f"Primary endpoint: {value}, patient mean over {averaged}, n = {patients} patients."


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


def _facts(evidence: Evidence, runs: list[Run]) -> dict[str, str]:
    cards = [run.card for run in runs]
    own = pd.concat([run.cases for run in runs], ignore_index=True)
    rows = evidence.rows or tuple(dict.fromkeys(run.row for run in runs))
    folds = sorted({run.fold for run in runs if run.fold is not None})
    commits = [
        f"{str(card['commit'])[:10]}{' with changes' if card.get('dirty') else ''}"
        for card in cards
        if card.get("commit")
    ]
    members = region_names(evidence.runs.runs) if averages_regions(evidence) else {}
    regions = {name: " + ".join(map(spoken, members[name])) for name in evidence.averaged if name in members}
    slices = len(own[["case", "slice"]].drop_duplicates())
    labels = listed((label_of(evidence, row) for row in rows), 20)
    return {
        "Compared": f"{len(rows)} row{'s' * (len(rows) != 1)}: {labels}",
        "Cohort": evidence.runs.cohort,
        "Licence": listed(card["licence"] for card in cards if card.get("licence")),
        "Citation": listed(card["citation"] for card in cards if card.get("citation")),
        "Structures": listed(map(spoken, evidence.runs.structures), 20),
        "Regions": "; ".join(f"{spoken(name)}: {parts}" for name, parts in regions.items()),
        "Tested on": f"{own['patient'].nunique()} patients, {slices} slices" if slices else "",
        "Split": f"{runs[0].split}, {len(folds)} fold{'s' * (len(folds) != 1)} ({listed(folds)})",
        "Seeds": listed(sorted({run.seed for run in runs})),
        "Runs": f"{len(runs)}",
        "Size": listed(filter(None, map(_size, runs)), 3).replace(", preset", "; preset"),
        "Code": listed(commits),
        "Report written": date.today().isoformat(),
    }


def _size(run: Run) -> str:
    """The preset and what it means, as far as the configuration says."""
    scale = run.config.get("scale") or {}
    grid = (run.config.get("grids") or {}).get(scale.get("name")) or {}
    side = " x ".join(str(side) for side in grid.get("size", ()))
    name = f"preset {scale['name']}" if "name" in scale else ""
    pixels = f"{side} pixels of {grid.get('spacing_mm')} mm" if side else ""
    known = {} if run.fits_shapes else {key: scale.get(key) for key in ("width", "batch_size")}
    return ", ".join(filter(None, (name, pixels, run.trained_epochs, stated_size(known))))
