"""Joins the contrasts of one scan, listed row by row in cohort.csv, into cases with several channels."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from datamodules.reading.case_list import Case


def join_channels(cases: Sequence[Case], channels: Sequence[str]) -> list[Case]:
    """Joins the rows of one scan that differ in contrast into one case with these contrasts as channels.

    Rows belong to one scan if patient, label, level and site are the same. The case is named after all of its rows.

    Raises:
        ValueError: If a scan lacks one of the contrasts, or has it twice.
    """
    joined = []
    wanted = [case for case in cases if case.contrast in channels]
    if not wanted:
        found = sorted({case.contrast for case in cases})
        raise ValueError(f"channels are {', '.join(channels)}, but the contrasts in cohort.csv are {', '.join(found)}")

    def scan(case: Case) -> tuple:
        return case.patient, [str(path) for path in case.labels], case.level, case.site

    for _, group in groupby(sorted(wanted, key=scan), key=scan):
        rows = list(group)
        by_contrast = {case.contrast: case for case in rows}
        names = ", ".join(f"{case.case} ({case.contrast})" for case in rows)
        if len(by_contrast) < len(rows) or set(by_contrast) != set(channels):
            raise ValueError(
                f"patient {rows[0].patient!r}: expected one row for each channel of {', '.join(channels)} with the "
                f"same label, level and site; there are {names}; add or correct rows of cohort.csv"
            )
        ordered = [by_contrast[name] for name in channels]
        points = {(point.structure, point.slice): point for case in ordered for point in case.keypoints}
        joined.append(
            replace(
                ordered[0],
                case="+".join(case.case for case in ordered),
                images=tuple(path for case in ordered for path in case.images),
                contrast="+".join(channels),
                keypoints=tuple(points.values()),
            )
        )
    return joined
