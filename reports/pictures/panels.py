"""Panels of the galleries: a test slice with masks, boxes or maps over it, cut to the same millimetres."""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from metrics.agreement_map import agreement_map
from pictures.view import SliceView, common_half_mm, corners_of
from records.predictions import StoredSlice, read_arrays
from reports.render.blocks import Figure

PANEL_PX = 300  # width of a panel
MARGIN_MM = 12.0  # of image around the structures
OPACITY, LINE = 0.4, 0.6  # of a painted structure; width of its edge, points
QUALITY = 82


def load_slice(path: Path) -> StoredSlice | None:
    """Reads a slice; None where the file is missing, broken, or lacks an image or masks of one size.

    Maps are on the pixels of the image, or not at all.
    """
    try:
        item = StoredSlice.of(read_arrays(path))
    except ValueError:
        return None
    other = [name for name in ("saliency", "gated_features") if getattr(item, name).shape != item.image.shape]
    return replace(item, **{name: np.zeros((0, 0), np.uint8) for name in other})


@dataclass(frozen=True, kw_only=True)
class View:
    """What the panels of a gallery show.

    Attributes:
        view: "axial" or "sagittal".
        half_mm: Half the height and width shown around the middle of a slice's annotated structures.
        colours: "#rrggbb" of class 1, 2, ...
        agreement: "#rrggbb" of the codes 1, 2, ... of `metrics.agreement_map`.
    """

    view: str
    half_mm: tuple[float, float]
    colours: Sequence[str]
    agreement: Sequence[str] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the panel in pixels."""
        return round(PANEL_PX * self.half_mm[0] / self.half_mm[1]), PANEL_PX


def common_view(
    slices: Sequence[StoredSlice], colours: Sequence[str], *, view: str, agreement: Sequence[str] = ()
) -> View:
    """A view as large as the largest of the slices needs, so that all panels show the same millimetres."""
    rows, columns = common_half_mm([_seen(item, view) for item in slices], MARGIN_MM)
    half_mm = (max(rows, 0.5 * columns), max(columns, 0.6 * rows))  # neither a strip nor a tower
    return View(view=view, half_mm=half_mm, colours=colours, agreement=agreement)


def panel(item: StoredSlice, kind: str, view: View, *, alt: str) -> Figure:
    """One panel.

    Args:
        item: The slice.
        kind: "image", "truth", "prediction" (truth as a white line), "boxes" (network's, true dashed), "saliency",
            "features" (before the gate), "gated" (features times saliency) or "agreement" (of truth and prediction).
        view: What of it is shown.
        alt: What one who cannot see the panel is told.
    """
    seen = _seen(item, view.view, view.half_mm)
    picture = Image.fromarray(seen.pixels(view.size, partial(_draw, item=item, kind=kind, seen=seen, view=view)))
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=QUALITY, optimize=True)
    source = "data:image/jpeg;base64," + b64encode(stream.getvalue()).decode("ascii")
    return Figure(source=source, alt=alt, width=PANEL_PX)


def _seen(item: StoredSlice, view: str, half_mm: tuple[float, float] | None = None) -> SliceView:
    row_mm, column_mm = item.spacing_mm.tolist()
    around = corners_of(item.true_mask > 0)
    return SliceView(
        grey=item.image.astype(np.uint8), spacing_mm=(row_mm, column_mm), view=view, around=around, half_mm=half_mm
    )


def _draw(axis: Axes, *, item: StoredSlice, kind: str, seen: SliceView, view: View) -> None:
    """Every structure in its colour, transparent inside and solid at its edge; boxes; maps."""
    codes, colours = agreement_map(item.true_mask, item.predicted_mask), view.agreement
    if kind in ("truth", "prediction"):
        codes, colours = (item.true_mask if kind == "truth" else item.predicted_mask), view.colours
    if kind in ("truth", "prediction", "agreement"):
        seen.paint(axis, codes, colours, OPACITY)
        seen.outline(axis, codes, colours, LINE)
    if kind == "prediction":
        seen.outline(axis, item.true_mask, ["#ffffff"] * len(view.colours), LINE)
    elif kind == "boxes":
        seen.boxes(axis, item.true_boxes, view.colours, dashed=True)
        seen.boxes(axis, item.network_boxes, view.colours)
    elif kind == "saliency":
        seen.heat(axis, item.saliency / 255)
    elif kind in ("features", "gated"):
        gate = item.saliency / 255 if kind == "gated" else 1.0
        seen.heat(axis, item.gated_features / 255 * gate, opacity=1.0)
