"""What a row of the table costs, and what its networks began with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.runs import Run, Runs
from reports.summaries import mean_of

COSTS = ("parameters", "flop_per_image", "ms_per_image", "peak_memory_mb")
WEIGHTS = "weights"  # of the node `model`: a file with an encoder's weights
FROM_SCRATCH = "none"


def build_costs(runs: Runs, rows: Sequence[str]) -> pd.DataFrame:
    """What a row costs, mean over its runs; NaN where no run says it.

    `encoder_weights` are what its trainings began with: the name of a file, FROM_SCRATCH, or "" where the network has
    no such option.
    """
    records = []
    for row in rows:
        own = [run for run in runs.runs if run.row == row and not run.arm and not run.scored]
        models = [run.summary.get("model") or {} for run in own]
        record: dict[str, Any] = {"row": row}
        record |= {name: mean_of([model.get(name) for model in models]) for name in COSTS}
        record["peak_memory_of"] = "/".join(
            sorted({str(model["peak_memory_of"]) for model in models if model.get("peak_memory_of")})
        )
        record["encoder_weights"] = "/".join(sorted({_encoder(run) for run in own} - {""}))
        record["training_s"] = mean_of([(run.summary.get("train") or {}).get("seconds") for run in own])
        records.append(record | {"num_runs": len(own)})
    columns = ["row", *COSTS, "training_s", "num_runs", "peak_memory_of", "encoder_weights"]
    return pd.DataFrame(records, columns=columns)


def encoder_weights(costs: pd.DataFrame) -> dict[str, str]:
    """Of each row what its encoder began with; {} where no network of the table has the option."""
    known = dict(zip(costs["row"], costs["encoder_weights"], strict=True))
    return {str(row): str(text) for row, text in known.items()} if any(known.values()) else {}


def _encoder(run: Run) -> str:
    model = run.config.get("model") or {}
    if WEIGHTS not in model:
        return ""
    return Path(str(model[WEIGHTS])).name if model[WEIGHTS] else FROM_SCRATCH
