"""Key points of a cohort: the rows of keypoints.csv, given to their cases."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from datamodules.reading.case_list import Case, KeyPoint
from datamodules.reading.csv_table import read_table

log = logging.getLogger(__name__)


def with_keypoints(root: Path, cases: Sequence[Case], names: Sequence[str], others: Sequence[str] = ()) -> list[Case]:
    """Adds the rows of keypoints.csv to their cases.

    Args:
        root: Folder of the cohort.
        cases: Cases of its cohort.csv.
        names: Key points of the anatomy.
        others: Key points that this anatomy does not use; their rows are left out.

    Raises:
        ValueError: If a row names an unknown case or structure, holds no numbers, or is listed twice.
    """
    path = root / "keypoints.csv"
    if not path.is_file():
        return list(cases)
    if not names:
        log.info("%s is not used: the anatomy has no key points", path)
        return list(cases)
    rows = read_table(path, ("case", "structure", "slice", "col", "row"))
    found: dict[str, dict[tuple[str, int], KeyPoint]] = {case.case: {} for case in cases}
    for row in rows.values():
        where = f"{path}, case {row['case']!r}, {row['structure']}"
        if row["case"] not in found:
            raise ValueError(f"{where}: cohort.csv has no such case; correct the name or remove the row")
        if row["structure"] in others:
            continue
        if row["structure"] not in names:
            raise ValueError(
                f"{where}: the anatomy has no such key point; it has {', '.join(names)}; correct or remove the row"
            )
        try:
            point = KeyPoint(
                structure=row["structure"], slice=int(row["slice"]), col=float(row["col"]), row=float(row["row"])
            )
        except ValueError:
            raise ValueError(
                f"{where}: slice, col or row is no number: {row['slice']}, {row['col']}, {row['row']}"
            ) from None
        if (point.structure, point.slice) in found[row["case"]]:
            raise ValueError(f"{where}: is listed twice on slice {point.slice}; remove one row")
        found[row["case"]][point.structure, point.slice] = point
    return [replace(case, keypoints=tuple(found[case.case].values())) for case in cases]
