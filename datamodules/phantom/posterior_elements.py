"""The vertebral arches: pedicles, laminae with the spinous process, articular and transverse processes."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom import templates
from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas, Window
from datamodules.phantom.patient import SIDES
from datamodules.phantom.surface import capsule_mm

Array = np.ndarray
_CORTEX_MM, _ROUND_MM = 1.5, 2.5
_SEGMENT_MM = 36.0  # turns level coordinates into millimetres of height
# How far parts of an arch reach, as level coordinate below the disc above their vertebra.
_PEDICLE, _TRANSVERSE, _LAMINA, _SPINOUS, _SUPERIOR = (0.16, 0.5), (0.26, 0.46), (0.45, 1.2), (0.52, 1.12), (-0.2, 0.3)
_SACRAL, _LAST_ARCH = 5, 8  # discs above S1 and S4
_FACET_TURN = (0.0, 0.1, 0.25, 0.45, 0.75, 1.0, 1.0)  # joints turn from sagittal to coronal


def paint_arches(canvas: Canvas, body: Body) -> None:
    """The midline ligament, then the arch of every vertebra that the plane meets."""
    window = canvas.around(0.0, 25.0, 48.0)
    x, y, level = canvas.x[window], canvas.y[window], canvas.level[window]
    if not x.size:
        return
    apex = _apex(body, level)
    fascia = body.along(body.fascia_mm, level)
    midline = capsule_mm(x, y, (0, apex), (0, fascia), (2.6, 1.6)) + body.segments.closing_mm("midline", level)
    canvas.paint("ligament", midline, window, fat=0.35, edge_mm=2.0)
    # By the disc above each vertebra. Its laminae reach below the next disc, its joints above the first.
    last = _LAST_ARCH if body.segments.arches else np.inf
    for above in range(int(np.floor(level.min())) - 1, int(min(np.ceil(level.max()), last)) + 1):
        part = canvas.window(
            (np.abs(canvas.x) < 50) & (canvas.y > -25) & (canvas.y < 75) & (np.abs(canvas.level - above - 0.5) < 0.85)
        )
        if part[0].stop > part[0].start:
            _paint_arch(canvas, body, part, above)


def _apex(body: Body, level: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """How far behind the disc the laminae meet."""
    back = body.along(body.canal_back_mm, level) + body.along(templates.FLAVUM_MM, level) * 0.7 + 3.2
    return back - body.segments.closing_mm("arch", level)


def _paint_arch(canvas: Canvas, body: Body, window: Window, above: int) -> None:
    """The arch of the vertebra below disc `above`; at the next disc its laminae meet the processes of the next one."""
    x, y, level = canvas.x[window], canvas.y[window], canvas.level[window]
    bone, descent = body.patient.skeleton.scale, level - above
    apex, facet = _apex(body, level), body.along(_FACET_TURN, level)
    small = np.clip(1 - 0.4 * (level - 5.4), 0.5, 1)  # the median sacral crest is low
    tip = apex + body.along(templates.SPINOUS_MM, level) * bone * small
    spinous = capsule_mm(x, y, (0, apex), (0, tip), (2.9 * bone, 3.3 * bone))
    # It slopes downward and is lower at its root than at its tip.
    out = np.clip((y - apex) / np.maximum(tip - apex, 5), 0, 1)
    arch = _rounded(spinous, _beyond(descent - 0.12 * (out - 0.5), _SPINOUS) + 2.5 * (1 - out))
    for side in SIDES.values():
        foot = (side * (14.0 + 2.0 * facet) * bone, apex - 7.5 * bone)
        lamina = capsule_mm(x, y, (0, apex - 0.5), foot, (3.0 * bone, 4.2 * bone))
        arch = np.minimum(arch, _rounded(lamina, _beyond(descent, _LAMINA)))
        pedicle = capsule_mm(x, y, (side * 14.5 * bone, -8.0), (side * 16.5 * bone, 12.0), (4.0 * bone, 4.0 * bone))
        arch = np.minimum(arch, _rounded(pedicle, _beyond(descent, _PEDICLE)))
        transverse = capsule_mm(x, y, (side * 16 * bone, 7.0), (side * 36 * bone, 11.0), (4.0 * bone, 2.6 * bone))
        arch = np.minimum(arch, _rounded(transverse, _beyond(descent, _TRANSVERSE)))
        if body.segments.arches and above > _SACRAL:
            continue  # the vertebrae of the sacrum have grown together
        _paint_joint(canvas, window, side, bone, facet, foot, _beyond(descent, _SUPERIOR))
    canvas.paint("cortex", arch, window, label="sacrum" if body.segments.arches and above >= _SACRAL else "lamina")
    canvas.paint("marrow", arch + _CORTEX_MM, window, fat=0.5)


def _paint_joint(
    canvas: Canvas, window: Window, side: int, bone: float, facet: Array, foot: tuple, beyond: Float[Array, "h w"]
) -> None:
    """The superior articular process of one side and the cartilage between it and the lamina above."""
    x, y = canvas.x[window], canvas.y[window]
    process = (side * (17.5 + 4.0 * facet) * bone, (5.0 - 1.5 * facet) * bone)
    end = (process[0] + side * 3.0 * facet, process[1] + 7 - 3 * facet)
    superior = _rounded(capsule_mm(x, y, process, end, (4.2 * bone, 3.6 * bone)), beyond)
    canvas.paint("cortex", superior, window, label="articular_process")
    canvas.paint("marrow", superior + _CORTEX_MM, window, fat=0.45)
    inner = (foot[0] - side * (2.0 - 1.0 * facet), foot[1] - 4.6)
    outer = (foot[0] + side * (3.2 + 1.4 * facet), foot[1] + 2.8 - 3.0 * facet)
    canvas.paint("cartilage", np.maximum(capsule_mm(x, y, inner, outer, (0.9, 0.9)), beyond), window)


def _rounded(across: Float[Array, "h w"], along: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """What two distances have in common, its edges rounded."""
    a, b = across + _ROUND_MM, along + _ROUND_MM
    return np.hypot(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0) - _ROUND_MM


def _beyond(descent: Float[Array, "h w"], reach: tuple[float, float]) -> Float[Array, "h w"]:
    """Distance in mm above or below a part of the arch; negative at its height."""
    return (np.abs(descent - sum(reach) / 2) - (reach[1] - reach[0]) / 2) * np.float32(_SEGMENT_MM)
