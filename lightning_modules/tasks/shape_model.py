"""`task=shape_model`: shape and interspace models learned from a fold's training masks segment its test slices.

There is no network and no gradient: what is learned are means and variances. The masks are scored as everybody's.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from jaxtyping import Float, UInt8
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from datamodules.anatomy import Anatomy
from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.evaluated import slice_with_mask
from lightning_modules.evaluation.native_grid import NativeGrid
from lightning_modules.evaluation.prediction_files import PredictionFolder
from lightning_modules.tasks.found_points import FoundPoints
from lightning_modules.tasks.provenance import run_card
from lightning_modules.tasks.scoring import Scored, readouts
from lightning_modules.tasks.training import build_data, card_identity, check_same_data
from models.blocks.spine_column import down_the_spine
from models.shape_model.fitting import SpineModel
from models.shape_model.learning import learn
from models.shape_model.profiles import Picture
from models.shape_model.spines import Structures
from records.folder import RunFolder
from records.registry import register
from records.whole_files import write_json

logger = logging.getLogger(__name__)

ANNOTATED = "annotated"
Points = Callable[[int], Float[np.ndarray, "k 2"]]  # key points of a row of the store, (x, y) in pixels of the grid


def shape_model(config: DictConfig) -> None:
    """Learns, segments and scores; a finished run is left alone, one that was killed begins again to the same end.

    `points` says where the structures are taken to be: `annotated` tells the truth, and its row is called so; the
    folder of a trained run of the same fold takes the key points that this one found.

    Raises:
        ValueError: If a setting, the anatomy or the run of the key points does not fit, or a structure has no mask.
    """
    folder = RunFolder(config.output, config)
    with folder.locked():
        if config.retrain:
            folder.clear()
        folder.claim()
        data = build_data(config)
        if folder.finished:
            check_same_data(card_identity(folder.path), folder.path, data)
            logger.info("%s is finished: nothing to do (retrain=true starts anew).", folder.path)
            return
        fit_and_score(config, data, folder.path)


def fit_and_score(config: DictConfig, data: SliceDataModule, folder: Path) -> None:
    """Everything but the folder's lock."""
    if len(config.arms):
        raise ValueError(f"arms ({', '.join(config.arms)}) test a trained network in other ways; give arms=none")
    structures, points = structures_of(data.anatomy), points_of(config, data)
    tables, card = readouts(config, data), {**run_card(data), "points": str(config.points)}
    register(*(folder / name for name in ("run_card.json", "split.csv", "predictions", "summary.json")))
    write_json(folder / "run_card.json", card)
    data.split.write(folder / "split.csv")
    started = time.perf_counter()
    model = learned(data, structures, config)
    learning_s, seconds = time.perf_counter() - started, []
    scored, predictions = Scored(tables), PredictionFolder(folder)
    predictions.clear()
    quiet = OmegaConf.select(config, "trainer.enable_progress_bar") is False
    for index in tqdm(data.indices["test"], desc="fitting shapes", unit="slice", leave=False, disable=quiet):
        started = time.perf_counter()
        mask = segmented(data, int(index), model, structures, points(int(index)))
        seconds.append(time.perf_counter() - started)
        item = slice_with_mask(data, int(index), mask)
        scored.add(item, data)
        predictions.add(item)
    predictions.finish()
    _write(folder, scored, {"seconds": learning_s, "num_training_masks": len(data.teaching.masked)}, seconds)


def structures_of(anatomy: Anatomy) -> Structures:
    """The structures of an anatomy from head to foot, discs between their vertebrae.

    Raises:
        ValueError: If there are others, or one has no key point to begin at.
    """
    kinds = {name: kind for kind, names in anatomy.series.items() for name in names}
    odd = [name for name in anatomy.structures if name not in kinds or name not in anatomy.keypoints]
    if odd:
        raise ValueError(
            f"anatomy {anatomy.name}: {', '.join(odd)} is no vertebra or disc with a key point; task=shape_model fits "
            "a series of these, as in anatomy=sagittal10 or vertebrae5"
        )
    names = down_the_spine(anatomy.series)
    return Structures(
        names=names,
        kinds=["disc" if kinds[name] == "disc" else "vertebra" for name in names],
        classes=[anatomy.class_index(name) for name in names],
    )


def points_of(config: DictConfig, data: SliceDataModule) -> Points:
    """Where the structures of a slice are taken to be.

    Raises:
        ValueError: If nothing is given, or the run is not one of the same fold.
    """
    given = config.get("points")
    if not given:
        raise ValueError("task=shape_model needs points=annotated, or points=RUN, a trained run of the same fold")
    if given == ANNOTATED:
        return lambda index: np.array(data.store.keypoints[index], dtype=np.float64)
    return FoundPoints.of(str(given), data)


def learned(data: SliceDataModule, structures: Structures, config: DictConfig) -> SpineModel:
    """The models of the fold's training masks, on the pixels that networks see.

    Raises:
        ValueError: If a structure is in too few of them.
    """
    settings, store = instantiate(config.model), data.store
    spines = [
        structures.spine(_picture(data, int(row)), np.array(store.mask[row]), settings.num_points)
        for row in data.teaching.masked
    ]
    if not spines:
        raise ValueError(f"fold {data.fold}: no training slice has a mask, so there is no shape to learn")
    return learn(spines, structures.names, settings)


def segmented(
    data: SliceDataModule, index: int, model: SpineModel, structures: Structures, points: Float[np.ndarray, "k 2"]
) -> UInt8[np.ndarray, "H W"]:
    """The mask of a slice on its own pixels; background outside of the field that networks see.

    Args:
        data: The slices.
        index: Row of the store.
        model: Learned.
        structures: In the model's order.
        points: Key points of the anatomy, (x, y) in pixels of the grid; NaN where a structure is not there.
    """
    native, grid = data.store.native(index), data.store.grid
    places = [list(data.anatomy.keypoints).index(name) for name in structures.names]
    contours = model.fit(_picture(data, index), points[places] * grid.spacing_mm)
    scan = NativeGrid(grid=grid, size=native.mask.shape, spacing_mm=native.spacing_mm)
    pixels = scan.points(torch.from_numpy(contours.reshape(-1, 2) / grid.spacing_mm)).numpy()
    mask = structures.mask(pixels.reshape(contours.shape), native.mask.shape)
    return np.where(scan.field_of_view.numpy(), mask, 0).astype(np.uint8)


def _picture(data: SliceDataModule, index: int) -> Picture:
    """The first channel of a slice on the network's grid."""
    side_mm = data.store.grid.spacing_mm
    return Picture(grey=np.array(data.store.image[index, 0], dtype=np.float64), spacing_mm=(side_mm, side_mm))


def _write(folder: Path, scored: Scored, training: dict[str, Any], seconds: list[float]) -> None:
    """The tables and, last of all, the summary."""
    cost = {"parameters": 0, "ms_per_image": 1000 * float(np.median(seconds)), "timed_batch_size": 1}  # of a network
    test = scored.write(folder)
    write_json(folder / "summary.json", {"test": test, "train": training, "model": cost})
    counts = test["num_patients"], test["num_slices"], 100 * test["dice"]["mean"], test["num_missed"]
    logger.info("%d patients, %d slices: mean Dice %.1f %%, %d missed", *counts)
    logger.info("Everything is in %s: cases.csv, summary.json, run_card.json, predictions/", folder)
