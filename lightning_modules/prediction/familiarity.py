"""Whether a scan looks like those that the networks were trained on, as far as that can honestly be told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from datamodules.store.seen_images import SeenImages, look_names, look_of_slice
from lightning_modules.prediction.members import Member
from lightning_modules.prediction.outlines import Block

# How unlike those seen a scan is before that is said. With these, measured on annotated outlines: of held-out scans of
# one to five slices, 4 of 96 synthetic and 1 of 42 real ones are called unlike the others; of synthetic T1 scans shown
# to a T2 network 12 of 16; Dixon water shown to a fat network, or the reverse, and inverted pictures, all.
SLACK, MOST_DISTANT = 0.2, 0.8
MOST_COARSE = 1.25  # times the coarsest pixel trained on
LEAST_FIELD = 0.95  # of the smallest field trained on
UNKNOWN = "unknown"  # a contrast that no method of telling fat from muscle is for
NO_THRESHOLD = (
    "no threshold for fat is trusted on a picture of unknown contrast; a cohort.csv beside the scans states it in its "
    "column contrast"
)
SHOWN = 3  # differences that a sentence names


@dataclass
class Familiarity:
    """What there is to say; both may be empty.

    Attributes:
        warnings: In what the scan is unlike those trained on.
        notes: What could not be checked, and what was taken for granted.
        contrast: Of the scan: as stated, else what the networks were trained on ("T2", "fat or water"; "" where no
            cohort named any), else UNKNOWN where the picture is unlike that.
    """

    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contrast: str = ""


def compare(block: Block, members: Sequence[Member]) -> Familiarity:
    """Compares contrast, pixels, field, histogram and brightness of structures with the training of all members."""
    known = [member.seen for member in members if member.seen is not None]
    told = Familiarity(contrast=block.case.contrast)
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
        on = ", neither does the network's cohort"
        if trained or any(each.of_any_contrast for each in known):
            on = f"; the network was trained on {' or '.join(trained) or 'pictures of any'}"
        told.notes.append(f"the files do not name their contrast{on}")
    look = _look_of(block, len(structures))
    wanted = [stated] if stated in trained else None
    seen = [one for each in known for contrast, one in each.looks.items() if wanted is None or contrast in wanted]
    if not stated:
        told.contrast = " or ".join(trained)
    nearest = min(seen, key=lambda one: one.distance(look, SLACK))
    is_unlike = nearest.distance(look, SLACK) > MOST_DISTANT
    # To a network of any contrast all are alike; to a threshold for fat they are not.
    if not stated and (is_unlike or any(each.of_any_contrast for each in known)):
        told.contrast = UNKNOWN
        told.notes.append(NO_THRESHOLD)
    if not is_unlike:
        return
    deviations = np.nan_to_num(nearest.deviations(look, SLACK))
    spread = np.sqrt(np.diag(nearest.covariance))
    names = look_names(structures, len(block.image))
    shown = [
        f"{names[place]} {look[place]:.1f} ({nearest.mean[place]:.1f} ± {spread[place]:.1f})"
        for place in np.argsort(-np.abs(deviations))[:SHOWN]
    ]
    told.warnings.append(
        f"the picture is unlike those of the {max(each.num_patients for each in known)} training patients; most of "
        f"all, in standard deviations of a slice: {'; '.join(shown)}. It may be another contrast or sequence, another "
        "part of the body, or the outlines are wrong"
    )


def _look_of(block: Block, num_structures: int) -> Float64[np.ndarray, " x"]:
    """Median over the slices that were looked at; NaN for a structure that was not found."""
    slices = np.flatnonzero(block.chosen)
    looks = np.array([look_of_slice(block.image[:, index], block.mask[index], num_structures) for index in slices])
    nowhere = np.isnan(looks).all(axis=0)
    return np.where(nowhere, np.nan, np.nanmedian(np.where(nowhere, 0, looks), axis=0))
