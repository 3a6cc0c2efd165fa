"""What can be measured in a series, from its labels and from the body itself."""

import numpy as np
from jaxtyping import Float, UInt8

from datamodules.phantom.body import Body
from datamodules.phantom.canvas import LABELS
from datamodules.phantom.patient import FAT_OF, MUSCLES, SIDES
from datamodules.phantom.planning import Placement
from datamodules.phantom.templates import LEVELS, VERTEBRAE
from datamodules.phantom.trunk import KIDNEY_LEAN, STATIONS_MM, Trunk

Array = np.ndarray
_LUMBAR = VERTEBRAE[1:6]
_DISCS = LEVELS[1:6]
_BACK, _FRONT = np.pi / 2, -np.pi / 2
_SEEN_MM2 = 30.0  # of a structure on the mid slice, for its centre to be marked


def keypoints(placement: Placement, labels: UInt8[Array, "n h w"]) -> list[tuple[str, int, float, float]]:
    """(structure, slice, column, row) of the centres of L1-L5 and their discs on the mid slice.

    The centre is that of the drawn area. A structure that leaves the picture, or that scoliosis has taken off the mid
    slice, has no row.
    """
    number = placement.middle_slice
    found = []
    for name in (*_LUMBAR, *_DISCS):
        inside = labels[number] == LABELS[name]
        cut = inside[[0, -1]].any() or inside[:, [0, -1]].any()
        if cut or inside.sum() * placement.spacing_mm**2 < _SEEN_MM2:
            continue
        rows, columns = np.nonzero(inside)
        found.append((name, number, float(columns.mean()), float(rows.mean())))
    return found


def measure(
    body: Body, placement: Placement, view: str, labels: UInt8[Array, "n h w"], fat: Float[Array, "n h w"]
) -> list[dict]:
    """Rows (level, structure, quantity, value, unit) of measurements.csv.

    Areas and fat are those drawn on the middle slice of a block, on the slice nearest to each disc of a stack, on the
    mid slice of a sagittal series; lengths and angles are those of the body.
    """
    if view == "sagittal":
        areas = np.bincount(labels[placement.middle_slice].ravel(), minlength=len(LABELS) + 1) * placement.spacing_mm**2
        drawn = [_row("", name, "area", areas[LABELS[name]], "mm2") for name in (*_LUMBAR, *_DISCS)]
        return drawn + body_rows(body)
    if placement.level:
        slices = {placement.level: placement.middle_slice}
    else:
        slices = {level: _nearest_slice(body, placement, level) for level in _DISCS}
    rows = []
    for level, number in slices.items():
        rows += _slice_rows(level, labels[number], fat[number], placement.spacing_mm**2)
    return rows + body_rows(body)


def _nearest_slice(body: Body, placement: Placement, level: str) -> int:
    number = placement.indices_of(body.spine.point(LEVELS.index(level)))[0]
    return int(np.clip(round(number), 0, placement.num_slices - 1))


def _slice_rows(level: str, labels: UInt8[Array, "h w"], fat: Float[Array, "h w"], pixel_mm2: float) -> list[dict]:
    """Areas of everything, fat of the muscles, on one axial slice."""
    ids = {name: [LABELS[name]] for name in ("dural_sac", "ligamentum_flavum", "lamina")}
    ids["canal"] = [LABELS["dural_sac"], LABELS["epidural_space"]]
    ids["disc"] = [LABELS[name] for name in LEVELS]
    for name in (f"{muscle}_{side}" for muscle in MUSCLES for side in SIDES):
        ids[name] = [LABELS[name], *([LABELS[FAT_OF[name]]] if name in FAT_OF else [])]
    rows = []
    for name, wanted in ids.items():
        inside = np.isin(labels, wanted)
        rows.append(_row(level, name, "area", inside.sum() * pixel_mm2, "mm2"))
        if name.rsplit("_", 1)[0] in MUSCLES and inside.any():
            rows.append(_row(level, name, "fat_fraction_signal", float(fat[inside].mean()), "ratio"))
            rows.append(_row(level, name, "fat_pixel_share", float((fat[inside] > 0.5).mean()), "ratio"))
    return rows


def body_rows(body: Body) -> list[dict]:
    """Lengths and angles of the skeleton."""
    skeleton, front = body.patient.skeleton, body.disc_front_mm
    rows = []
    for index, name in enumerate(_LUMBAR, start=1):
        # The back of the vertebral body, at y = 0, is the front of the canal.
        canal = body.canal.edge_mm(index - 0.5, _BACK) - max(body.canal.edge_mm(index - 0.5, _FRONT), 0)
        rows += [
            _row("", name, "vertebra_height", skeleton.vertebra_height_mm[index], "mm"),
            _row("", name, "vertebra_depth", -(front[index - 1] + front[index]) / 2, "mm"),
            _row("", name, "canal_diameter", canal, "mm"),
        ]
    for index, name in enumerate(_DISCS, start=1):
        rows.append(_row(name, name, "disc_height", skeleton.disc_height_mm[index], "mm"))
        rows.append(_row(name, name, "disc_depth", -front[index], "mm"))
    first, sacrum = (body.endplate_tilt_deg(disc) for disc in (0, LEVELS.index("L5/S1")))
    rows.append(_row("", "L1-S1", "lordosis", sacrum - first, "degree"))
    rows.append(_row("", "sacrum", "lumbosacral_angle", sacrum, "degree"))
    return rows + ([] if body.trunk is None else _trunk_rows(body, body.trunk))


def _trunk_rows(body: Body, trunk: Trunk) -> list[dict]:
    """Sizes of a whole body: the waist at the disc L3/4, the hips 150 mm below, fat below the skin of the waist."""
    waist, level = 0.0, LEVELS.index("L3/4")
    breadth, depth = trunk.size_mm(waist)
    kidneys = [
        _row("", f"kidney_{side}", "length", 2 * trunk.kidney_mm(side)[2] * np.hypot(1, np.hypot(*KIDNEY_LEAN)), "mm")
        for side in SIDES
    ]
    behind = float(np.interp(waist, STATIONS_MM, trunk.back_mm)) - body.fascia_mm[level]
    return [
        _row("", "waist", "breadth", breadth, "mm"),
        _row("", "waist", "depth", depth, "mm"),
        _row("", "hips", "breadth", trunk.size_mm(-150 * trunk.scale)[0], "mm"),
        *[
            _row("", "subcutaneous_fat", f"thickness_{place}", value, "mm")
            for place, value in (("back", behind), *trunk.fat_thickness_mm(waist).items())
        ],
        *kidneys,
    ]


def _row(level: str, structure: str, quantity: str, value: float, unit: str) -> dict:
    return {"level": level, "structure": structure, "quantity": quantity, "value": float(value), "unit": unit}
