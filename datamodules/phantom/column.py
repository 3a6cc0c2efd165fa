"""Vertebral bodies, discs and the canal with its content."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom import templates
from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas, Window
from datamodules.phantom.patient import SIDES
from datamodules.phantom.surface import capsule_mm

Array = np.ndarray
_ENDPLATE_MM = 1.0
_MODIC_MM = 7.0  # how far a change of the marrow reaches from the endplate
_MODIC_TISSUES = {1: "oedema", 3: "sclerosis"}  # type 2 is fat


def paint_canal(canvas: Canvas, body: Body) -> None:
    """Ligamentum flavum behind, epidural fat, dural sac with cord or nerve roots, nerves in the foramina."""
    window = canvas.around(0.0, 6.0, 26.0)
    x, y, level = canvas.x[window], canvas.y[window], canvas.level[window]
    segments = body.segments
    canal = body.canal.distance_mm(x, y, level) + segments.closing_mm("canal", level)
    sac = body.dural_sac.distance_mm(x, y, level) + segments.closing_mm("dural_sac", level)
    # Between the laminae, from the lower edge of one to the upper edge of the next; thickest at the disc.
    beside = np.abs(level - np.rint(level))
    flavum = body.along(templates.FLAVUM_MM, level) * np.clip(1.4 - 2.2 * beside, 0.25, 1)
    flavum = flavum - segments.closing_mm("ligamentum_flavum", level)
    canvas.paint("ligament", np.maximum(canal - flavum, 7 - y), window, label="ligamentum_flavum", fat=0.08)
    foramen = np.where((beside < 0.3) & (level < 5.5), 0.0, 9.0)
    for side in SIDES.values():
        nerve = capsule_mm(x, y, (side * 16.5, 0.0), (side * 21.5, -1.0), (2.6, 3.0))
        canvas.paint("nerve", np.maximum(nerve, foramen), window)
        # The first sacral root has left the sac and lies in the fat beside it.
        sacral = np.hypot(x - side * 8.6, y - 4.0) - 2.2
        canvas.paint("nerve", np.where((level > 4.3) & (level < 6), sacral, 9), window)
    canvas.paint("connective", canal, window, label="epidural_space", fat=0.85)
    sac = np.maximum(sac, canal + 0.3)
    canvas.paint("ligament", sac, window, label="dural_sac")
    canvas.paint("csf", sac + 0.5, window)
    _paint_nerves(canvas, body, window, sac)


def _paint_nerves(canvas: Canvas, body: Body, window: Window, sac: Float[Array, "h w"]) -> None:
    """The cord down to its conus, then roots that sink to the back of the sac of a patient who lies on it."""
    x, y, level = canvas.x[window], canvas.y[window], canvas.level[window]
    across, back = body.dural_sac.centre_at(level)
    radius = np.sqrt(body.along(body.patient.area_mm2["dural_sac"], level) / np.pi)
    distance = np.full_like(sac, 9.0)
    for number, (to_side, to_back) in enumerate(body.roots):
        root = np.hypot(x - across - to_side * 0.42 * radius, y - back - (0.32 + 0.26 * to_back) * radius) - 0.75
        leaves = 1.5 + (len(body.roots) - 1 - number) * 0.36  # a root leaves the sac at its level
        distance = np.minimum(distance, np.where(level < leaves, root, 9))
    canvas.paint("nerve", np.maximum(distance, sac + 0.7), window, edge_mm=0.5, strength=0.85)
    above = (body.patient.skeleton.conus_level - level) * 35  # mm above the tip
    thick = np.clip(above / 25, 0, 1) ** 0.6
    cord = np.hypot((x - across) / 1.25, y - back - 0.1 * radius) - 4.2 * thick
    canvas.paint("cord", np.maximum(np.where(above > 0, cord, 9), sac + 0.7), window)
    # Moving CSF loses its signal in patches.
    void = 0.5 * np.clip(canvas.field(body.blob)[window] - 1.1, 0, 1)
    canvas.paint("flow_void", sac + 1.5, window, strength=void)


def paint_column(canvas: Canvas, body: Body) -> None:
    """Discs between vertebral bodies: annulus outside, nucleus inside; cortex outside, marrow inside."""
    window = canvas.around(*body.disc.centre_at(canvas.level), body.disc.reach_mm)
    x, y, level = canvas.x[window], canvas.y[window], canvas.level[window]
    if not x.size:
        return
    segments, skeleton = body.segments, body.patient.skeleton
    nearest = segments.index_of(level)
    narrowing = segments.narrowing_mm(level)
    disc_height, half = _heights(body, level, y, nearest)
    # A vertebral body has a waist; the sacrum narrows downward, behind as far as the canal goes.
    waist = 1.6 * skeleton.scale * np.sin(np.pi * np.clip(np.abs(disc_height) - half, 0, 14) / 28) * (level < 6)
    bone = body.disc.distance_mm(x, y - narrowing if segments.arches else y, level)
    bone = bone + np.where(np.abs(disc_height) > half, waist, 0) + narrowing
    disc = np.maximum(bone, np.abs(disc_height) - half)
    canvas.paint("cortex", bone, window, label=segments.vertebra_at(level))
    marrow = np.maximum(bone + 1.2, _ENDPLATE_MM + half - np.abs(disc_height))
    canvas.paint("marrow", marrow, window, fat=0.4)
    _paint_modic(canvas, body, window, marrow, segments.modic[nearest])
    wet = segments.hydration[nearest].astype(np.float32)
    canvas.paint("annulus", disc, window, label=segments.disc_ids[nearest])
    canvas.paint("inner_annulus", np.maximum(bone + 3.5, disc + 1.0), window, edge_mm=4.0, strength=0.8)
    spread = canvas.field(body.patch)[window]
    nucleus = np.maximum(bone + 8.5 - 1.5 * wet + 1.2 * spread, disc + 1.0)
    canvas.paint("wet_nucleus", nucleus, window, edge_mm=6.0, strength=np.clip(wet + 0.1 * spread, 0, 1))
    canvas.paint("dry_nucleus", nucleus, window, edge_mm=6.0, strength=0.5 * (1 - wet))


def _heights(
    body: Body, level: Float[Array, "h w"], y: Float[Array, "h w"], nearest: Array
) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """Height above the nearest disc's middle and half the height of that disc, mm, at every pixel.

    The endplate above a wedged vertebra has sunk in front.
    """
    segments = body.segments
    above = level < segments.first + nearest
    gap = segments.gap_mm[np.clip(np.where(above, nearest - 1, nearest), 0, len(segments.gap_mm) - 1)]
    height = (segments.first + nearest - level) * gap
    ahead = np.clip(-y / body.along(-body.disc_front_mm, level), 0, 1)
    half = body.disc_half_mm(segments.disc_height_mm[nearest], ahead)
    return height.astype(np.float32), (half + np.where(height < 0, segments.sunk_mm[nearest] * ahead, 0)).astype(
        np.float32
    )


def _paint_modic(canvas: Canvas, body: Body, window: Window, marrow: Float[Array, "h w"], modic: Array) -> None:
    """Bands of changed marrow beside some discs, with a ragged border."""
    if not modic.any():
        return
    band = np.clip(-marrow, 0, None) - _MODIC_MM - 2.5 * canvas.field(body.patch)[window]
    for kind in np.unique(modic[modic > 0]):
        distance = np.where(modic == kind, np.maximum(band, marrow), 9.0)
        tissue, fat = (_MODIC_TISSUES[kind], 0.1) if kind in _MODIC_TISSUES else ("marrow", 0.8)
        canvas.paint(tissue, distance, window, fat=fat, edge_mm=3.0, strength=0.85)
