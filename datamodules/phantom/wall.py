"""The trunk from the air to its cavity: skin, subcutaneous fat, the muscle wall with its ribs, and arms beside it."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom.body import Body
from datamodules.phantom.canvas import LABELS, Canvas
from datamodules.phantom.patient import SIDES
from datamodules.phantom.place import Place
from datamodules.phantom.surface import capsule_mm
from datamodules.phantom.trunk import Trunk

Array = np.ndarray
_SKIN_MM = 1.9
_RIB_SLOPE = 0.42  # how far a rib sinks per mm along the chest
_RIB_REACH_MM = (290.0, 280.0, 265.0, 250.0, 230.0, 190.0, 115.0)  # of T6 to T12, along the chest from the spine
_RIB_HALF_MM, _RIB_DEPTH_MM = (6.0, 3.6), 8.5  # half height and half thickness; middle below the muscle that covers it
_ARMED, _ELBOW_MM = 0.35, -35.0  # patients whose arms lie beside them; height of their elbow


def paint_wall(canvas: Canvas, body: Body, place: Place) -> Float[Array, "h w"]:
    """Fat everywhere, then what surrounds the cavity; returns how far pixels lie in front of the back, mm."""
    trunk = body.trunk
    assert trunk is not None
    everywhere, nothing = canvas.everywhere, np.full(canvas.plane.shape, -9.0, np.float32)
    streaks = np.exp(-((canvas.field(body.streak) / 0.25) ** 2))
    canvas.paint("connective", nothing, everywhere, label="deep_fat", fat=0.94 - 0.2 * streaks)
    _paint_muscles(canvas, body, place)
    canvas.paint("connective", -place.envelope, everywhere, label="subcutaneous_fat", fat=0.95 - 0.12 * streaks)
    # A membrane within the fat of the flanks.
    canvas.paint("connective", np.abs(place.envelope - 7 - 2 * canvas.field(body.region)) - 0.25, everywhere, fat=0.5)
    canvas.paint("ligament", np.abs(place.envelope) - 0.5, everywhere, strength=0.6)
    canvas.paint("skin", -place.skin - _SKIN_MM, everywhere, label="skin", fat=0.05)
    canvas.paint("air", -place.skin, everywhere)
    canvas.labels[place.skin > 0] = 0
    _paint_arms(canvas, trunk, place)
    back = np.interp(trunk.station(place.z), np.arange(len(trunk.back_mm)), trunk.back_mm)
    return np.where(canvas.labels > 0, np.maximum(back - place.y, 0.5), -1.0).astype(np.float32)


def _paint_muscles(canvas: Canvas, body: Body, place: Place) -> None:
    """Rectus in front, three layers at the sides; above the costal margin what covers and parts the ribs."""
    trunk = body.trunk
    assert trunk is not None
    wall = np.maximum(place.envelope, -place.cavity)
    margin = _costal_margin_mm(place, trunk)
    depth = -place.envelope
    layers = (np.abs(place.x) > 72) & (place.z < margin)
    striped = np.where(layers, 0.3 * np.exp(-(((depth - 6.5) / 0.9) ** 2)), 0)
    striped += np.where(layers, 0.25 * np.exp(-(((depth - 13.0) / 0.8) ** 2)), 0)
    ids = np.where(place.z < margin, LABELS["abdominal_wall"], LABELS["other_muscle"]).astype(np.uint8)
    fat = 0.06 + 0.08 * trunk.fatness + striped
    canvas.paint("muscle", wall, canvas.everywhere, label=ids, fat=fat, edge_mm=1.2)
    # The white line in the middle, and the tendon at the outer edge of rectus.
    white = (place.y < -40) & (place.z < margin)
    line = np.where(white, np.minimum(np.abs(place.x) - 2.5, np.abs(np.abs(place.x) - 66) - 1.2), 9)
    canvas.paint("ligament", np.maximum(line, wall), canvas.everywhere, fat=0.3, strength=0.8)
    _paint_ribs(canvas, body, place)


def _costal_margin_mm(place: Place, trunk: Trunk) -> Float[Array, "h w"]:
    """Height of the lower edge of the chest: highest in front, lowest at the sides."""
    away = np.clip((place.y + 130) / 110, 0, 1) + np.clip((np.abs(place.x) - 20) / 110, 0, 1)
    return (np.interp(away, (0, 1.0, 1.7, 2.0), (168, 95, 62, 80)) * trunk.scale).astype(np.float32)


def _paint_ribs(canvas: Canvas, body: Body, place: Place) -> None:
    """Ribs T6 to T12, from their joints with the spine round the chest."""
    trunk = body.trunk
    assert trunk is not None
    window = canvas.window((place.z > 15 * trunk.scale) & (place.envelope < 0))
    here = place.on(window)
    if not here.x.size:
        return
    # Along the chest from the midline of the back, whose middle is about 30 mm in front of the spine.
    round_mm = np.arctan2(np.abs(here.x), here.y + 45) * np.hypot(here.x, here.y + 45) * 0.92
    sunk = _RIB_SLOPE * np.maximum(round_mm - 30, 0) - 0.5 * np.maximum(round_mm - 200, 0)
    levels = np.arange(-6.0, 1.0)
    middles = np.array([body.spine.point(level - 0.72)[2] for level in levels])
    order = np.interp(here.z + sunk, middles[::-1], levels[::-1])
    nearest = np.rint(order)
    gap = np.abs(np.gradient(middles)).mean()
    shift = trunk.shift["ribs"]
    reach = np.array(_RIB_REACH_MM) * trunk.scale + 12 * shift[0] + np.array([0, 0, 0, 0, 0, 8, 14]) * shift[1]
    past = round_mm - reach[(nearest + 6).astype(int)]
    tall, thick = _RIB_HALF_MM
    apart = np.abs(order - nearest) * gap
    across = np.abs(here.envelope + _RIB_DEPTH_MM * trunk.scale)
    # Behind, a rib leaves the wall for its vertebra.
    back = here.y - canvas.y[window]
    beside = capsule_mm(np.abs(here.x), here.y - back, (22.0, 1.0), (70.0, 20.0), (5.0, 4.0))
    in_wall = np.hypot(across / thick, apart / tall) * min(tall, thick) - min(tall, thick)
    joined = np.maximum(beside, apart - tall)
    rib = np.maximum(np.where(np.abs(here.x) < 62, joined, in_wall), past)
    rib = np.where((order < -6.4) | (order > 0.4), 9, rib).astype(np.float32)
    canvas.paint("cortex", rib, window, label="rib", edge_mm=1.0)
    canvas.paint("marrow", rib + 1.2, window, fat=0.4)


def _paint_arms(canvas: Canvas, trunk: Trunk, place: Place) -> None:
    """Some people's arms lie beside them, upper arm above and forearm with its two bones below the elbow."""
    shift = trunk.shift["arms"]
    for number, sign in enumerate(SIDES.values()):
        if abs(shift[number]) > _ARMED * 1.35 and abs(shift[2]) > 0.45:
            continue
        upper = np.clip((place.z - _ELBOW_MM) / 40 + 0.5, 0, 1)
        flesh = (31 + 12 * upper + 2.5 * shift[3]) * trunk.scale
        cover = np.clip(0.35 * trunk.fat_mm, 3, 16)
        radius = flesh + cover
        breadth = trunk.breadth_mm(place.z)
        away = sign * (breadth + radius + 6 + 6 * shift[4])
        window = canvas.window((np.abs(place.x - away) < radius + 4) & (np.abs(place.y + 15) < radius + 12))
        here, inner, outer = place.on(window), flesh[window], radius[window]
        x, y = here.x - away[window], here.y + 15 + 6 * shift[5]
        middle = np.hypot(x * 1.05, y * 0.97)
        if not middle.size:
            continue
        outside = here.skin > 1.5  # an arm does not reach into the trunk
        skin = np.where(outside, middle - outer, 9)
        canvas.paint("skin", skin, window, label="skin", fat=0.05)
        canvas.paint("connective", skin + _SKIN_MM, window, label="subcutaneous_fat", fat=0.93)
        canvas.paint("muscle", np.where(outside, middle - inner, 9), window, label="arm_muscle", fat=0.06)
        lower = 1 - upper[window]
        bones = np.minimum(np.hypot(x - 14 * lower, y + 4), np.hypot(x + 14 * lower, y - 4)) - 11 + 3.5 * lower
        bones = np.where(outside, bones, 9)
        canvas.paint("cortex", bones, window, label="arm_bone")
        canvas.paint("marrow", bones + 3, window, fat=0.7)
