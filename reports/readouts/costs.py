"""What a row of the table costs, what its networks began with, how coarse they see, and what they were shown."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from records.runs import Run, Runs
from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.render.blocks import Block
from reports.render.formats import DASH, is_number
from reports.render.tables import COUNT, ROW, Column, Table, counts
from reports.setting import in_order
from reports.sources import Sources
from reports.summaries import mean_of

COSTS = ("parameters", "flop_per_image", "ms_per_image", "peak_memory_mb")
WEIGHTS = "weights"  # of the node `model`: a file with an encoder's weights
FROM_SCRATCH = "none"
CELLS = {"low": "low-level", "bottleneck": "bottleneck"}  # of `paper.cell_mm`, and of a summary's `cell_<name>_mm`
CELL_FACTOR = 1.5  # ours: a cell further off than this is another one than the paper's
NOT_GIVEN = "not given"
SEEN = {
    "steps": "steps",
    "num_masked": "slices with masks seen",
    "num_keypoint_only": "slices without masks seen",
}
SAME = 0.01  # ours: share by which folds of unequal size may let rows differ
TABLE = Table(
    title="Costs, mean over runs",
    caption="Times are of the machine that ran them.",
    main=True,
    columns=[
        ROW,
        Column("parameters, M", "parameters", digits=2, scale=1e-6),
        Column("GFLOP an image", "flop_per_image", digits=2, scale=1e-9),
        Column("ms an image", "ms_per_image"),
        Column("peak memory, MB", "peak_memory_mb", digits=0, below=lambda line: line["peak_memory_of"]),
        Column("training, s", "training_s", **COUNT),
        Column("runs", "num_runs", **COUNT),
    ],
)
SHOWN = Table(
    title="How coarse a row sees and what a training was shown, mean over runs",
    main=True,
    columns=[
        ROW,
        Column("cells, mm (low-level, bottleneck)", "cells_mm", kind="text"),
        Column("the paper's", "paper_cells_mm", kind="text", tone="prose"),
        *counts(**SEEN),
    ],
    notes=["Cells: side of what one value of a feature map stands for; the paper's where it gives its images' size."],
)


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`costs`."""
    return {"costs": build_costs(sources.runs, sources.rows)}


def build_costs(runs: Runs, rows: Sequence[str]) -> pd.DataFrame:
    """What a row costs, mean over its runs; NaN where no run says it.

    `encoder_weights` are what its trainings began with: the name of a file, FROM_SCRATCH, or "" where the network has
    no such option. `cells_mm` are the sides of its cells, low-level and bottleneck, "" where no run says it;
    `paper_cells_mm` are the paper's, and in words how far ours are off. SEEN is what a training was shown.
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
        for name, text_of in (("encoder_weights", _encoder), ("cells_mm", _cells), ("paper_cells_mm", _paper_cells)):
            record[name] = "/".join(sorted({text_of(run) for run in own} - {""}))
        trainings = [run.summary.get("train") or {} for run in own]
        record["training_s"] = mean_of([training.get("seconds") for training in trainings])
        record |= {name: mean_of([training.get(name) for training in trainings]) for name in ("steps", "num_masked")}
        images = mean_of([training.get("num_images") for training in trainings if "num_masked" in training])
        record["num_keypoint_only"] = images - record["num_masked"]
        records.append(record | {"num_runs": len(own)})
    texts = ("peak_memory_of", "encoder_weights", "cells_mm", "paper_cells_mm")
    return pd.DataFrame(records, columns=["row", *COSTS, "training_s", *SEEN, "num_runs", *texts])


def encoder_weights(costs: pd.DataFrame) -> dict[str, str]:
    """Of each row what its encoder began with; {} where no network of the table has the option."""
    known = dict(zip(costs["row"], costs["encoder_weights"], strict=True))
    return {str(row): str(text) for row, text in known.items()} if any(known.values()) else {}


def unequal_masks(costs: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """A sentence that names rows which saw other numbers of masks or steps (docs/protocol.md, "Fair rows"); else "".

    Runs of older versions do not say it, and are left out.
    """
    known = costs.dropna(subset=["steps", "num_masked"])
    counts = known[["steps", "num_masked"]].to_numpy(dtype=float)
    if not len(counts) or (np.ptp(counts, axis=0) <= SAME * counts.max(axis=0)).all():
        return ""
    rows = defaultdict(list)
    for row, (steps, masks) in zip(known["row"], counts, strict=True):
        rows[f"{masks:.0f} slices with masks in {steps:.0f} steps"].append(labels[row])
    parts = "; ".join(f"{', '.join(names)} saw {text}" for text, names in rows.items())
    return f"Rows were not trained alike: {parts}. A gap between them may be one of training, not of the networks."


def _cells(run: Run) -> str:
    return _millimetres(_own_cells(run))


def _paper_cells(run: Run) -> str:
    paper = run.config.get("paper") or {}
    if "cell_mm" not in paper:
        return ""
    if paper["cell_mm"] is None:
        return NOT_GIVEN
    own, stated = _own_cells(run), {name: float(paper["cell_mm"][name]) for name in CELLS}
    off = {CELLS[name]: _off(own[name] / stated[name]) for name in own}
    found = [f"{text} ({cell})" for cell, text in off.items() if text]
    if len(set(off.values())) == 1:  # usual, as a grid moves both
        found = [text for text in off.values() if text][:1]
    return _millimetres(stated) + (f"; OFF: ours are {', '.join(found)}" if found else "")


def _own_cells(run: Run) -> dict[str, float]:
    """Sides in mm; {} of a run that does not say them."""
    model = run.summary.get("model") or {}
    return {name: float(model[f"cell_{name}_mm"]) for name in CELLS if f"cell_{name}_mm" in model}


def _off(ratio: float) -> str:
    """How far a cell is from the paper's, in words; "" within CELL_FACTOR."""
    times = max(ratio, 1 / ratio)
    return "" if times <= CELL_FACTOR + 1e-6 else f"{times:.1f} times as {'coarse' if ratio > 1 else 'fine'}"


def _millimetres(cells: Mapping[str, float]) -> str:
    return ", ".join(f"{side_mm:.3g}" for side_mm in cells.values())


def _encoder(run: Run) -> str:
    model = run.config.get("model") or {}
    if WEIGHTS not in model:
        return ""
    return Path(str(model[WEIGHTS])).name if model[WEIGHTS] else FROM_SCRATCH


def costs(evidence: Evidence) -> list[Block]:
    """What a row costs, how coarse it sees, and what it was shown."""
    table = in_order(evidence, evidence["costs"])
    if table.empty:
        return []
    unknown = any(not is_number(value) for name in (*COSTS, "training_s") for value in table[name])
    notes = [f"{DASH}: the run folder does not say (older, or masks that were only scored)."] if unknown else []
    known = table.loc[table["num_runs"] > 0]
    said = (known[["cells_mm", "paper_cells_mm"]] != "").any(axis=None) or known["steps"].notna().any()
    shown = [SHOWN.of(known, evidence.labels)] if said else []
    return [TABLE.of(table, evidence.labels, notes=notes), *shown]


PARTS = [Part("cost", 0, costs, gap="No summary.json states a cost.")]
