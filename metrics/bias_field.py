"""Coil shading taken out of an image by N4."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class BiasFieldCorrection:
    """N4 bias-field correction (Tustison 2010) of a slice or a volume, over everything that is not air.

    Muscle next to the coil is several times as bright as the same muscle at depth; a threshold for both counts the
    former as fat. N4 may also take fat itself for shading where a whole compartment is fat: an option, not a default.

    Attributes:
        shrink: The field is found on every n-th pixel of a slice.
        iterations: At most, on each of as many ever finer levels.
        levels: Number of levels.
    """

    shrink: int = 4
    iterations: int = 50
    levels: int = 3

    def __call__(self, image: Float[np.ndarray, "*d h w"]) -> Float[np.ndarray, "*d h w"]:
        """The image divided by its field; the scale of the intensities is about kept.

        Raises:
            ValueError: If the image has a negative or undefined value, or a single one.
        """
        if not np.isfinite(image).all() or image.min() < 0:
            raise ValueError(
                f"bias-field correction got intensities from {image.min():g} to {image.max():g}; it takes their "
                "logarithm and needs them as stored, not z-scored"
            )
        if image.min() == image.max():
            raise ValueError(f"bias-field correction got a constant image ({image.min():g} everywhere); check the file")
        whole = sitk.GetImageFromArray(image.astype(np.float32))
        body = sitk.OtsuThreshold(sitk.Log(whole + 1e-3 * float(image.max())), 0, 1)
        factors = [self.shrink, self.shrink, 1][: whole.GetDimension()]
        n4 = sitk.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations([self.iterations] * self.levels)
        n4.Execute(sitk.Shrink(whole, factors), sitk.Shrink(body, factors))
        field = sitk.Exp(n4.GetLogBiasFieldAsImage(whole))
        return image / sitk.GetArrayFromImage(field).astype(image.dtype)
