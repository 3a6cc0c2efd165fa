"""Everything around the spine: skin, subcutaneous fat, abdominal organs, iliac wings and great vessels."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom import templates
from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas
from datamodules.phantom.patient import SIDES
from datamodules.phantom.surface import capsule_mm

Array = np.ndarray


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
    everywhere, level = canvas.everywhere, canvas.middle_level
    body_mass = body.patient.body_mass_index
    x, y = np.abs(canvas.x), canvas.y
    blob, patch = canvas.field(body.blob), canvas.field(body.patch)
    # In a slim patient the bowel comes close to psoas and spine, else fat keeps it away.
    slim = np.clip((28 - body_mass) / 8, -1, 1)
    front = body.at_level(body.disc_front_mm, level)
    cavity = y - front + 16 - 5 * slim - 4 * canvas.field(body.region)
    gutter = np.maximum(y + 14 - 10 * slim + 0.5 * np.maximum(76 - x, -8), 62 - x + 7 * canvas.field(body.region))
    loops = np.maximum(np.minimum(cavity, gutter), 9 * (-0.1 - 0.3 * slim - blob))
    canvas.paint("bowel_wall", loops, everywhere, label="bowel", fat=0.08, edge_mm=2.0)
    inside = loops + 2.5
    canvas.paint("bowel_fluid", np.maximum(inside, 6 * (0.3 - patch)), everywhere, edge_mm=3.0, strength=0.8)
    canvas.paint("air", np.maximum(inside, 6 * (0.7 + patch)), everywhere, edge_mm=2.0, strength=0.85)
    for side in SIDES.values():
        across, back, radius = body.kidney_mm * (side, 1, 1)
        size = radius * np.sqrt(np.clip(1 - (level / 0.9) ** 2, 0, 1))
        if size > 3:
            window = canvas.window((across, back), radius + 8)
            distance = np.hypot((canvas.x[window] - across) * 1.15, (y[window] - back) * 0.9) - size
            canvas.paint("kidney", distance, window, label="kidney")
            canvas.paint("connective", distance + 0.62 * size, window, fat=0.85, edge_mm=4.0)
    waist = 97 + 2.0 * (body_mass - 20)
    layers = capsule_mm(x, y, (waist - 6, 6), (waist + 6, -50), (1.5 + 2 * min(level, 1.5), 11.0))
    striped = 0.06 + 0.3 * np.exp(-(((layers + 4.5) / 0.8) ** 2))
    canvas.paint("muscle", layers, everywhere, label="other_muscle", fat=striped, edge_mm=1.5)
    _paint_ilium(canvas, body)


def _paint_ilium(canvas: Canvas, body: Body) -> None:
    """Iliac wings with iliacus inside and the gluteal muscles outside, from the crest downward."""
    below = canvas.middle_level - body.patient.crest_level
    if below < 0:
        return
    everywhere, bone = canvas.everywhere, body.patient.bone_scale
    x, y = np.abs(canvas.x) / bone, canvas.y / bone
    grown = min(1.0, 0.35 + below)
    back, middle, front = (58 - 6 * grown, 32 + 8 * grown), (70, 12), (80 + 5 * grown, 12 - 56 * grown)
    wing = np.minimum(
        capsule_mm(x, y, back, middle, (7.5 * grown, 5.0 * grown)),
        capsule_mm(x, y, middle, front, (5.0 * grown, 3.2 * grown)),
    )
    iliacus = capsule_mm(x, y, (67, 2), (71 + 5 * grown, 12 - 48 * grown), (4.0 * grown, 11.0 * grown))
    medius = capsule_mm(x, y, (78 - 4 * grown, 30), (98 + 2 * grown, -24), (7 * grown, 17 * grown))
    maximus = capsule_mm(x, y, (58, 40 + 10 * grown), (98, 30), (2.5 * grown, 12 * grown))
    gluteus = np.minimum(medius, maximus) if grown > 0.6 else medius
    canvas.paint("muscle", gluteus, everywhere, label="other_muscle", fat=0.12)
    canvas.paint("muscle", iliacus, everywhere, label="other_muscle", fat=0.06)
    canvas.paint("cortex", wing, everywhere, label="iliac_bone")
    canvas.paint("marrow", wing + 1.6, everywhere, fat=0.5)


def paint_vessels(canvas: Canvas, body: Body) -> None:
    """Aorta left and vena cava right in front of the spine, divided from L4/5 downward; flowing blood is dark."""
    level, bone = canvas.middle_level, body.patient.bone_scale
    front = body.at_level(body.disc_front_mm, level)
    for name, path in templates.VESSEL_MM.items():
        across, ahead, radius = (body.at_level(values, level) for values in np.array(path, dtype=float).T)
        centre = (across * bone, front + ahead * bone)
        window = canvas.window(centre, radius + 5)
        flat = 1.0 if name.endswith("artery") else 1.3  # veins are flattened
        distance = np.hypot((canvas.x[window] - centre[0]) / flat, (canvas.y[window] - centre[1]) * flat) - radius
        label = "aorta" if name.endswith("artery") else "vena_cava"
        canvas.paint("ligament", distance, window, label=label)
        canvas.paint("artery" if label == "aorta" else "vein", distance + 1.2, window)
