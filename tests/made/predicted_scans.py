"""Scans without labels in any orientation, and run folders with a network that is known exactly, for task=predict."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from datamodules.anatomy import Anatomy
from datamodules.reading.case_list import Case
from datamodules.reading.volume import CANONICAL, DIRECTIONS, Volume
from lightning_modules.prediction.members import Member
from lightning_modules.prediction.outlines import Block, outline
from lightning_modules.tasks.same_network import network_text
from lightning_modules.tasks.trained_network import CLASS_WEIGHTS
from models.prediction import Prediction
from tests.conftest import ROOT, compose_line
from tests.made.scans import write_dicom, write_volume

SHAPE, SPACING = (3, 40, 48), (6.0, 1.0, 1.25)  # slices, rows, columns of the canonical volume
TRUTH = np.zeros(SHAPE, np.uint8)  # class indices of anatomy axial_muscle4, as radiologists look at it
TRUTH[:, 8:16, 28:38], TRUTH[:, 8:14, 8:20] = 1, 2  # multifidus of the patient's left, and of his right
TRUTH[:2, 24:34, 27:40], TRUTH[:2, 24:32, 10:21] = 3, 4  # erector spinae
ORIGIN_MM = np.array([11.0, -23.0, 31.0])


class QuadrantNetwork(nn.Module):
    """Calls bright pixels after the quarter of the picture that they lie in: it knows sides by place alone."""

    def __init__(self, *, in_channels: int, num_classes: int, width: int = 1) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.threshold = nn.Parameter(torch.ones(1))

    def forward(self, image, boxes=None) -> Prediction:
        height, width = image.shape[2:]
        left = (torch.arange(width) >= width / 2).expand(height, width)
        behind = (torch.arange(height) >= height / 2)[:, None].expand(height, width)
        place = 1 + (~left).long() + 2 * behind.long()
        classes = torch.where(image[:, 0] > self.threshold, place, 0) % self.num_classes
        one_hot = nn.functional.one_hot(classes, self.num_classes).movedim(-1, 1)
        return Prediction(logits=20 * one_hot.float())


def picture(seed: int = 0) -> np.ndarray:
    """Muscles bright on a noisy ground, each with its own brightness."""
    noise = np.random.default_rng(seed).normal(0, 4, SHAPE)
    return np.rint(100 + 100 * (TRUTH > 0) + 6 * TRUTH + noise).astype(np.int16)


def write_scan(path: Path, values, *, order=(2, 1, 0), flips=(False, False, False), turn=None, view="axial") -> Path:
    """Writes a canonical volume with the axes of the file in any order and sense.

    Args:
        path: NIfTI, MHA or NRRD.
        values: Slices, rows, columns.
        order: Which of these the file's axes x, y, z are.
        flips: Whether slices, rows, columns are stored backwards.
        turn: Rotation of the patient in the scanner.
        view: View that the volume is canonical in.
    """
    axes = (np.eye(3) if turn is None else turn) @ np.array([DIRECTIONS[side] for side in CANONICAL[view]], float).T
    origin, stored = ORIGIN_MM.copy(), values
    for place in np.flatnonzero(flips):
        stored = np.flip(stored, place)
        origin += axes[:, place] * (values.shape[place] - 1) * SPACING[place]
    signs = np.where(flips, -1.0, 1.0)
    write_volume(
        path,
        stored.transpose(order[::-1]),
        spacing=[SPACING[place] for place in order],
        origin=origin,
        direction=(axes * signs)[:, list(order)],
    )
    return path


def write_series(
    folder: Path, values, *, tilt: np.ndarray, height_mm: float, first: int, study="1.2", series="1.2.3", **more
):
    """Writes a canonical block as DICOM files, slices from head to foot; its pixels are those of `write_dicom`."""
    for number, slice_ in enumerate(values):
        axes = tilt[:, :2].T
        position = np.array([-14.0, -20.0, height_mm]) - tilt[:, 2] * 6.0 * number
        tags = {"SeriesInstanceUID": series, "StudyInstanceUID": study, "SpacingBetweenSlices": 6.0, **more}
        name = folder / f"{series[-1]}_{first + number:03d}"
        write_dicom(name, slice_, position=position, axes=axes, number=first + number, **tags)
    return folder


def run_config(folder: Path, generated: Path, *overrides: str) -> DictConfig:
    """Configuration of a run on axial_muscle4 whose network is the QuadrantNetwork."""
    line = ("cohort=axial_muscle", "cohort.root=somewhere", "trainer=smoke", "experiment=unet", *overrides)
    config = compose_line(folder, generated, *line)
    config.model = {"_target_": "tests.made.predicted_scans.QuadrantNetwork", "_partial_": True}
    config.data.size, config.data.spacing_mm, config.data.offset_mm = [48, 64], 1.0, [0.0, 0.0]
    return config


def write_run(
    folder: Path,
    config: DictConfig,
    *,
    threshold: float = 1.0,
    seen: dict | None = None,
    class_weights: Sequence[float] = (1.0,) * 5,
) -> Path:
    """Writes a run folder as a training leaves it, and returns its checkpoint."""
    (folder / "checkpoints").mkdir(parents=True)
    names = ("model", "anatomy", "data", "cohort", "morphometry")
    resolved = {name: OmegaConf.to_container(config[name], resolve=True) for name in names}
    OmegaConf.save(OmegaConf.create(resolved), folder / "config.yaml")
    state = {"network.threshold": torch.tensor([threshold]), CLASS_WEIGHTS: torch.tensor(class_weights)}
    checkpoint = {"network": network_text(config), "state_dict": state}
    path = folder / "checkpoints" / "best.ckpt"
    torch.save(checkpoint if seen is None else {**checkpoint, "seen": seen}, path)
    return path


def block_of(path: Path, members: Sequence[Member], **changes: Any) -> Block:
    """The only block of a scan's file, outlined by an ensemble; `changes` are what a cohort.csv would say of it."""
    (block,) = outline(members, Case(case="scan", patient="scan", images=(path,), row={}, **changes))
    return block


def anatomy_of(name: str) -> Anatomy:
    """An anatomy of conf/anatomy."""
    return instantiate(OmegaConf.load(ROOT / "conf" / "anatomy" / f"{name}.yaml"), _convert_="all")


def block_with(mask: np.ndarray, spacing_mm: tuple[float, float], *, number: int = 0, **changes: Any) -> Block:
    """A scan of one slice with this mask, or one such block of it."""
    voxels = np.random.default_rng(number).normal(200, 50, (1, *mask.shape)).astype(np.float32)
    volume = Volume(
        path=Path("scan.nii.gz"),
        voxels=voxels,
        spacing_mm=(4.0, *spacing_mm),
        origin_mm=np.zeros(3),
        direction=np.eye(3),
        slice_index=np.array([number]),
        axes=(2, 1, 0),
        flips=(False, False, False),
        file_origin_mm=(0.0, 0.0, 0.0),
    )
    block = Block(
        case=Case(case="scan", patient="anna", images=(volume.path,), row={}),
        number=number,
        level="",
        volumes=(volume,),
        image=voxels[None],
        mask=mask[None].astype(np.uint8),
        member_masks=(),
        field=np.ones(mask.shape, bool),
        chosen=np.ones(1, bool),
    )
    return replace(block, **changes)
