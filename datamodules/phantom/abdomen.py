"""Everything around the spine: skin, subcutaneous fat, abdominal organs, iliac wings and great vessels."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom import templates
from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas
from datamodules.phantom.patient import SIDES
from datamodules.phantom.surface import capsule_mm

Array = np.ndarray
_KIDNEY_LEVEL, _KIDNEY_REACH = 1.3, 1.6  # level coordinate of its middle, half of its length
_OUTSIDE_MM = 9.0


def paint_wall(canvas: Canvas, body: Body) -> Float[Array, "h w"]:
    """Fat everywhere, then subcutaneous fat, skin and air; returns the depth below the skin in mm."""
    everywhere, x = canvas.everywhere, np.abs(canvas.x)
    nothing = np.full(canvas.plane.shape, -9.0, np.float32)
    streaks = np.exp(-((canvas.field(body.streak) / 0.25) ** 2))
    canvas.paint("connective", nothing, everywhere, fat=0.94 - 0.22 * streaks)
    fascia = body.along(body.fascia_mm, canvas.level) - 20 * (x / 80) ** 2.2
    thickness = body.along(body.patient.subcutaneous_mm, canvas.level)
    canvas.paint("connective", fascia - canvas.y, everywhere, label="subcutaneous_fat", fat=0.95 - 0.12 * streaks)
    groove = 5 * np.exp(-((x / 13) ** 2)) * np.exp(-thickness / 25)
    skin = body.along(body.fascia_mm, canvas.level) + thickness - groove - 14 * (x / 90) ** 2.4
    canvas.paint("skin", skin - 1.8 - canvas.y, everywhere, label="skin")
    canvas.paint("air", skin - canvas.y, everywhere)
    canvas.labels[canvas.y > skin] = 0
    return (skin - canvas.y).astype(np.float32)


def paint_organs(canvas: Canvas, body: Body) -> None:
    """Bowel in front, kidneys at the upper discs, the abdominal wall at the sides, iliac wings below."""
    everywhere, level = canvas.everywhere, canvas.level
    body_mass = body.patient.body_mass_index
    x, y = np.abs(canvas.x), canvas.y
    blob, patch = canvas.field(body.blob), canvas.field(body.patch)
    # In a slim patient the bowel comes close to psoas and spine, else fat keeps it away.
    slim = np.clip((28 - body_mass) / 8, -1, 1)
    front = body.along(body.disc_front_mm, level)
    cavity = y - front + 16 - 5 * slim - 4 * canvas.field(body.region)
    gutter = np.maximum(y + 14 - 10 * slim + 0.5 * np.maximum(76 - x, -8), 62 - x + 7 * canvas.field(body.region))
    loops = np.maximum(np.minimum(cavity, gutter), 9 * (-0.1 - 0.3 * slim - blob))
    canvas.paint("bowel_wall", loops, everywhere, label="bowel", fat=0.08, edge_mm=2.0)
    inside = loops + 2.5
    canvas.paint("bowel_fluid", np.maximum(inside, 6 * (0.3 - patch)), everywhere, edge_mm=3.0, strength=0.8)
    canvas.paint("air", np.maximum(inside, 6 * (0.7 + patch)), everywhere, edge_mm=2.0, strength=0.85)
    _paint_kidneys(canvas, body)
    waist = 97 + 2.0 * (body_mass - 20)
    thickness = 1.5 + 2 * np.clip(level - 2, 0, 1.5)
    layers = capsule_mm(x, y, (waist - 6, 6), (waist + 6, -50), (thickness, 11.0))
    striped = 0.06 + 0.3 * np.exp(-(((layers + 4.5) / 0.8) ** 2))
    canvas.paint("muscle", layers, everywhere, label="other_muscle", fat=striped, edge_mm=1.5)
    _paint_ilium(canvas, body)


def _paint_kidneys(canvas: Canvas, body: Body) -> None:
    """An ellipsoid on either side with fat in its sinus, from T12 to L3."""
    above = (canvas.level - _KIDNEY_LEVEL) / _KIDNEY_REACH
    for side in SIDES.values():
        across, back, radius = body.kidney_mm * (side, 1, 1)
        size = radius * np.sqrt(np.clip(1 - above**2, 0, 1))
        window = canvas.around(across, back, np.where(size > 3, size + 8, -9))
        distance = np.hypot((canvas.x[window] - across) * 1.15, (canvas.y[window] - back) * 0.9) - size[window]
        distance = np.where(size[window] > 3, distance, _OUTSIDE_MM)
        canvas.paint("kidney", distance, window, label="kidney")
        canvas.paint("connective", distance + 0.62 * size[window], window, fat=0.85, edge_mm=4.0)


def _paint_ilium(canvas: Canvas, body: Body) -> None:
    """Iliac wings with iliacus inside and the gluteal muscles outside, from the crest downward."""
    bone, crest = body.patient.skeleton.scale, body.patient.skeleton.crest_level
    window = canvas.window((canvas.level > crest) & (np.abs(canvas.x) > 25))
    x, y = np.abs(canvas.x[window]) / bone, canvas.y[window] / bone
    below = canvas.level[window] - crest
    grown = np.clip(0.35 + below, 0, 1)
    back, middle, front = (58 - 6 * grown, 32 + 8 * grown), (70, 12), (80 + 5 * grown, 12 - 56 * grown)
    wing = np.minimum(
        capsule_mm(x, y, back, middle, (7.5 * grown, 5.0 * grown)),
        capsule_mm(x, y, middle, front, (5.0 * grown, 3.2 * grown)),
    )
    iliacus = capsule_mm(x, y, (67, 2), (71 + 5 * grown, 12 - 48 * grown), (4.0 * grown, 11.0 * grown))
    medius = capsule_mm(x, y, (78 - 4 * grown, 30), (98 + 2 * grown, -24), (7 * grown, 17 * grown))
    maximus = capsule_mm(x, y, (58, 40 + 10 * grown), (98, 30), (2.5 * grown, 12 * grown))
    gluteus = np.where(grown > 0.6, np.minimum(medius, maximus), medius)
    for tissue, distance, label, fat in (
        ("muscle", gluteus, "other_muscle", 0.12),
        ("muscle", iliacus, "other_muscle", 0.06),
        ("cortex", wing, "iliac_bone", 0.0),
        ("marrow", wing + 1.6, None, 0.5),
    ):
        canvas.paint(tissue, np.where(below > 0, distance, _OUTSIDE_MM), window, label=label, fat=fat)


def paint_vessels(canvas: Canvas, body: Body) -> None:
    """Aorta left and vena cava right in front of the spine, divided from L4/5 downward; flowing blood is dark."""
    bone = body.patient.skeleton.scale
    front = body.along(body.disc_front_mm, canvas.level)
    for name, path in templates.VESSEL_MM.items():
        across, ahead, radius = (body.along(values, canvas.level) for values in path.T)
        x, y = across * bone, front + ahead * bone
        window = canvas.around(x, y, radius + 5)
        flat = 1.0 if name.endswith("artery") else 1.3  # veins are flattened
        distance = np.hypot((canvas.x - x)[window] / flat, (canvas.y - y)[window] * flat) - radius[window]
        distance = distance + body.segments.closing_mm("vessels", canvas.level[window])
        label = "aorta" if name.endswith("artery") else "vena_cava"
        canvas.paint("ligament", distance, window, label=label)
        canvas.paint("artery" if label == "aorta" else "vein", distance + 1.2, window)
