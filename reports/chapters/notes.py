"""The sentences under a table: what its numbers can carry and how to get them again."""

import numpy as np

from records.run import Run
from records.runs import AS_PUBLISHED
from reports.chapters.headline import stated_size
from reports.endpoint import averaged_words
from reports.evidence import Evidence
from reports.readouts.costs import unequal_masks
from reports.readouts.curve import unequal_training
from reports.readouts.varied_tables import noise_sentences, size_sentences
from reports.statistics.comparisons import NUM_FLIPS, detectable_difference, smallest_p
from reports.statistics.intervals import FEWEST_FOR_TEST, kind
from reports.statistics.patients import MEAN, primary_values
from reports.summaries import primary_split

PAPER_SIZE = "paper"
KINDS = {
    "range": "below 6 patients: the range of the values, no interval",
    "t": "6 to 19 patients: t interval, which leans on normal values",
    "BCa": "BCa bootstrap over patients, 10 000 draws",
    "": "no value",
}
TESTS = (
    "p: Wilcoxon signed-rank (zeros by Pratt), sign-flip permutation of the mean, Holm over the rows of the former, "
    "equivalence within the margin by two one-sided t tests; effect: Cohen's dz. Bold: every row not worse than the "
    "best of its column after Holm (none if all are), unless its patients are too few to be found worse."
)
MOST_COMMANDS = 12


def write_notes(evidence: Evidence) -> tuple[str, ...]:
    """What has to be read with the table."""
    if not evidence.rows:
        missing = "No finished run trained on all masks, so there is no table."
        return (missing, *evidence.runs.problems, *beside_notes(evidence))
    trained = [run for run in evidence.runs.runs if not run.arm and not run.scored]
    texts = (
        *_cohort(evidence, trained),
        *dict.fromkeys(_preset(run) for run in trained if run.config.get("scale")),
        unequal_masks(evidence["costs"], evidence.labels),
        *_versions(evidence),
        *_power(evidence),
        *_coverage(evidence),
        *noise_sentences(evidence),
        *size_sentences(evidence),
        _without_run(evidence),
        *beside_notes(evidence),
        *(f"{problem[0].upper()}{problem[1:]}." for problem in evidence.runs.problems),
    )
    return tuple(filter(None, texts))


def beside_notes(evidence: Evidence) -> list[str]:
    """What has to be read with what is no part of the table: the curve, fusions, runs without masks."""
    texts, curve = [], evidence["curve"]
    if len(curve):
        gaps = curve.loc[~curve["complete"].astype(bool)]
        points = dict.fromkeys(f"{line['masked_patients']} ({line['supervision']})" for line in gaps.to_dict("records"))
        texts += ["Runs with masks of a limited number of patients are in the curve alone, never in the table."]
        texts += [unequal_training(curve)]
        texts += [f"Points of the curve without all folds: {', '.join(points)}."] if points else []
    for runs, text in (
        (evidence.runs.fused, "Fusions of several models are in a table of their own"),
        (evidence.runs.keypoint_only, "Trained without any mask, and in the table of key points alone"),
    ):
        rows = dict.fromkeys(evidence.labels.get(run.row, run.row) for run in runs)
        texts += [f"{text}: {', '.join(rows)}."] if rows else []
    return list(filter(None, texts))


def commands(evidence: Evidence) -> tuple[str, ...]:
    """The command lines that made the runs, each once."""
    listed = tuple(
        dict.fromkeys(str(run.card["command"]) for run in evidence.runs.everything if run.card.get("command"))
    )
    more = f"... and {len(listed) - MOST_COMMANDS} more: `command` in each run_card.json"
    return listed if len(listed) <= MOST_COMMANDS else (*listed[:MOST_COMMANDS], more)


def _cohort(evidence: Evidence, trained: list[Run]) -> list[str]:
    own = evidence["cases"].loc[evidence["cases"]["arm"] == ""]
    card = next((run.card for run in evidence.runs.runs if run.card), {})
    licence = f" Licence: {card['licence']}." if card.get("licence") else ""
    slices = len(own[["case", "slice"]].drop_duplicates())
    texts = [
        f"Cohort {evidence.runs.cohort}: {own['patient'].nunique()} patients and {slices} slices were tested.{licence}"
    ]
    if card.get("nominal_spacing"):
        texts.append(
            "The pixel size of this cohort is nominal: nobody measured it. Nothing here is measured in mm; grids, "
            "cells and the bars in pictures are in nominal mm."
        )
    seeds = sorted({run.seed for run in trained})
    if len(seeds) > 1:
        texts.append(
            f"Seeds {', '.join(map(str, seeds))}: a patient's value is the mean over the seeds of its row; misses, "
            "false alarms and undefined values are counted over all of them."
        )
    elif seeds:
        texts.append(
            f"One training per row and fold (seed {seeds[0]}): how much another seed would change is not known."
        )
    if any(run.split == AS_PUBLISHED for run in trained):
        texts.append(
            "Split as published: folds dealt by image, so slices of a tested patient were trained on. Those numbers "
            "are too good for unseen patients."
        )
    return texts


def _versions(evidence: Evidence) -> list[str]:
    """Runs of several versions of the code, or of one that was changed, may differ for that reason alone."""
    cards = [run.card for run in evidence.runs.runs if run.card and not run.arm]
    commits = list(dict.fromkeys(str(card["commit"])[:7] for card in cards if card.get("commit")))
    changed = sum(bool(card.get("dirty")) for card in cards)
    several = f"The runs come from {len(commits)} versions of the code: commits {', '.join(commits)}."
    dirty = f"{changed} of {len(cards)} runs were made with uncommitted changes of the code."
    return [text for text, said in ((several, len(commits) > 1), (dirty, changed)) if said]


def _preset(run: Run) -> str:
    scale, data = run.config["scale"], run.config.get("data") or {}
    size = "x".join(str(side) for side in data.get("size", [])) or "unknown size"
    network = "" if run.fits_shapes else f", width {scale.get('width')}, batch {scale.get('batch_size')}"
    text = f"Preset {scale.get('name')}: {run.trained_epochs}{network}, {size} pixels of {data.get('spacing_mm')} mm."
    if scale.get("name") == PAPER_SIZE:
        return text
    stated = stated_size(run.config.get("paper") or {})
    return f"{text} This is not paper size{f' ({stated})' if stated else ''}: ranks and gaps may change with it."


def _power(evidence: Evidence) -> list[str]:
    table = primary_values(evidence["scores"], evidence.rows, primary_split(evidence["cases"]))
    counts = sorted({int(np.count_nonzero(table[row].notna())) for row in table.columns} or {0})
    kinds = "; ".join(dict.fromkeys(KINDS[kind(count)] for count in counts))
    size = " to ".join(dict.fromkeys((str(counts[0]), str(counts[-1]))))
    texts = [f"Primary endpoint: Dice, patient's mean over {averaged_words(evidence)}, n = {size} ({kinds})."]
    others = [row for row in table.columns if row != evidence.reference]
    if evidence.reference not in table or not others:
        return [*texts, "Only one row has runs: nothing is compared."]
    label = evidence.labels[evidence.reference]
    differences = [(table[row] - table[evidence.reference]).dropna().to_numpy() for row in others]
    fewest = min(map(len, differences))
    testable = [sample for sample in differences if len(sample) >= FEWEST_FOR_TEST]
    if fewest < FEWEST_FOR_TEST:
        texts.append(f"Not testable: only {fewest} patients are shared with {label}; a test needs {FEWEST_FOR_TEST}.")
    if not testable:
        return texts
    num_pairs = min(map(len, testable))
    smallest = smallest_p(num_pairs)
    drawn = f" (permutation: {1 / (NUM_FLIPS + 1) * 2:g}, of {NUM_FLIPS} flips)" if smallest < 1 / NUM_FLIPS else ""
    detectable = [100 * detectable_difference(sample) for sample in testable]
    ends = dict.fromkeys(f"{end:.2f}" for end in (np.min(detectable), np.max(detectable)))
    adjusted = min(smallest * len(testable), 1)
    return [
        *texts,
        f"Differences are to {label}, paired by patient. Smallest p that n = {num_pairs} "
        f"allows: {smallest:.2g}{drawn}, after Holm over {len(testable)} row(s) {adjusted:.2g}.",
        f"A mean difference of {' to '.join(ends)} Dice points would be found with 80 % power at alpha 0.05; "
        f"the margin of interest is {100 * evidence.margin:g} points.",
        TESTS,
    ]


def _without_run(evidence: Evidence) -> str:
    missing = dict.fromkeys(evidence["table"].loc[evidence["table"]["num_slices"] == 0, "row"])
    names = ", ".join(evidence.labels[row] for row in missing)
    return f"Published, but without a finished run here: {names}." if missing else ""


def _coverage(evidence: Evidence) -> list[str]:
    table = evidence["statistics"]
    here = table.loc[(table["stratum"] == "") & (table["arm"] == "") & (table["metric"] == "dice")]
    lines = here.loc[(here["structure"] == MEAN) & here["note"].astype(str).str.contains("compared on")]
    texts = [f"{evidence.labels[line['row']]} ({line['split']}): {line['note']}." for line in lines.to_dict("records")]
    return [*texts, "Ranks are those on the patients that all rows have."] if texts else texts
