"""Case tables of runs joined, with key-point errors and mis-numbered structures as columns.

docs/protocol.md, "Mixed supervision, fairly": a vertebra numbered one off is no error of its outline, and is counted
apart.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from metrics.cases import CASE_COLUMNS
from metrics.levels import level_table
from records.readout_files import HEATMAP, MASK
from records.run import Run

SLICE_KEYS = ["case", "slice", "structure"]
# What a true structure was called, and how many places off that is: `metrics.levels.find_levels`.
LABEL, OFFSET = "level_label", "level_offset"
# Metrics of a structure on a slice, all of them better when lower: distance of the network's key point, distance of the
# centre of its mask, and whether what was found carries another level's number (0 or 1; NaN where it was missed).
READOUTS = ("keypoint_error_mm", "mask_keypoint_error_mm", "level_error")
CASES = (*CASE_COLUMNS, *READOUTS, LABEL, OFFSET, "row", "split", "arm", "seed", "fold")


def joined_cases(runs: Sequence[Run]) -> pd.DataFrame:
    """Case tables of runs in one, with row, split, arm, seed, fold and the columns of `with_readouts`."""
    frames = [
        with_readouts(run).assign(row=run.row, split=run.split, arm=run.arm, seed=run.seed, fold=run.fold)
        for run in runs
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(CASES))


def with_readouts(run: Run) -> pd.DataFrame:
    """Case table of a run with the columns READOUTS, LABEL and OFFSET, empty where its folder does not say."""
    errors = {"keypoint_error_mm": HEATMAP, "mask_keypoint_error_mm": MASK}
    table = run.cases
    points = run.readouts.keypoints
    for name, source in errors.items():
        if points is None:
            table = table.assign(**{name: np.nan})
        else:
            own = points.loc[points["visible"] & (points["source"] == source), [*SLICE_KEYS, "error_mm"]]
            table = table.merge(own.rename(columns={"error_mm": name}), on=SLICE_KEYS, how="left")
    if run.readouts.confusion is None:
        table = table.assign(**{OFFSET: np.nan, LABEL: ""})
    else:
        found = level_table(run.readouts.confusion, run.series).loc[:, [*SLICE_KEYS, "label", "offset"]]
        table = table.merge(found.set_axis([*SLICE_KEYS, LABEL, OFFSET], axis=1), on=SLICE_KEYS, how="left").fillna(
            {LABEL: ""}
        )
    return table.assign(level_error=np.where(table[OFFSET].isna(), np.nan, table[OFFSET] != 0))
