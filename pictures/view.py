"""A slice as people see it: in true proportions, cut to millimetres, with what is painted over it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float, Integer, Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pictures.marks import mark_bar, mark_sides

BAR_MM = 20.0
DPI = 128  # a power of two: pixels become inches and pixels again without a rest
Corners = tuple[tuple[float, float], tuple[float, float]]  # (top, left) and (bottom, right), centres of pixels


@dataclass(frozen=True, kw_only=True)
class SliceView:
    """A slice and what of it a picture shows; axial slices are seen from the feet, the patient's right on the left.

    Everything is on the pixels of the slice: x is a column, y a row, and whole numbers are centres of pixels.

    Attributes:
        grey: Levels for looking at (`grey_levels`).
        spacing_mm: Size of a pixel, (row, column).
        view: "axial" or "sagittal".
        around: What is in the middle, as far as the image reaches; without it the middle of the image.
        half_mm: Half the height and width that are shown (`common_half_mm`); None shows the whole image.
        has_mm: Whether anybody measured `spacing_mm`: there is no bar of millimetres else.
        interpolation: How levels between the centres of pixels are drawn, by matplotlib's name.
    """

    grey: UInt8[np.ndarray, "h w"]
    spacing_mm: tuple[float, float]
    view: str
    around: Corners | None = None
    half_mm: tuple[float, float] | None = None
    has_mm: bool = True
    interpolation: str = "hanning"

    @property
    def limits(self) -> list[tuple[float, float]]:
        """First and last row and column that are shown, edges of pixels: inside the image where it is large enough."""
        edges: list[tuple[float, float]] = [(-0.5, side - 0.5) for side in self.grey.shape]
        if self.half_mm is None:
            return edges
        corners = self.around or tuple(zip(*edges, strict=True))
        reach = np.divide(self.half_mm, self.spacing_mm)
        half_sides = np.array(self.grey.shape) / 2
        low = np.minimum(reach, half_sides) - 0.5
        middle = np.clip(np.mean(corners, axis=0), low, np.maximum(2 * half_sides - reach, half_sides) - 0.5)
        return list(zip((middle - reach).tolist(), (middle + reach).tolist(), strict=True))

    @property
    def shown_mm(self) -> tuple[float, float]:
        """Height and width of what is shown."""
        (top, bottom), (left, right) = self.limits
        return (bottom - top) * self.spacing_mm[0], (right - left) * self.spacing_mm[1]

    @property
    def proportion(self) -> float:
        """Height of what is shown by its width."""
        return self.shown_mm[0] / self.shown_mm[1]

    def show(self, axis: Axes) -> None:
        """Draws the slice alone."""
        self._image(axis, np.repeat(self.grey[..., None], 3, axis=2))  # no colour map: it rounds
        (top, bottom), sides = self.limits
        axis.set(xticks=[], yticks=[], xlim=sides, ylim=(bottom, top), facecolor="black")
        axis.autoscale(False)  # a box that leaves the image must not shrink it

    def paint(
        self, axis: Axes, mask: Integer[np.ndarray, "h w"], colours: Sequence[str], opacity: float = 0.55
    ) -> None:
        """Gives the classes 1, 2, ... their colours, "#rrggbb"; background stays, classes beyond them are white."""
        table = np.concatenate([np.zeros((1, 4)), to_rgba_array(_enough(colours, mask), opacity)])
        self._image(axis, table[mask], interpolation="nearest")

    def outline(self, axis: Axes, mask: Integer[np.ndarray, "h w"], colours: Sequence[str], width: float = 0.9) -> None:
        """Draws the edge of the classes 1, 2, ..., so many points wide."""
        rows, columns = (np.arange(-1, side + 1) for side in mask.shape)
        for number, colour in enumerate(_enough(colours, mask), start=1):
            # Padded, so that what reaches the edge of the image is closed there.
            inside = np.pad(mask == number, 1).astype(float)
            lines = [np.asarray(line) for line in contour_generator(columns, rows, inside).lines(0.5)]
            if lines:
                axis.add_collection(LineCollection(lines, colors=[colour], linewidths=width), autolim=False)

    def boxes(
        self, axis: Axes, boxes: Float[np.ndarray, "n 4"], colours: Sequence[str], *, dashed: bool = False
    ) -> None:
        """Draws boxes (cx, cy, w, h) in 0..1 of the image; those with NaN are absent."""
        height, width = self.grey.shape
        style = {"fill": False, "linewidth": 0.9, "linestyle": "--" if dashed else "-"}
        for (x, y, w, h), colour in zip(boxes.tolist(), colours, strict=False):
            if np.isfinite([x, y, w, h]).all():
                corner = ((x - w / 2) * width - 0.5, (y - h / 2) * height - 0.5)
                axis.add_patch(Rectangle(corner, w * width, h * height, edgecolor=colour, **style))

    def heat(
        self, axis: Axes, values: Shaped[np.ndarray, "h w"], *, opacity: float = 0.6, most: float = 1.0, **style: str
    ) -> None:
        """Lays a map of 0..`most` over the slice, in magma or another `cmap`."""
        self._image(axis, values, **{"cmap": "magma", **style}, vmin=0, vmax=most, alpha=opacity)

    def points(self, axis: Axes, points: Float[np.ndarray, "k 2"], colours: Sequence[str]) -> None:
        """Draws points (x, y) in pixels; those with NaN are absent."""
        axis.scatter(*points.T, c=list(colours), s=14, edgecolors="white", linewidths=0.6)

    def mark(self, axis: Axes, *, height: float = 0.92, fontsize: float = 6.0, bar_mm: float = BAR_MM) -> None:
        """Writes the patient's sides at a height of 0..1, and draws a bar of millimetres if anybody measured them."""
        mark_sides(axis, self.view, height=height, fontsize=fontsize)
        if self.has_mm:
            mark_bar(axis, self.spacing_mm[1], bar_mm, fontsize=0.8 * fontsize)

    def pixels(
        self, size: tuple[int, int], draw: Callable[[Axes], None] | None = None
    ) -> UInt8[np.ndarray, "rows columns 3"]:
        """The picture with its marks in so many pixels (rows, columns), for what shows bare pictures.

        Args:
            size: Of the picture; in the proportions of what is shown.
            draw: Draws more than the slice.
        """
        figure = Figure(figsize=(size[1] / DPI, size[0] / DPI), dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        axis = figure.add_axes((0, 0, 1, 1))
        self.show(axis)
        if draw is not None:
            draw(axis)
        self.mark(axis, fontsize=float(np.clip(size[1] / 34, 3.5, 9.0)))
        axis.set_aspect("auto")  # to the last pixel
        axis.spines[:].set_visible(False)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _image(self, axis: Axes, picture: np.ndarray, **style: object) -> None:
        aspect = self.spacing_mm[0] / self.spacing_mm[1]  # said with every picture: one without makes pixels square
        axis.imshow(picture, **{"interpolation": self.interpolation, "aspect": aspect, **style})


def common_half_mm(views: Sequence[SliceView], margin_mm: float) -> tuple[float, float]:
    """Half the height and width of the largest of the slices' middle parts and a margin: the same in all pictures."""
    needed = [np.ptp(view.around, axis=0) * view.spacing_mm if view.around else (0.0, 0.0) for view in views]
    rows, columns = (np.max(needed, axis=0) / 2 + margin_mm).tolist()
    return rows, columns


def zoomed(views: Sequence[SliceView], margin_mm: float) -> list[SliceView]:
    """The same slices, each cut to `common_half_mm`."""
    half_mm = common_half_mm(views, margin_mm)
    return [replace(view, half_mm=half_mm) for view in views]


def corners_of(drawn: Bool[np.ndarray, "h w"]) -> Corners:
    """First and last row and column in which anything is drawn; of the whole image where nothing is."""
    rows, columns = np.nonzero(drawn if drawn.any() else np.ones_like(drawn))
    return (float(rows.min()), float(columns.min())), (float(rows.max()), float(columns.max()))


def window_of(image: Float[np.ndarray, "h w"]) -> tuple[float, float]:
    """Intensities that are black and white in pictures: the 1 % darkest pixels and the 0.5 % brightest."""
    low, high = np.percentile(image, [1, 99.5]).tolist()
    return low, high


def grey_levels(image: Float[np.ndarray, "h w"], window: tuple[float, float] | None = None) -> UInt8[np.ndarray, "h w"]:
    """Intensities for pictures, between those that are black and white: `window_of` the image, if not given."""
    low, high = window or window_of(image)
    return (np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255).round().astype(np.uint8)


def _enough(colours: Sequence[str], mask: np.ndarray) -> list[str]:
    return [*colours, *["#ffffff"] * (int(mask.max()) - len(colours))]
