"""Everything around the spine: skin, subcutaneous fat, abdominal organs, iliac wings and great vessels."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from datamodules.phantom import templates
from datamodules.phantom.canvas import Canvas
from datamodules.phantom.patient import SIDES
from datamodules.phantom.surface import capsule_mm

if TYPE_CHECKING:
    from datamodules.phantom.anatomy import Body

Array = np.ndarray


def paint_wall(canvas: Canvas, body: "Body") -> Float[Array, "h w"]:
    """Fat everywhere, then subcutaneous fat, skin and air; returns the depth below the skin in mm."""
    everywhere, x = canvas.everywhere, np.abs(canvas.x)
    nothing = np.full(canvas.plane.shape, -9.0, np.float32)
    streaks = np.exp(-((body.streak.on(canvas.plane) / 0.25) ** 2))
    canvas.paint("connective", nothing, everywhere, fat=0.94 - 0.22 * streaks)
    fascia = body.at_level(body.fascia_mm, canvas.level) - 20 * (x / 80) ** 2.2
    thickness = body.at_level(body.patient.subcutaneous_mm, canvas.level)
    canvas.paint("connective", fascia - canvas.y, everywhere, label="subcutaneous_fat", fat=0.95 - 0.12 * streaks)
    groove = 5 * np.exp(-((x / 13) ** 2)) * np.exp(-thickness / 25)
    skin = body.at_level(body.fascia_mm, canvas.level) + thickness - groove - 14 * (x / 90) ** 2.4
    canvas.paint("skin", skin - 1.8 - canvas.y, everywhere, label="skin")
    canvas.paint("air", skin - canvas.y, everywhere)
    canvas.labels[canvas.y > skin] = 0
    return np.float32(skin - canvas.y)


def paint_organs(canvas: Canvas, body: "Body") -> None:
    """Bowel in front, kidneys at the upper discs, the abdominal wall at the sides, iliac wings below."""
    everywhere, level = canvas.everywhere, canvas.middle_level
    x, y = np.abs(canvas.x), canvas.y
    blob, patch = body.blob.on(canvas.plane), body.patch.on(canvas.plane)
    cavity = np.maximum(y + 36 + 0.10 * np.maximum(x - 50, 0), -(x - 66) * 0.9 + (y + 8) * 0.6 + 14)
    cavity = np.minimum(cavity, np.maximum(y + 52, -99))
    loops = np.maximum(cavity, 9 * (0.05 - blob))
    canvas.paint("bowel_wall", loops, everywhere, label="bowel", fat=0.08, edge_mm=2.0)
    inside = loops + 2.5
    canvas.paint("bowel_fluid", np.maximum(inside, 6 * (0.4 - patch)), everywhere, edge_mm=3.0, strength=0.8)
    canvas.paint("air", np.maximum(inside, 6 * (0.5 + patch)), everywhere, edge_mm=2.0, strength=0.85)
    for side in SIDES.values():
        across, back, radius = body.kidney_mm * (side, 1, 1)
        size = radius * np.sqrt(np.clip(1 - (level / 0.9) ** 2, 0, 1))
        if size > 3:
            window = canvas.window((across, back), radius + 8)
            distance = np.hypot((canvas.x[window] - across) * 1.15, (y[window] - back) * 0.9) - size
            canvas.paint("kidney", distance, window, label="kidney")
            canvas.paint("connective", distance + 0.62 * size, window, fat=0.85, edge_mm=4.0)
    wall = capsule_mm(x, y, (84, 14), (104, -40), (4 + 3 * min(level, 1.5), 9.0))
    canvas.paint("muscle", wall, everywhere, label="other_muscle", fat=0.08)
    canvas.paint("connective", np.abs(wall + 3.5) - 0.3, everywhere, fat=0.9, strength=0.5)
    _paint_ilium(canvas, body)


def _paint_ilium(canvas: Canvas, body: "Body") -> None:
    """Iliac wings with iliacus inside and the gluteal muscles outside, from the crest downward."""
    below = canvas.middle_level - body.patient.crest_level
    if below < 0:
        return
    everywhere, bone = canvas.everywhere, body.patient.bone_scale
    x, y = np.abs(canvas.x) / bone, canvas.y / bone
    grown = min(1.0, 0.35 + below)
    back, middle, front = (60 - 8 * grown, 34 + 6 * grown), (71, 12), (84 + 4 * grown, 12 - 52 * grown)
    wing = np.minimum(
        capsule_mm(x, y, back, middle, (6.0 * grown, 4.6 * grown)), capsule_mm(x, y, middle, front, (4.6 * grown, 4.0 * grown))
    )
    iliacus = capsule_mm(x, y, (66, 4), (72 + 6 * grown, 12 - 46 * grown), (5.0 * grown, 10.0 * grown))
    gluteus = np.minimum(capsule_mm(x, y, (80, 30), (98, -18), (11 * grown, 16 * grown)), wing - 9 * grown)
    gluteus = np.maximum(gluteus, 0.85 * (y - 46 + 0.35 * (x - 60)))
    canvas.paint("muscle", gluteus, everywhere, label="other_muscle", fat=0.12)
    canvas.paint("muscle", iliacus, everywhere, label="other_muscle", fat=0.06)
    canvas.paint("cortex", wing, everywhere, label="iliac_bone")
    canvas.paint("marrow", wing + 1.6, everywhere, fat=0.5)


def paint_vessels(canvas: Canvas, body: "Body") -> None:
    """Aorta left and vena cava right in front of the spine, divided from L4/5 downward; flowing blood is dark."""
    level, bone = canvas.middle_level, body.patient.bone_scale
    front = float(body.at_level(body.disc_front_mm, level))
    for name, path in templates.VESSEL_MM.items():
        across, ahead, radius = (float(body.at_level(values, level)) for values in np.array(path, dtype=float).T)
        centre = (across * bone, front + ahead * bone)
        window = canvas.window(centre, radius + 5)
        flat = 1.0 if name.endswith("artery") else 1.3  # veins are flattened
        distance = np.hypot((canvas.x[window] - centre[0]) / flat, (canvas.y[window] - centre[1]) * flat) - radius
        label = "aorta" if name.endswith("artery") else "vena_cava"
        canvas.paint("ligament", distance, window, label=label)
        canvas.paint("artery" if label == "aorta" else "vein", distance + 1.2, window)
