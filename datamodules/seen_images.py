"""What the training images looked like, in few numbers: small enough for a checkpoint, enough to tell a stranger.

Slices are z-scored one by one, so the scanner's own scale says nothing. What remains is the shape of a slice's
histogram, and how bright each structure is among the rest: cerebrospinal fluid, bright on T2 and dark on T1, gives
another contrast away where the histogram does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Integer

from datamodules.store import SliceStore

QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
MOST_SLICES = 400  # that are looked at, evenly spread: seconds even where slices are large
FEWEST_PIXELS = 20  # of a structure in a slice, for its mean to be one


@dataclass(frozen=True, kw_only=True)
class Look:
    """Lowest and highest value of every number among some slices; nested lists, so that a checkpoint holds them.

    Attributes:
        quantiles: Of each channel, [low, high] of every quantile of QUANTILES.
        means: Of each channel, [low, high] of the mean of every structure; NaN where it was never seen.
    """

    quantiles: Sequence[Sequence[Sequence[float]]]
    means: Sequence[Sequence[Sequence[float]]]


@dataclass(frozen=True, kw_only=True)
class SeenImages:
    """What a network was trained on.

    Attributes:
        structures: Those that somebody drew in the training slices; the network was taught no other.
        num_patients: Patients trained on.
        num_channels: Input channels.
        pixel_mm: Smallest and largest edge of a pixel.
        field_mm: Smallest and largest extent of a slice along its rows and its columns, one after the other.
        looks: By contrast, as the cohort names it; "" where it does not.
    """

    structures: Sequence[str]
    num_patients: int
    num_channels: int
    pixel_mm: Sequence[float]
    field_mm: Sequence[float]
    looks: Mapping[str, Look]

    def plain(self) -> dict[str, Any]:
        """Numbers, strings, lists and dictionaries."""
        return asdict(self)

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> "SeenImages":
        """The reverse of `plain`."""
        looks = {contrast: Look(**look) for contrast, look in values["looks"].items()}
        return cls(**{**values, "looks": looks})


def seen_images(store: SliceStore, rows: Integer[np.ndarray, " r"]) -> SeenImages:
    """Describes the slices of some rows of the store, on the pixels of their files."""
    table = store.table.iloc[rows]
    edges = table[["spacing_row_mm", "spacing_column_mm"]].to_numpy(np.float64)
    field = edges * table[["rows", "columns"]].to_numpy(np.float64)
    drawn = np.asarray(np.array(store.labelled[rows]).any(axis=0))[1:]
    step = max(1, len(rows) // MOST_SLICES)
    looks: dict[str, Look] = {}
    for contrast in sorted(set(table["contrast"])):
        of_contrast = rows[(table["contrast"] == contrast).to_numpy()]
        slices = [store.native(int(row)) for row in of_contrast[::step]]
        looks[contrast] = extremes(
            [quantiles_of(item.image) for item in slices],
            [means_of(item.image, item.mask, store.anatomy.num_structures) for item in slices],
        )
    return SeenImages(
        structures=[name for name, is_drawn in zip(store.anatomy.structures, drawn, strict=True) if is_drawn],
        num_patients=int(table["patient"].nunique()),
        num_channels=store.num_channels,
        pixel_mm=[float(edges.min()), float(edges.max())],
        field_mm=[float(value) for axis in (0, 1) for value in (field[:, axis].min(), field[:, axis].max())],
        looks=looks,
    )


def quantiles_of(image: Float[np.ndarray, "m H W"]) -> Float64[np.ndarray, "m q"]:
    """Quantiles of every channel of a z-scored slice."""
    flat = image.reshape(len(image), -1).astype(np.float64)
    return np.quantile(flat, QUANTILES, axis=1).T


def means_of(
    image: Float[np.ndarray, "m H W"], mask: Integer[np.ndarray, "H W"], num_structures: int
) -> Float64[np.ndarray, "m n"]:
    """Mean of every structure in every channel of a z-scored slice; NaN below FEWEST_PIXELS."""
    flat = mask.ravel().astype(np.int64)
    counts = np.bincount(flat, minlength=num_structures + 1)[1:]
    sums = [np.bincount(flat, channel.ravel(), minlength=num_structures + 1)[1:] for channel in image]
    return np.where(counts >= FEWEST_PIXELS, np.array(sums) / np.maximum(counts, 1), np.nan)


def extremes(quantiles: Sequence[Float64[np.ndarray, "m q"]], means: Sequence[Float64[np.ndarray, "m n"]]) -> Look:
    """Lowest and highest of every number among at least one slice."""
    return Look(quantiles=_low_high(np.array(quantiles)), means=_low_high(np.array(means)))


def _low_high(values: Float64[np.ndarray, "s m x"]) -> list[list[list[float]]]:
    unknown = np.isnan(values)
    low = np.where(unknown, np.inf, values).min(axis=0)
    high = np.where(unknown, -np.inf, values).max(axis=0)
    return np.where(np.isinf(low)[..., None], np.nan, np.stack([low, high], axis=-1)).tolist()
