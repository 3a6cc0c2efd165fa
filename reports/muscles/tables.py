"""The tables of a report about muscle and fat; empty where the runs have no regions and graded no muscle."""

import pandas as pd

from records.runs import Runs
from reports.muscles.areas import build_regions
from reports.muscles.grades import (
    build_grade_agreement,
    build_grade_confusion,
    build_grades,
    build_states,
    grade_scales,
)
from reports.muscles.regions import region_output_cases
from reports.muscles.strata import build_region_strata


def read_muscles(
    runs: Runs, regions: pd.DataFrame, split: str, reference: str, published: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The tables of an Evidence that are made here, of the runs with the split of the first table.

    Args:
        runs: All of them.
        regions: Their `reports.muscles.regions.region_cases`.
        split: Of the first table.
        reference: Row that the strata are of.
        published: The paper's table.
    """
    own = [run for run in (*runs.runs, *runs.fused) if run.split == split and not run.arm]
    scales = grade_scales(own)
    cases = regions.loc[(regions["split"] == split) & (regions["arm"] == "")].reset_index(drop=True)
    grades, outputs = build_grades(own, scales), region_output_cases(own)
    return {
        "region_cases": cases,
        "regions": build_regions(cases, published),
        "region_outputs": build_regions(outputs, published),
        "region_strata": build_region_strata(cases, reference),
        "grades": grades,
        "grade_confusion": build_grade_confusion(grades, scales),
        "grade_agreement": build_grade_agreement(grades, scales),
        "fat_states": build_states(own),
    }
