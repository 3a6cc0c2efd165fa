"""Evidence with a known truth, for the tests of the claims ledger: what `judge` reads, and nothing else."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from records.runs import Runs
from reports.evidence import Evidence
from reports.papers import empty_published
from reports.readouts.grades import AGREEMENT_COLUMNS, GRADE_COLUMNS
from reports.region_scores import COLUMNS

LEVELS = ("L2/3", "L3/4", "L4/5", "L5/S1")
STRUCTURES = ("canal", "psoas_left", "psoas_right", "erector_spinae_left")


def make_evidence(
    *tables: pd.DataFrame,
    costs: Mapping[str, float] | None = None,
    reference: str = "bs_esnet",
    beside: pd.DataFrame | None = None,
    trainings: pd.DataFrame | None = None,
):
    """What `judge` and `mechanism_tables` take of an Evidence; `costs` is FLOP per image of each row."""
    cases = pd.concat(tables, ignore_index=True)
    rows = tuple(dict.fromkeys(cases["row"]))
    return Evidence(
        runs=Runs(runs=(), cohort="made", structures=STRUCTURES, problems=(), expected=pd.DataFrame()),
        published=empty_published(),
        rows=rows,
        labels={row: row for row in rows},
        averaged=STRUCTURES,
        reference=reference,
        margin=0.005,
        tables={
            "cases": cases,
            "costs": pd.Series(costs or {}, dtype=float).rename_axis("row").rename("flop_per_image").reset_index(),
            "beside": pd.DataFrame() if beside is None else beside,
            "trainings": pd.DataFrame(columns=["row", "fold", "seed", "epochs_to_95"])
            if trainings is None
            else trainings,
            "region_cases": pd.DataFrame(columns=list(COLUMNS)),
            "grades": pd.DataFrame(columns=list(GRADE_COLUMNS)),
            "grade_agreement": pd.DataFrame(columns=list(AGREEMENT_COLUMNS)),
        },
        notes=(),
        overlay="",
    )


def draw_cases(
    row: str,
    dice: float,
    *,
    num_patients: int = 12,
    noise: float = 0.004,
    arm: str = "",
    seed: int = 0,
    draw: int = 0,
    num_slices: int = 2,
    structures: tuple[str, ...] = STRUCTURES,
    **columns: float,
) -> pd.DataFrame:
    """A row's case table: mean Dice `dice` less a patient's own difficulty, which all rows share, plus noise.

    `columns` replace columns. `draw` starts another population and other noise.
    """
    slices = pd.DataFrame(
        [
            {"case": f"p{patient:03}_{place}", "patient": f"p{patient:03}", "level": LEVELS[(patient + place) % 4]}
            | {"slice": 0, "structure": structure}
            for patient in range(num_patients)
            for place in range(num_slices)
            for structure in structures
        ]
    )
    own = np.random.default_rng([draw, seed, *f"{row} {arm}".encode()])
    shared = np.random.default_rng(draw)
    per_patient, per_slice = num_slices * len(structures), len(structures)
    difficulty = np.repeat(shared.normal(0, 0.02, num_patients), per_patient)
    scores = dice - difficulty + own.normal(0, noise, len(slices))
    number = np.arange(len(slices)) // per_slice
    known = {
        "row": row,
        "split": "by patient",
        "arm": arm,
        "seed": seed,
        "fold": 0,
        "status": "scored",
        "dice": scores,
        "box_iou": scores - 0.1,
        "mask_box_iou": scores - 0.1,
        "fat_fraction": number / number.max(),
        "fascia_contrast": 1 - number / number.max(),
        "quadratus_lumborum": (number % 2).astype(float),
    }
    return slices.assign(**(known | columns))
