"""Organs of chest and abdomen: lungs above the diaphragm, liver right and spleen left of stomach and bowel, kidneys."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas
from datamodules.phantom.patient import SIDES
from datamodules.phantom.place import Place, common_mm
from datamodules.phantom.surface import capsule_mm
from datamodules.phantom.trunk import Trunk

Array = np.ndarray
_DIAPHRAGM_MM = 3.2
_KIDNEY_MM = (27.0, 23.0, 55.0)  # half of breadth, depth and length: 100-120 mm long


def paint_organs(canvas: Canvas, body: Body, place: Place) -> None:
    """From front to back and from below upward; what comes later covers what came before."""
    trunk = body.trunk
    assert trunk is not None
    uneven = (3.0 * canvas.field(body.region) + 1.2 * canvas.field(body.blob)).astype(np.float32)
    dome = _diaphragm_mm(place, trunk)
    # The front of the spine parts the two sides of the abdomen; organs keep off psoas and spine.
    spine = _before_spine(canvas, body)
    inside = np.maximum(place.cavity + 2.5, place.z - dome + _DIAPHRAGM_MM)
    _paint_bowel(canvas, body, place, np.maximum(inside, spine))
    _paint_colon(canvas, body, place, inside)
    _paint_stomach(canvas, body, place, np.maximum(inside, spine), uneven)
    _paint_pancreas(canvas, body, place, uneven)
    _paint_liver(canvas, trunk, place, np.maximum(inside, spine), uneven)
    _paint_spleen(canvas, trunk, place, inside, uneven)
    for side in SIDES:
        _paint_kidney(canvas, body, side, place, uneven)
    _paint_chest(canvas, body, place, dome)


def _before_spine(canvas: Canvas, body: Body) -> Float[Array, "h w"]:
    """Distance from the room in front of spine and psoas; behind, it reaches into the gutters beside them."""
    across = np.abs(canvas.x)
    front = body.along(body.disc_front_mm, canvas.level)
    lean = np.interp(across, (0, 30, 62, 85), (front.mean() - 16, front.mean() - 12, -16.0, 8.0)).astype(np.float32)
    return canvas.y - lean - 3 * canvas.field(body.region)


def _diaphragm_mm(place: Place, trunk: Trunk) -> Float[Array, "h w"]:
    """Height of the diaphragm: two domes, low behind and at the sides."""
    scale, shift = trunk.scale, trunk.shift["diaphragm"]
    x, y = place.x / scale, place.y / scale
    base = 92 + np.clip(-(y + 10) * 0.42, -12, 60)
    right = 62 * np.exp(-(((x + 62) / 66) ** 2) - ((y + 62) / 62) ** 2)
    left = 50 * np.exp(-(((x - 66) / 62) ** 2) - ((y + 62) / 62) ** 2)
    return ((base + right + left) * scale + 9 * shift[0]).astype(np.float32)


def _paint_bowel(canvas: Canvas, body: Body, place: Place, room: Float[Array, "h w"]) -> None:
    """Loops of small bowel with folds of fat between them, fluid or gas inside."""
    trunk = body.trunk
    assert trunk is not None
    everywhere = canvas.everywhere
    patch, blob, region = canvas.field(body.patch), canvas.field(body.blob), canvas.field(body.region)
    low = np.clip((place.z + 175) / 8, -1, 1)
    loops = common_mm(room, 9 * (0.1 + 0.3 * trunk.fatness - np.abs(blob)), -low * 9, place.z - 95 * trunk.scale)
    canvas.paint("bowel_wall", loops, everywhere, label="bowel", fat=0.05, edge_mm=1.5)
    inner = loops + 2.4
    canvas.paint("bowel_fluid", np.maximum(inner, 6 * (0.2 - patch)), everywhere, edge_mm=3.0, strength=0.8)
    gas = np.maximum(inner, 7 * (1.25 - region) + 0.12 * (place.y + 90))  # gas rises in who lies on the back
    canvas.paint("air", gas, everywhere, label="bowel_gas", edge_mm=1.5)


def _paint_colon(canvas: Canvas, body: Body, place: Place, room: Float[Array, "h w"]) -> None:
    """Ascending colon right, descending colon left, the transverse one in front; stool and gas inside."""
    trunk = body.trunk
    assert trunk is not None
    scale, shift = trunk.scale, trunk.shift["bowel"]
    breadth = trunk.cavity_breadth_mm(place.z)
    pouches = 3.0 * np.sin(place.z / 7.5 + 2 * canvas.field(body.region))
    left = np.hypot(place.x - breadth + 22 * scale, (place.y + 14 + 4 * shift[0]) * 0.95) - (15 + 2 * shift[1]) * scale
    right = np.hypot(place.x + breadth - 31 * scale, (place.y + 26 + 4 * shift[2]) * 0.9) - (25 + 3 * shift[3]) * scale
    left = np.maximum(left, np.abs(place.z - 15 * scale) - 95 * scale)
    right = np.maximum(right, np.abs(place.z + 20 * scale) - 72 * scale)
    hanging = (22 + 12 * shift[4] + 0.006 * (place.x**2) - 14) * scale
    front = trunk.front_mm(place.z)
    across = np.hypot(place.y - front - 26 * scale, place.z - hanging) - 19 * scale
    across = np.maximum(across, np.abs(place.x) - breadth + 30 * scale)
    tube = np.maximum(np.minimum(np.minimum(left, right), across) + pouches, room)
    everywhere, patch, blob = canvas.everywhere, canvas.field(body.patch), canvas.field(body.blob)
    canvas.paint("bowel_wall", tube, everywhere, label="bowel", fat=0.05, edge_mm=1.5)
    inner = tube + 2.2
    canvas.paint("stool", inner, everywhere, edge_mm=2.5)
    canvas.paint("bowel_fluid", np.maximum(inner, 6 * (0.9 - patch)), everywhere, edge_mm=3.0, strength=0.7)
    gas = np.maximum(inner, 6 * (0.75 - blob) + 0.1 * (place.y + 60))
    canvas.paint("air", gas, everywhere, label="bowel_gas", edge_mm=1.5)


def _paint_stomach(
    canvas: Canvas, body: Body, place: Place, room: Float[Array, "h w"], uneven: Float[Array, "h w"]
) -> None:
    """Left and in front, its gas in front of its fluid."""
    trunk = body.trunk
    assert trunk is not None
    scale, shift = trunk.scale, trunk.shift["stomach"]
    middle = (44 * scale + 6 * shift[0], trunk.front_at(120) * 0.62, (128 + 8 * shift[1]) * scale)
    full = 1 + 0.16 * shift[2]
    sac = place.ellipsoid_mm(middle, (46 * scale * full, 36 * scale * full, 50 * scale), (0.5, 0.25))
    sac = np.maximum(sac + uneven, room)
    canvas.paint("bowel_wall", sac, canvas.everywhere, label="stomach", fat=0.03)
    canvas.paint("bowel_fluid", sac + 4, canvas.everywhere, edge_mm=3.0, strength=0.8)
    gas = np.maximum(sac + 4, place.y - middle[1] + 16 + 8 * shift[3])
    canvas.paint("air", gas, canvas.everywhere, label="bowel_gas", edge_mm=1.5)


def _paint_pancreas(canvas: Canvas, body: Body, place: Place, uneven: Float[Array, "h w"]) -> None:
    """In front of the great vessels at L1 and L2, its head right and lower; lobules with fat between them."""
    trunk = body.trunk
    assert trunk is not None
    front = body.spine.point(1.2, 0.0, -36.0)
    x, z, y = place.x, place.z - front[2], place.y - front[1]
    up = np.interp(x, (-40, -20, 20, 70), (-14, -8, 8, 24))
    behind = np.interp(x, (-40, 0, 70), (-18.0, -27.0, 8.0))
    organ = np.hypot(np.hypot(y - behind, (z - up) * 0.75), np.maximum(np.abs(x - 15) - 52, 0)) - 11 * trunk.scale
    organ = np.maximum(organ.astype(np.float32) + uneven * 0.8, place.cavity + 3)
    fat = 0.1 + 0.4 * trunk.fatness * np.clip(canvas.field(body.patch), 0, 1)
    canvas.paint("pancreas", organ, canvas.everywhere, label="pancreas", fat=fat, edge_mm=2.0)


def _paint_liver(
    canvas: Canvas, trunk: Trunk, place: Place, room: Float[Array, "h w"], uneven: Float[Array, "h w"]
) -> None:
    """Right below the diaphragm, its left lobe in front of the stomach; its lower edge rises to the left."""
    scale, shift = trunk.scale, trunk.shift["liver"]
    edge = np.interp(place.x / scale, (-130, -60, 0, 50, 85), (18, 45, 92, 128, 175)) * scale + 11 * shift[0]
    edge = edge + 0.28 * np.clip(place.y + 90, -30, 90)
    left = np.interp(place.x / scale, (-30, 0, 60, 90), (40.0, -64.0, -84.0, -140.0)) * scale
    liver = common_mm(((edge - place.z) * 0.8).astype(np.float32), (place.y - left).astype(np.float32), room + 1)
    liver = liver + 0.7 * uneven
    # A tongue of the right lobe may reach the iliac crest; most end before.
    canvas.paint("liver", liver, canvas.everywhere, label="liver", fat=0.03 + 0.12 * trunk.fatness**2)


def _paint_spleen(
    canvas: Canvas, trunk: Trunk, place: Place, room: Float[Array, "h w"], uneven: Float[Array, "h w"]
) -> None:
    """Left, behind and at the side."""
    scale, shift = trunk.scale, trunk.shift["spleen"]
    breadth = float(trunk.cavity_breadth_mm(np.array(130.0)))
    middle = (breadth - 24 * scale, 4 * scale + 4 * shift[0], (132 + 8 * shift[1]) * scale)
    size = 1 + 0.1 * shift[2]
    window = place.near(canvas, middle, (60 * scale, 80 * scale, 90 * scale))
    organ = place.on(window).ellipsoid_mm(
        middle, (24 * scale * size, 44 * scale * size, 50 * scale * size), (-0.2, 0.2)
    )
    canvas.paint("spleen", np.maximum(organ + uneven[window], room[window] - 0.5), window, label="spleen")


def _paint_kidney(canvas: Canvas, body: Body, side: str, place: Place, uneven: Float[Array, "h w"]) -> None:
    """Behind, beside the spine from T12 to L3, the right one lower; fat around it and in its sinus."""
    trunk = body.trunk
    assert trunk is not None
    sign, scale, shift = SIDES[side], trunk.scale, trunk.shift["kidneys"]
    own = shift[:3] if side == "left" else shift[3:]
    level = (1.25 if side == "left" else 1.6) + 0.2 * own[0]
    across, behind = 62 * scale + 3 * own[1] + 6 * trunk.fatness, -6 - 2.5 * own[2] - 6 * trunk.fatness
    middle = tuple(float(value) for value in body.spine.point(level, sign * across, behind))
    radius = tuple(value * (0.4 + 0.6 * scale) * (1 + 0.03 * own[0]) for value in _KIDNEY_MM)
    lean = (-sign * 0.22, 0.16)  # lower poles lie farther out and in front, on psoas
    window = place.near(canvas, middle, (radius[0] + 30, radius[1] + 30, radius[2] + 20))
    here = place.on(window)
    if not here.x.size:
        return
    kidney = np.maximum(here.ellipsoid_mm(middle, radius, lean) + 0.35 * uneven[window], here.cavity + 2)
    canvas.paint("connective", kidney - 3 - 9 * trunk.fatness, window, label="deep_fat", fat=0.94)
    canvas.paint("kidney", kidney, window, label="kidney")
    canvas.paint("medulla", kidney + 7, window, edge_mm=3.0, strength=0.8)
    sinus = (middle[0] - sign * 9 * scale, middle[1] - 5, middle[2])
    hollow = here.ellipsoid_mm(sinus, (14 * scale, 11 * scale, 26 * scale), lean)
    gate = here.ellipsoid_mm((middle[0] - sign * 24 * scale, middle[1] - 8, middle[2]), (16, 8, 13), lean)
    canvas.paint("connective", np.minimum(hollow, gate) + 0.3 * uneven[window], window, label="deep_fat", fat=0.85)


def _paint_chest(canvas: Canvas, body: Body, place: Place, dome: Float[Array, "h w"]) -> None:
    """Diaphragm with its crura, lungs above it, and the heart between them."""
    trunk = body.trunk
    assert trunk is not None
    scale = trunk.scale
    above = dome - place.z
    sheet = np.maximum(np.abs(above - _DIAPHRAGM_MM / 2) - _DIAPHRAGM_MM / 2, place.cavity)
    canvas.paint("muscle", sheet, canvas.everywhere, label="diaphragm", fat=0.05)
    front = body.along(body.disc_front_mm, canvas.level)
    for side in SIDES.values():
        crus = capsule_mm(canvas.x - side * 13.0, canvas.y - front, (0.0, -3.0), (side * 4.0, 9.0), (3.6, 3.0))
        crus = np.where((canvas.level > -2.5) & (canvas.level < 2.2), crus, 9.0)
        canvas.paint("muscle", crus, canvas.everywhere, label="diaphragm", fat=0.05)
    window = canvas.window((above < 0) & (place.cavity < 0))
    here = place.on(window)
    if not here.x.size:
        return
    # Lungs reach behind the spine's front; between them lie heart, great vessels and gullet.
    beside = np.interp(canvas.y[window] - front[window], (-60, -14, 4, 30), (46.0, 24.0, 20.0, 22.0))
    lung = common_mm(above[window], here.cavity + 1.0, (beside - np.abs(canvas.x[window])).astype(np.float32))
    canvas.paint("lung", lung, window, label="lung", edge_mm=1.5)
    middle = (28 * scale, trunk.front_at(210) * 0.62, 232 * scale)
    heart = here.ellipsoid_mm(middle, (52 * scale, 42 * scale, 50 * scale), (0.4, 0.2))
    heart = common_mm(heart, above[window] + 2, here.cavity + 4)
    canvas.paint("muscle", heart, window, label="heart", fat=0.1)
    canvas.paint("vein", heart + 9, window, edge_mm=3.0)
