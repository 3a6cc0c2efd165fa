"""Slices with tissue maps, small enough for a hundred pictures, that the tests of the synthesis share."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from datamodules.batch import boxes_of_masks
from datamodules.store.tissue_batch import TissueBatch
from datamodules.synthesis import Synthesis

YAML = Path(__file__).parents[2] / "conf/data/augmentation/synthesis.yaml"
TISSUES = ("air", "muscle", "muscle", "marrow", "cortex", "wet_nucleus", "csf", "connective", "artery")
STRUCTURES = ["disc", "muscle_left", "muscle_right"]
SIZE = (48, 64)
MAP_SIZE, MAP_MM = (150, 180), 1.4


def anatomy(view: str = "axial") -> dict:
    """A node of the configuration."""
    return {
        "_target_": "datamodules.anatomy.Anatomy",
        "name": "small",
        "view": view,
        "structures": STRUCTURES,
        "colours": dict.fromkeys(STRUCTURES, "#000000"),
        "mirror": [["muscle_left", "muscle_right"]] if view == "axial" else [],
        "keypoints": ["disc"],
    }


def synthesis(view: str = "axial", **changes) -> Synthesis:
    """The configured augmentation, for the tissues of these slices; `changes` are of a part: contrast={...}."""
    return _made(view, json.dumps(changes))


@cache
def _made(view: str, changes: str) -> Synthesis:
    parts = ({"anatomy": anatomy(view)}, json.loads(changes))
    node = OmegaConf.merge(OmegaConf.load(YAML), *(OmegaConf.create(part) for part in parts))
    return instantiate(node).of_store(TISSUES, 1)


def slices(seeds, *, with_fat: bool = True) -> TissueBatch:
    """A disc between two muscles in fat, with skin to air around it; the left muscle on the picture's right."""
    rows, columns = MAP_SIZE
    y, x = np.mgrid[:rows, :columns]
    down, across = (y - rows / 2) * MAP_MM, (x - columns / 2) * MAP_MM
    tissues, mask = np.zeros(MAP_SIZE, np.int16), np.zeros(MAP_SIZE, np.uint8)
    fat = np.zeros(MAP_SIZE, np.uint8)
    body = (down / 90) ** 2 + (across / 110) ** 2 < 1
    tissues[body], fat[body] = 7, 240
    shapes = [(5, 1, 0, 0, 18), (2, 2, 10, 45, 22), (1, 3, 10, -45, 22)]
    shapes += [(3, 0, -40, 0, 12), (6, 0, 30, 0, 8), (8, 0, -60, 20, 7)]
    for number, label, middle, beside, radius in shapes:
        inside = np.hypot(down - middle, across - beside) < radius
        tissues[inside], mask[inside], fat[inside] = number, label, 25 if number < 3 else 0
    rim = (np.hypot(down + 40, across) < 13.5) & (np.hypot(down + 40, across) >= 12)
    tissues[rim], fat[rim] = 4, 0
    count = len(seeds)
    network = torch.zeros((count, *SIZE), dtype=torch.long)

    def repeated(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values)[None].repeat(count, 1, 1)

    return TissueBatch(
        image=torch.zeros((count, 1, *SIZE)),
        mask=network,
        labelled=torch.ones((count, 4), dtype=torch.bool),
        boxes=boxes_of_masks(network, 3),
        keypoints=torch.tensor([[[(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2]]]).repeat(count, 1, 1),
        has_mask=torch.ones(count, dtype=torch.bool),
        has_keypoints=torch.ones(count, dtype=torch.bool),
        spacing_mm=torch.full((count, 2), 3.0),
        index=torch.arange(count),
        seed=torch.tensor(list(seeds)),
        case=("case",) * count,
        patient=("patient",) * count,
        level=("",) * count,
        tissues=repeated(tissues),
        fat=repeated(fat if with_fat else np.full_like(fat, 255)),
        native_mask=repeated(mask),
        native_size=torch.tensor([MAP_SIZE]).repeat(count, 1),
        native_mm=torch.full((count, 2), MAP_MM),
        offset_mm=torch.zeros((count, 2)),
    )
