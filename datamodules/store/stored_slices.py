"""Slices with the values of their files, beside the z-scored ones of the store."""

import numpy as np
from jaxtyping import Float32

from datamodules.cohort import Cohort
from datamodules.reading.case_images import read_images
from datamodules.reading.volume import Volume


class StoredSlices:
    """Slices of cohorts with intensities as stored, so that all slices of a patient share a scale.

    A case is read once as long as its slices are asked for one after the other, as they come from the store.

    Args:
        cohorts: Their cases have different names.
    """

    def __init__(self, *cohorts: Cohort) -> None:
        self._cases = {case.case: (cohort, case) for cohort in cohorts for case in cohort.cases}
        self._open = ""
        self._blocks: list[tuple[Volume, ...]] = []  # of the open case: one volume per channel

    def slice(self, case: str, number: int) -> Float32[np.ndarray, "m H W"]:
        """All channels of a slice on the pixels of its file, in canonical orientation as in the store.

        Args:
            case: Name of the case.
            number: Index of the slice in the file, as in the column `slice` of tables.

        Raises:
            ValueError: If a file can no longer be trusted.
        """
        return np.stack([volume.voxels[0] for volume in self.volumes(case, number)]).astype(np.float32)

    def volumes(self, case: str, number: int) -> list[Volume]:
        """Each channel of a slice, with its place in the patient, as a volume of one slice; arguments as in `slice`.

        Raises:
            ValueError: If a file can no longer be trusted.
        """
        if case != self._open:
            cohort, listed = self._cases[case]
            channels = read_images(listed, view=cohort.anatomy.view, has_sides=cohort.reader.has_sides)
            self._open, self._blocks = case, list(zip(*channels, strict=True))
        for channels in self._blocks:
            if number in channels[0].slice_index:
                return [volume.one_slice(number) for volume in channels]
        raise AssertionError(f"case {case} has no slice {number}")

    def contrast(self, case: str) -> str:
        """What the cohort says of a case."""
        return self._cases[case][1].contrast
