"""Water and fat images: the fat fraction that they measure, and the T2-weighted picture that they would make."""

from dataclasses import dataclass
from math import exp

import numpy as np
from jaxtyping import Float

DIXON = "dixon"  # what cohorts call a pair of channels that are water and fat, in this order


def signal_fraction(
    water: Float[np.ndarray, "*grid"], fat: Float[np.ndarray, "*other_grid"]
) -> Float[np.ndarray, "*grid"]:
    """Share of the signal of every pixel that is fat's, fat / (fat + water), in 0..1; NaN where there is no signal.

    A *signal* fraction: relaxation and noise are in it (magnitudes never reach zero, so lean muscle reads some per
    cent). It is no proton-density fat fraction.

    Raises:
        ValueError: If the two differ in size or one has a negative value, which a magnitude image has not.
    """
    if water.shape != fat.shape:
        raise ValueError(f"the water image has the size {water.shape}, the fat image {fat.shape}; give one pair")
    for name, image in (("water", water), ("fat", fat)):
        if np.min(image, initial=0) < 0:
            raise ValueError(
                f"the {name} image goes down to {image.min():g}; a signal fraction needs magnitudes as stored, not "
                "z-scored ones"
            )
    total = water.astype(np.float64) + fat
    return np.divide(fat, total, out=np.full(total.shape, np.nan), where=total > 0)


@dataclass(frozen=True, kw_only=True)
class SpinEcho:
    """A turbo-spin-echo sequence and the two tissues it would show.

    The relaxation times are those the synthetic patients are made with (3 T; fat has the long apparent T2 of an echo
    train). With them fat is 5.5 times as bright as muscle; scans show four to eight times.

    Attributes:
        repetition_ms: TR.
        echo_ms: Effective TE.
        muscle_ms: T1 and T2 of lean muscle.
        fat_ms: T1 and apparent T2 of fat.
    """

    repetition_ms: float = 4000.0
    echo_ms: float = 90.0
    muscle_ms: tuple[float, float] = (1350.0, 38.0)
    fat_ms: tuple[float, float] = (371.0, 125.0)

    def weight(self, t1_ms: float, t2_ms: float) -> float:
        """Signal of a tissue of unit density: saturation recovery times decay."""
        return (1 - exp(-self.repetition_ms / t1_ms)) * exp(-self.echo_ms / t2_ms)

    def picture(self, water: Float[np.ndarray, "*grid"], fat: Float[np.ndarray, "*grid"]) -> Float[np.ndarray, "*grid"]:
        """The T2-like image of a pair whose images are taken for densities, which T1-weighted ones are not quite."""
        return self.weight(*self.muscle_ms) * water + self.weight(*self.fat_ms) * fat


@dataclass(frozen=True, kw_only=True)
class FatPicture:
    """The picture of a slice on which fat is told from muscle.

    Attributes:
        image: Intensities.
        contrast: Of the image; "" where nobody says.
        fraction: Measured signal fraction of fat; None without a Dixon pair.
    """

    image: Float[np.ndarray, "h w"]
    contrast: str
    fraction: Float[np.ndarray, "h w"] | None = None


def fat_picture(channels: Float[np.ndarray, "m h w"], stated: str, believed: str | None = None) -> FatPicture:
    """A Dixon pair makes a T2-like picture; otherwise it is the first channel.

    Args:
        channels: Values as stored.
        stated: Contrast of the case as its cohort says: of each channel, "water+fat", or "dixon" for that pair.
        believed: Contrast of the first channel, if that is not the stated one.
    """
    names = ["water", "fat"] if stated == DIXON and len(channels) == 2 else stated.split("+")
    if len(names) == len(channels) and {"water", "fat"} <= {*names}:
        water, fat = (channels[names.index(name)] for name in ("water", "fat"))
        return FatPicture(
            image=SpinEcho().picture(water, fat), contrast="T2", fraction=signal_fraction(water, fat).astype(np.float32)
        )
    first = names[0] if len(names) == len(channels) else stated
    return FatPicture(image=channels[0], contrast=first if believed in (None, stated) else believed)
