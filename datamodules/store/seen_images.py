"""What the training images looked like, in few numbers: small enough for a checkpoint, enough to tell a stranger.

Slices are z-scored one by one, so the scanner's own scale says nothing. What remains is the shape of a slice's
histogram, and how bright each structure is among the rest: cerebrospinal fluid, bright on T2 and dark on T1, gives
another contrast away where the histogram does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64, Integer

from datamodules.slice_batches import SliceBatches, TissueAugmentation
from datamodules.store.slice_store import SliceStore

QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
MOST_SLICES = 400  # that are looked at, evenly spread: seconds even where slices are large
AT_ONCE = 8  # pictures that are made together
FEWEST_PIXELS = 20  # of a structure in a slice, for its mean to be one


@dataclass(frozen=True, kw_only=True)
class Look:
    """Mean and covariance of the numbers of `look_of_slice`; nested lists, so that a checkpoint holds them.

    A mean is NaN where a structure was on no slice.
    """

    mean: Sequence[float]
    covariance: Sequence[Sequence[float]]

    @classmethod
    def of_slices(cls, looks: Sequence[Float64[np.ndarray, " x"]]) -> "Look":
        """Summarises at least one slice; what a slice does not have counts as usual there."""
        values = np.array(looks)
        unknown = np.isnan(values)
        total, count = np.where(unknown, 0, values).sum(axis=0), (~unknown).sum(axis=0)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        deviation = np.where(unknown, 0, values - mean)
        return cls(mean=mean.tolist(), covariance=(deviation.T @ deviation / len(values)).tolist())

    def deviations(self, look: Float64[np.ndarray, " x"], slack: float) -> Float64[np.ndarray, " x"]:
        """By how many standard deviations each number differs; NaN where one of the two is unknown.

        Args:
            look: As `look_of_slice`.
            slack: Standard deviation by which slices may differ beyond what was seen: patients are few.
        """
        return (look - np.array(self.mean)) / np.sqrt(np.diag(self.covariance) + slack**2)

    def distance(self, look: Float64[np.ndarray, " x"], slack: float) -> float:
        """Squared Mahalanobis distance over the number of known values; a slice of those seen is at about 1 or less.

        Structures belong together: a canal that is as dark as some is odd beside fat that is as bright as most.
        """
        difference = look - np.array(self.mean)
        known = np.isfinite(difference)
        matrix = np.array(self.covariance) + slack**2 * np.eye(len(look))
        inner = difference[known] @ np.linalg.solve(matrix[np.ix_(known, known)], difference[known])
        return float(inner / known.sum())


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
        slices: `fingerprint` of the middle slice of every case; none in checkpoints of earlier versions.
        of_any_contrast: Whether pictures were made of tissue maps, in a new contrast every time.
    """

    structures: Sequence[str]
    num_patients: int
    num_channels: int
    pixel_mm: Sequence[float]
    field_mm: Sequence[float]
    looks: Mapping[str, Look]
    slices: Sequence[str] = ()
    of_any_contrast: bool = False

    def holds(self, image: Float[np.ndarray, "m d H W"]) -> bool:
        """Whether a z-scored volume is one that was trained on, whatever file it came in."""
        return any(fingerprint(image[:, index]) in self.slices for index in range(image.shape[1]))

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
        looks[contrast] = Look.of_slices(
            [look_of_slice(item.image, item.mask, store.anatomy.num_structures) for item in slices]
        )
    return SeenImages(
        structures=[name for name, is_drawn in zip(store.anatomy.structures, drawn, strict=True) if is_drawn],
        num_patients=int(table["patient"].nunique()),
        num_channels=store.num_channels,
        pixel_mm=[float(edges.min()), float(edges.max())],
        field_mm=[float(value) for axis in (0, 1) for value in (field[:, axis].min(), field[:, axis].max())],
        looks=looks,
        slices=sorted({fingerprint(store.native(row).image) for row in _middle_rows(table["case"], rows)}),
    )


def made_images(
    stored: SeenImages, slices: SliceBatches, rows: Integer[np.ndarray, " r"], augmentation: TissueAugmentation
) -> SeenImages:
    """Describes the pictures that are made of tissue maps, on the network's grid, where those stored train nobody.

    Args:
        stored: What the stored ones look like.
        slices: Training batches before the augmentation.
        rows: Those that train.
        augmentation: Makes the pictures; one of each slice that is looked at.
    """
    chosen, looks = [int(row) for row in rows[:: max(1, len(rows) // MOST_SLICES)]], []
    for start in range(0, len(chosen), AT_ONCE):
        made = augmentation(slices[[(row, row) for row in chosen[start : start + AT_ONCE]]])
        image, mask, num_structures = made.image.cpu().numpy(), made.mask.cpu().numpy(), made.labelled.shape[1] - 1
        looks += [look_of_slice(*pair, num_structures) for pair in zip(image, mask, strict=True)]
    return replace(
        stored,
        looks={"": Look.of_slices(looks)},
        pixel_mm=list(augmentation.pixel_mm),
        field_mm=[*augmentation.field_mm, *augmentation.field_mm],
        slices=[],
        of_any_contrast=True,
    )


def fingerprint(image: Float[np.ndarray, "m H W"]) -> str:
    """Names a z-scored slice by its pixels, as coarsely as a store keeps them."""
    return blake2b(np.ascontiguousarray(image, dtype=np.float16).tobytes(), digest_size=8).hexdigest()


def _middle_rows(cases: pd.Series, rows: Integer[np.ndarray, " r"]) -> list[int]:
    """The row in the middle of those of each case."""
    of_case: dict[str, list[int]] = {}
    for case, row in zip(cases, rows, strict=True):
        of_case.setdefault(str(case), []).append(int(row))
    return [found[len(found) // 2] for found in of_case.values()]


def look_of_slice(
    image: Float[np.ndarray, "m H W"], mask: Integer[np.ndarray, "H W"], num_structures: int
) -> Float64[np.ndarray, " x"]:
    """Of every channel of a z-scored slice, the mean of every structure, then QUANTILES of all pixels.

    NaN for a structure of fewer than FEWEST_PIXELS.
    """
    flat = mask.ravel().astype(np.int64)
    counts = np.bincount(flat, minlength=num_structures + 1)[1:]
    parts = []
    for channel in image.astype(np.float64):
        sums = np.bincount(flat, channel.ravel(), minlength=num_structures + 1)[1:]
        parts.append(np.where(counts >= FEWEST_PIXELS, sums / np.maximum(counts, 1), np.nan))
        parts.append(np.quantile(channel, QUANTILES))
    return np.concatenate(parts)


def look_names(structures: Sequence[str], num_channels: int) -> list[str]:
    """What each number of `look_of_slice` is."""
    shades = [
        "median pixel" if q == 0.5 else f"{'darkest' if q < 0.5 else 'brightest'} {100 * min(q, 1 - q):.0f} % of pixels"
        for q in QUANTILES
    ]
    names = [*(name.replace("_", " ") for name in structures), *shades]
    return [f"{name}{f' (channel {i + 1})' if num_channels > 1 else ''}" for i in range(num_channels) for name in names]
