"""What anatomy paints on: labels, a fat map and layers with soft edges, on one plane through the patient."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from datamodules.phantom.body import Body
from datamodules.phantom.noise import Plane, SpectralNoise
from datamodules.phantom.structures import LABELS

__all__ = ["LABELS", "Canvas", "Layer", "Section", "Window"]

Array = np.ndarray
Window = tuple[slice, slice]


@dataclass(frozen=True)
class Layer:
    """One painted structure: its tissue covers a part (0..1) of every pixel of a window.

    The signal step paints the tissues in the same order, so a pixel on an edge has the mean of what meets in it.
    """

    tissue: str
    window: Window
    coverage: Float[Array, "h w"]


@dataclass(frozen=True)
class Section:
    """The truth on one plane.

    Attributes:
        labels: Ids of `LABELS`, 0 elsewhere; a pixel belongs to what covers most of it.
        fat: Fat fraction of every pixel, 0..1, continuous.
        layers: Painted tissues, in order.
        depth_mm: Distance in front of the skin of the back; negative outside the body.
        doubt: 1 where two raters would hardly agree on a border, 0 where it is plain.
    """

    labels: UInt8[Array, "h w"]
    fat: Float[Array, "h w"]
    layers: tuple[Layer, ...]
    depth_mm: Float[Array, "h w"]
    doubt: Float[Array, "h w"]


@dataclass(kw_only=True)
class Canvas:
    """A plane under paint.

    Attributes:
        plane: Where it lies.
        x: Millimetres to the left of the spine, on the plane of the pixel's level.
        y: Millimetres behind the back of the discs.
        level: Level coordinate, counting discs downward.
        place: Millimetres to the left, behind and above the disc L3/4, along the axes of the scanner.
        points: Whether random fields are taken at the centres of pixels; by default they are averaged over pixels.
    """

    plane: Plane
    x: Float[Array, "h w"]
    y: Float[Array, "h w"]
    level: Float[Array, "h w"]
    place: tuple[Float[Array, "h w"], Float[Array, "h w"], Float[Array, "h w"]]
    points: bool = False
    labels: UInt8[Array, "h w"] = dataclasses.field(init=False)
    fat: Float[Array, "h w"] = dataclasses.field(init=False)
    doubt: Float[Array, "h w"] = dataclasses.field(init=False)
    layers: list[Layer] = dataclasses.field(default_factory=list)
    _fields: dict[int, Float[Array, "h w"]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.labels = np.zeros(self.plane.shape, np.uint8)
        self.fat, self.doubt = np.zeros((2, *self.plane.shape), np.float32)

    @classmethod
    def on(cls, body: Body, plane: Plane, *, points: bool = False) -> "Canvas":
        """An empty canvas on a plane through a body, which bends a little everywhere."""
        left, back, up = plane.coordinates()
        x, y, level = (values.astype(np.float32) for values in body.spine.locate(left, back, up))
        wide_mm = 1.5 * body.patient.individuality
        shift = [
            wide_mm * wide.on(plane) + 0.3 * fine.on(plane) for wide, fine in zip(body.warp, body.ripple, strict=True)
        ]
        # Bones bend less than soft tissue, the back is flattened by the table.
        free = np.clip(np.hypot(x, y - 8) / 40, 0.25, 1) * np.clip((90 - y) / 32, 0.1, 1)
        across, behind = free * shift[0], free * shift[1]
        place = left + across, back + behind, up
        return cls(plane=plane, x=x + across, y=y + behind, level=level, place=place, points=points)

    def field(self, noise: SpectralNoise) -> Float[Array, "h w"]:
        """A random field on this plane, computed once."""
        if id(noise) not in self._fields:
            self._fields[id(noise)] = noise.on(self.plane, points=self.points)
        return self._fields[id(noise)]

    @property
    def everywhere(self) -> Window:
        """The window of the whole plane."""
        return slice(0, self.plane.shape[0]), slice(0, self.plane.shape[1])

    def window(self, near: Bool[Array, "h w"]) -> Window:
        """The smallest window that holds all of these pixels; empty when there is none."""
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        if not len(rows):
            return slice(0, 0), slice(0, 0)
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def around(
        self, x: Float[Array, "h w"] | float, y: Float[Array, "h w"] | float, reach_mm: Float[Array, "h w"] | float
    ) -> Window:
        """The smallest window that holds everything within reach of (x, y)."""
        return self.window((np.abs(self.x - x) < reach_mm + 2) & (np.abs(self.y - y) < reach_mm + 2))

    def paint(
        self,
        tissue: str,
        distance_mm: Float[Array, "h w"],
        window: Window,
        *,
        label: str | UInt8[Array, "h w"] | None = None,
        fat: Float[Array, "h w"] | float = 0.0,
        edge_mm: float = 0.8,
        strength: Float[Array, "h w"] | float = 1.0,
    ) -> None:
        """Paints a tissue where the distance is negative.

        Args:
            tissue: Name in `signal.TISSUES`.
            distance_mm: Distance from the surface, on the window.
            window: Where to paint.
            label: Name in `LABELS`, or an id for every pixel of the window; without one the label beneath stays.
            fat: Fat fraction inside.
            edge_mm: Width over which the edge blurs in a thick slice, beside the width of a pixel.
            strength: Largest coverage; below 1 the tissue beneath shines through.
        """
        width = np.float32(np.hypot(self.plane.pixel_mm, edge_mm))
        coverage = np.clip(0.5 - distance_mm / width, 0, 1).astype(np.float32)
        if label is not None:
            ids = LABELS[label] if isinstance(label, str) else label
            self.labels[window] = np.where(coverage >= 0.5, ids, self.labels[window])
        coverage *= np.float32(strength)
        self.fat[window] += coverage * (np.float32(fat) - self.fat[window])
        self.layers.append(Layer(tissue, window, coverage))
