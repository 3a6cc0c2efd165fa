"""The numbers of a scan: rows of morphometry.csv, and how far the members of an ensemble agree on them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, UInt8

from datamodules.anatomy import Anatomy
from lightning_modules.evaluation.measurement import Measurement
from lightning_modules.prediction.findings import cut_off, swapped
from lightning_modules.prediction.outlines import Block
from metrics.cases import Row
from metrics.dixon import fat_picture
from metrics.goutallier import NO_GRADE
from metrics.morphometry import IDENTITY_COLUMNS, Morphometry, probability_column


def measure_scan(
    blocks: Sequence[Block],
    anatomy: Anatomy,
    taught: Bool[np.ndarray, " c"],
    settings: Morphometry | None,
    contrast: str,
) -> pd.DataFrame:
    """A row per slice and structure that was looked at, with the columns of `Measurement`.

    An ensemble adds `<measure>_sd`, the standard deviation (n - 1) of its members, each measured on its own mask, and
    for every grade the number of members that give it, and `<scale>_probability_<grade>`, their share of all members:
    NaN where none gives a grade; where some do not, the shares of a row add up to less than 1. `label_map` is the name
    of the block, for which its file is put once that is written, `remark` what makes a row doubtful.

    Args:
        blocks: All blocks of one scan: a threshold for fat is pooled over them, and over no other scan, whose
            intensities have another scale.
        anatomy: Structures of the masks.
        taught: Classes that the networks were taught; others are not measured.
        settings: How muscles are measured; None measures areas alone.
        contrast: Of the scan, or what the networks were trained on where nobody states it.
    """
    measurement = Measurement(anatomy=anatomy, settings=settings)

    def measured(masks: Sequence[UInt8[np.ndarray, "d H W"]]) -> pd.DataFrame:
        rows = _rows(blocks, masks, measurement, taught, contrast)
        return pd.DataFrame(rows, columns=list(measurement.columns))

    table = measured([block.mask for block in blocks])
    members = [
        measured([block.member_masks[index] for block in blocks]) for index in range(len(blocks[0].member_masks))
    ]
    if members:
        table = pd.concat([table, _agreement(table, members, {} if settings is None else settings.grades)], axis=1)
    files = {int(number): block.name for block in blocks for number in block.slice_names}
    table["label_map"] = [files[number] for number in table["slice"]]
    table["remark"] = _remarks(table, blocks, anatomy, settings)
    return table


def _rows(
    blocks: Sequence[Block],
    masks: Sequence[UInt8[np.ndarray, "d H W"]],
    measurement: Measurement,
    taught: Bool[np.ndarray, " c"],
    contrast: str,
) -> list[Row]:
    gathered = []
    for block, mask in zip(blocks, masks, strict=True):
        for index in np.flatnonzero(block.chosen):
            picture = None
            if measurement.needs_picture:
                channels = np.stack([volume.voxels[index] for volume in block.volumes]).astype(np.float32)
                picture = fat_picture(channels, block.case.contrast, contrast)
            place = {
                **{"case": block.case.case, "patient": block.case.patient, "slice": int(block.slice_names[index])},
                **{"level": block.level, "source": "prediction"},
            }
            gathered += measurement.gather(
                place, mask=mask[index], labelled=taught, spacing_mm=block.spacing_mm, picture=picture
            )
    return measurement.rows(gathered)


def _agreement(
    table: pd.DataFrame, members: Sequence[pd.DataFrame], grades: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Standard deviation between members of every number, and how many of them, and which share, give each grade."""
    columns: dict[str, Any] = {}
    for name in table.columns:
        if name in grades:
            given = np.stack([member[name].to_numpy(str) for member in members])
            columns[f"{name}_members"] = [_counted(column) for column in given.T]
            graded = (given != NO_GRADE).any(axis=0)
            for grade in grades[name]:
                share = (given == grade).mean(axis=0)
                columns[probability_column(name, grade)] = np.where(graded, share, np.nan)
        elif name not in IDENTITY_COLUMNS and table[name].dtype.kind == "f":
            values = np.stack([member[name].to_numpy(np.float64) for member in members])
            columns[f"{name}_sd"] = values.std(axis=0, ddof=1)
    return pd.DataFrame(columns, index=table.index)


def _counted(grades: Iterable[str]) -> str:
    counts = Counter(grade or "none" for grade in grades)
    return " ".join(f"{grade}:{count}" for grade, count in sorted(counts.items()))


def _remarks(table: pd.DataFrame, blocks: Sequence[Block], anatomy: Anatomy, settings: Morphometry | None) -> list[str]:
    structures = list(anatomy.structures)
    said: dict[tuple[int, str], list[str]] = {}
    for block in blocks:
        for text, flags in (
            ("cut off at the edge of the network's field", cut_off(block, len(structures))),
            ("on the other side than its name says", swapped(block, anatomy)),
        ):
            for index, place in np.argwhere(flags):
                said.setdefault((int(block.slice_names[index]), structures[place]), []).append(text)
    return [
        "; ".join(
            dict.fromkeys(
                text
                for name in _parts(row["structure"], row["side"], anatomy, settings)
                for text in said.get((row["slice"], name), ())
            )
        )
        for row in table.to_dict("records")
    ]


def _parts(structure: str, side: str, anatomy: Anatomy, settings: Morphometry | None) -> list[str]:
    """Structures of the anatomy that a row measures."""
    if structure in anatomy.structures:
        return [structure]
    if structure == "lumbar":
        return list(anatomy.structures)
    assert settings is not None
    muscles = settings.muscles
    if structure in muscles.areas:
        return list(muscles.areas[structure])
    members = muscles.compartments.get(structure, [structure])
    return [
        name
        for member in members
        for of, names in muscles.muscles[member].items()
        if side in (of, "both")
        for name in names
    ]
