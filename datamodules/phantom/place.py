"""Where the pixels of a plane lie in a trunk, and distances from simple bodies in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas, Window
from datamodules.phantom.noise import SpectralNoise
from datamodules.phantom.trunk import Trunk

Array = np.ndarray
_MAPS = ("x", "y", "z", "across", "behind", "level", "skin", "envelope", "cavity")


@dataclass(frozen=True, kw_only=True)
class Place:
    """The pixels of a window of a canvas in a whole body.

    Attributes:
        canvas: What is painted on.
        body: Whose body.
        trunk: Its trunk.
        window: Where on the canvas.
        x: Millimetres to the patient's left of the disc L3/4, along the axis of the scanner.
        y: Behind it.
        z: Above it.
        across: Millimetres to the left of the spine, on the plane of the pixel's level.
        behind: Behind the backs of the discs.
        level: Level coordinate.
        skin: Distance from the skin; negative inside, and so the next two.
        envelope: Distance from the outline of the muscles.
        cavity: Distance from the inside of the muscle wall.
    """

    canvas: Canvas
    body: Body
    trunk: Trunk
    window: Window
    x: Float[Array, "h w"]
    y: Float[Array, "h w"]
    z: Float[Array, "h w"]
    across: Float[Array, "h w"]
    behind: Float[Array, "h w"]
    level: Float[Array, "h w"]
    skin: Float[Array, "h w"]
    envelope: Float[Array, "h w"]
    cavity: Float[Array, "h w"]

    @classmethod
    def of(cls, canvas: Canvas, body: Body, trunk: Trunk) -> "Place":
        """The whole of a canvas."""
        x, y, z = canvas.place
        skin, envelope, cavity = trunk.distances_mm(x, y, z)
        # Behind the muscles of the back there is nothing but fat.
        across = np.minimum(np.abs(canvas.x), 75)
        fascia = body.along(body.fascia_mm, canvas.level) - 20 * (across / 80) ** 2.2 + 1
        behind = np.where((np.abs(canvas.x) < 75) & (canvas.level < 6), canvas.y - fascia, skin)
        envelope = np.maximum(np.maximum(envelope, behind), skin + 2.5)
        return cls(
            canvas=canvas,
            body=body,
            trunk=trunk,
            window=canvas.everywhere,
            x=x,
            y=y,
            z=z,
            across=canvas.x,
            behind=canvas.y,
            level=canvas.level,
            skin=skin,
            envelope=envelope,
            cavity=np.maximum(cavity, envelope + 1.0),
        )

    def part(self, mask: Bool[Array, "h w"]) -> "Place":
        """The smallest window that holds all pixels of a mask of this one."""
        inner = self.canvas.window(mask)
        cut = {name: getattr(self, name)[inner] for name in _MAPS}
        rows, columns = (
            slice(ours.start + its.start, ours.start + its.stop) for ours, its in zip(self.window, inner, strict=True)
        )
        return Place(canvas=self.canvas, body=self.body, trunk=self.trunk, window=(rows, columns), **cut)

    def near(self, middle: tuple[float, float, float], reach: tuple[float, float, float]) -> "Place":
        """The smallest window that holds a box round a point."""
        inside = np.abs(self.x - middle[0]) < reach[0] + 3
        inside &= np.abs(self.y - middle[1]) < reach[1] + 3
        inside &= np.abs(self.z - middle[2]) < reach[2] + 3
        return self.part(inside)

    def of_parent(self, parent: "Place", values: Float[Array, "rows columns"]) -> Float[Array, "h w"]:
        """What values on the window of a parent are on this one."""
        rows, columns = (
            slice(ours.start - its.start, ours.stop - its.start)
            for ours, its in zip(self.window, parent.window, strict=True)
        )
        return values[rows, columns]

    @property
    def empty(self) -> bool:
        """Whether no pixel is in the window."""
        return not self.x.size

    def field(self, noise: SpectralNoise) -> Float[Array, "h w"]:
        """A random field on the window."""
        return self.canvas.field(noise)[self.window]

    def paint(self, tissue: str, distance_mm: Float[Array, "h w"], **options: Any) -> None:
        """Paints on the window, see `Canvas.paint`."""
        self.canvas.paint(tissue, distance_mm, self.window, **options)

    def ellipsoid_mm(
        self,
        middle: tuple[float, float, float],
        radius: tuple[float, float, float],
        lean: tuple[float, float] = (0.0, 0.0),
    ) -> Float[Array, "h w"]:
        """Distance from an ellipsoid whose upright axis leans by (x, y) mm per mm upward, to first order."""
        up = self.z - middle[2]
        away = (self.x - middle[0] - lean[0] * up, self.y - middle[1] - lean[1] * up, up)
        parts = [(part / size) ** 2 for part, size in zip(away, radius, strict=True)]
        square = parts[0] + parts[1] + parts[2]
        slope = parts[0] / radius[0] ** 2 + parts[1] / radius[1] ** 2 + parts[2] / radius[2] ** 2
        return ((square - np.sqrt(square)) / np.sqrt(slope + 1e-9)).astype(np.float32)


def common_mm(*distances: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """Distance from what several bodies have in common."""
    return np.maximum.reduce(distances)
