"""Run folders of muscle and fat, with the pairs of labels and the measurements that an axial test leaves, for tests."""

from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from metrics.cases import CASE_COLUMNS
from metrics.goutallier import GradeScale
from metrics.morphometry import MORPHOMETRY_COLUMNS
from tests.made.run_folders import cohort_slices, write_run

CONF = Path(__file__).parents[2] / "conf"
ANATOMY: Any = OmegaConf.to_container(OmegaConf.load(CONF / "anatomy" / "muscle_fat.yaml"))
SIMPLIFIED: Any = OmegaConf.to_container(OmegaConf.load(CONF / "morphometry" / "grades" / "simplified.yaml"))
STRUCTURES = tuple(ANATOMY["structures"])
OF_MUSCLES = (
    "regions",
    "region_outputs",
    "region_strata",
    "grades",
    "grade_confusion",
    "grade_agreement",
    "fat_states",
)
PIXEL_MM2 = 0.5
NO_FAT_FOUND = "p001"  # the patient in whom no fat is predicted


def write_muscles(
    folder: Path,
    row: str = "baur_unet",
    *,
    fold: int = 0,
    num_folds: int = 1,
    num_patients: int = 24,
    noise: float = 0.15,
    more_fat: float = 1.0,
    morphometry: bool = True,
    outputs: bool = True,
    settings: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Path:
    """`write_run` of muscle and fat, with confusion.csv and morphometry.csv.

    Patients from lean to half fat; the last slice of p000 has no fat and none is found, and p001's fat is missed.

    Args:
        folder: Where.
        row: As there.
        fold: As there.
        num_folds: As there.
        num_patients: As there.
        noise: Share of each structure that is taken for another.
        more_fat: Share of the true fat that is found is 1 - noise; what is invented of it grows with this.
        morphometry: Whether morphometry.csv is written.
        outputs: Whether region_outputs.csv is.
        settings: As there, beside those of the anatomy and the grades.
        rest: What else `write_run` takes.
    """
    slices = cohort_slices(num_patients)
    slices = slices.loc[slices["patient"].str[1:].astype(int) % num_folds == fold].assign(level="")
    own: dict[str, Any] = {f"anatomy.{name}": value for name, value in ANATOMY.items() if not name.startswith("_")}
    own |= {"report.table": "baur_table2"}
    own |= {"morphometry": {"simplified": SIMPLIFIED["simplified"], "five_grade": None}} if morphometry else {}
    counts = {where["case"]: _counts(where, row, noise, more_fat) for where in slices.to_dict("records")}
    cases = [line for where in slices.to_dict("records") for line in _cases(where, counts[where["case"]])]
    choices = {"experiment": row, "ablation": "none", "trainer": "small", "split": "baur"}
    write_run(
        folder,
        row,
        fold=fold,
        num_folds=num_folds,
        num_patients=num_patients,
        structures=STRUCTURES,
        cases=pd.DataFrame(cases).reindex(columns=list(CASE_COLUMNS)),
        settings=own | dict(settings or {}),
        card={"choices": choices},
        **rest,
    )
    pairs = [line for where in slices.to_dict("records") for line in _pairs(where, counts[where["case"]])]
    pd.DataFrame(pairs).to_csv(folder / "confusion.csv", index=False)
    if outputs:
        judged = [line for where in slices.to_dict("records") for line in _judged(where, counts[where["case"]])]
        pd.DataFrame(judged).to_csv(folder / "region_outputs.csv", index=False)
    if morphometry:
        measured = [line for where in slices.to_dict("records") for line in _measured(where, counts[where["case"]])]
        pd.DataFrame(measured)[list(MORPHOMETRY_COLUMNS)].to_csv(folder / "morphometry.csv", index=False)
    return folder


def _counts(where: Mapping[str, Any], row: str, noise: float, more_fat: float) -> np.ndarray:
    """Pixels of every pair (truth, prediction) of background and STRUCTURES, [5, 5]."""
    number = int(where["patient"][1:])
    rng = np.random.default_rng([crc32(where["case"].encode()), crc32(row.encode())])
    share = np.clip(0.02 + 0.012 * number + rng.normal(0, 0.01), 0.01, 0.6)
    table = np.zeros((5, 5), dtype=int)
    table[0, 0] = 50_000
    for side in (0, 1):
        whole = int(rng.integers(2_000, 4_000))
        fat = int(share * whole)
        lean = whole - fat
        lost, swapped, found = int(noise * lean * rng.uniform(0.5, 1)), int(more_fat * noise * lean / 4), fat
        muscle, tissue = 1 + side, 3 + side
        found = int(fat * (1 - noise * rng.uniform(1, 3)))
        table[muscle, muscle] = lean - lost - swapped
        table[muscle, 0], table[muscle, tissue] = lost, swapped
        table[0, muscle] = int(noise * lean / 2)
        table[tissue, tissue], table[tissue, muscle] = found, fat - found
    if where["patient"] == NO_FAT_FOUND:
        table[:, 1:3] += table[:, 3:5]
        table[:, 3:5] = 0
    if where["patient"] == "p000":
        table[1:3] += table[3:5]
        table[3:5] = 0
        table[:, 1:3] += table[:, 3:5]
        table[:, 3:5] = 0
    return table


def _cases(where: Mapping[str, Any], table: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for number, structure in enumerate(STRUCTURES, start=1):
        tp = int(table[number, number])
        fp, fn = int(table[:, number].sum()) - tp, int(table[number].sum()) - tp
        true, predicted = tp + fn, tp + fp
        status = ("scored" if predicted else "missed") if true else ("false_alarm" if predicted else "absent")
        dice = 2 * tp / (true + predicted) if true + predicted else nan
        row = dict.fromkeys(CASE_COLUMNS, nan) | dict(where) | {"structure": structure, "status": status}
        row |= {"tp": tp, "fp": fp, "fn": fn, "dice": dice, "iou": dice / (2 - dice), "detected": tp > 0}
        row |= {"precision": tp / predicted if predicted else nan, "recall": tp / true if true else nan}
        row |= {"area_true_mm2": PIXEL_MM2 * true, "area_pred_mm2": PIXEL_MM2 * predicted}
        row |= {"csa_error_percent": 100 * abs(predicted - true) / true if true else nan}
        near = {"box_iou": dice, "mask_box_iou": dice, "nsd_1mm": dice, "nsd_2mm": dice}
        far = {"hd95_mm": 40 * (1 - dice), "assd_mm": 10 * (1 - dice)} if status in ("scored", "missed") else {}
        rows.append(row | near | far)
    return rows


def _pairs(where: Mapping[str, Any], table: np.ndarray) -> list[dict[str, Any]]:
    names = ("background", *STRUCTURES)
    place = {name: where[name] for name in ("case", "patient", "slice")}
    return [
        {**place, "truth": names[true], "prediction": names[other], "pixels": int(table[true, other])}
        for true, other in np.argwhere(table)
    ]


def _judged(where: Mapping[str, Any], table: np.ndarray) -> list[dict[str, Any]]:
    """Every region of the anatomy; half of the lean muscle that is taken for fat is called lean as well."""
    place = {name: where[name] for name in ("case", "patient", "slice")}
    rows = []
    for region, parts in ANATOMY["regions"].items():
        members = [STRUCTURES.index(name) + 1 for name in parts]
        tp = table[np.ix_(members, members)].sum()
        row = {"tp": tp, "fp": table[:, members].sum() - tp, "fn": table[members].sum() - tp}
        if region == "muscle":
            both = int(table[1, 3] + table[2, 4]) // 2
            row |= {"tp": tp + both, "fn": row["fn"] - both}
        rows.append({**place, "region": region, **row})
    return rows


def _measured(where: Mapping[str, Any], table: np.ndarray) -> list[dict[str, Any]]:
    """Both muscles of a side and of both; of p002 no slice's predicted fat could be told."""
    scale = GradeScale(name="goutallier_simplified", cutoffs=SIMPLIFIED["simplified"]["cutoffs"])
    place = {name: where[name] for name in ("case", "patient", "slice", "level")}
    rows = []
    for source, pixels in (("truth", table.sum(axis=1)), ("prediction", table.sum(axis=0))):
        untold = source == "prediction" and where["patient"] == "p002"
        for side, parts in (("left", (1,)), ("right", (2,)), ("both", (1, 2))):
            lean, fat = (float(sum(pixels[part + more] for part in parts)) for more in (0, 2))
            share = nan if untold else fat / (lean + fat)
            row = dict.fromkeys(MORPHOMETRY_COLUMNS, nan) | place
            row |= {"structure": "back_muscles", "side": side, "source": source, "fat_method": "learned"}
            row |= {"csa_mm2": PIXEL_MM2 * (lean + fat), "lean_csa_mm2": nan if untold else PIXEL_MM2 * lean}
            row |= {"fat_pixel_share": share, "fat_state": "few_pixels" if untold else "measured"}
            rows.append(row | {"goutallier_simplified": scale.grade(share), "goutallier": "", "side_check": ""})
    return rows
