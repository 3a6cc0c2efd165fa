"""Vertebra, disc, canal with its content, ligamentum flavum, laminae and facet joints."""

import numpy as np

from datamodules.phantom import templates
from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas
from datamodules.phantom.patient import SIDES
from datamodules.phantom.surface import capsule_mm

_CORTEX_MM = 1.5


def paint_arch(canvas: Canvas, body: Body) -> None:
    """Laminae with the spinous process, superior articular processes, facet joints and the midline ligament."""
    level, bone = canvas.middle_level, body.patient.bone_scale
    window = canvas.window((0.0, 25.0), 48.0)
    x, y = canvas.x[window], canvas.y[window]
    apex = body.at_level(body.canal_back_mm, level) + body.at_level(templates.FLAVUM_MM, level) * 0.7 + 3.2
    tip = apex + body.at_level(templates.SPINOUS_MM, level) * bone
    fascia = body.at_level(body.fascia_mm, level)
    canvas.paint("ligament", capsule_mm(x, y, (0, apex), (0, fascia), (2.6, 1.6)), window, fat=0.35, edge_mm=2.0)
    distance = capsule_mm(x, y, (0, apex), (0, tip), (2.9 * bone, 3.3 * bone))
    facet = body.at_level(np.array([0.25, 0.45, 0.75, 1.0]), level)  # joints turn from sagittal to coronal
    for side in SIDES.values():
        foot = (side * (14.0 + 2.0 * facet) * bone, apex - 7.5 * bone)
        distance = np.minimum(distance, capsule_mm(x, y, (0, apex - 0.5), foot, (3.0 * bone, 4.2 * bone)))
        process = (side * (17.5 + 4.0 * facet) * bone, (5.0 - 1.5 * facet) * bone)
        end = (process[0] + side * 3.0 * facet, process[1] + 7 - 3 * facet)
        superior = capsule_mm(x, y, process, end, (4.2 * bone, 3.6 * bone))
        canvas.paint("cortex", superior, window, label="articular_process")
        canvas.paint("marrow", superior + _CORTEX_MM, window, fat=0.45)
        inner = (foot[0] - side * (2.0 - 1.0 * facet), foot[1] - 4.6)
        outer = (foot[0] + side * (3.2 + 1.4 * facet), foot[1] + 2.8 - 3.0 * facet)
        canvas.paint("cartilage", capsule_mm(x, y, inner, outer, (0.9, 0.9)), window)
    canvas.paint("cortex", distance, window, label="lamina")
    canvas.paint("marrow", distance + _CORTEX_MM, window, fat=0.5)


def paint_canal(canvas: Canvas, body: Body) -> None:
    """Ligamentum flavum behind, epidural fat, dural sac with nerve roots, nerves in the foramina."""
    level = canvas.middle_level
    window = canvas.window((0.0, 6.0), 26.0)
    x, y, at = canvas.x[window], canvas.y[window], canvas.level[window]
    canal, sac = body.canal.distance_mm(x, y, at), body.dural_sac.distance_mm(x, y, at)
    flavum = body.at_level(templates.FLAVUM_MM, level)
    canvas.paint("ligament", np.maximum(canal - flavum, 7 - y), window, label="ligamentum_flavum", fat=0.08)
    for side in SIDES.values():
        nerve = capsule_mm(x, y, (side * 16.5, 0.0), (side * 21.5, -1.0), (2.6, 3.0))
        canvas.paint("nerve", nerve, window)
        if level > 2.3:  # the first sacral root has left the sac and lies in the fat beside it
            canvas.paint("nerve", np.hypot(x - side * 8.6, y - 4.0) - 2.2, window)
    canvas.paint("connective", canal, window, label="epidural_space", fat=0.85)
    sac = np.maximum(sac, canal + 0.3)
    canvas.paint("ligament", sac, window, label="dural_sac")
    canvas.paint("csf", sac + 0.5, window)
    roots = _roots_mm(canvas, body)
    distance = np.hypot(x[..., None] - roots[:, 0], y[..., None] - roots[:, 1]).min(axis=-1) - 0.75
    canvas.paint("nerve", np.maximum(distance, sac + 0.7), window, edge_mm=0.5, strength=0.85)


def paint_column(canvas: Canvas, body: Body) -> None:
    """Disc between vertebral bodies, by height above the nearest disc: annulus outside, nucleus inside."""
    level = canvas.middle_level
    window = canvas.window(body.disc.centre_at(level), body.disc.reach_mm)
    x, y, at = canvas.x[window], canvas.y[window], canvas.level[window]
    column = body.disc.distance_mm(x, y, at)
    nearest = np.clip(np.rint(at), 0, 3).astype(int)
    above = canvas.z[window] - body.disc_z_mm[nearest]
    # Taller in front and in the middle, as a lordotic disc between hollow endplates is.
    half = body.patient.disc_height_mm[nearest] / 2 * (1 - 0.012 * (y + 17)) * np.clip(1.1 + column / 120, 0.8, 1.1)
    disc = np.maximum(column, np.abs(above) - half)
    canvas.paint("cortex", column, window, label="vertebral_body")
    canvas.paint("marrow", np.maximum(column + 1.2, 1.0 + half - np.abs(above)), window, fat=0.4)
    wet = body.at_level(body.patient.hydration, level)
    canvas.paint("annulus", disc, window, label="disc")
    canvas.paint("inner_annulus", np.maximum(column + 3.5, disc + 1.0), window, edge_mm=4.0, strength=0.8)
    spread = canvas.field(body.patch)[window]
    nucleus = np.maximum(column + 8.5 - 1.5 * wet + 1.2 * spread, disc + 1.0)
    canvas.paint("wet_nucleus", nucleus, window, edge_mm=6.0, strength=np.clip(wet + 0.1 * spread, 0, 1))
    canvas.paint("dry_nucleus", nucleus, window, edge_mm=6.0, strength=0.5 * (1 - wet))


def _roots_mm(canvas: Canvas, body: Body) -> np.ndarray:
    """Centres (x, y) of the nerve roots: they sink to the back of the sac in a patient who lies on it."""
    level = canvas.middle_level
    across, back = body.dural_sac.centre_at(level)
    radius = np.sqrt(body.at_level(body.patient.area_mm2["dural_sac"], level) / np.pi)
    spread = radius * np.array([0.42, 0.26])
    kept = body.roots[: round(14 - 2 * level)]
    return np.array([across, back + 0.32 * radius]) + kept * spread
