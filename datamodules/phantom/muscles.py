"""Psoas, quadratus lumborum, erector spinae and multifidus with their fat."""

import numpy as np
from jaxtyping import Bool, Float

from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas, Window
from datamodules.phantom.patient import SIDES
from datamodules.phantom.surface import RadialSurface

Array = np.ndarray
_SOFTNESS = 0.75  # of the edge of a streak, in standard deviations of the field: 15 % fat is rarely a pixel above 50 %
_PURE = 0.92  # fat fraction of the fattest pixel
_TENDON_MM = 6.0  # a muscle that ends is not drawn below this mean radius


def paint_anterior(canvas: Canvas, body: Body) -> None:
    """Psoas and quadratus lumborum of both sides."""
    level = canvas.middle_level
    for side in SIDES:
        for muscle, surface in (("quadratus_lumborum", body.quadratus[side]), ("psoas", body.psoas[side])):
            if surface.size_mm(level) < _TENDON_MM:
                continue
            fat = body.at_level(body.patient.fat[f"{muscle}_{side}"], level)
            window, distance = _distance(canvas, surface)
            field = _infiltration(canvas, body, window)
            pattern = _match_mean(field, distance < 0, fat)
            canvas.paint("muscle", distance, window, label=f"{muscle}_{side}", fat=pattern)
            # The intermuscular septum that leads nerves through the psoas.
            if muscle == "psoas":
                canvas.paint("connective", np.abs(distance) - 0.35, window, fat=0.3, strength=0.4)


def paint_paraspinal(canvas: Canvas, body: Body) -> None:
    """The compartment behind the laminae: fat below the fascia, erector spinae in it, multifidus over both."""
    level = canvas.middle_level
    for side, sign in SIDES.items():
        window, outside = _distance(canvas, body.paraspinal[side])
        canvas.paint("connective", outside, window, label="paraspinal_fat", fat=0.9)
        _, erector = _distance(canvas, body.erector[side], window)
        _, multifidus = _distance(canvas, body.multifidus[side], window)
        multifidus = np.maximum(multifidus, outside + 0.4)
        inward, backward = canvas.x[window] * sign - 4, canvas.y[window] - 20
        deep = np.exp(-np.hypot(inward, 0.8 * backward) / 13)
        medial = np.exp(-np.maximum(multifidus, 0) / 7)
        for muscle, distance, rest in (
            ("erector_spinae", erector, (erector < 0) & (multifidus > 0)),
            ("multifidus", multifidus, multifidus < 0),
        ):
            fat = body.at_level(body.patient.fat[f"{muscle}_{side}"], level)
            focus = 4.0 * deep if muscle == "multifidus" else 1.8 * medial
            pattern = _match_mean(_infiltration(canvas, body, window) + focus, rest, fat)
            canvas.paint("muscle", distance, window, label=f"{muscle}_{side}", fat=pattern)
        lateral = np.clip((inward - 5) / 4, 0, 1) * (outside < -1.5)
        _paint_fascia(canvas, body, window, outside, multifidus, lateral)


def _paint_fascia(
    canvas: Canvas,
    body: Body,
    window: Window,
    outside: Float[Array, "h w"],
    multifidus: Float[Array, "h w"],
    lateral: Float[Array, "h w"],
) -> None:
    """The bright cleft lateral of multifidus, unless it has faded, and the dark fascia around the compartment."""
    contrast = body.at_level(body.patient.fascia_contrast, canvas.middle_level)
    unbroken = np.clip(1.5 * contrast - 0.3 + 0.5 * canvas.field(body.patch)[window], 0, 1)
    cleft = np.abs(multifidus) - 0.1 - 0.7 * contrast
    canvas.paint("connective", cleft, window, fat=0.85, strength=lateral * unbroken)
    canvas.paint("ligament", np.abs(outside) - 0.45, window, strength=0.75)


def _distance(
    canvas: Canvas, surface: RadialSurface, window: Window | None = None
) -> tuple[Window, Float[Array, "h w"]]:
    if window is None:
        window = canvas.window(surface.centre_at(canvas.middle_level), surface.reach_mm)
    return window, surface.distance_mm(canvas.x[window], canvas.y[window], canvas.level[window])


def _infiltration(canvas: Canvas, body: Body, window: Window) -> Float[Array, "h w"]:
    """Where fat goes first: along thin septa and into patches; about zero mean and unit variance."""
    septa = 1.2 * np.exp(-((canvas.field(body.streak)[window] / 0.4) ** 2))
    return 2.0 * septa + 0.7 * canvas.field(body.patch)[window] + 0.9 * canvas.field(body.region)[window]


def _match_mean(field: Float[Array, "h w"], inside: Bool[Array, "h w"], mean: float) -> Float[Array, "h w"]:
    """Fat fraction that rises with the field and has a given mean inside.

    The threshold is found by bisection, on every third pixel.
    """
    sample = field[inside][::3]
    if not len(sample):
        return np.full_like(field, mean)
    low, high = -12.0, 12.0
    for _ in range(18):
        middle = (low + high) / 2
        low, high = (middle, high) if _PURE * _rise(sample, middle).mean() > mean else (low, middle)
    return _PURE * _rise(field, (low + high) / 2)


def _rise(field: Float[Array, "*any"], threshold: float) -> Float[Array, "*any"]:
    return 1 / (1 + np.exp(np.clip((threshold - field) / _SOFTNESS, -30, 30)))
