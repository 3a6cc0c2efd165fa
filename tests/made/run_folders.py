"""Synthetic run folders, complete as a finished run leaves them, for the tests of the reports.

Scores are drawn, not measured: a patient's difficulty is the same for every row, a row adds its own quality and a
little noise, so that rows differ by known amounts and are correlated as real ones are.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from math import nan
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from metrics.aggregate import summarise
from metrics.cases import CASE_COLUMNS

STRUCTURES = ("disc", "canal", "lamina", "psoas_left", "psoas_right")
LEVELS = ("L2/3", "L3/4", "L4/5", "L5/S1")
FACTORS = ("site", "fat_fraction", "fascia_contrast", "quadratus_lumborum", "snr")
MECHANISM = ("preliminary_dice", "preliminary_ceiling_dice", "saliency_share", "area_share")
COLUMNS = tuple(dict.fromkeys((*CASE_COLUMNS, *MECHANISM, *FACTORS)))
SPLITS = {"by patient": "datamodules.folds.PatientFolds", "as published": "datamodules.folds.ImageFolds"}
QUALITY = {"unet": 0.86, "bs_esnet_no_sag": 0.88, "bs_esnet_no_deep_supervision": 0.885, "bs_esnet": 0.90}


_SUMMARIES: dict[str, dict[str, Any]] = {}  # by the text of cases.csv, as many tests begin with the same folders


def write_grid(
    folder: Path,
    rows: Mapping[str, float] | Sequence[str] = tuple(QUALITY),
    *,
    num_patients: int = 30,
    num_folds: int = 2,
    seeds: Sequence[int] = (0,),
    **settings: Any,
) -> list[Path]:
    """Writes `<folder>/<row>-f<fold>-s<seed>` for each; `settings` go to `write_run`. Rows map to their mean Dice."""
    cells = [(row, fold, seed) for row in rows for fold in range(num_folds) for seed in seeds]
    return [
        write_run(
            folder / f"{row}-f{fold}-s{seed}",
            row,
            fold=fold,
            seed=seed,
            quality=rows[row] if isinstance(rows, Mapping) else QUALITY.get(row, 0.87),
            num_patients=num_patients,
            num_folds=num_folds,
            **settings,
        )
        for row, fold, seed in cells
    ]


def write_run(
    folder: Path,
    row: str = "bs_esnet",
    *,
    fold: int = 0,
    seed: int = 0,
    quality: float = 0.9,
    num_patients: int = 30,
    num_folds: int = 2,
    split: str = "by patient",
    structures: Sequence[str] = STRUCTURES,
    cases: pd.DataFrame | None = None,
    settings: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
    arms: Mapping[str, float] | None = None,
    summary: Mapping[str, Mapping[str, Any]] | None = None,
    predictions: bool = False,
    scored: bool = False,
) -> Path:
    """Writes one finished run folder.

    Args:
        folder: Where.
        row: Name of the experiment file, or of the scored masks.
        fold: Which fold was tested.
        seed: Seed of the training.
        quality: Mean Dice of the row.
        num_patients: Patients of the whole cohort.
        num_folds: Folds that they are dealt to in turn.
        split: "by patient" or "as published".
        structures: Names of the structures.
        cases: Its case table instead of a drawn one.
        settings: Dotted keys of config.yaml to change ("scale.epochs": 200).
        card: Entries of run_card.json to change.
        arms: Name of each arm and how much Dice it costs.
        summary: Entries of summary.json's `train` and `model` to change.
        predictions: Whether predictions/ is written, with pictures that fit no score.
        scored: Whether this is a folder of masks that `task=score` scored.
    """
    folder.mkdir(parents=True)
    slices = cohort_slices(num_patients).copy()
    unit = np.arange(len(slices)) if split == "as published" else slices["patient"].str[1:].astype(int).to_numpy()
    tested = slices if scored else slices.loc[unit % num_folds == fold]
    table = draw_cases(tested, row, seed, quality, structures) if cases is None else cases
    config = _config(row, fold, seed, split, num_folds, structures, scored)
    for key, value in (settings or {}).items():
        OmegaConf.update(config, key, value)
    OmegaConf.save(config, folder / "config.yaml")
    (folder / ".identity.json").write_text("{}")
    parts = _split_table(slices, unit, num_folds, split)
    parts.to_csv(folder / "split.csv", index=False)
    known = {**_card(row, split, parts, fold, slices), **(card or {})}
    (folder / "run_card.json").write_text(json.dumps(known, indent=2))
    if not scored:
        _epochs(int(config.scale.epochs), row).to_csv(folder / "metrics.csv", index=False)
    if predictions:
        _write_predictions(folder / "predictions", tested, structures)
    for arm, loss in (arms or {}).items():
        worse = table.assign(dice=(table["dice"] - loss).clip(0, 1))
        _write_scores(folder / "arms" / arm, worse, row, scored, summary or {})
    _write_scores(folder, table, row, scored, summary or {})
    return folder


@cache
def cohort_slices(num_patients: int) -> pd.DataFrame:
    """One row a slice: case, patient, level, slice and the factors of the case; one to three slices a patient."""
    rows = []
    for index in range(num_patients):
        rng = np.random.default_rng([7, index])
        for level in LEVELS[: 1 + index % 3]:
            identity = {"case": f"p{index:03}_{level.replace('/', '-')}", "patient": f"p{index:03}", "level": level}
            factors = ("", rng.uniform(0, 0.5), rng.uniform(0.1, 1), int(level == "L3/4"), rng.uniform(5, 30))
            rows.append({**identity, "slice": 0, **dict(zip(FACTORS, factors, strict=True))})
    return pd.DataFrame(rows)


def draw_cases(
    slices: pd.DataFrame, row: str, seed: int, quality: float, structures: Sequence[str] = STRUCTURES
) -> pd.DataFrame:
    """A case table with every column of the contract; the last structure is missed or absent now and then."""
    rows = []
    for record in slices.to_dict("records"):
        own = np.random.default_rng([crc32(row.encode()), seed, crc32(record["case"].encode())])
        shared = np.random.default_rng(crc32(record["patient"].encode()))
        difficulty = shared.normal(0, 0.03)
        for position, structure in enumerate(structures):
            dice = float(np.clip(quality - difficulty - 0.01 * position + own.normal(0, 0.01), 0.05, 0.999))
            last, number = position == len(structures) - 1, crc32(record["case"].encode()) % 23
            status = "absent" if last and number == 0 else "missed" if last and number == 1 + seed else "scored"
            rows.append({**record, **_scores(structure, status, dice, row.startswith("bs_esnet"), own)})
    return pd.DataFrame(rows)[list(COLUMNS)]


def _scores(structure: str, status: str, dice: float, has_boxes: bool, rng: np.random.Generator) -> dict[str, Any]:
    mechanism = (max(dice - 0.05, 0.0), 0.97, float(rng.uniform(0.2, 0.6)), 0.05) if has_boxes else (nan,) * 4
    row: dict[str, Any] = dict.fromkeys(COLUMNS[4:], nan)
    row = {name: value for name, value in row.items() if name not in FACTORS}
    row |= {"structure": structure, "status": status, "tp": 0, "fp": 0, "fn": 0, "area_true_mm2": 0.0}
    row |= {"area_pred_mm2": 0.0}
    if status == "absent":
        return row
    row |= {"fn": 1000, "area_true_mm2": 1000.0, **dict(zip(MECHANISM, mechanism, strict=True))}
    zero = ("dice", "iou", "recall", "box_iou", "mask_box_iou", "nsd_1mm", "nsd_2mm")
    if status == "missed":
        far = {"hd95_mm": 300.0, "assd_mm": 300.0, "csa_error_percent": 100.0, "detected": False}
        return row | dict.fromkeys(zero, 0.0) | far
    overlap = dice / (2 - dice)
    own_box = max(overlap - 0.1, 0.0) if has_boxes else overlap
    row |= {"dice": dice, "iou": overlap, "precision": dice, "recall": dice, "nsd_1mm": overlap, "nsd_2mm": dice}
    row |= {"box_iou": own_box, "mask_box_iou": overlap, "detected": own_box >= 0.5, "hd95_mm": 40 * (1 - dice)}
    row |= {"assd_mm": 10 * (1 - dice), "csa_error_percent": 100 * (1 - dice), "area_pred_mm2": 1000.0}
    return row | {"tp": round(1000 * dice), "fp": 1000 - round(1000 * dice), "fn": 1000 - round(1000 * dice)}


def _config(row: str, fold: int, seed: int, split: str, num_folds: int, structures: Sequence[str], scored: bool) -> Any:
    anatomy = {"name": "axial5", "view": "axial", "structures": list(structures)}
    anatomy["colours"] = {name: f"#{crc32(name.encode()) % 0xFFFFFF:06x}" for name in structures}
    cohort = {"name": "phantom", "anatomy": anatomy, "licence": "CC0-1.0, synthetic", "root": "data/phantom"}
    config = {
        **{"task": "score" if scored else "train", "seed": seed, "fold": fold, "output": f"grids/{row}-{fold}-{seed}"},
        **{"masks": "masks" if scored else None, "row": row if scored else None, "anatomy": anatomy, "cohort": cohort},
        "split": {"_target_": SPLITS[split], "num_folds": num_folds, "validation_fraction": 0.1, "seed": 0},
        "data": {"size": [128, 128], "spacing_mm": 1.5, "batch_size": 4, "cache": "data/cache", "seed": seed},
        "model": {"_target_": "models.unet.UNet", "_partial_": True, "width": 16},
        "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.002},
        "scale": {"name": "small", "width": 16, "batch_size": 4, "epochs": 20, "joint_epochs": 5, "tail_epochs": 3},
        "trainer": {"max_epochs": 20, "gradient_clip_val": 1.0, "accelerator": "cpu", "devices": 1},
        "paper": {"epochs": 200, "width": 64, "batch_size": 8},
        "report": {"table": "bs_esnet_table1", "reference": None, "margin": 0.005},
    }
    return OmegaConf.create(config)


def _card(row: str, split: str, parts: pd.DataFrame, fold: int, slices: pd.DataFrame) -> dict[str, Any]:
    here = parts.loc[parts["fold"] == fold]
    counted = slices.merge(here, on=[name for name in ("patient", "case", "slice") if name in here])
    return {
        "command": f"python run.py experiment={row} fold={fold} phantom=bs_esnet",
        **{"commit": "0" * 40, "dirty": False, "data": "d" * 32, "split": f"{crc32(split.encode()):032x}"},
        "choices": {"experiment": row, "ablation": "none", "trainer": "small", "cohort": "phantom", "sweep": "none"},
        "patients": counted.groupby("part")["patient"].nunique().to_dict(),
        "slices": counted.groupby("part").size().to_dict(),
        **{"cohort": "phantom", "licence": "CC0-1.0, synthetic", "citation": "Synthetic lumbar patients."},
        **{"python": "3.11.7", "versions": {"torch": "2.14.1"}},
    }


def _split_table(slices: pd.DataFrame, unit: np.ndarray, num_folds: int, split: str) -> pd.DataFrame:
    columns = ["patient", "case", "slice"] if split == "as published" else ["patient"]
    frames = []
    for fold in range(num_folds):
        part = np.where(unit % num_folds == fold, "test", np.where(unit % 10 == (fold + 1) % 10, "validation", "train"))
        frames.append(slices.assign(fold=fold, part=part)[["fold", "part", *columns]].drop_duplicates())
    return pd.concat(frames, ignore_index=True)


def _epochs(num_epochs: int, row: str) -> pd.DataFrame:
    epoch = np.arange(num_epochs)
    table = {"epoch": epoch, "loss/total": 3 * np.exp(-epoch / 5), "val/dice": 0.9 - 0.5 * np.exp(-epoch / 4)}
    if row.startswith("bs_esnet"):
        table |= {"val/box_iou": 0.8 - 0.4 * np.exp(-epoch / 4), "schedule/bsn": ((epoch < 5) | (epoch >= 17)) * 1.0}
        table |= {"schedule/esnet": (epoch < 17) * 1.0}
    counts = {"num_steps": 40, "num_images": 160, "num_masked": 160}
    return pd.DataFrame(table | {"learning_rate": 0.002, **counts, "training_s": 7.5, "images_per_s": 21.3})


def _write_scores(
    folder: Path, table: pd.DataFrame, row: str, scored: bool, changed: Mapping[str, Mapping[str, Any]]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = table.to_csv(index=False)
    (folder / "cases.csv").write_text(text)
    if text not in _SUMMARIES:
        _SUMMARIES[text] = summarise(table.reindex(columns=list(dict.fromkeys((*table.columns, *CASE_COLUMNS)))))
    summary: dict[str, Any] = {"test": _SUMMARIES[text]}
    if not scored:
        counts = {"epochs": 20, "steps": 800, "num_images": 3200, "num_masked": 3200}
        summary["train"] = {**counts, "seconds": 150.0, "images_per_s": 21.3, **changed.get("train", {})}
        cost = {"flop_per_image": 2.1e9, "ms_per_image": 12.5, "peak_memory_mb": 850.0, "peak_memory_of": "process"}
        cost |= {"cell_low_mm": 1.5, "cell_bottleneck_mm": 24.0, **changed.get("model", {})}
        summary["model"] = {"parameters": 5_074_006 if row.startswith("bs_esnet") else 1_944_000, **cost}
    (folder / "summary.json").write_text(json.dumps(summary, allow_nan=False))


def _write_predictions(folder: Path, slices: pd.DataFrame, structures: Sequence[str]) -> None:
    folder.mkdir()
    index, count = [], len(structures)
    rows, columns = np.mgrid[:48, :48]
    for number, record in enumerate(slices.to_dict("records")):
        centres = [(12 + 24 * (k // 3), 8 + 16 * (k % 3)) for k in range(count)]
        masks = [np.zeros((48, 48), np.uint8) for _ in range(2)]
        for k, (y, x) in enumerate(centres):
            for mask, shift in zip(masks, (0, number % 3), strict=True):
                mask[(rows - y) ** 2 + (columns - x - shift) ** 2 <= 36] = k + 1
        boxes = np.array([(x / 48, y / 48, 13 / 48, 13 / 48) for y, x in centres], np.float32)
        noise = np.random.default_rng(number).integers(0, 60, (48, 48))
        name = f"{number:04}.npz"
        np.savez_compressed(
            folder / name,
            image=(noise + 20 * masks[0]).clip(0, 255).astype(np.uint8),
            true_mask=masks[0],
            predicted_mask=masks[1],
            labelled=np.ones(count + 1, bool),
            true_boxes=boxes,
            network_boxes=boxes + np.float32(0.01),
            saliency=(200 * (masks[0] > 0)).astype(np.uint8),
            gated_features=noise.astype(np.uint8),
            spacing_mm=np.array([0.6, 0.6], np.float32),
        )
        index.append({"file": name, **{key: record[key] for key in ("case", "patient", "level", "slice")}})
    pd.DataFrame(index).to_csv(folder / "index.csv", index=False)
