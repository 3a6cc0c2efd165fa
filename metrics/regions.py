"""Regions that a network judges on their own: what they make up, and their pixels."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Integer

from metrics.cases import Row

REGION_COLUMNS = ("region", "tp", "fp", "fn")


def compose_regions(regions: Mapping[str, Sequence[str]], outputs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Outputs whose union is each region: the widest ones that lie in it.

    Overall muscle is made of overall left and overall right, not of their lean muscle and fat, which are judged on
    their own. Regions that no outputs fill are left out.

    Args:
        regions: Structures of each region, as in the anatomy.
        outputs: What is judged: names of regions or of single structures.
    """
    parts = {name: set(regions.get(name, (name,))) for name in outputs}
    composed = {}
    for region, structures in regions.items():
        inside = [name for name in outputs if parts[name] <= set(structures)]
        widest = [name for name in inside if not any(parts[name] < parts[other] for other in inside)]
        if set().union(*(parts[name] for name in widest)) == set(structures):
            composed[region] = tuple(widest)
    return composed


def count_regions(
    true_mask: Integer[np.ndarray, "h w"],
    judged: Mapping[str, Bool[np.ndarray, "h w"]],
    *,
    structures: Sequence[str],
    regions: Mapping[str, Sequence[str]],
    labelled: Bool[np.ndarray, " c"],
) -> list[Row]:
    """A row with the keys REGION_COLUMNS for every region that `judged` makes up; tp, fp and fn are pixels.

    Args:
        true_mask: Class index of every pixel.
        judged: Mask of each output, by its name; they may overlap.
        structures: Names of the classes 1..n.
        regions: Structures of each region.
        labelled: Which classes the annotator drew, background first; a region with another has no row.
    """
    index = {name: number for number, name in enumerate(structures, start=1)}
    rows: list[Row] = []
    for region, outputs in compose_regions(regions, list(judged)).items():
        members = [index[name] for name in regions[region]]
        if not labelled[members].all():
            continue
        true, found = np.isin(true_mask, members), np.logical_or.reduce([judged[name] for name in outputs])
        counts = {"tp": true & found, "fp": ~true & found, "fn": true & ~found}
        rows.append({"region": region, **{name: int(pixels.sum()) for name, pixels in counts.items()}})
    return rows
