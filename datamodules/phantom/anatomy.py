"""Step 2: what any plane through a body shows, painted from the wall of the trunk to the vessels."""

import numpy as np

from datamodules.phantom import abdomen, column, muscles, organs, pelvis, posterior_elements, wall
from datamodules.phantom.body import Body
from datamodules.phantom.canvas import LABELS, Canvas, Section
from datamodules.phantom.noise import Plane
from datamodules.phantom.patient import FAT_OF
from datamodules.phantom.place import Place

_FATTY = 0.5  # a pixel of a back muscle with more fat than this is labelled as its fat


def section(body: Body, plane: Plane) -> Section:
    """The truth of a body on a plane; the labels do not part fat from lean muscle yet, see `with_fat_labels`."""
    canvas = Canvas.on(body, plane)
    if body.trunk is None:
        depth = abdomen.paint_wall(canvas, body)
        abdomen.paint_organs(canvas, body)
    else:
        place = Place.of(canvas, body, body.trunk)
        depth = wall.paint_wall(place)
        organs.paint_organs(place)
        pelvis.paint_pelvis(place)
    muscles.paint_anterior(canvas, body)
    muscles.paint_paraspinal(canvas, body)
    posterior_elements.paint_arches(canvas, body)
    column.paint_canal(canvas, body)
    column.paint_column(canvas, body)
    abdomen.paint_vessels(canvas, body)
    return Section(
        labels=canvas.labels,
        fat=np.clip(canvas.fat, 0, 1),
        layers=tuple(canvas.layers),
        depth_mm=depth,
        doubt=canvas.doubt,
    )


def with_fat_labels(labels: np.ndarray, fat: np.ndarray) -> np.ndarray:
    """Labels in which the fatty pixels of the back muscles have an id of their own."""
    parted = labels.copy()
    for name, its_fat in FAT_OF.items():
        parted[(labels == LABELS[name]) & (fat > _FATTY)] = LABELS[its_fat]
    return parted
