"""Panels of the galleries: a test slice with masks, boxes or maps over it, cut to the same millimetres."""

import io
import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import map_coordinates

from metrics.agreement_map import agreement_map
from reports.render.blocks import Figure

PANEL_PX = 300  # width of a panel
MARGIN_MM = 12.0  # of image around the structures
OPACITY = 0.4
QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A test slice of a run as its prediction writer left it (predictions/*.npz); arrays are empty where it had none.

    Attributes:
        image: Grey values 0..255, [H, W].
        true_mask: Class indices, [H, W].
        predicted_mask: Class indices, [H, W].
        true_boxes: (cx, cy, w, h) in 0..1, [n, 4], NaN where absent.
        network_boxes: The same as the network gave them.
        saliency: 0..255, [H, W].
        gated_features: Mean over channels before the gate, 0..255, [H, W].
        spacing_mm: (row, column).
    """

    image: np.ndarray
    true_mask: np.ndarray
    predicted_mask: np.ndarray
    true_boxes: np.ndarray
    network_boxes: np.ndarray
    saliency: np.ndarray
    gated_features: np.ndarray
    spacing_mm: np.ndarray

    def extent_mm(self) -> np.ndarray:
        """Height and width of the annotated structures; of the whole image where there is none."""
        (top, left), (bottom, right) = _corners(self.true_mask)
        return np.array([bottom - top, right - left]) * self.spacing_mm


def load_slice(path: Path) -> Slice | None:
    """Reads a slice; None where the file is missing, broken, or lacks an image or masks of one size."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error):
        return None
    nothing = {
        "true_boxes": np.zeros((0, 4)),
        "network_boxes": np.zeros((0, 4)),
        "saliency": np.zeros((0, 0), np.uint8),
    }
    nothing |= {"gated_features": np.zeros((0, 0), np.uint8), "spacing_mm": np.ones(2)}
    arrays = nothing | arrays
    masks = [arrays[name] for name in ("image", "true_mask", "predicted_mask") if name in arrays]
    if len(masks) < 3 or any(mask.ndim != 2 or mask.shape != masks[0].shape or not mask.size for mask in masks):
        return None
    for name in ("saliency", "gated_features"):  # on the pixels of the image, or not at all
        if arrays[name].shape != masks[0].shape:
            arrays[name] = nothing[name]
    return Slice(**{name: arrays[name] for name in Slice.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class View:
    """What a panel shows of a slice: `half_mm` (rows, columns) around the middle of its annotated structures.

    Attributes:
        half_mm: Half the height and width shown.
        colours: "#rrggbb" of class 1, 2, ...
        sides: Whether the slice is axial, its edges R and L; else sagittal, A and P.
        agreement: "#rrggbb" of the codes 1, 2, ... of `metrics.agreement_map`.
    """

    half_mm: tuple[float, float]
    colours: Sequence[str]
    sides: bool
    agreement: Sequence[str] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the panel in pixels."""
        return round(PANEL_PX * self.half_mm[0] / self.half_mm[1]), PANEL_PX


def common_view(slices: Sequence[Slice], colours: Sequence[str], *, sides: bool, agreement: Sequence[str] = ()) -> View:
    """A view as large as the largest of the slices needs, so that all panels show the same millimetres."""
    half = np.max([item.extent_mm() for item in slices], axis=0) / 2 + MARGIN_MM
    half = np.maximum(half, half[::-1] * (0.5, 0.6))  # neither a strip nor a tower
    return View(half_mm=(float(half[0]), float(half[1])), colours=colours, sides=sides, agreement=agreement)


def panel(item: Slice, kind: str, view: View, *, alt: str) -> Figure:
    """One panel.

    Args:
        item: The slice.
        kind: "image", "truth", "prediction" (truth as a white line), "boxes" (network's, true dashed), "saliency",
            "features" (before the gate), "gated" (features times saliency) or "agreement" (of truth and prediction).
        view: What of it is shown.
        alt: What one who cannot see the panel is told.
    """
    grey = _sample(item.image.astype(float), item, view, order=1).clip(0, 255)
    shade = np.repeat(grey[..., None], 3, axis=2)
    if kind in ("truth", "prediction"):
        mask = item.true_mask if kind == "truth" else item.predicted_mask
        shade = _painted(shade, _classes(mask, item, view), view.colours)
        if kind == "prediction":
            shade[_edges(_classes(item.true_mask, item, view))] = 255
    elif kind == "agreement":
        codes = agreement_map(_classes(item.true_mask, item, view), _classes(item.predicted_mask, item, view))
        shade = _painted(shade, codes, view.agreement)
    elif kind in ("saliency", "features", "gated"):
        shade = _heated(shade, _sample(_map_of(item, kind), item, view, order=1), kind)
    picture = Image.fromarray(shade.round().clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    if kind == "boxes":
        _draw_boxes(draw, item, view)
    _mark(draw, view)
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=QUALITY, optimize=True)
    source = "data:image/jpeg;base64," + b64encode(stream.getvalue()).decode("ascii")
    return Figure(source=source, alt=alt, width=PANEL_PX)


def _corners(mask: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """First and last row and column of what is drawn, as (top, left), (bottom, right)."""
    drawn = mask > 0 if (mask > 0).any() else np.ones_like(mask, dtype=bool)
    rows, columns = np.nonzero(drawn)
    return (float(rows.min()), float(columns.min())), (float(rows.max()), float(columns.max()))


def _origin(item: Slice, view: View) -> np.ndarray:
    """Pixel (row, column) at the panel's top left corner; the view is kept inside the image where it fits."""
    middle = np.mean(_corners(item.true_mask), axis=0)
    reach = np.asarray(view.half_mm) / item.spacing_mm
    sides = np.asarray(item.image.shape, dtype=float)
    middle = np.clip(middle, np.minimum(reach, sides / 2) - 0.5, np.maximum(sides - reach, sides / 2) - 0.5)
    return middle - reach


def _step(item: Slice, view: View) -> np.ndarray:
    """Pixels of the slice that a pixel of the panel covers, (row, column)."""
    return 2 * np.asarray(view.half_mm) / np.asarray(view.size) / item.spacing_mm


def _sample(values: np.ndarray, item: Slice, view: View, *, order: int) -> np.ndarray:
    """Values at the pixels of the panel; 0 outside the image."""
    origin, step = _origin(item, view), _step(item, view)
    places = [origin[axis] + (np.arange(view.size[axis]) + 0.5) * step[axis] for axis in (0, 1)]
    return map_coordinates(values, np.meshgrid(*places, indexing="ij"), order=order, mode="constant", cval=0)


def _classes(mask: np.ndarray, item: Slice, view: View) -> np.ndarray:
    """Class at each pixel of the panel: the nearest one's."""
    return _sample(mask.astype(np.int64), item, view, order=0)


def _edges(classes: np.ndarray) -> np.ndarray:
    """Pixels whose class differs from that of the next row or column."""
    edge = np.zeros(classes.shape, dtype=bool)
    edge[:-1] |= classes[:-1] != classes[1:]
    edge[:, :-1] |= classes[:, :-1] != classes[:, 1:]
    return edge


def _painted(shade: np.ndarray, classes: np.ndarray, colours: Sequence[str]) -> np.ndarray:
    """Every structure in its colour, transparent inside and solid at its edge."""
    table = np.array([(0, 0, 0), *(_rgb(colour) for colour in colours)], dtype=float)
    table = np.concatenate([table, np.full((max(0, int(classes.max()) + 1 - len(table)), 3), 255.0)])
    colour = table[classes]
    weight = np.where(classes > 0, np.where(_edges(classes), 1.0, OPACITY), 0.0)[..., None]
    return shade * (1 - weight) + colour * weight


def _map_of(item: Slice, kind: str) -> np.ndarray:
    """A map in 0..1."""
    saliency, features = item.saliency / 255.0, item.gated_features / 255.0
    return {"saliency": saliency, "features": features}.get(kind, saliency * features if kind == "gated" else saliency)


def _heated(shade: np.ndarray, values: np.ndarray, kind: str) -> np.ndarray:
    """A map in magma colours: over the image for saliency, alone for features."""
    heat = 255 * matplotlib.colormaps["magma"](values.clip(0, 1))[..., :3]
    weight = 0.6 if kind == "saliency" else 1.0
    return shade * (1 - weight) + heat * weight


def _draw_boxes(draw: ImageDraw.ImageDraw, item: Slice, view: View) -> None:
    """The network's boxes as solid lines, the true ones dashed."""
    height, width = item.image.shape
    origin, step = _origin(item, view), _step(item, view)
    for boxes, dashed in ((item.true_boxes, True), (item.network_boxes, False)):
        for colour, box in zip(view.colours, boxes, strict=False):
            if np.isfinite(box).all():
                centre, extent = box[:2] * (width, height) - 0.5, box[2:] * (width, height) / 2
                corners = [(centre + sign * extent - origin[::-1]) / step[::-1] for sign in (-1, 1)]
                _draw_box(draw, corners[0], corners[1], _rgb(colour), dashed=dashed)


def _draw_box(draw: ImageDraw.ImageDraw, first: np.ndarray, last: np.ndarray, colour, *, dashed: bool) -> None:
    """A box between two corners (x, y) in pixels of the panel."""
    (left, top), (right, bottom) = first.tolist(), last.tolist()
    ends = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for (x0, y0), (x1, y1) in pairwise(ends):
        length = max(1.0, float(np.hypot(x1 - x0, y1 - y0)))
        pieces = np.arange(0, length, 9) / length if dashed else [0.0]
        for start in pieces:
            end = min(1.0, start + 5 / length) if dashed else 1.0
            line = (x0 + (x1 - x0) * start, y0 + (y1 - y0) * start, x0 + (x1 - x0) * end, y0 + (y1 - y0) * end)
            draw.line(line, fill=colour, width=2)


def _mark(draw: ImageDraw.ImageDraw, view: View) -> None:
    """R and L of the patient, A and P where the slice is sagittal, and a bar of 20 mm."""
    height, width = view.size
    font = ImageFont.load_default(size=17)
    left, right = ("R", "L") if view.sides else ("A", "P")
    for text, x, anchor in ((left, 6, "lt"), (right, width - 6, "rt")):
        draw.text((x, 6), text, fill="white", font=font, anchor=anchor, stroke_width=2, stroke_fill="black")
    length = 20 * width / (2 * view.half_mm[1])
    draw.line((8, height - 8, 8 + length, height - 8), fill="white", width=3)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in to_rgb(colour))
    return red, green, blue
