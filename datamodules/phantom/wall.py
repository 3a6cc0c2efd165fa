"""The trunk from the air to its cavity: skin, subcutaneous fat, the muscle wall with its ribs, and arms beside it."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom.patient import SIDES
from datamodules.phantom.place import Place
from datamodules.phantom.structures import LABELS
from datamodules.phantom.surface import capsule_mm

Array = np.ndarray
_SKIN_MM = 1.9
_RIB_SLOPE = 0.42  # how far a rib sinks per mm along the chest
_RIB_REACH_MM = (290.0, 280.0, 265.0, 250.0, 230.0, 190.0, 115.0)  # of T6 to T12, along the chest from the spine
_RIB_HALF_MM, _RIB_DEPTH_MM = (6.0, 3.4), 7.5  # half height and half thickness; middle below the muscle that covers it
_ARMED, _ELBOW_MM = (0.45, 0.35), -35.0  # an arm, or both, lie beside a patient: a half of them; height of the elbow


def paint_wall(place: Place) -> Float[Array, "h w"]:
    """Fat everywhere, then what surrounds the cavity; returns how far pixels lie in front of the back, mm."""
    trunk, body, canvas = place.trunk, place.body, place.canvas
    streaks = np.exp(-((place.field(body.streak) / 0.25) ** 2))
    nothing = np.full(canvas.plane.shape, -9.0, np.float32)
    place.paint("connective", nothing, label="deep_fat", fat=0.94 - 0.2 * streaks)
    _paint_muscles(place)
    place.paint("connective", -place.envelope, label="subcutaneous_fat", fat=0.95 - 0.12 * streaks)
    # A membrane within the fat, and the dark fascia below it.
    place.paint("connective", np.abs(place.envelope - 7 - 2 * place.field(body.region)) - 0.25, fat=0.5)
    place.paint("ligament", np.abs(place.envelope) - 0.5, strength=0.6)
    place.paint("skin", -place.skin - _SKIN_MM, label="skin", fat=0.05)
    place.paint("air", -place.skin)
    canvas.labels[place.skin > 0] = 0
    for number, sign in enumerate(SIDES.values()):
        _paint_arm(place, number, sign)
    back = np.interp(trunk.station(place.z), np.arange(len(trunk.back_mm)), trunk.back_mm)
    return np.where(canvas.labels > 0, np.maximum(back - place.y, 0.5), -1.0).astype(np.float32)


def _paint_muscles(whole: Place) -> None:
    """Rectus in front, three layers at the sides; above the costal margin what covers and parts the ribs."""
    place = whole.part(whole.envelope < 0)
    if place.empty:
        return
    wall = np.where((place.y > -5) & (np.abs(place.x) < 62), 9, np.maximum(place.envelope, -place.cavity))
    margin, depth = _costal_margin_mm(place), -place.envelope
    layers = (np.abs(place.x) > 72) & (place.z < margin)
    stripes = 0.3 * np.exp(-(((depth - 5.5) / 0.9) ** 2)) + 0.25 * np.exp(-(((depth - 11) / 0.8) ** 2))
    ids = np.where(place.z < margin, LABELS["abdominal_wall"], LABELS["other_muscle"]).astype(np.uint8)
    fat = 0.06 + 0.08 * place.trunk.fatness + np.where(layers, stripes, 0)
    place.paint("muscle", wall, label=ids, fat=fat, edge_mm=1.2)
    # The white line in the middle, and the tendon at the outer edge of rectus.
    white = (place.y < -40) & (place.z < margin)
    line = np.where(white, np.minimum(np.abs(place.x) - 2.5, np.abs(np.abs(place.x) - 66) - 1.2), 9)
    place.paint("ligament", np.maximum(line, wall), fat=0.3, strength=0.8)
    _paint_ribs(place)


def _costal_margin_mm(place: Place) -> Float[Array, "h w"]:
    """Height of the lower edge of the chest: highest in front, lowest at the sides."""
    away = np.clip((place.y + 130) / 110, 0, 1) + np.clip((np.abs(place.x) - 20) / 110, 0, 1)
    return (np.interp(away, (0, 1.0, 1.7, 2.0), (168, 95, 62, 80)) * place.trunk.scale).astype(np.float32)


def _paint_ribs(whole: Place) -> None:
    """Ribs T6 to T12, from their joints with the spine round the chest."""
    trunk = whole.trunk
    place = whole.part(whole.z > 15 * trunk.scale)
    if place.empty:
        return
    # Along the chest from the midline of the back, round a middle in front of the spine.
    round_mm = np.arctan2(np.abs(place.x), place.y + 45) * np.hypot(place.x, place.y + 45) * 0.92
    sunk = _RIB_SLOPE * np.maximum(round_mm - 30, 0) - 0.5 * np.maximum(round_mm - 200, 0)
    levels = np.arange(-6.0, 1.0)
    middles = np.array([place.body.spine.point(level - 0.72)[2] for level in levels])
    order = np.interp(place.z + sunk, middles[::-1], levels[::-1])
    nearest = np.rint(order)
    apart = np.abs(order - nearest) * np.abs(np.diff(middles)).mean()
    shift = trunk.shift["ribs"]
    reach = np.array(_RIB_REACH_MM) * trunk.scale + 12 * shift[0] + np.array([0, 0, 0, 0, 0, 8, 14]) * shift[1]
    tall, thick = _RIB_HALF_MM
    across = np.abs(place.envelope + _RIB_DEPTH_MM * trunk.scale)
    in_wall = np.hypot(across / thick, apart / tall) * thick - thick
    # Behind, a rib leaves the wall for its vertebra.
    beside = capsule_mm(np.abs(place.across), place.behind, (22.0, 1.0), (70.0, 20.0), (5.0, 4.0))
    rib = np.where(np.abs(place.x) < 62, np.maximum(beside, apart - tall), in_wall)
    rib = np.maximum(rib, round_mm - reach[(nearest + 6).astype(int)])
    rib = np.where((order < -6.4) | (order > 0.4), 9, rib).astype(np.float32)
    place.paint("cortex", rib, label="rib", edge_mm=1.0)
    place.paint("marrow", rib + 1.2, fat=0.4)


def _paint_arm(whole: Place, number: int, sign: int) -> None:
    """Some people's arms lie beside them, upper arm above and forearm with its two bones below the elbow."""
    trunk = whole.trunk
    shift = trunk.shift["arms"]
    if abs(shift[number]) > _ARMED[0] and abs(shift[2]) > _ARMED[1]:
        return
    upper = np.clip((whole.z - _ELBOW_MM) / 40 + 0.5, 0, 1)
    flesh = (31 + 12 * upper + 2.5 * shift[3]) * trunk.scale
    radius = flesh + np.clip(0.35 * trunk.fat_mm, 3, 16)
    away = sign * (trunk.breadth_mm(whole.z) + radius + 13 + 4 * shift[4])
    x, y = whole.x - away, whole.y + 15 + 6 * shift[5]
    place = whole.part((np.abs(x) < radius + 4) & (np.abs(y) < radius + 4))
    if place.empty:
        return
    x, y, upper, flesh, radius = (place.of_parent(whole, values) for values in (x, y, upper, flesh, radius))
    outside = place.skin > 1.5  # an arm does not reach into the trunk
    middle = np.hypot(x * 1.05, y * 0.97)
    skin = np.where(outside, middle - radius, 9)
    place.paint("skin", skin, label="skin", fat=0.05)
    place.paint("connective", skin + _SKIN_MM, label="subcutaneous_fat", fat=0.93)
    place.paint("muscle", np.where(outside, middle - flesh, 9), label="arm_muscle", fat=0.06)
    lower = 1 - upper
    bones = np.minimum(np.hypot(x - 14 * lower, y + 4), np.hypot(x + 14 * lower, y - 4)) - 11 + 3.5 * lower
    bones = np.where(outside, bones, 9)
    place.paint("cortex", bones, label="arm_bone")
    place.paint("marrow", bones + 3, fat=0.7)
