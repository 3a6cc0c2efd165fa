"""What is measured on the slices of an anatomy: one way for annotated, tested, scored and predicted masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hydra.utils import instantiate
from jaxtyping import Bool, Integer
from omegaconf import DictConfig

from datamodules.anatomy import Anatomy
from metrics.cases import Row
from metrics.dixon import FatPicture
from metrics.morphometry import IDENTITY_COLUMNS, MORPHOMETRY_COLUMNS, Morphometry
from metrics.slice_sample import SliceSample
from metrics.spine_shape import SPINE_MEASURES, measure_spine
from metrics.structure_areas import measure_areas

Gathered = SliceSample | Row  # what is kept of a slice until all are there


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Measures the slices of an anatomy: gathers what it needs of each, and makes rows when all are there.

    A threshold for fat may be pooled over the slices of a patient, so that no row is known before the last slice.

    Attributes:
        anatomy: Structures of the masks; its view decides what is measured.
        settings: How muscles are measured on axial slices; None measures areas alone.
    """

    anatomy: Anatomy
    settings: Morphometry | None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the rows."""
        return (*IDENTITY_COLUMNS, *SPINE_MEASURES) if self._of_spine else MORPHOMETRY_COLUMNS

    @property
    def needs_picture(self) -> bool:
        """Whether the picture is looked at, or the mask alone."""
        return self.settings is not None and self.anatomy.view == "axial"

    @property
    def _of_spine(self) -> bool:
        return self.anatomy.view == "sagittal" and bool(self.anatomy.series)

    def gather(
        self,
        place: Mapping[str, Any],
        *,
        mask: Integer[np.ndarray, "h w"],
        labelled: Bool[np.ndarray, " c"],
        spacing_mm: tuple[float, float],
        picture: FatPicture | None = None,
    ) -> list[Gathered]:
        """What is kept of one mask.

        Args:
            place: Case, patient, slice, level, and the source of the mask ("truth" or "prediction").
            mask: Class index of every pixel, on the image's own grid, as radiologists look at it.
            labelled: Classes that the annotator drew, or that the network was taught.
            spacing_mm: Size of a pixel, (row, column).
            picture: Values as stored, where `needs_picture`.
        """
        structures = list(self.anatomy.structures)
        if self.needs_picture:
            assert self.settings is not None
            assert picture is not None, "muscles are measured on the picture"
            sample = self.settings.sample(
                **place,
                mask=mask,
                structures=structures,
                labelled=labelled,
                spacing_mm=spacing_mm,
                image=picture.image,
                contrast=picture.contrast,
                fraction=picture.fraction,
            )
            return [sample]
        if self._of_spine:
            measured = measure_spine(mask, structures, labelled, self.anatomy.series, spacing_mm)
        else:
            where = f"case {place['case']}, slice {place['slice']}"
            measured = measure_areas(mask, structures, labelled, spacing_mm, where)
        return [{**place, **row, "level": row.get("level") or place["level"]} for row in measured]

    def rows(self, gathered: Sequence[Gathered]) -> list[Row]:
        """Rows of all slices, in their order; *all* slices of a patient that are to share a threshold belong here."""
        if self.needs_picture:
            assert self.settings is not None
            return self.settings.measure(sample for sample in gathered if isinstance(sample, SliceSample))
        return [row for row in gathered if not isinstance(row, SliceSample)]


def morphometry_settings(config: DictConfig) -> Morphometry | None:
    """The node `morphometry` of a configuration; None where its anatomy has none, or lies in another view."""
    node = config.get("morphometry")
    return None if node is None or config.anatomy.view != "axial" else instantiate(node)
