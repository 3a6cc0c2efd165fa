"""Where the pixels of a plane lie in a trunk, and distances from simple bodies in it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from datamodules.phantom.canvas import Canvas, Window
from datamodules.phantom.trunk import Trunk

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Place:
    """The pixels of a canvas in a trunk: mm to the patient's left, behind and above the disc L3/4.

    Attributes:
        x: To the left.
        y: Backward.
        z: Upward.
        skin: Distance from the skin; negative inside, and so the next two.
        envelope: Distance from the outline of the muscles.
        cavity: Distance from the inside of the muscle wall.
    """

    x: Float[Array, "h w"]
    y: Float[Array, "h w"]
    z: Float[Array, "h w"]
    skin: Float[Array, "h w"]
    envelope: Float[Array, "h w"]
    cavity: Float[Array, "h w"]

    @classmethod
    def of(cls, canvas: Canvas, trunk: Trunk) -> "Place":
        """The places of a canvas."""
        x, y, z = canvas.place
        station = trunk.station(z)
        skin, envelope, cavity = (
            surface.distance_mm(x, y, station).astype(np.float32)
            for surface in (trunk.skin, trunk.envelope, trunk.cavity)
        )
        envelope = np.maximum(envelope, skin + 2.5)
        return cls(x=x, y=y, z=z, skin=skin, envelope=envelope, cavity=np.maximum(cavity, envelope + 1.0))

    def on(self, window: Window) -> "Place":
        """The same on a window."""
        return Place(**{name: getattr(self, name)[window] for name in self.__dataclass_fields__})

    def near(self, canvas: Canvas, middle: tuple[float, float, float], reach: tuple[float, float, float]) -> Window:
        """The smallest window that holds a box round a point."""
        inside = np.abs(self.x - middle[0]) < reach[0] + 3
        inside &= np.abs(self.y - middle[1]) < reach[1] + 3
        inside &= np.abs(self.z - middle[2]) < reach[2] + 3
        return canvas.window(inside)

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
