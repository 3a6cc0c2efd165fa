"""The numbers of a scan: rows of morphometry.csv, and how far the members of an ensemble agree on them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, UInt8

from datamodules.anatomy import Anatomy
from lightning_modules.prediction.findings import cut_off, swapped
from lightning_modules.prediction.outlines import Block
from metrics.dixon import SpinEcho, signal_fraction
from metrics.morphometry import Morphometry
from metrics.spine_shape import measure_spine

IDENTITY = ("case", "patient", "slice", "level", "structure", "side", "source")
GRADES = ("goutallier_simplified", "goutallier")


def measure_scan(
    blocks: Sequence[Block],
    anatomy: Anatomy,
    taught: Bool[np.ndarray, " c"],
    settings: Morphometry | None,
    contrast: str,
) -> pd.DataFrame:
    """A row per slice and structure that was looked at, with the columns of IDENTITY and the measures of the view.

    An ensemble adds `<measure>_sd`, the standard deviation (n - 1) of its members, each measured on its own mask, and
    for every grade the number of members that give it. `label_map` is the name of the block's file without its suffix,
    `remark` what makes a row doubtful.

    Args:
        blocks: All blocks of one scan: a threshold for fat is pooled over them, and over no other scan, whose
            intensities have another scale.
        anatomy: Structures of the masks.
        taught: Classes that the networks were taught; others are not measured.
        settings: How muscles are measured; None measures areas alone.
        contrast: Of the scan, or what the networks were trained on where nobody states it.
    """
    rows = _rows(blocks, [block.mask for block in blocks], anatomy, taught, settings, contrast)
    columns = dict.fromkeys([*IDENTITY, *(name for row in rows for name in row)])
    table = pd.DataFrame(rows, columns=list(columns))
    members = [
        pd.DataFrame(
            _rows(blocks, [block.member_masks[index] for block in blocks], anatomy, taught, settings, contrast)
        )
        for index in range(len(blocks[0].member_masks))
    ]
    if members:
        table = pd.concat([table, _agreement(table, members)], axis=1)
    files = {int(number): block.name for block in blocks for number in block.slice_names}
    table["label_map"] = [files[number] for number in table["slice"]]
    table["remark"] = _remarks(table, blocks, anatomy, settings)
    return table


def _rows(
    blocks: Sequence[Block],
    masks: Sequence[UInt8[np.ndarray, "d H W"]],
    anatomy: Anatomy,
    taught: Bool[np.ndarray, " c"],
    settings: Morphometry | None,
    contrast: str,
) -> list[dict[str, Any]]:
    """The one place that asks the view of the anatomy what is to be measured."""
    structures = list(anatomy.structures)
    slices = [
        (block, mask, int(index))
        for block, mask in zip(blocks, masks, strict=True)
        for index in np.flatnonzero(block.chosen)
    ]
    if anatomy.view == "axial" and settings is not None:
        samples = []
        for block, mask, index in slices:
            picture, fraction, kind = _fat_picture(block, index, contrast)
            samples.append(
                settings.sample(
                    **_place(block, index),
                    mask=mask[index],
                    structures=structures,
                    labelled=taught,
                    spacing_mm=block.spacing_mm,
                    image=picture,
                    contrast=kind,
                    fraction=fraction,
                )
            )
        return [dict(row) for row in settings.measure(samples)]
    rows = []
    for block, mask, index in slices:
        if anatomy.view == "sagittal" and anatomy.series:
            measured = measure_spine(mask[index], structures, taught, anatomy.series, block.spacing_mm)
        else:
            measured = _areas(mask[index], structures, taught, block.spacing_mm)
        place = _place(block, index)
        rows += [{**place, **row, "level": row.get("level") or place["level"]} for row in measured]
    return rows


def _place(block: Block, index: int) -> dict[str, Any]:
    return {
        "case": block.case.case,
        "patient": block.case.patient,
        "slice": int(block.slice_names[index]),
        "level": block.level,
        "source": "prediction",
    }


def _fat_picture(
    block: Block, index: int, contrast: str
) -> tuple[Float[np.ndarray, "H W"], Float[np.ndarray, "H W"] | None, str]:
    """The picture on which fat is told from muscle, the measured signal fraction if there is one, and the contrast.

    A Dixon pair makes a T2-like picture; otherwise it is the first channel.
    """
    names = block.case.contrast.split("+")
    voxels = [volume.voxels[index].astype(np.float32) for volume in block.volumes]
    if len(voxels) > 1 and {"water", "fat"} <= {*names}:
        water, fat = (voxels[names.index(name)] for name in ("water", "fat"))
        return SpinEcho().picture(water, fat), signal_fraction(water, fat), "T2"
    return voxels[0], None, contrast


def _areas(
    mask: UInt8[np.ndarray, "H W"],
    structures: Sequence[str],
    taught: Bool[np.ndarray, " c"],
    spacing_mm: tuple[float, float],
) -> list[dict[str, Any]]:
    counts = np.bincount(mask.ravel(), minlength=len(structures) + 1)
    pixel_mm2 = spacing_mm[0] * spacing_mm[1]
    return [
        {"structure": name, "side": "", "csa_mm2": float(counts[index] * pixel_mm2)}
        for index, name in enumerate(structures, start=1)
        if taught[index]
    ]


def _agreement(table: pd.DataFrame, members: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Standard deviation between members of every number, and how many give each grade."""
    columns: dict[str, Any] = {}
    for name in table.columns:
        if name in GRADES:
            given = zip(*(member[name] for member in members), strict=True)
            columns[f"{name}_members"] = [
                " ".join(f"{grade}:{count}" for grade, count in _counted(grades)) for grades in given
            ]
        elif name not in IDENTITY and table[name].dtype.kind == "f":
            values = np.stack([member[name].to_numpy(np.float64) for member in members])
            columns[f"{name}_sd"] = values.std(axis=0, ddof=1)
    return pd.DataFrame(columns, index=table.index)


def _counted(grades: Sequence[str]) -> list[tuple[str, int]]:
    return sorted(Counter(grade or "none" for grade in grades).items())


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
