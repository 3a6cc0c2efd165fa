"""Which tissue every pixel is, structure by structure: what pictures of other contrasts can be made of."""

import numpy as np
from jaxtyping import UInt16

from datamodules.phantom.canvas import LABELS, Section
from datamodules.phantom.signal import ALL_TISSUES

_TISSUE_NAMES = tuple(ALL_TISSUES)
_STRUCTURE_NAMES = ("", *LABELS)
_NUM_STRUCTURES = 256  # ids of label files are bytes


def tissue_map(section: Section) -> UInt16[np.ndarray, "h w"]:
    """Ids of tissues, told apart by structure: marrow of L3 is not that of L4. No pixel is 0.

    A pixel belongs to the tissue that was last painted over most of it; the fat within it is the fat map's.
    """
    tissues = np.zeros(section.labels.shape, np.uint16)
    for layer in section.layers:
        number = np.uint16(_TISSUE_NAMES.index(layer.tissue) + 1)
        tissues[layer.window] = np.where(layer.coverage >= 0.5, number, tissues[layer.window])
    return tissues * np.uint16(_NUM_STRUCTURES) + section.labels


def tissue_rows(tissues: UInt16[np.ndarray, "*any"]) -> list[dict]:
    """Rows of tissues.csv: the tissue and the structure of every id that occurs."""
    found = []
    for number in np.unique(tissues).tolist():
        tissue, structure = divmod(number, _NUM_STRUCTURES)
        found.append({"id": number, "tissue": _TISSUE_NAMES[tissue - 1], "structure": _STRUCTURE_NAMES[structure]})
    return found
