"""`task=fuse`: detection-guided label fusion over networks of different lambda (DGMSNet; SCAR-Net, section 3.2)."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from jaxtyping import Float, UInt8
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.evaluated import slice_with_mask
from lightning_modules.evaluation.prediction_files import PredictionFolder
from lightning_modules.evaluation.readouts import Readout
from lightning_modules.prediction.ensemble import LAMBDA, Member, Slice, find_ensembles
from lightning_modules.tasks.provenance import run_card
from lightning_modules.tasks.scoring import Scored, readouts
from lightning_modules.tasks.training import build_data, card_identity, check_same_data
from metrics.keypoints import centres_of_masks
from records.folder import RunFolder
from records.registry import register
from records.whole_files import read_json, replace_text, write_json

logger = logging.getLogger(__name__)

RULES = ("voted", "selected")
SPREAD = 0.5  # DGMSNet's public code: networks disagree where the SD of their distances exceeds this share of the mean


def fuse(config: DictConfig) -> None:
    """Fuses the runs in `runs`, each group that differs in lambda alone into a run folder of its own in `output`.

    A group is a row, a fold and a seed; its folder is called after the row, `scarnet_fused-...`. No network is run:
    the masks are those in predictions/, the key points those in keypoints.csv.

    Raises:
        ValueError: If a setting or a run is missing, or the runs of a group did not test the same slices.
    """
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ValueError("task=fuse is no part of a sweep: run it on its own, with runs=DIR, the folder of the sweep")
    raw: Any = OmegaConf.to_container(config, resolve=False)
    if not config.runs or "${hydra:" in str(raw["output"]):
        raise ValueError(
            "task=fuse needs runs=DIR, the folder of a sweep=scarnet_lambda, and output=DIR for the results"
        )
    paths = list(config.runs) if isinstance(config.runs, ListConfig) else [str(config.runs)]
    for members in find_ensembles(paths):
        _fuse_group(members, Path(config.output).expanduser())


def _fuse_group(members: Sequence[Member], output: Path) -> None:
    """Writes the run folder of one group."""
    config, row = members[0].config, f"{members[0].row}_fused"
    names = [str(member.folder) for member in members]
    digest = hashlib.sha256(" ".join(member.folder.name for member in members).encode()).hexdigest()[:12]
    with open_dict(config):
        config.task, config.row, config.output, config.runs = "fuse", row, str(output / f"{row}-{digest}"), names
        OmegaConf.update(config, ".".join(LAMBDA), [member.weight for member in members])
    folder = RunFolder(config.output, config)
    with folder.locked():
        folder.claim()
        register(folder.path / "predictions", folder.path / "summary.json")
        (folder.path / "summary.json").unlink(missing_ok=True)
        data = build_data(config)
        for member in members:
            check_same_data(card_identity(member.folder), member.folder, data)
        scored, decisions = fuse_slices(members, data, PredictionFolder(folder.path), readouts(config, data))
        _write(folder.path, members, data, scored, decisions)


def _write(
    folder: Path, members: Sequence[Member], data: SliceDataModule, scored: Scored, decisions: pd.DataFrame
) -> None:
    register(*(folder / name for name in ("fusion.csv", "split.csv", "run_card.json")))
    replace_text(folder / "fusion.csv", decisions.to_csv(index=False, float_format="%.6g"))
    data.split.write(folder / "split.csv")
    choices = read_json(members[0].folder / "run_card.json", "train this run anew (retrain=true)")["choices"]
    names = {f"{member.weight:g}": str(member.folder) for member in members}
    write_json(folder / "run_card.json", {**run_card(data), "choices": choices, "members": names})
    test = scored.write(folder)
    counts = {f"num_{rule}": int((decisions["rule"].to_numpy() == rule).sum()) for rule in RULES}
    write_json(folder / "summary.json", {"test": test, "fusion": {"num_members": len(members), **counts}})
    logger.info("%s: mean Dice %.1f %% (%s)", folder, 100 * test["dice"]["mean"], counts)


def fuse_slices(
    members: Sequence[Member], data: SliceDataModule, predictions: PredictionFolder, tables: Sequence[Readout]
) -> tuple[Scored, pd.DataFrame]:
    """Fuses and scores every slice that the members tested.

    Returns:
        The scores, and `fusion.csv`: how each slice was decided, and the distance of each network's key points from
        the centres of its own mask.
    """
    _check_same_slices(members)
    names, structures = data.anatomy.keypoints, data.anatomy.structures
    listed = zip(data.store.table["case"].tolist(), data.store.table["slice"].tolist(), strict=True)
    scored, decisions = Scored(tables), []
    predictions.clear()
    for index, (case, number) in enumerate(listed):
        if (case, number) not in members[0].files:
            continue
        masks = np.stack([member.mask((case, number)) for member in members])
        spacing_mm = data.store.native(index).spacing_mm
        centres = np.stack([centres_of_masks(mask, structures, names) for mask in masks])
        points = np.stack([_points(member, (case, number), names) for member in members])
        distances = distances_mm(points, centres, spacing_mm, (masks.shape[1], masks.shape[2]))
        mask, chosen = fuse_masks(masks, distances, data.anatomy.num_classes)
        item = slice_with_mask(data, index, mask)
        scored.add(item, data)
        predictions.add(item)
        decisions.append(
            {
                **{"case": case, "patient": item.patient, "slice": number},
                "rule": RULES[chosen is not None],
                "selected_lambda": None if chosen is None else members[chosen].weight,
                **{f"distance_mm_{member.weight:g}": mm for member, mm in zip(members, distances, strict=True)},
            }
        )
    predictions.finish()
    return scored, pd.DataFrame(decisions)


def distances_mm(
    keypoints: Float[np.ndarray, "r k 2"],
    centres: Float[np.ndarray, "r k 2"],
    spacing_mm: tuple[float, float],
    image_size: tuple[int, int],
) -> Float[np.ndarray, " r"]:
    """How far each network's key points lie from the centres of its own mask, on average over the structures.

    A structure that it lacks while another network has it counts with the diagonal of the image, as a missed structure
    does (docs/protocol.md); one that no network has is left out.

    Args:
        keypoints: (x, y) in pixels, of each of r networks; NaN where a heat map showed none.
        centres: (x, y) in pixels; NaN where the mask has no such structure.
        spacing_mm: Size of a pixel, (row, column).
        image_size: (rows, columns).
    """
    away = np.linalg.norm((keypoints - centres) * np.array(spacing_mm[::-1]), axis=2)
    known = away[:, np.isfinite(away).any(axis=0)]
    diagonal = float(np.hypot(image_size[0] * spacing_mm[0], image_size[1] * spacing_mm[1]))
    if not known.size:
        return np.full(len(away), diagonal)
    return np.where(np.isfinite(known), known, diagonal).mean(axis=1)


def fuse_masks(
    masks: UInt8[np.ndarray, "r h w"], distances: Float[np.ndarray, " r"], num_classes: int
) -> tuple[UInt8[np.ndarray, "h w"], int | None]:
    """One mask out of several.

    Where the networks disagree about how well key points and masks fit (the SD of the distances exceeds half their
    mean), the mask of the network with the smallest distance; else the majority of each pixel, on a tie the first of
    the classes.

    Returns:
        The mask, and which network's it is; None if they voted.
    """
    if distances.std() > SPREAD * distances.mean():
        chosen = int(distances.argmin())
        return masks[chosen], chosen
    votes = np.stack([(masks == index).sum(axis=0) for index in range(num_classes)])
    return votes.argmax(axis=0).astype(np.uint8), None


def _points(member: Member, where: Slice, names: Sequence[str]) -> Float[np.ndarray, "k 2"]:
    found: Mapping[str, tuple[float, float]] = member.keypoints.get(where, {})
    return np.array([found.get(name, (np.nan, np.nan)) for name in names], float).reshape(len(names), 2)


def _check_same_slices(members: Sequence[Member]) -> None:
    first = set(members[0].files)
    for member in members[1:]:
        different = sorted(first ^ set(member.files))
        if different:
            case, number = different[0]
            raise ValueError(
                f"task=fuse: {members[0].folder} and {member.folder} did not predict the same slices: {case}, slice "
                f"{number} is in one of them alone ({len(different)} such slices); test them alike"
            )
