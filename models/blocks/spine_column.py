"""The order of vertebrae and discs down the spine."""

from collections.abc import Mapping, Sequence


def down_the_spine(series: Mapping[str, Sequence[str]]) -> list[str]:
    """Vertebrae and discs from head to foot.

    Args:
        series: "vertebra" and "disc", each from head to foot; the disc of a position lies below its vertebra.
    """
    kinds = [list(series.get(kind, ())) for kind in ("vertebra", "disc")]
    return [kind[place] for place in range(max(map(len, kinds))) for kind in kinds if place < len(kind)]
