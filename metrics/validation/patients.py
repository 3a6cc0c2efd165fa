"""One value per slice and structure, kept on the device and averaged by patient at the end of an epoch."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class PatientMean(Metric):
    """Means over the slices of a patient, then over patients; undefined values (NaN) are left out.

    A value is kept for every slice, so that one that two processes have both scored counts once, and the mean is the
    same however many of them there are. torchmetrics gathers from all processes when a result is asked for.
    """

    full_state_update = False
    is_differentiable = False

    values: list[Tensor] | Tensor
    slices: list[Tensor] | Tensor
    patients: list[Tensor] | Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("values", "slices", "patients"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def keep(
        self,
        values: Float[Tensor, "b n"],
        counts: Bool[Tensor, " b"],
        index: Int[Tensor, " b"],
        patient: Int[Tensor, " b"],
    ) -> None:
        """Keeps the values of a batch.

        Args:
            values: NaN where undefined.
            counts: Slices that are scored at all.
            index: What tells slices apart.
            patient: What tells patients apart, a whole number for each slice.
        """
        for kept, new in ((self.values, values), (self.slices, index), (self.patients, patient)):
            assert isinstance(kept, list), "nothing is kept between the gathering of all processes and the next epoch"
            kept.append(new.to(counts.device)[counts])

    def patient_means(self) -> pd.DataFrame | None:
        """Of every patient a row with the mean of each structure over the slices; None where no slice was scored."""
        if not sum(len(values) for values in self.values):
            return None
        values, slices, patients = (
            dim_zero_cat(kept).cpu().numpy() for kept in (self.values, self.slices, self.patients)
        )
        _, first = np.unique(slices, return_index=True)
        means: Any = pd.DataFrame(values[first].astype(np.float64)).groupby(patients[first]).mean()
        return means
