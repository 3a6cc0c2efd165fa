"""Spines of rectangles for the tests of shape models: bodies and discs that touch, drawn, turned and scaled at will."""

import numpy as np

from models.shape_model.profiles import Picture
from models.shape_model.settings import ShapeModelSettings
from models.shape_model.spines import Structures

SPACING_MM = (0.8, 0.8)
SIZE = (200, 120)
NAMES = ("L1", "L1/2", "L2", "L2/3", "L3")
BODY_MM, DISC_MM = (26.0, 34.0), (9.0, 33.0)  # height, depth
GREY = {"vertebra": 1.0, "disc": -1.0}


def structures(names=NAMES) -> Structures:
    kinds = ["disc" if "/" in name else "vertebra" for name in names]
    return Structures(names=names, kinds=kinds, classes=list(range(1, len(names) + 1)))


def settings(**changes) -> ShapeModelSettings:
    usual = {
        **{"num_points": 64, "variance_share": 0.98, "facing_mm": 15.0, "floor_mm": 0.1, "num_iterations": 5},
        **{"search_mm": 6.0, "last_search_mm": 1.0, "sample_mm": 1.0, "num_samples": 7},
        **{"shape_limit_sd": 3.0, "interspace_limit_sd": 2.5},
    }
    return ShapeModelSettings(**{**usual, **changes})


def drawn(seed: int, names=NAMES, without=()) -> tuple[Picture, np.ndarray]:
    """A picture of a straight spine, a little turned, of heights and depths that differ, and its mask."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SIZE) * SPACING_MM[0]
    turn, scale = rng.normal(0, 0.08), np.exp(rng.normal(0, 0.05))
    x, y = columns - 48 - rng.normal(0, 2), rows - 80 - rng.normal(0, 2)
    across, along = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    grey, mask = rng.normal(0, 0.05, SIZE), np.zeros(SIZE, np.uint8)
    sizes = [DISC_MM if "/" in name else BODY_MM for name in names]
    heights = [high * scale * np.exp(rng.normal(0, 0.04)) for high, _ in sizes]
    edges = np.concatenate([[0.0], np.cumsum(heights)]) - sum(heights) / 2
    for number, name in enumerate(names, 1):
        deep = sizes[number - 1][1] * scale * np.exp(rng.normal(0, 0.03))
        inside = (along >= edges[number - 1]) & (along < edges[number]) & (np.abs(across) < deep / 2)
        if name not in without:
            grey[inside] += GREY["disc" if "/" in name else "vertebra"]
            mask[inside] = number
    return Picture(grey=grey, spacing_mm=SPACING_MM), mask


def spines(seeds, names=NAMES, num_points=64, **how):
    return [structures(names).spine(*drawn(seed, names, **how), num_points) for seed in seeds]
