"""Whether rows come in the paper's order: as far as these patients can tell."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from reports.endpoint import averaged_kind, averaged_words
from reports.evidence import Evidence
from reports.readouts.statistics import dice_of_patients
from reports.render.formats import interval, is_number, pick, points, spoken
from reports.setting import label_of, main_split, published_means
from reports.statistics.comparisons import ALPHA, holm, wilcoxon_p
from reports.statistics.intervals import FEWEST_FOR_TEST, intervals

SAME, UNCLEAR, OTHER = "same order", "not distinguishable", "other order"
MOST_PAIRS = 3  # that a sentence names


def order_sentence(evidence: Evidence) -> str:
    """Whether the rows come in the paper's order; empty if fewer than two can be compared."""
    paper = published_means(evidence)
    if len(paper) == 1:
        return _order_of_names(evidence)
    values = dice_of_patients(evidence)
    both = [row for row in values.columns if row in paper]
    if len(both) < 2:
        return "The paper's order of rows cannot be compared: fewer than two of its rows have a result here."
    order = sorted(both, key=lambda row: -paper[row])
    labels = {row: label_of(evidence, row) for row in order}
    what = f"The paper's {len(both)} rows, by mean over {averaged_words(evidence)}"
    return f"{what}: {compared(values.reindex(columns=order), labels)}"


def _order_of_names(evidence: Evidence) -> str:
    """Whether what a paper with a single row prints a Dice of comes in its order; "" if there are not two."""
    table = pick(evidence["table"], split=main_split(evidence), row=evidence.reference)
    printed = {str(line["structure"]): line["published_mean"] for line in table.to_dict("records")}
    tables = {name: dice_of_patients(evidence, name) for name in evidence.averaged if is_number(printed.get(name))}
    known = [name for name, values in tables.items() if evidence.reference in values]
    if len(known) < 2:
        return ""
    order = sorted(known, key=lambda name: -printed[name])
    columns = {name: tables[name][evidence.reference] for name in order}
    what = f"The paper's {len(known)} {averaged_kind(evidence)}, by mean Dice"
    return f"{what}: {compared(pd.DataFrame(columns), {name: spoken(name) for name in order})}"


def compared(values: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """One of SAME, UNCLEAR and OTHER, and why.

    The same order where every neighbour is shown to be the better one, another where one pair is shown to be the other
    way round: Wilcoxon's signed-rank test, p < 0.05 after Holm over all pairs, and an interval on one side of 0.

    Args:
        values: One patient a line, the columns in the paper's order.
        labels: What the columns are called.
    """
    names = [str(name) for name in values.columns]
    pairs = list(combinations(names, 2))
    samples = [(values[better] - values[worse]).dropna().to_numpy(dtype=float) for better, worse in pairs]
    found = intervals(samples).assign(p=holm(np.array([wilcoxon_p(sample.round(12)) for sample in samples])))
    shown = (found["p"] < ALPHA).to_numpy()
    above, below = shown & (found["low"] > 0).to_numpy(), shown & (found["high"] < 0).to_numpy()
    neighbours = [place for place, (one, other) in enumerate(pairs) if names.index(other) - names.index(one) == 1]
    if below.any():
        said = _named(pairs, found, labels, np.flatnonzero(below))
        return f"{OTHER}. Paper: {' > '.join(labels[name] for name in names)}. Shown here the other way round: {said}."
    if above[neighbours].all():
        return f"{SAME}: {' > '.join(labels[name] for name in names)}."
    fewest = min(len(sample) for sample in samples)
    if fewest < FEWEST_FOR_TEST:
        return f"{UNCLEAR}, as pairs share {fewest} patients and a test takes {FEWEST_FOR_TEST}."
    said = _named(pairs, found, labels, [place for place in neighbours if not above[place]])
    return f"{UNCLEAR}: {said}."


def _named(
    pairs: Sequence[tuple[str, str]], found: pd.DataFrame, labels: Mapping[str, str], places: Sequence[int] | np.ndarray
) -> str:
    """Pairs with their difference in points, as the paper has them."""
    texts = []
    for place in list(places)[:MOST_PAIRS]:
        better, worse = pairs[place]
        mean, low, high = found.loc[place, ["mean", "low", "high"]]
        ends = interval(low, high, 2, signed=True, scale=100)
        texts.append(f"{labels[better]} minus {labels[worse]} {points(mean)} {ends}")
    more = f" and {len(places) - MOST_PAIRS} more pairs" if len(places) > MOST_PAIRS else ""
    return f"{'; '.join(texts)} points{more}"
