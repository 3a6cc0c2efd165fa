"""The pelvis: iliac wings from the crest down, wings of the sacrum, gluteal muscles, bladder, rectum and uterus."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas
from datamodules.phantom.place import Place, common_mm
from datamodules.phantom.surface import capsule_mm

Array = np.ndarray
_OUTSIDE_MM = 9.0
_TALL_MM = 36.0  # from level to level


def paint_pelvis(canvas: Canvas, body: Body, place: Place) -> None:
    """What lies in the cavity of the pelvis, then its walls."""
    _paint_contents(canvas, body, place)
    _paint_wings(canvas, body, place)
    _paint_pubis(canvas, body, place)


def _paint_wings(canvas: Canvas, body: Body, place: Place) -> None:
    """Iliac wings that grow from the top of the crest to both ends, muscles on both sides of them, joints behind."""
    crest, scale = body.patient.skeleton.crest_level, body.patient.skeleton.scale
    window = canvas.window((canvas.level > crest - 0.3) & (np.abs(canvas.x) > 12) & (place.skin < 0))
    if window[0].stop <= window[0].start:
        return
    here, x, y = place.on(window), np.abs(canvas.x[window]) / scale, canvas.y[window] / scale
    below = ((canvas.level[window] - crest) * _TALL_MM / scale).astype(np.float32)  # mm
    grown = np.clip((below + 2) / 42, 0.02, 1)
    outer = np.interp(below, (0, 60, 110), (112, 122, 116))
    middle = (outer - 16 * grown, -2.0 + 10 * grown)
    back = (outer - 16 - 52 * grown, -2 + 58 * np.sqrt(grown))
    front = (outer + 5 * grown, -6 - 56 * grown)
    wing = np.minimum(
        capsule_mm(x, y, back, middle, (5.5 + 4.0 * grown, 4.2)), capsule_mm(x, y, middle, front, (4.2, 4.5))
    )
    # The top of the crest is round.
    wing = (np.hypot(np.maximum(wing + 3, 0), np.maximum(3 - below, 0)) - 3 + np.minimum(wing + 3, 0)) * scale
    lateral = _beyond(x, y, back, middle, front)
    thick = np.clip(below, 0, 60)
    gluteal = common_mm(wing - 3 - 0.62 * thick * scale, -lateral, here.envelope + 1.5)
    iliacus = common_mm(wing - 2 - 0.30 * thick * scale, lateral, (y - 34).astype(np.float32))
    maximus = common_mm(
        here.envelope + 1.0, -here.envelope - 6 - 0.55 * thick, 28 - y, np.abs(x) - 100, 30 - x * (below < 90) - 20
    )
    gluteal = np.where(below > 2, np.minimum(gluteal, np.where(below > 25, maximus, _OUTSIDE_MM)), _OUTSIDE_MM)
    canvas.paint("muscle", gluteal, window, label="gluteal_muscle", fat=0.1 + 0.1 * np.clip(below / 80, 0, 1))
    iliacus = np.where(below > 2, iliacus, _OUTSIDE_MM)
    canvas.paint("muscle", iliacus, window, label="other_muscle", fat=0.06)
    _paint_sacral_wings(canvas, body, window)
    canvas.paint("cortex", wing, window, label="iliac_bone")
    canvas.paint("marrow", wing + 1.6, window, fat=0.5)


def _beyond(x: Array, y: Array, back: tuple, middle: tuple, front: tuple) -> Float[Array, "h w"]:
    """How far to the outside of the line through the wing a place is; negative inside."""
    behind = middle[0] + (y - middle[1]) * (back[0] - middle[0]) / np.maximum(back[1] - middle[1], 1)
    ahead = middle[0] + (middle[1] - y) * (front[0] - middle[0]) / np.maximum(middle[1] - front[1], 1)
    return (x - np.where(y > middle[1], behind, ahead)).astype(np.float32)


def _paint_sacral_wings(canvas: Canvas, body: Body, window: tuple[slice, slice]) -> None:
    """The wings of S1 and S2, up to the dark joints with the iliac bones."""
    scale = body.patient.skeleton.scale
    x, y, level = np.abs(canvas.x[window]) / scale, canvas.y[window] / scale, canvas.level[window]
    grown = np.interp(level, (4.95, 5.35, 6.3, 8.5), (0.0, 1.0, 1.0, 0.35)).astype(np.float32)
    reach = 24 + 24 * grown
    wing = capsule_mm(x, y, (14.0, -8.0), (reach, 6.0), (10.0 * grown, 14.0 * grown)) * scale
    wing = np.where((level > 5.0) & (level < 9.0), wing, _OUTSIDE_MM)
    canvas.paint("cartilage", wing - 1.5, window)
    canvas.paint("cortex", wing, window, label="sacrum")
    canvas.paint("marrow", wing + 1.5, window, fat=0.5)


def _paint_contents(canvas: Canvas, body: Body, place: Place) -> None:
    """Rectum before the sacrum, bladder in front, the uterus of women between them."""
    trunk = body.trunk
    assert trunk is not None
    scale, everywhere = trunk.scale, canvas.everywhere
    uneven = 2.0 * canvas.field(body.region)
    room = place.cavity + 3
    front = body.along(body.disc_front_mm, canvas.level)
    depth = front + 2 * body.segments.narrowing_mm(canvas.level)
    rectum = np.hypot(canvas.x - 4 * trunk.shift["bowel"][5], canvas.y - depth + 17 * scale) - 12 * scale
    rectum = np.where((canvas.level > 6.6) & (canvas.level < 12.4), rectum + uneven, _OUTSIDE_MM)
    rectum = np.maximum(rectum, room).astype(np.float32)
    canvas.paint("bowel_wall", rectum, everywhere, label="bowel", edge_mm=1.5)
    canvas.paint("stool", rectum + 3, everywhere, edge_mm=2.0)
    gas = np.maximum(rectum + 3, 6 * (0.5 - canvas.field(body.blob)))
    canvas.paint("air", gas, everywhere, label="bowel_gas", edge_mm=1.5)
    full = 1 + 0.22 * trunk.shift["bladder"][0]
    ahead, height = trunk.front_at(-160), -160 * scale
    middle = (3 * trunk.shift["bladder"][1], ahead + 44 * scale, height)
    if body.patient.sex == "F":
        shift = trunk.shift["uterus"]
        womb = (6 * shift[0], middle[1] + 50 * scale, height + (22 + 6 * shift[1]) * scale)
        organ = place.ellipsoid_mm(womb, (27 * scale, 20 * scale, 36 * scale), (0.1 * shift[2], -0.6 + 0.4 * shift[3]))
        organ = np.maximum(organ + 0.6 * uneven, room)
        canvas.paint("uterus", organ, everywhere, label="uterus")
        canvas.paint("urine", organ + 16, everywhere, edge_mm=3.0, strength=0.6)
    bladder = place.ellipsoid_mm(middle, (42 * scale * full, 30 * scale * full, 30 * scale * full), (0.0, -0.25))
    bladder = np.maximum(bladder, room)
    canvas.paint("muscle", bladder, everywhere, label="bladder")
    canvas.paint("urine", bladder + 3.5, everywhere)


def _paint_pubis(canvas: Canvas, body: Body, place: Place) -> None:
    """The pubic bones, at the lower edge of large pictures, and the cartilage between them."""
    trunk = body.trunk
    assert trunk is not None
    scale = trunk.scale
    middle = (0.0, trunk.front_at(-205) + 14 * scale, -205 * scale)
    window = place.near(canvas, middle, (60 * scale, 30 * scale, 40 * scale))
    here = place.on(window)
    bone = here.ellipsoid_mm(middle, (48 * scale, 11 * scale, 21 * scale), (0.0, -0.6))
    canvas.paint("cortex", bone, window, label="pelvic_bone")
    canvas.paint("marrow", bone + 1.8, window, fat=0.5)
    canvas.paint("annulus", np.maximum(bone, np.abs(here.x) - 2.5), window)
