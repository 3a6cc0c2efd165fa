"""Labels against accuracy: what key points, or a trained network to start from, add where few patients have masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from metrics.aggregate import patient_means
from records.run import FULL, Run
from reports.case_tables import READOUTS, with_readouts
from reports.sources import Sources
from reports.statistics.comparisons import compare, holm
from reports.statistics.intervals import intervals
from reports.summaries import covers_folds

METRICS = ("dice", "hd95_mm", *READOUTS)
VALUES = ("row", "metric", "masked_patients", "supervision", "draw", "seed", "patient", "value")
POINT = ["row", "metric", "masked_patients"]
TRAINING = ["draw", "seed"]
COLUMNS = (
    *("row", "metric", "masked_patients", "supervision", "num_patients", "num_draws", "num_trainings", "num_images"),
    *("mean", "ci95_low", "ci95_high", "interval", "draw_sd"),
    *("difference", "difference_low", "difference_high", "difference_interval", "num_pairs", "num_shared_draws"),
    *("p_wilcoxon", "p_permutation", "p_holm", "effect_size", "complete"),
)
TESTED = (
    *("difference", "difference_low", "difference_high", "difference_interval", "num_pairs"),
    *("p_wilcoxon", "p_permutation", "effect_size"),
)


FILES = {"curve": "Labels against accuracy (`build_curve`)."}


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`curve`, and `beside`: case tables of curve and fusions, for the claims."""
    runs = sources.runs.curve
    beside = pd.concat([sources.fused_cases, curve_cases(runs)])
    return {"curve": build_curve(runs, patient_values(runs)), "beside": beside}


def curve_cases(runs: Sequence[Run]) -> pd.DataFrame:
    """Case tables of the curve's runs joined, as those of a table are; `arm` is `mixed_6` or `full_6`.

    What is a seed elsewhere is here a training: a draw of the patients with masks, and a seed. Arms of a row with the
    same number of masks have the trainings that all of them have, so that both sides of a pair saw the same masks.
    """
    if not runs:
        return pd.DataFrame()
    trainings = sorted({(run.draw, run.seed) for run in runs})
    have: dict[tuple[str, str, int | None], dict[str, set[tuple[int, int]]]] = {}
    for run in runs:
        arms = have.setdefault((run.row, run.split, run.masked_patients), {})
        arms.setdefault(run.curve_arm, set()).add((run.draw, run.seed))
    frames = [
        with_readouts(run).assign(
            row=run.row,
            split=run.split,
            arm=f"{run.curve_arm.replace(' ', '_')}_{run.masked_patients}",
            seed=trainings.index((run.draw, run.seed)),
            fold=run.fold,
        )
        for run in runs
        if (run.draw, run.seed) in set.intersection(*have[run.row, run.split, run.masked_patients].values())
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def patient_values(runs: Sequence[Run]) -> pd.DataFrame:
    """One value a patient (mean over structures) of every training of the curve, with VALUES."""
    trainings: dict[tuple[object, ...], list[pd.DataFrame]] = {}
    for run in (run for run in runs if not run.arm):
        key = (run.row, run.masked_patients, run.curve_arm, run.draw, run.seed)
        trainings.setdefault(key, []).append(with_readouts(run))
    frames = []
    for (row, masked, supervision, draw, seed), tables in trainings.items():
        cases = pd.concat(tables, ignore_index=True)
        labels = {"row": row, "masked_patients": masked, "supervision": supervision, "draw": draw, "seed": seed}
        for metric in METRICS:
            means = patient_means(cases, metric).agg("mean", axis=1)
            table = pd.DataFrame({"patient": means.index, "value": means.to_numpy(dtype=float)}).dropna()
            frames.append(table.assign(metric=metric, **labels))
    return pd.concat(frames, ignore_index=True).loc[:, list(VALUES)] if frames else pd.DataFrame(columns=list(VALUES))


def build_curve(runs: Sequence[Run], values: pd.DataFrame) -> pd.DataFrame:
    """`curve.csv`: a line per row, metric, number of patients with masks, and `Run.curve_arm`, with COLUMNS.

    A patient's value is the mean over seeds, then over draws. `difference` is to a training from scratch by masks alone
    with as many of them: paired by patient within each draw and seed that both have, then averaged over them; `p_holm`
    adjusts `p_wilcoxon` over the points of a row and metric. `draw_sd` is the SD over draws of the mean over patients.
    `num_images` is how many images a training saw (mean), which must not differ between lines that are compared.
    """
    records, samples, differences = [], [], []
    key: Any
    for key, point in values.groupby(POINT, sort=True):
        row, metric, masked = key
        arms = {str(name): part for name, part in point.groupby("supervision", sort=False)}
        for supervision in sorted(arms, key=lambda name: (name != FULL, name)):
            part = arms[supervision]
            own = [run for run in runs if (run.row, run.masked_patients, run.curve_arm) == (row, masked, supervision)]
            draws = part.pivot_table(index="patient", columns="draw", values="value", aggfunc="mean")
            gaps, shared = _paired(part, arms[FULL]) if supervision != FULL and FULL in arms else (np.zeros(0), 0)
            samples.append(np.nanmean(draws.to_numpy(dtype=float), axis=1))
            differences.append(gaps)
            records.append(
                {"row": row, "metric": metric, "masked_patients": masked, "supervision": supervision}
                | {"num_patients": len(draws), "num_draws": draws.shape[1], "num_shared_draws": shared}
                | {"num_trainings": len(part[TRAINING].drop_duplicates()), "num_images": _images(own)}
                | {"draw_sd": _spread(draws.dropna().to_numpy(dtype=float)), "complete": _whole(own)}
            )
    table = pd.DataFrame(records, columns=[name for name in COLUMNS if name in _RECORDED])
    table[["mean", "ci95_low", "ci95_high", "interval"]] = intervals(samples)
    table[list(TESTED)] = compare(differences, 0.0)[list(TESTED)]
    adjusted = table.groupby(["row", "metric"], sort=False)["p_wilcoxon"]
    table["p_holm"] = adjusted.transform(lambda p_values: holm(p_values.to_numpy())) if len(table) else []
    return table.loc[:, list(COLUMNS)]


_RECORDED = (
    *("row", "metric", "masked_patients", "supervision", "num_patients", "num_draws", "num_trainings", "num_images"),
    *("draw_sd", "num_shared_draws", "complete"),
)


def unequal_training(curve: pd.DataFrame) -> str:
    """A warning if the trainings of a curve saw different numbers of images, hence optimizer steps; "" if not."""
    seen = curve["num_images"].dropna().to_numpy(dtype=float)
    if not len(seen) or np.ptp(seen) <= 0.01 * seen.max():
        return ""
    return (
        f"Trainings of the labels-versus-accuracy curve saw between {seen.min():.0f} and {seen.max():.0f} images: its "
        "points do not have the same number of optimizer steps (data.samples_per_epoch sets it)."
    )


def _paired(part: pd.DataFrame, full: pd.DataFrame) -> tuple[np.ndarray, int]:
    """Differences of the patients, averaged over the trainings that both have, and of how many draws these are."""
    both = part.merge(full, on=[*TRAINING, "patient"], suffixes=("", "_full"))
    both = both.assign(gap=both["value"] - both["value_full"])
    draws = both.pivot_table(index="patient", columns="draw", values="gap", aggfunc="mean")
    return np.nanmean(draws.to_numpy(dtype=float), axis=1) if len(draws) else np.zeros(0), draws.shape[1]


def _spread(draws: np.ndarray) -> float:
    """SD over draws [patients, draws] of the mean over the patients that all draws have."""
    return float(draws.mean(axis=0).std(ddof=1)) if draws.shape[1] > 1 and len(draws) else np.nan


def _images(runs: Sequence[Run]) -> float:
    """Images that one training saw, mean over runs; NaN where no run says it."""
    known = [
        float(train["num_images"]) for run in runs if (train := run.summary.get("train")) and "num_images" in train
    ]
    return float(np.mean(known)) if known else np.nan


def _whole(runs: Sequence[Run]) -> bool:
    """Whether every draw and seed has every fold."""
    runs = [run for run in runs if not run.arm]
    return all(covers_folds([run for run in runs if run.draw == draw]) for draw in {run.draw for run in runs})
