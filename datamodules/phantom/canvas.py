"""What anatomy paints on: labels, a fat map and layers with soft edges, on one plane through the patient."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from datamodules.phantom.noise import Plane, SpectralNoise

Array = np.ndarray
Window = tuple[slice, slice]

# Ids of the label files. Every structure that an anatomy may ask for has its own; several may map to one name.
LABELS = {
    "disc": 1,
    "vertebral_body": 2,
    "dural_sac": 3,
    "epidural_space": 4,
    "ligamentum_flavum": 5,
    "lamina": 6,
    "articular_process": 7,
    "psoas_left": 8,
    "psoas_right": 9,
    "multifidus_left": 10,
    "multifidus_right": 11,
    "erector_spinae_left": 12,
    "erector_spinae_right": 13,
    "quadratus_lumborum_left": 14,
    "quadratus_lumborum_right": 15,
    "aorta": 16,
    "vena_cava": 17,
    "subcutaneous_fat": 18,
    "skin": 19,
    "paraspinal_fat": 20,
    "iliac_bone": 21,
    "other_muscle": 22,
    "kidney": 23,
    "bowel": 24,
}


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
    """

    labels: UInt8[Array, "h w"]
    fat: Float[Array, "h w"]
    layers: tuple[Layer, ...]
    depth_mm: Float[Array, "h w"]


@dataclass(kw_only=True)
class Canvas:
    """A plane under paint. Coordinates are millimetres of the warped spine frame, `level` counts discs downward."""

    plane: Plane
    x: Float[Array, "h w"]
    y: Float[Array, "h w"]
    z: Float[Array, "h w"]
    level: Float[Array, "h w"]
    labels: UInt8[Array, "h w"] = dataclasses.field(init=False)
    fat: Float[Array, "h w"] = dataclasses.field(init=False)
    layers: list[Layer] = dataclasses.field(default_factory=list)
    _fields: dict[int, Float[Array, "h w"]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.labels = np.zeros(self.plane.shape, np.uint8)
        self.fat = np.zeros(self.plane.shape, np.float32)

    def field(self, noise: SpectralNoise) -> Float[Array, "h w"]:
        """A random field on this plane, computed once."""
        if id(noise) not in self._fields:
            self._fields[id(noise)] = noise.on(self.plane)
        return self._fields[id(noise)]

    @property
    def everywhere(self) -> Window:
        """The window of the whole plane."""
        return slice(0, self.plane.shape[0]), slice(0, self.plane.shape[1])

    @property
    def middle_level(self) -> float:
        """Level coordinate in the middle of the plane."""
        return float(self.level[self.plane.shape[0] // 2, self.plane.shape[1] // 2])

    def window(self, centre: tuple[float, float], reach_mm: float) -> Window:
        """The smallest window that holds everything within a reach of (x, y); empty when it lies off the plane."""
        near = (np.abs(self.x - centre[0]) < reach_mm + 2) & (np.abs(self.y - centre[1]) < reach_mm + 2)
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        if not len(rows):
            return slice(0, 0), slice(0, 0)
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def paint(
        self,
        tissue: str,
        distance_mm: Float[Array, "h w"],
        window: Window,
        *,
        label: str | None = None,
        fat: Float[Array, "h w"] | float = 0.0,
        edge_mm: float = 0.8,
        strength: Float[Array, "h w"] | float = 1.0,
    ) -> None:
        """Paints a tissue where the distance is negative.

        Args:
            tissue: Name in `signal.TISSUES`.
            distance_mm: Distance from the surface, on the window.
            window: Where to paint.
            label: Name in `LABELS`; without one the label beneath stays.
            fat: Fat fraction inside.
            edge_mm: Width over which the edge blurs in a thick slice, beside the width of a pixel.
            strength: Largest coverage; below 1 the tissue beneath shines through.
        """
        width = np.float32(np.hypot(self.plane.pixel_mm, edge_mm))
        coverage = np.clip(0.5 - distance_mm / width, 0, 1).astype(np.float32)
        if label is not None:
            self.labels[window][coverage >= 0.5] = LABELS[label]
        coverage *= np.float32(strength)
        self.fat[window] += coverage * (np.float32(fat) - self.fat[window])
        self.layers.append(Layer(tissue, window, coverage))
