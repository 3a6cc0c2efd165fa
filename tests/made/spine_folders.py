"""Run folders of sagittal spines with everything that is read out of them, for the tests of the reports."""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from math import nan
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from tests.made.run_folders import write_run

VERTEBRAE = ("L1", "L2", "L3", "L4", "L5")
DISCS = ("L1/2", "L2/3", "L3/4", "L4/5", "L5/S1")
STRUCTURES = (*VERTEBRAE, *DISCS)
SERIES = {"vertebra": list(VERTEBRAE), "disc": list(DISCS)}
PIXELS = 400  # of every true structure
QUALITY = {"scarnet_baseline": 0.93, "scarnet_mcca": 0.94, "scarnet_at": 0.945, "scarnet": 0.955}


def write_spine(
    folder: Path,
    row: str = "scarnet",
    *,
    supervision: str = "mixed",
    masked_patients: int | None = None,
    draw: int = 0,
    error_mm: float = 2.0,
    renumbered: Collection[str] = (),
    bias_mm: float = 0.5,
    sources: Sequence[str] = ("heatmap", "mask"),
    settings: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Path:
    """`write_run` of a sagittal cohort, with keypoints.csv, confusion.csv and morphometry.csv.

    Args:
        folder: Where.
        row: As there.
        supervision: Chosen file of conf/supervision.
        masked_patients: As in it.
        draw: As in it.
        error_mm: Mean error of the heat maps; that of the masks is half of it.
        renumbered: Patients in whom every vertebra carries the number of the one below it (L5 is missed).
        bias_mm: What predicted heights have too much.
        sources: Kinds of key points.
        settings: As there, beside those of the anatomy and the supervision.
        rest: What else `write_run` takes.
    """
    node = {"_target_": "datamodules.supervision.Supervision", "masked_patients": masked_patients, "draw": draw}
    own = {"anatomy.view": "sagittal", "anatomy.series": SERIES, "supervision": node, "report.table": "scarnet_table1"}
    choices = {"experiment": row, "ablation": "none", "trainer": "small", "supervision": supervision}
    rest["card"] = {"choices": choices, **rest.get("card", {})}
    write_run(folder, row, structures=STRUCTURES, settings=own | dict(settings or {}), **rest)
    cases = pd.read_csv(folder / "cases.csv", dtype={"case": str, "patient": str}, keep_default_na=False)
    slices = cases.drop_duplicates(["case", "slice"])[["case", "patient", "level", "slice"]].to_dict("records")
    points = [_keypoints(each, row, error_mm, sources, each["patient"] in renumbered) for each in slices]
    pd.DataFrame(chain.from_iterable(points)).to_csv(folder / "keypoints.csv", index=False)
    pixels = [_confusion(each, each["patient"] in renumbered) for each in slices]
    pd.DataFrame(chain.from_iterable(pixels)).to_csv(folder / "confusion.csv", index=False)
    measured = [_morphometry(each, row, bias_mm) for each in slices]
    pd.DataFrame(chain.from_iterable(measured)).to_csv(folder / "morphometry.csv", index=False)
    return folder


def write_spines(folder: Path, rows: Mapping[str, float] | None = None, *, num_folds: int = 2, **rest: Any) -> None:
    """Every row on every fold, as `tests.made.run_folders.write_grid`."""
    for row, quality in (rows or QUALITY).items():
        for fold in range(num_folds):
            write_spine(folder / f"{row}-f{fold}", row, quality=quality, fold=fold, num_folds=num_folds, **rest)


def write_curve(
    folder: Path,
    gains: Mapping[int, float],
    *,
    draws: Sequence[int] = (0, 1, 2),
    num_folds: int = 2,
    **rest: Any,
) -> None:
    """Both arms of the row scarnet; `gains` maps a number of patients with masks to what key points add to Dice.

    Masks alone reach 0.85, and one hundredth more for each later draw.
    """
    for masked, gain in gains.items():
        for supervision, more in (("full", 0.0), ("mixed", gain)):
            for draw in draws:
                for fold in range(num_folds):
                    write_spine(
                        folder / f"{supervision}-{masked}-d{draw}-f{fold}",
                        supervision=supervision,
                        masked_patients=masked,
                        draw=draw,
                        fold=fold,
                        num_folds=num_folds,
                        quality=0.85 + 0.01 * draw + more,
                        **rest,
                    )


def _keypoints(
    where: Mapping[str, Any], row: str, error_mm: float, sources: Sequence[str], renumbered: bool
) -> list[dict[str, Any]]:
    """Every structure from every source; L5/S1 is not visible in p000, the heat map of L1 shows nothing in p001."""
    rng, rows = np.random.default_rng([crc32(row.encode()), crc32(where["case"].encode())]), []
    for place, structure in enumerate(STRUCTURES):
        visible = not (where["patient"] == "p000" and structure == "L5/S1")
        for source in sources:
            found = not (where["patient"] == "p001" and structure == "L1" and source == "heatmap")
            error = error_mm * (0.5 if source == "mask" else 1.0) * rng.uniform(0.8, 1.2)
            nearest = STRUCTURES[place + 1] if renumbered and place < 4 else structure
            at = {"true_x": 100.0, "true_y": 50.0 * place, "x": 100.0, "y": 50.0 * place + error, "peak": 0.9}
            at |= {} if found else dict.fromkeys(("x", "y", "peak"), nan)
            at |= {} if visible else dict.fromkeys(("true_x", "true_y"), nan)
            known = {"error_mm": error if visible and found else nan, "nearest": nearest if visible and found else ""}
            identity = {**where, "domain": "", "structure": structure, "source": source, "visible": visible}
            rows.append({**identity, **at, **known})
    return rows


def _confusion(where: Mapping[str, Any], renumbered: bool) -> list[dict[str, Any]]:
    """A tenth of every structure is taken for background; of a renumbered spine, vertebrae carry the next number."""
    who = {key: where[key] for key in ("case", "patient", "slice")}
    rows = [{**who, "truth": "background", "prediction": "background", "pixels": 10 * PIXELS}]
    for place, structure in enumerate(STRUCTURES):
        label = structure if not renumbered or place > 4 else STRUCTURES[place + 1] if place < 4 else "background"
        rest = PIXELS // 10 if label != "background" else 0
        rows.append({**who, "truth": structure, "prediction": label, "pixels": PIXELS - rest})
        rows += [{**who, "truth": structure, "prediction": "background", "pixels": rest}] if rest else []
    return rows


def _morphometry(where: Mapping[str, Any], row: str, bias_mm: float) -> list[dict[str, Any]]:
    """Heights of vertebrae and discs and the lordosis; the predicted height of L5 cannot be measured in p000."""
    rng = np.random.default_rng(crc32(where["case"].encode()))
    own = np.random.default_rng([1, crc32(row.encode()), crc32(where["case"].encode())])
    rows = []
    for structure in (*STRUCTURES, "lumbar"):
        names = {"lumbar": ("lordosis_degrees", 45.0)} | dict.fromkeys(VERTEBRAE, ("anterior_height_mm", 27.0))
        name, middle = names.get(structure, ("disc_height_mm", 9.0))
        truth = middle + rng.normal(0, 0.1 * middle)
        predicted = truth + bias_mm + own.normal(0, 0.2)
        predicted = nan if (where["patient"], structure) == ("p000", "L5") else predicted
        for source, value in (("truth", truth), ("prediction", predicted)):
            rows.append(
                {**where, "structure": structure, "side": "", "source": source, name: value, "fat_method": "none"}
            )
    return rows
