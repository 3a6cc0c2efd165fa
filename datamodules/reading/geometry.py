"""The grid in the plane of a slice on which networks work, and the way between it and the image's own pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8
from scipy.sparse import csr_array

FWHM_PER_SIGMA = 2.3548  # full width at half maximum of a Gaussian of sigma 1
# Halving a mask puts every second edge right between two pixels, where background and structure tie. Masks are sampled
# this little to one side, so that structures win as many ties as they lose (vertebrae, 1 to 2 mm: 1.1 % of their area
# is lost instead of 2.6 %). Not the same for rows and columns, or diagonal edges would still tie.
TIE_SHIFT_PX = (1e-3, 0.6e-3)


@dataclass(frozen=True, kw_only=True)
class SliceGrid:
    """Pixels of equal size around the centre of the image.

    Along one axis, network pixel u and native pixel v (centres at integers) show the same place when
    `(u - (size - 1) / 2) * spacing_mm + offset_mm == (v - (native_size - 1) / 2) * native_spacing_mm`.

    Attributes:
        size: (rows, columns) in pixels.
        spacing_mm: Edge of a pixel.
        offset_mm: How far the centre of the grid lies below and to the right of the centre of the image, (row, column).

    Raises:
        ValueError: If the size or the spacing is not positive.
    """

    size: Sequence[int]
    spacing_mm: float | int  # YAML has whole numbers
    offset_mm: Sequence[float | int] = (0.0, 0.0)

    def __post_init__(self) -> None:
        # Hydra passes lists and ListConfigs; plain tuples compare, hash and pickle.
        object.__setattr__(self, "size", tuple(int(number) for number in self.size))
        object.__setattr__(self, "offset_mm", tuple(float(number) for number in self.offset_mm))
        object.__setattr__(self, "spacing_mm", float(self.spacing_mm))
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(
                f"grid: size is {list(self.size)}, expected two positive numbers of pixels, [rows, columns]"
            )
        if not (np.isfinite(self.spacing_mm) and self.spacing_mm > 0):
            raise ValueError(f"grid: spacing_mm is {self.spacing_mm}, expected a positive number of millimetres")
        if len(self.offset_mm) != 2 or not np.isfinite(self.offset_mm).all():
            raise ValueError(f"grid: offset_mm is {list(self.offset_mm)}, expected two numbers, [row, column]")

    def resample_image(
        self, image: Float[np.ndarray, "m H W"], native_spacing_mm: tuple[float, float]
    ) -> Float32[np.ndarray, "m h w"]:
        """Brings an image to the grid: Gaussian filter where pixels grow, then linear interpolation.

        Pixels outside of the image take the minimum of their channel, which in MRI is air.
        """
        rows, columns = self._weights(image.shape[1:], native_spacing_mm)
        covered = _covered(rows)[:, None] & _covered(columns)
        outside = image.min(axis=(1, 2), keepdims=True)
        return np.where(covered, _apply(rows, columns, image), outside).astype(np.float32)

    def resample_mask(
        self, mask: UInt8[np.ndarray, "H W"], native_spacing_mm: tuple[float, float]
    ) -> UInt8[np.ndarray, "h w"]:
        """Brings class indices to the grid: every class as `resample_image` would, then the strongest.

        Unlike nearest-neighbour sampling this does not alias, and unlike interpolation of indices it invents no class.
        Pixels outside of the image are background.
        """
        rows, columns = self._weights(mask.shape, native_spacing_mm, TIE_SHIFT_PX)
        classes = np.union1d([0], np.unique(mask)).astype(np.uint8)
        if len(classes) == 1:
            return np.zeros(self.size, np.uint8)
        # Background is what the structures leave, so that one product fewer is needed; outside it is 1.
        shares = _apply(rows, columns, mask == classes[1:, None, None])
        background = 1 - shares.sum(axis=0)
        return classes[np.concatenate([background[None], shares]).argmax(axis=0)]

    def to_grid_points(
        self,
        points_xy: Float[np.ndarray, "k 2"],
        native_shape: tuple[int, int],
        native_spacing_mm: tuple[float, float],
    ) -> Float32[np.ndarray, "k 2"]:
        """Moves points (x, y), in native pixels, to pixels of the grid; NaN where they fall outside of it."""
        size, offset = np.array(self.size[::-1]), np.array(self.offset_mm[::-1])
        native_size, native_spacing = np.array(native_shape[::-1]), np.array(native_spacing_mm[::-1])
        from_centre_mm = (points_xy - (native_size - 1) / 2) * native_spacing - offset
        moved = from_centre_mm / self.spacing_mm + (size - 1) / 2
        inside = ((moved >= -0.5) & (moved <= size - 0.5)).all(axis=1, keepdims=True)
        return np.where(inside, moved, np.nan).astype(np.float32)

    def _weights(
        self,
        native_shape: Sequence[int],
        native_spacing_mm: tuple[float, float],
        shift_px: Sequence[float] = (0.0, 0.0),
    ) -> tuple[csr_array, csr_array]:
        """What every native row contributes to every row of the grid, and the same for columns."""
        axes = zip(self.size, self.offset_mm, native_shape, native_spacing_mm, shift_px, strict=True)
        rows, columns = (
            _axis_weights(size, self.spacing_mm, offset, int(native_size), float(native_spacing), shift)
            for size, offset, native_size, native_spacing, shift in axes
        )
        return rows, columns


def _apply(rows: csr_array, columns: csr_array, image: Shaped[np.ndarray, "m H W"]) -> Float32[np.ndarray, "m h w"]:
    """Weighted sums along rows, then along columns.

    Sparse products run in one thread and give the same bits everywhere; dense ones would start threads of their own in
    every worker process, and slow each other down tenfold.
    """
    m, height, width = image.shape
    tall = rows @ np.asarray(image, np.float32).transpose(1, 0, 2).reshape(height, m * width)
    turned = tall.reshape(-1, m, width).transpose(2, 1, 0).reshape(width, -1)
    return (columns @ turned).reshape(-1, m, len(tall)).transpose(1, 2, 0)


def _covered(weights: csr_array) -> Bool[np.ndarray, " u"]:
    """Which pixels of the grid lie in the image."""
    return np.asarray(weights.sum(axis=1)) > 0


@lru_cache(maxsize=64)
def _axis_weights(
    size: int, spacing_mm: float, offset_mm: float, native_size: int, native_spacing_mm: float, shift_px: float
) -> csr_array:
    """Weight of native pixel v (column) in network pixel u (row); rows sum to 1, or are empty outside of the image."""
    from_centre_mm = (np.arange(size) - (size - 1) / 2) * spacing_mm + offset_mm
    position = from_centre_mm / native_spacing_mm + (native_size - 1) / 2
    native = np.arange(native_size)
    nearest = np.clip(position + shift_px, 0, native_size - 1)
    linear = np.clip(1 - np.abs(nearest[:, None] - native), 0, None)
    # A pixel that grows by a factor f must average f native ones: the Gaussian that widens FWHM 1 to FWHM f.
    factor = spacing_mm / native_spacing_mm
    if factor > 1:
        sigma = np.sqrt(factor**2 - 1) / FWHM_PER_SIGMA
        gaussian = np.exp(-0.5 * ((native[:, None] - native) / sigma) ** 2)
        linear = linear @ (gaussian / gaussian.sum(axis=1, keepdims=True))
    inside = (position >= -0.5) & (position <= native_size - 0.5)
    weights = linear * inside[:, None]
    weights[weights < 1e-6] = 0
    return csr_array(weights.astype(np.float32))
