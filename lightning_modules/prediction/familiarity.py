"""Whether a scan looks like those that the networks were trained on, as far as that can honestly be told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from datamodules.seen_images import QUANTILES, Look, SeenImages, means_of, quantiles_of
from lightning_modules.prediction.members import Member
from lightning_modules.prediction.outlines import Block

# Training slices are few and a new scanner is always a little different: how far beyond their range is still usual, as
# a share of the range, and in standard deviations of a slice.
SLACK_SHARE, SLACK = 0.5, 0.1
MOST_COARSE = 1.25  # times the coarsest pixel trained on
LEAST_FIELD = 0.95  # of the smallest field trained on
SHOWN = 4  # differences that a sentence names


@dataclass
class Familiarity:
    """What there is to say; both may be empty.

    Attributes:
        warnings: In what the scan is unlike those trained on.
        notes: What could not be checked, and what was taken for granted.
    """

    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare(block: Block, members: Sequence[Member]) -> Familiarity:
    """Compares contrast, pixels, field, histogram and brightness of structures with the training of all members."""
    known = [member.seen for member in members if member.seen is not None]
    told = Familiarity()
    if not known:
        told.notes.append(
            "the checkpoint does not say what its training images looked like (it is of an earlier version), so "
            "nothing could be compared; train again to have it checked"
        )
        return told
    if len(known) < len(members):
        told.notes.append(
            f"{len(members) - len(known)} of the checkpoints do not say what their training images were like"
        )
    _compare_sizes(block, known, told)
    _compare_intensities(block, known, list(members[0].anatomy.structures), told)
    return told


def training_contrast(members: Sequence[Member]) -> str:
    """Contrasts that the networks were trained on, as "T2" or "fat or water"; "" where no cohort named any."""
    return " or ".join(_contrasts([member.seen for member in members if member.seen is not None]))


def _contrasts(known: Sequence[SeenImages]) -> list[str]:
    return sorted({contrast for seen in known for contrast in seen.looks if contrast})


def _compare_sizes(block: Block, known: Sequence[SeenImages], told: Familiarity) -> None:
    coarsest = max(seen.pixel_mm[1] for seen in known)
    if max(block.spacing_mm) > MOST_COARSE * coarsest:
        told.warnings.append(
            f"pixels of {max(block.spacing_mm):.2f} mm are coarser than any trained on ({coarsest:.2f} mm at most)"
        )
    field = [pixels * size for pixels, size in zip(block.image.shape[2:], block.spacing_mm, strict=True)]
    least = [min(seen.field_mm[2 * axis] for seen in known) for axis in (0, 1)]
    if any(mine < LEAST_FIELD * smallest for mine, smallest in zip(field, least, strict=True)):
        told.warnings.append(
            f"the image covers {field[0]:.0f} x {field[1]:.0f} mm, less than any trained on ({least[0]:.0f} x "
            f"{least[1]:.0f} mm at least): the rest of the network's picture is empty"
        )


def _compare_intensities(block: Block, known: Sequence[SeenImages], structures: list[str], told: Familiarity) -> None:
    trained, stated = _contrasts(known), block.case.contrast
    if stated and trained and stated not in trained:
        told.warnings.append(f"the scan is stated to be {stated}; the network was trained on {' or '.join(trained)}")
    elif not stated:
        on = (
            f"; the network was trained on {' or '.join(trained)}" if trained else ", neither does the network's cohort"
        )
        told.notes.append(f"the files do not name their contrast{on}")
    quantiles, means = _look_of(block, len(structures))
    by_contrast = []
    for contrast in {contrast for seen in known for contrast in seen.looks}:
        if stated in trained and contrast != stated:
            continue
        looks = [seen.looks[contrast] for seen in known if contrast in seen.looks]
        by_contrast.append(_differences(quantiles, means, looks, structures))
    different = min(by_contrast, key=len)
    if different:
        shown = "; ".join(different[:SHOWN]) + (
            f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        )
        patients = max(seen.num_patients for seen in known)
        told.warnings.append(
            f"intensities unlike those of the {patients} training patients, in standard deviations of a slice: {shown}"
        )


def _look_of(block: Block, num_structures: int) -> tuple[Float[np.ndarray, "m q"], Float[np.ndarray, "m n"]]:
    """Medians over the slices that were looked at; NaN for a structure that was not found."""
    slices = np.flatnonzero(block.chosen)
    quantiles = np.median([quantiles_of(block.image[:, index]) for index in slices], axis=0)
    means = np.array([means_of(block.image[:, index], block.mask[index], num_structures) for index in slices])
    known = np.ma.masked_invalid(means)
    return quantiles, np.ma.median(known, axis=0).filled(np.nan)


def _differences(
    quantiles: Float[np.ndarray, "m q"],
    means: Float[np.ndarray, "m n"],
    looks: Sequence[Look],
    structures: Sequence[str],
) -> list[str]:
    """What lies outside of what was seen, structures first."""
    labels = [name.replace("_", " ") for name in structures]
    shades = [f"the picture's {_ordinal(share)}" for share in QUANTILES]
    found = []
    for names, values, ranges in (
        (labels, means, [look.means for look in looks]),
        (shades, quantiles, [look.quantiles for look in looks]),
    ):
        stacked = np.ma.masked_invalid(np.array(ranges))
        low, high = stacked[..., 0].min(axis=0).filled(np.nan), stacked[..., 1].max(axis=0).filled(np.nan)
        slack = SLACK_SHARE * (high - low) + SLACK
        odd = (values < low - slack) | (values > high + slack)  # never, where either is unknown
        several = len(values) > 1
        found += [
            f"{names[place]}{f' in channel {channel + 1}' if several else ''} {values[channel, place]:.1f} "
            f"({low[channel, place]:.1f} to {high[channel, place]:.1f})"
            for channel, place in np.argwhere(odd)
        ]
    return found


def _ordinal(share: float) -> str:
    return (
        "median" if share == 0.5 else f"{'darkest' if share < 0.5 else 'brightest'} {100 * min(share, 1 - share):.0f} %"
    )
