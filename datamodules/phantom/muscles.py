"""Psoas, quadratus lumborum, erector spinae and multifidus with their fat."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas, Window
from datamodules.phantom.noise import Plane
from datamodules.phantom.patient import SIDES
from datamodules.phantom.surface import RadialSurface
from datamodules.phantom.templates import NUM_LEVELS

Array = np.ndarray
_SOFTNESS = 0.75  # of the edge of a streak, in standard deviations of the field: at 15 % fat, 8 % of pixels exceed half
_PURE = 0.92  # fat fraction of the fattest pixel
_TENDON_MM = 6.0  # a muscle that ends is not drawn below this mean radius
_PROBE_MM, _PROBE_SHAPE = 2.0, (72, 84)
_PROBE_CENTRE_MM = 18.0  # behind the disc


def paint_anterior(canvas: Canvas, body: Body) -> None:
    """Psoas and quadratus lumborum of both sides."""
    for side in SIDES:
        for muscle, surface in (("quadratus_lumborum", body.quadratus[side]), ("psoas", body.psoas[side])):
            window, distance = _muscle(canvas, body, surface, muscle)
            if not distance.size:
                continue
            field = _infiltration(canvas, body, window)
            fat = _fat(canvas, body, window, f"{muscle}_{side}", field)
            canvas.paint("muscle", distance, window, label=f"{muscle}_{side}", fat=fat)
            # The intermuscular septum that leads nerves through the psoas.
            if muscle == "psoas":
                canvas.paint("connective", np.abs(distance) - 0.35, window, fat=0.3, strength=0.4)


def paint_paraspinal(canvas: Canvas, body: Body) -> None:
    """The compartment behind the laminae: fat below the fascia, erector spinae in it, multifidus over both."""
    for side in SIDES:
        window, outside, erector, multifidus = _compartment(canvas, body, side)
        if not outside.size:
            continue
        canvas.paint("connective", outside, window, label="paraspinal_fat", fat=0.9)
        for muscle, distance in (("erector_spinae", erector), ("multifidus", multifidus)):
            field = _infiltration(canvas, body, window) + _focus(canvas, window, muscle, side, multifidus)
            fat = _fat(canvas, body, window, f"{muscle}_{side}", field)
            canvas.paint("muscle", distance, window, label=f"{muscle}_{side}", fat=fat)
        inward = canvas.x[window] * SIDES[side] - 4
        lateral = np.clip((inward - 5) / 4, 0, 1) * (outside < -1.5)
        _paint_fascia(canvas, body, window, outside, multifidus, lateral)


def _compartment(
    canvas: Canvas, body: Body, side: str
) -> tuple[Window, Float[Array, "h w"], Float[Array, "h w"], Float[Array, "h w"]]:
    """Distances from the fascia, from erector spinae and from multifidus of one side."""
    window, outside = _muscle(canvas, body, body.paraspinal[side], "paraspinal")
    where = canvas.x[window], canvas.y[window], canvas.level[window]
    multifidus = np.maximum(body.multifidus[side].distance_mm(*where), outside + 0.4)
    erector = body.erector[side].distance_mm(*where) + body.segments.closing_mm("paraspinal", where[2])
    return window, outside, erector, multifidus


def _paint_fascia(
    canvas: Canvas,
    body: Body,
    window: Window,
    outside: Float[Array, "h w"],
    multifidus: Float[Array, "h w"],
    lateral: Float[Array, "h w"],
) -> None:
    """The bright cleft lateral of multifidus, unless it has faded, and the dark fascia around the compartment."""
    contrast = body.along(body.patient.fascia_contrast, canvas.level[window])
    unbroken = np.clip(1.5 * contrast - 0.3 + 0.5 * canvas.field(body.patch)[window], 0, 1)
    cleft = np.abs(multifidus) - 0.1 - 0.7 * contrast
    canvas.paint("connective", cleft, window, fat=0.85, strength=lateral * unbroken)
    canvas.paint("ligament", np.abs(outside) - 0.45, window, strength=0.75)
    near = np.exp(-((multifidus / 4) ** 2)) * lateral * (1 - contrast)
    canvas.doubt[window] = np.maximum(canvas.doubt[window], near)


def _muscle(canvas: Canvas, body: Body, surface: RadialSurface, name: str) -> tuple[Window, Float[Array, "h w"]]:
    """Window and distance of a muscle; it is not drawn where it has thinned to a tendon."""
    window = canvas.around(*surface.centre_at(canvas.level), surface.reach_mm)
    level = canvas.level[window]
    distance = surface.distance_mm(canvas.x[window], canvas.y[window], level)
    distance = distance + body.segments.closing_mm(name, level)
    return window, np.where(surface.size_mm(level) < _TENDON_MM, 9, distance).astype(np.float32)


def _infiltration(canvas: Canvas, body: Body, window: Window) -> Float[Array, "h w"]:
    """Where fat goes first: along thin septa and into patches; about zero mean and unit variance."""
    septa = 1.2 * np.exp(-((canvas.field(body.streak)[window] / 0.4) ** 2))
    return 2.0 * septa + 0.7 * canvas.field(body.patch)[window] + 0.9 * canvas.field(body.region)[window]


def _focus(
    canvas: Canvas, window: Window, muscle: str, side: str, multifidus: Float[Array, "h w"]
) -> Float[Array, "h w"]:
    """Fat gathers in the deep medial part of multifidus, and in erector spinae beside it."""
    if muscle == "erector_spinae":
        return 1.8 * np.exp(-np.maximum(multifidus, 0) / 7)
    inward, backward = canvas.x[window] * SIDES[side] - 4, canvas.y[window] - 20
    return 4.0 * np.exp(-np.hypot(inward, 0.8 * backward) / 13)


def _fat(canvas: Canvas, body: Body, window: Window, name: str, field: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """Fat fraction that rises with the field and has the patient's mean in the muscle, at every level."""
    level = np.clip(canvas.level[window], 0, NUM_LEVELS - 1)
    first, last = int(np.floor(level.min())), int(np.ceil(level.max()))
    threshold = [_thresholds(body, disc)[name] for disc in range(first, last + 1)]
    return _PURE * _rise(field, np.interp(level, np.arange(first, last + 1), threshold))


def _thresholds(body: Body, disc: int) -> dict[str, float]:
    """Where the fat of each muscle begins in its field at the height of a disc; found once for every body.

    A function of the level alone, so that slices of any direction agree.
    """
    if disc not in body.fat_thresholds:
        canvas = Canvas.on(body, _probe(body, disc), points=True)
        everywhere, found = canvas.everywhere, {}
        field = _infiltration(canvas, body, everywhere)
        for side in SIDES:
            inside = {"psoas": body.psoas[side], "quadratus_lumborum": body.quadratus[side]}
            fields = {
                f"{muscle}_{side}": field[surface.distance_mm(canvas.x, canvas.y, canvas.level) < 0]
                for muscle, surface in inside.items()
            }
            window, _, erector, multifidus = _compartment(canvas, body, side)
            for muscle, rest in (
                ("erector_spinae", (erector < 0) & (multifidus > 0)),
                ("multifidus", multifidus < 0),
            ):
                fields[f"{muscle}_{side}"] = (field[window] + _focus(canvas, window, muscle, side, multifidus))[rest]
            found |= {name: _threshold(values, body.patient.fat[name][disc]) for name, values in fields.items()}
        body.fat_thresholds[disc] = found
    return body.fat_thresholds[disc]


def _probe(body: Body, disc: int) -> Plane:
    """A coarse plane through a disc."""
    tilt = body.spine.tilt_at(disc)
    down, across = np.array([0, np.cos(tilt), np.sin(tilt)]) * _PROBE_MM, np.array([_PROBE_MM, 0, 0])
    middle = body.spine.point(disc, 0.0, _PROBE_CENTRE_MM)
    rows, columns = _PROBE_SHAPE
    origin = middle - (rows - 1) / 2 * down - (columns - 1) / 2 * across
    return Plane(origin=origin, row_step=down, column_step=across, shape=_PROBE_SHAPE)


def _threshold(field: Float[Array, " n"], mean: float) -> float:
    """The threshold, found by bisection, at which a rising field has this mean; of a muscle that is absent: any."""
    low, high = -12.0, 12.0
    for _ in range(18 if len(field) else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if _PURE * _rise(field, middle).mean() > mean else (low, middle)
    return (low + high) / 2


def _rise(field: Float[Array, "*any"], threshold: Float[Array, "*any"] | float) -> Float[Array, "*any"]:
    return 1 / (1 + np.exp(np.clip((threshold - field) / _SOFTNESS, -30, 30)))
