"""Where two masks agree, for pictures: the red, green and yellow overlay of the MSFF paper (Fig. 5)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Integer, UInt8

# Of the codes 1 to 4, in order. Where both draw a structure, but not the same, the paper's overlay would show
# agreement; that has a colour of its own.
MEANINGS = {
    "truth": "truth alone",
    "prediction": "prediction alone",
    "both": "both",
    "other": "both, but another structure",
}
COLOURS = {"truth": "#e8000b", "prediction": "#1ac938", "both": "#ffd400", "other": "#8b2be2"}


def agreement_map(
    true_mask: Integer[np.ndarray, "H W"], predicted_mask: Integer[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W"]:
    """Code of each pixel: 0 where neither draws a structure, else the place of its meaning in MEANINGS, from 1."""
    true, predicted = true_mask > 0, predicted_mask > 0
    cases = [true & ~predicted, predicted & ~true, true & (true_mask == predicted_mask), true & predicted]
    return np.select(cases, [1, 2, 3, 4], default=0).astype(np.uint8)


def agreement_colours(chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Colour of each meaning, "#rrggbb", in the order of the codes; `chosen` replaces some.

    Raises:
        ValueError: If it names something else.
    """
    chosen = dict(chosen or {})
    if set(chosen) - set(MEANINGS):
        unknown = ", ".join(sorted(set(chosen) - set(MEANINGS)))
        raise ValueError(f"the agreement of two masks has no {unknown}; expected colours of {', '.join(MEANINGS)}")
    return {name: chosen.get(name, colour) for name, colour in COLOURS.items()}
