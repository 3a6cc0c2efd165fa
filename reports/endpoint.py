"""What the primary endpoint is the mean of: the regions that a published table prints, or every structure."""

from collections.abc import Sequence

import pandas as pd

from reports.evidence import Evidence


def averaged_names(structures: Sequence[str], regions: pd.DataFrame, published: pd.DataFrame) -> tuple[str, ...]:
    """Names that the primary endpoint averages.

    Where the published table gives a Dice of regions, these are all names that it gives one of, in its order, for a
    mean over the parts of a region is another quantity than the region's own; else the structures.

    Args:
        structures: Of the anatomy, in order.
        regions: `reports.region_scores.region_cases`; a table may print a region that no run has scores of.
        published: The paper's table; empty without one.
    """
    scored = set(regions["structure"])
    printed = dict.fromkeys(published.loc[published["metric"] == "dice", "structure"])
    known = tuple(str(name) for name in printed if name in scored or name in structures)
    return known if scored.intersection(known) else tuple(structures)


def with_averaged(cases: pd.DataFrame, regions: pd.DataFrame, averaged: Sequence[str]) -> pd.DataFrame:
    """Case tables of structures with those of the averaged regions below them; these lack distances and boxes."""
    wanted = regions.loc[regions["structure"].isin([name for name in averaged if name not in set(cases["structure"])])]
    return pd.concat([cases, wanted], ignore_index=True) if len(wanted) else cases


def compared_names(evidence: Evidence) -> tuple[str, ...]:
    """Everything that has a column in a table: what is averaged, then the structures that are not."""
    rest = [name for name in evidence.runs.structures if name not in evidence.averaged]
    return (*evidence.averaged, *rest)


def single_names(evidence: Evidence) -> tuple[str, ...]:
    """Structures that the primary endpoint does not average; () unless it averages regions."""
    return compared_names(evidence)[len(evidence.averaged) :]


def averages_regions(evidence: Evidence) -> bool:
    """Whether the primary endpoint is one of regions."""
    return not set(evidence.averaged) <= set(evidence.runs.structures)


def averaged_kind(evidence: Evidence) -> str:
    """What kind of thing the primary endpoint averages, in one word."""
    return "regions" if averages_regions(evidence) else "structures"


def averaged_words(evidence: Evidence) -> str:
    """What the primary endpoint averages, as it is said behind "mean over": `structures`, or the regions by name."""
    if not averages_regions(evidence):
        return "structures"
    names = [name.replace("_", " ") for name in evidence.averaged]
    return f"the regions {', '.join(names[:-1])} and {names[-1]}" if names[1:] else f"the region {names[0]}"
