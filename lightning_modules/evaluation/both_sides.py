"""A picture looked at twice, with left and right exchanged."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from datamodules.anatomy import Anatomy


def both_sides(
    probabilities_of: Callable[[Tensor], Tensor], image: Float[Tensor, "b m h w"], anatomy: Anatomy
) -> Float[Tensor, "b c h w"]:
    """The mean of the class probabilities of axial pictures and of their mirror images, whose sides change names.

    Args:
        probabilities_of: Of the classes of `anatomy`, background first.
        image: Columns from one side of the patient to the other.
        anatomy: Says which structures are each other's mirror image.
    """
    other = probabilities_of(image.flip(-1)).flip(-1)[:, list(anatomy.mirrored_classes)]
    return (probabilities_of(image) + other) / 2
