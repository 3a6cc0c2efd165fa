"""From the rows of `cases.csv` to the numbers of a summary: slice, then patient, then cohort."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from metrics.cases import DETECTION_IOU, IDENTITY_COLUMNS, MECHANISM_COLUMNS, STATUSES

METRICS = (
    *("dice", "iou", "precision", "recall", "box_iou", "mask_box_iou"),
    *("hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm", "csa_error_percent"),
)
# Every other column may be missing, as in tables written before there was one: its metric is left out then.
NEEDED = (*IDENTITY_COLUMNS, "structure", "status", "dice")
# HD95 over hits alone: without the misses, whose distance is the diagonal of the image.
HITS = "hd95_mm_hits"

Summary = dict[str, "Summary | float | int | None"]


def summarise(cases: pd.DataFrame, only: Sequence[str] = ()) -> Summary:
    """Reduces a case table to nested, JSON-ready numbers; None stands for an undefined one.

    A patient counts once, however many slices there are of it. What needs a column that the table does not have, being
    of an earlier version, is left out. For each metric, `<metric>.<structure>` is the mean over
    patients of the patient's mean over slices, and `<metric>.mean` the mean over patients of the patient's mean over
    structures; `dice.mean` is the primary endpoint. A mean leaves out undefined values; `num_undefined` says how many
    there are. Beside them:

    * `hd95_mm_hits`: HD95 where both masks are present.
    * The same means of each of MECHANISM_COLUMNS that has a value; a network without such a part has no entry.
    * `slice_level.<metric>.<structure>`: `mean` and `sd` over slices (n - 1), as the papers print; for `mean`, the
      value of a slice is its mean over structures.
    * `detection.{own_box,mask_box}`: `precision` and `recall` at box IoU 0.5, mean over patients; the former for the
      box that is the network's own (see `score_slice`), the latter for the tight box of its mask.
    * `num_missed`, `num_false_alarms`, `num_absent`, `num_unlabelled`: rows of that status; `num_undefined`: values of
      METRICS that are NaN in the other rows and in misses and false alarms, of each metric in `undefined`.
    * `num_patients`, `num_patients_undefined` (no Dice at all), `num_slices`.

    Args:
        cases: Rows of `cases.csv`.
        only: Those of METRICS that are asked for, which is quicker; "dice" is among them always.

    Raises:
        ValueError: If the table is empty, lacks a column, scores a structure of a slice twice, has an unknown status,
            or a structure called "mean".
    """
    check_cases(cases)
    metrics = [name for name in METRICS if name in cases.columns and (not only or name in ("dice", *only))]
    hits = [HITS] if "hd95_mm" in metrics else []
    mechanism = [] if only else _shown_mechanism(cases)
    slices = _slice_values(cases, (*metrics, *hits, *mechanism))
    means = _over_slices(slices)
    statuses = Counter(cases["status"])
    known = cases.loc[~cases["status"].isin(["absent", "unlabelled"])]
    undefined = {name: int(np.isnan(_values(known, name)).sum()) for name in metrics}
    return {
        **{name: _cohort_means(frame) for name, frame in means.items()},
        "slice_level": {name: _slice_level(slices[name]) for name in metrics},
        "detection": {
            name: _detection(cases, f"{prefix}box_iou")
            for name, prefix in _BOXES.items()
            if f"{prefix}box_iou" in metrics
        },
        "num_missed": statuses["missed"],
        "num_false_alarms": statuses["false_alarm"],
        "num_absent": statuses["absent"],
        "num_unlabelled": statuses["unlabelled"],
        "num_undefined": sum(undefined.values()),
        "undefined": {**undefined},
        "num_patients": len(means["dice"]),
        "num_patients_undefined": int(means["dice"].isna().all(axis=1).sum()),
        "num_slices": len(cases[["case", "slice"]].drop_duplicates()),
    }


def patient_means(cases: pd.DataFrame, metric: str, by: Sequence[str] = ("patient",)) -> pd.DataFrame:
    """Mean over the slices of each patient: one row per patient (sorted), one column per structure (as first met).

    NaN where the patient has no slice on which the metric of that structure is defined. `metric` is a numeric column of
    the case table or `hd95_mm_hits`; `by` are the columns that tell patients apart, such as the run's beside.
    """
    return patient_means_of_each(cases, [metric], by)[metric]


def patient_means_of_each(
    cases: pd.DataFrame, metrics: Sequence[str], by: Sequence[str] = ("patient",)
) -> dict[str, pd.DataFrame]:
    """`patient_means` of several metrics, faster than one by one."""
    return _over_slices(_slice_values(cases, metrics, by), by)


def check_cases(cases: pd.DataFrame) -> None:
    """Refuses a case table whose means would be wrong.

    Raises:
        ValueError: As in `summarise`.
    """
    missing = [name for name in NEEDED if name not in cases.columns]
    if missing:
        raise ValueError(f"the case table lacks the columns {', '.join(missing)}; expected {', '.join(NEEDED)}")
    if cases.empty:
        raise ValueError("the case table has no row, so nothing was scored; check that the test part has masks")
    unknown = sorted(set(cases["status"].astype(str)) - set(STATUSES))
    if unknown:
        raise ValueError(f"the case table has status {', '.join(unknown)}; expected one of {', '.join(STATUSES)}")
    keys = ["case", "slice", "structure"]
    twice = cases.loc[cases.duplicated(keys), keys]
    if len(twice):
        case, number, structure = twice.iloc[0]
        raise ValueError(
            f"case {case}, slice {number}: {structure} is scored twice ({len(twice)} rows too many), which would weigh "
            "it double; delete the table and test again"
        )
    if "mean" in set(cases["structure"]):
        raise ValueError("a structure is called 'mean', the name of the mean over structures; rename it in the anatomy")


_BOXES = {"own_box": "", "mask_box": "mask_"}


def _shown_mechanism(cases: pd.DataFrame) -> list[str]:
    return [name for name in MECHANISM_COLUMNS if name in cases.columns and np.isfinite(_values(cases, name)).any()]


def _values(cases: pd.DataFrame, metric: str) -> np.ndarray:
    if metric == HITS:
        return np.where(cases["status"] == "scored", _values(cases, "hd95_mm"), np.nan)
    return cases[metric].to_numpy(dtype=float)


def _slice_values(
    cases: pd.DataFrame, metrics: Sequence[str], by: Sequence[str] = ("patient",)
) -> dict[str, pd.DataFrame]:
    """Of each metric one row per slice with index (*by, case, slice), one column per structure."""
    place = {key: cases[key] for key in (*by, "case", "slice", "structure")} | {"patient": cases["patient"].astype(str)}
    table = pd.DataFrame({**place, **{name: _values(cases, name) for name in metrics}})
    wide = table.pivot(index=[*by, "case", "slice"], columns="structure", values=list(metrics))
    structures = list(dict.fromkeys(cases["structure"]))
    return {name: wide[name].loc[:, structures] for name in metrics}


def _over_slices(slices: Mapping[str, pd.DataFrame], by: Sequence[str] = ("patient",)) -> dict[str, pd.DataFrame]:
    means: Any = pd.concat(slices, axis=1).groupby(level=list(by)).agg("mean")
    return {name: means[name] for name in slices}


def _cohort_means(means: pd.DataFrame) -> Summary:
    return {"mean": _number(means.mean(axis=1).mean()), **_numbers(means.mean().items())}


def _slice_level(slices: pd.DataFrame) -> Summary:
    columns = pd.concat([slices.mean(axis=1).rename("mean"), slices], axis=1)
    means, sds = (values.to_numpy(dtype=float) for values in (columns.mean(), columns.std()))
    numbers = zip(columns.columns, means.tolist(), sds.tolist(), strict=True)
    return {str(name): {"mean": _number(mean), "sd": _number(sd)} for name, mean, sd in numbers}


def _detection(cases: pd.DataFrame, column: str) -> Summary:
    """Precision: share of the found structures whose box is right; recall: share of the present ones so found.

    A patient in whom nothing was found, or nothing is present, has no such share and is left out.
    """
    table = cases.assign(hit=_values(cases, column) >= DETECTION_IOU)
    shares = {}
    for name, statuses in (("precision", ["scored", "false_alarm"]), ("recall", ["scored", "missed"])):
        counted = table.loc[table["status"].isin(statuses)]
        shares[name] = counted.groupby("patient")["hit"].agg("mean").mean()
    return _numbers(shares.items())


def _numbers(values: Iterable[tuple[object, float]]) -> Summary:
    return {str(name): _number(value) for name, value in values}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
