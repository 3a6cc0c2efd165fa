"""The pelvis: iliac wings from the crest down, wings of the sacrum, gluteal muscles, bladder, rectum and uterus."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom.place import Place, common_mm
from datamodules.phantom.surface import capsule_mm

Array = np.ndarray
_OUTSIDE_MM = 9.0
_LOWEST = 8.5  # level coordinate; farther down the wings are far from the spine, which the picture follows
_TALL_MM = 36.0  # from level to level


def paint_pelvis(place: Place) -> None:
    """What lies in the cavity of the pelvis, then its walls."""
    _paint_contents(place)
    _paint_wings(place)
    _paint_pubis(place)


def _paint_wings(whole: Place) -> None:
    """Iliac wings that grow from the top of the crest to both ends, muscles on both sides of them, joints behind."""
    crest, scale = whole.body.patient.skeleton.crest_level, whole.body.patient.skeleton.scale
    place = whole.part(
        (whole.level > crest - 0.3) & (whole.level < _LOWEST) & (np.abs(whole.across) > 12) & (whole.skin < 0)
    )
    if place.empty:
        return
    x, y = np.abs(place.across) / scale, place.behind / scale
    below = ((place.level - crest) * _TALL_MM / scale).astype(np.float32)  # mm
    grown = np.clip((below + 2) / 42, 0.02, 1)
    outer = np.interp(below, (0, 60, 110), (112, 122, 116))
    deep = np.clip((below - 25) / 45, 0, 1)  # toward the joint with the sacrum
    middle = (outer - 16 * grown - 22 * deep, -2.0 + 10 * grown + 3 * deep)
    back = (outer - 16 - 48 * grown - 12 * deep, -2 + 34 * np.sqrt(grown) + 12 * deep)
    front = (outer + 5 * grown, -6 - 56 * grown)
    wing = np.minimum(
        capsule_mm(x, y, back, middle, (5.5 + 4.0 * grown, 4.2)), capsule_mm(x, y, middle, front, (4.2, 4.5))
    )
    # The top of the crest is round.
    wing = (np.hypot(np.maximum(wing + 3, 0), np.maximum(3 - below, 0)) - 3 + np.minimum(wing + 3, 0)) * scale
    wing = np.maximum(wing, place.skin + 7)
    lateral = _beyond(x, y, back, middle, front)
    thick = np.clip(below, 0, 60)
    gluteal = common_mm(wing - 3 - 0.62 * thick * scale, -lateral, place.envelope + 1.5)
    iliacus = common_mm(wing - 2 - 0.30 * thick * scale, lateral, (y - 34).astype(np.float32))
    # The largest lies farther behind, below the skin.
    maximus = common_mm(place.envelope + 1.0, -place.envelope - 6 - 0.55 * thick, 28 - y, x - 100, 10 - x)
    gluteal = np.minimum(gluteal, np.where((below > 25) & (below < 90), maximus, _OUTSIDE_MM))
    muscles = (below > 2) & (place.level < _LOWEST)
    gluteal, iliacus = np.where(muscles, gluteal, _OUTSIDE_MM), np.where(muscles, iliacus, _OUTSIDE_MM)
    wing = np.where(place.level < _LOWEST, wing, _OUTSIDE_MM)
    place.paint("muscle", gluteal, label="gluteal_muscle", fat=0.1 + 0.1 * np.clip(below / 80, 0, 1))
    place.paint("muscle", iliacus, label="other_muscle", fat=0.06)
    _paint_sacral_wings(place)
    place.paint("cartilage", np.maximum(wing - 2.2, -8 - y), edge_mm=0.5)  # the joint
    place.paint("cortex", wing, label="iliac_bone")
    place.paint("marrow", wing + 1.6, fat=0.5)


def _beyond(x: Array, y: Array, back: tuple, middle: tuple, front: tuple) -> Float[Array, "h w"]:
    """How far to the outside of the line through the wing a place is; negative inside."""
    behind = middle[0] + (y - middle[1]) * (back[0] - middle[0]) / np.maximum(back[1] - middle[1], 1)
    ahead = middle[0] + (middle[1] - y) * (front[0] - middle[0]) / np.maximum(middle[1] - front[1], 1)
    return (x - np.where(y > middle[1], behind, ahead)).astype(np.float32)


def _paint_sacral_wings(place: Place) -> None:
    """The wings of S1 and S2, up to the dark joints with the iliac bones."""
    scale = place.body.patient.skeleton.scale
    x, y, level = np.abs(place.across) / scale, place.behind / scale, place.level
    grown = np.interp(level, (4.95, 5.35, 6.3, 8.5), (0.0, 1.0, 1.0, 0.35)).astype(np.float32)
    reach = 24 + 36 * grown
    wing = capsule_mm(x, y, (14.0, -8.0), (reach, 13.0), (10.0 * grown, 16.0 * grown)) * scale
    wing = np.where((level > 5.0) & (level < 9.0), wing, _OUTSIDE_MM)
    place.paint("cortex", wing, label="sacrum")
    place.paint("marrow", wing + 1.5, fat=0.5)


def _paint_contents(whole: Place) -> None:
    """Rectum before the sacrum, bladder in front, the uterus of women between them."""
    place = whole.part((whole.z < -70) & (whole.cavity < 0))
    if place.empty:
        return
    trunk, body = place.trunk, place.body
    scale, uneven, room = trunk.scale, 2.0 * place.field(body.region), place.cavity + 3
    depth = body.along(body.disc_front_mm, place.level) + 2 * body.segments.narrowing_mm(place.level)
    rectum = np.hypot(place.across - 4 * trunk.shift["bowel"][5], place.behind - depth + 17 * scale) - 12 * scale
    rectum = np.where((place.level > 6.6) & (place.level < 12.4), rectum + uneven, _OUTSIDE_MM)
    rectum = np.maximum(rectum, room).astype(np.float32)
    place.paint("bowel_wall", rectum, label="bowel", edge_mm=1.5)
    place.paint("stool", rectum + 3, edge_mm=2.0)
    place.paint("air", np.maximum(rectum + 3, 6 * (0.5 - place.field(body.blob))), label="bowel_gas", edge_mm=1.5)
    full = scale * (1 + 0.22 * trunk.shift["bladder"][0])
    height = -160 * scale
    middle = (3 * trunk.shift["bladder"][1], trunk.front_at(-160.0) + 44 * scale, height)
    if body.patient.sex == "F":
        shift = trunk.shift["uterus"]
        womb = (6 * shift[0], middle[1] + 50 * scale, height + (22 + 6 * shift[1]) * scale)
        organ = place.ellipsoid_mm(womb, (27 * scale, 20 * scale, 36 * scale), (0.1 * shift[2], -0.5 + 0.25 * shift[3]))
        organ = np.maximum(organ + 0.6 * uneven, room)
        place.paint("uterus", organ, label="uterus")
        place.paint("urine", organ + 16, edge_mm=3.0, strength=0.6)
    bladder = np.maximum(place.ellipsoid_mm(middle, (42 * full, 30 * full, 30 * full), (0.0, -0.25)), room)
    place.paint("muscle", bladder, label="bladder")
    place.paint("urine", bladder + 3.5)


def _paint_pubis(whole: Place) -> None:
    """The pubic bones, at the lower edge of large pictures, and the cartilage between them."""
    scale = whole.trunk.scale
    middle = (0.0, whole.trunk.front_at(-205.0) + 14 * scale, -205 * scale)
    place = whole.near(middle, (60 * scale, 30 * scale, 40 * scale))
    if place.empty:
        return
    bone = place.ellipsoid_mm(middle, (48 * scale, 11 * scale, 21 * scale), (0.0, -0.6))
    place.paint("cortex", bone, label="pelvic_bone")
    place.paint("marrow", bone + 1.8, fat=0.5)
    place.paint("annulus", np.maximum(bone, np.abs(place.x) - 2.5))
