"""Organs of chest and abdomen: lungs above the diaphragm, liver right and spleen left of stomach and bowel, kidneys."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom.patient import SIDES
from datamodules.phantom.place import Place, common_mm
from datamodules.phantom.surface import capsule_mm
from datamodules.phantom.trunk import KIDNEY_LEAN

Array = np.ndarray
_DIAPHRAGM_MM = 3.2


def paint_organs(place: Place) -> None:
    """From front to back and from below upward; what comes later covers what came before."""
    belly = place.part(place.cavity < 0)
    if belly.empty:
        return
    dome = _diaphragm_mm(belly)
    # Organs keep off the wall, the diaphragm, the spine and psoas.
    inside = np.maximum(belly.cavity + 2.5, belly.z - dome + _DIAPHRAGM_MM)
    room = np.maximum(inside, _before_spine(belly))
    _paint_bowel(belly, room)
    _paint_colon(belly, np.maximum(inside, belly.behind - 12))
    _paint_stomach(belly, room)
    _paint_pancreas(belly)
    _paint_liver(belly, room)
    _paint_spleen(belly, inside)
    for side in SIDES:
        _paint_kidney(place, side)
    _paint_chest(belly, dome)


def _uneven(place: Place) -> Float[Array, "h w"]:
    """What makes the surfaces of organs uneven, mm."""
    return (3.0 * place.field(place.body.region) + 1.2 * place.field(place.body.blob)).astype(np.float32)


def _before_spine(place: Place) -> Float[Array, "h w"]:
    """Distance from the room in front of spine and psoas; behind, it reaches into the gutters beside them."""
    across = np.abs(place.across)
    front = float(np.mean(place.body.disc_front_mm))
    lean = np.interp(across, (0, 30, 62, 85), (front - 16, front - 12, -16.0, 8.0)).astype(np.float32)
    return place.behind - lean - 3 * place.field(place.body.region)


def _diaphragm_mm(place: Place) -> Float[Array, "h w"]:
    """Height of the diaphragm: it rises steeply from the wall, lowest behind and at the sides, to two domes."""
    scale, shift = place.trunk.scale, place.trunk.shift["diaphragm"]
    x, y = place.x / scale, place.y / scale
    base = 90 + 0.5 * np.clip(-(y + 20), 0, 130) + 6 * np.clip(np.abs(x) - 70, 0, 40) / 40
    depth = 1 - np.exp(np.minimum(place.cavity, 0) / 18)
    right, left = np.exp(-(((x + 55) / 60) ** 2)), np.exp(-(((x - 60) / 58) ** 2))
    return ((base + depth * (26 + 62 * right + 48 * left)) * scale + 9 * shift[0]).astype(np.float32)


def _paint_bowel(place: Place, room: Float[Array, "h w"]) -> None:
    """Loops of small bowel with folds of fat between them; fluid, pulp or gas inside."""
    trunk, body = place.trunk, place.body
    patch, region = place.field(body.patch), place.field(body.region)
    # Where a smooth field has one sign is a loop; its zeros are the folds between loops.
    loop = region + 0.55 * place.field(body.blob)
    above, below = place.z - (88 + 14 * region) * trunk.scale, -(178 + 6 * region) * trunk.scale - place.z
    loops = common_mm(room, 10 * (0.16 + 0.35 * trunk.fatness - np.abs(loop)), below, above)
    place.paint("bowel_wall", loops, label="bowel", fat=0.05, edge_mm=1.5)
    inner, content = loops + 2.4, loop + 0.35 * patch
    place.paint("stool", np.maximum(inner, 6 * (0.25 - content)), edge_mm=3.0)
    place.paint("bowel_fluid", np.maximum(inner, 6 * (0.5 + content)), edge_mm=3.0, strength=0.85)
    gas = np.maximum(inner, 7 * (1.35 - loop) + 0.12 * (place.y + 95))  # gas rises in who lies on the back
    place.paint("air", gas, label="bowel_gas", edge_mm=1.5)


def _paint_colon(place: Place, room: Float[Array, "h w"]) -> None:
    """Ascending colon right, descending colon left, the transverse one in front; stool and gas inside."""
    trunk, body = place.trunk, place.body
    scale, shift = trunk.scale, trunk.shift["bowel"]
    breadth, front = trunk.cavity_breadth_mm(place.z), trunk.front_mm(place.z)
    left = np.hypot(place.x - breadth + 22 * scale, (place.y + 14 + 4 * shift[0]) * 0.95) - (15 + 2 * shift[1]) * scale
    right = np.hypot(place.x + breadth - 31 * scale, (place.y + 26 + 4 * shift[2]) * 0.9) - (25 + 3 * shift[3]) * scale
    left = np.maximum(left, np.abs(place.z - 15 * scale) - 95 * scale)
    right = np.maximum(right, np.abs(place.z + 20 * scale) - 72 * scale)
    hanging = (8 + 12 * shift[4] + 0.006 * place.x**2) * scale
    across = np.hypot(place.y - front - 26 * scale, place.z - hanging) - 19 * scale
    across = np.maximum(across, np.abs(place.x) - breadth + 30 * scale)
    pouches = 3.0 * np.sin(place.z / 7.5 + 2 * place.field(body.region))
    tube = np.maximum(np.minimum(np.minimum(left, right), across) + pouches, room)
    patch, blob = place.field(body.patch), place.field(body.blob)
    place.paint("bowel_wall", tube, label="bowel", fat=0.05, edge_mm=1.5)
    inner = tube + 2.2
    place.paint("stool", inner, edge_mm=2.5)
    place.paint("bowel_fluid", np.maximum(inner, 6 * (0.9 - patch)), edge_mm=3.0, strength=0.7)
    gas = np.maximum(inner, 6 * (0.75 - blob) + 0.1 * (place.y + 60))
    place.paint("air", gas, label="bowel_gas", edge_mm=1.5)


def _paint_stomach(belly: Place, room: Float[Array, "h w"]) -> None:
    """Left and in front, its gas in front of its fluid."""
    scale, shift = belly.trunk.scale, belly.trunk.shift["stomach"]
    middle = (44 * scale + 6 * shift[0], belly.trunk.front_at(120.0) * 0.62, (128 + 8 * shift[1]) * scale)
    full = scale * (1 + 0.16 * shift[2])
    place = belly.near(middle, (46 * full + 40, 36 * full + 30, 50 * scale + 10))
    if place.empty:
        return
    sac = place.ellipsoid_mm(middle, (46 * full, 36 * full, 50 * scale), (0.5, 0.25))
    sac = np.maximum(sac + _uneven(place), place.of_parent(belly, room))
    place.paint("bowel_wall", sac, label="stomach", fat=0.03)
    place.paint("bowel_fluid", sac + 4, edge_mm=3.0, strength=0.8)
    gas = np.maximum(sac + 4, place.y - middle[1] + 16 + 8 * shift[3])
    place.paint("air", gas, label="bowel_gas", edge_mm=1.5)


def _paint_pancreas(belly: Place) -> None:
    """In front of the great vessels at L1 and L2, its head right and lower; lobules with fat between them."""
    trunk = belly.trunk
    _, front, height = (float(value) for value in belly.body.spine.point(1.2, 0.0, -36.0))
    place = belly.near((15.0, front - 15, height), (70.0, 50.0, 50.0))
    if place.empty:
        return
    y, z = place.y - front, place.z - height
    up = np.interp(place.x, (-40, -20, 20, 70), (-14, -8, 8, 24))
    behind = np.interp(place.x, (-40, 0, 70), (-18.0, -27.0, 8.0))
    organ = np.hypot(np.hypot(y - behind, (z - up) * 0.75), np.maximum(np.abs(place.x - 15) - 52, 0)) - 11 * trunk.scale
    organ = np.maximum(organ.astype(np.float32) + 0.8 * _uneven(place), place.cavity + 3)
    fat = 0.1 + 0.4 * trunk.fatness * np.clip(place.field(place.body.patch), 0, 1)
    place.paint("pancreas", organ, label="pancreas", fat=fat, edge_mm=2.0)


def _paint_liver(place: Place, room: Float[Array, "h w"]) -> None:
    """Right below the diaphragm, its left lobe in front of the stomach; its lower edge rises to the left."""
    trunk, body = place.trunk, place.body
    scale, shift = trunk.scale, trunk.shift["liver"]
    edge = np.interp(place.x / scale, (-130, -60, 0, 50, 85), (18, 45, 92, 128, 175)) * scale + 11 * shift[0]
    edge = edge + 0.28 * np.clip(place.y + 90, -30, 90)
    left = np.interp(place.x / scale, (-36, -10, 40, 90), (40.0, -46.0, -78.0, -140.0)) * scale
    liver = common_mm(((edge - place.z) * 0.8).astype(np.float32), (place.y - left).astype(np.float32), room + 1)
    liver = liver + 1.2 * _uneven(place)
    if liver.min() > 2:
        return
    place.paint("liver", liver, label="liver", fat=0.03 + 0.12 * trunk.fatness**2)
    # Its veins run where two fields are zero at once.
    vessels = 7 * np.hypot(place.field(body.blob), place.field(body.region)) - 1.3
    place.paint("vein", np.maximum(vessels, liver + 6), strength=0.8)


def _paint_spleen(belly: Place, room: Float[Array, "h w"]) -> None:
    """Left, behind and at the side."""
    scale, shift = belly.trunk.scale, belly.trunk.shift["spleen"]
    breadth = float(belly.trunk.cavity_breadth_mm(np.array(130.0)))
    middle = (breadth - 24 * scale, 4 * scale + 4 * shift[0], (132 + 8 * shift[1]) * scale)
    size = scale * (1 + 0.1 * shift[2])
    place = belly.near(middle, (60 * scale, 80 * scale, 70 * scale))
    if place.empty:
        return
    organ = place.ellipsoid_mm(middle, (24 * size, 44 * size, 50 * size), (-0.2, 0.2))
    organ = np.maximum(organ + _uneven(place), place.of_parent(belly, room) - 0.5)
    place.paint("spleen", organ, label="spleen")


def _paint_kidney(whole: Place, side: str) -> None:
    """Behind, beside the spine from T12 to L3, the right one lower; fat around it and in its sinus."""
    trunk, spine = whole.trunk, whole.body.spine
    sign, scale, shift = SIDES[side], trunk.scale, trunk.shift["kidneys"]
    own = shift[:3] if side == "left" else shift[3:]
    level = (1.25 if side == "left" else 1.6) + 0.2 * own[0]
    away, behind = 62 * scale + 3 * own[1] + 6 * trunk.fatness, -6 - 2.5 * own[2] - 6 * trunk.fatness
    x, y, z = (float(value) for value in spine.point(level, sign * away, behind))
    radius = trunk.kidney_mm(side)
    lean = (-sign * KIDNEY_LEAN[0], KIDNEY_LEAN[1])
    place = whole.near((x, y, z), (radius[0] + 30, radius[1] + 30, radius[2] + 20))
    if place.empty:
        return
    uneven = _uneven(place)
    kidney = np.maximum(place.ellipsoid_mm((x, y, z), radius, lean) + 0.35 * uneven, place.cavity + 2)
    place.paint("connective", kidney - 3 - 9 * trunk.fatness, label="deep_fat", fat=0.94)
    place.paint("kidney", kidney, label="kidney")
    place.paint("medulla", kidney + 7, edge_mm=3.0, strength=0.8)
    hollow = place.ellipsoid_mm((x - sign * 9 * scale, y - 5, z), (14 * scale, 11 * scale, 26 * scale), lean)
    gate = place.ellipsoid_mm((x - sign * 24 * scale, y - 8, z), (16.0, 8.0, 13.0), lean)
    place.paint("connective", np.minimum(hollow, gate) + 0.3 * uneven, label="deep_fat", fat=0.85)


def _paint_chest(belly: Place, dome: Float[Array, "h w"]) -> None:
    """Diaphragm with its crura, lungs above it, and the heart between them."""
    trunk, body = belly.trunk, belly.body
    above = dome - belly.z
    sheet = np.maximum(np.abs(above - _DIAPHRAGM_MM / 2) - _DIAPHRAGM_MM / 2, belly.cavity)
    sheet = np.maximum(sheet, np.where(np.abs(belly.across) < 24, belly.behind + 22, -9))  # in front of the spine
    belly.paint("muscle", sheet, label="diaphragm", fat=0.05)
    spine = belly.part((np.abs(belly.across) < 28) & (belly.level > -2.6) & (belly.level < 2.3) & (belly.behind < 0))
    if not spine.empty:
        front = body.along(body.disc_front_mm, spine.level)
        for side in SIDES.values():
            crus = capsule_mm(
                spine.across - side * 13, spine.behind - front, (0.0, -3.0), (side * 4.0, 9.0), (3.6, 3.0)
            )
            crus = np.where((spine.level > -2.5) & (spine.level < 2.2), crus, 9.0)
            spine.paint("muscle", crus, label="diaphragm", fat=0.05)
    place = belly.part(above < 2)
    if place.empty:
        return
    above, scale = place.of_parent(belly, above), trunk.scale
    # Lungs reach behind the spine's front; between them lie heart, great vessels and gullet.
    ahead = place.behind - body.along(body.disc_front_mm, place.level)
    beside = np.interp(ahead, (-60, -14, 4, 30), (46.0, 24.0, 20.0, 22.0))
    lung = common_mm(above, place.cavity + 1.0, (beside - np.abs(place.across)).astype(np.float32))
    place.paint("lung", lung, label="lung", edge_mm=1.5)
    middle = (28 * scale, trunk.front_at(210.0) * 0.62, 232 * scale)
    heart = place.ellipsoid_mm(middle, (52 * scale, 42 * scale, 50 * scale), (0.4, 0.2))
    heart = common_mm(heart, above + 2, place.cavity + 4)
    place.paint("muscle", heart, label="heart", fat=0.1)
    place.paint("vein", heart + 9, edge_mm=3.0)
