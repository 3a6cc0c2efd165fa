"""Contact sheets: phantom slices with and without contours, and beside real scans of the same size and windowing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.phantom_scans import Scan, phantom_scans, real_scans, whole_scans

NUM_SHOWN = 4  # patients of each sheet
AXIAL_FIELD_MM = (170.0, 190.0)  # rows, columns
SAGITTAL_FIELD_MM = (220.0, 180.0)
WHOLE_FIELD_MM = (340.0, 400.0)
WINDOW_PERCENTILES = (1.0, 99.5)  # of what is shown
PANEL_INCHES = 2.2
LABELLED = -1  # instead of a channel: the structures themselves
Panel = tuple[str, Scan, int, bool]  # title, slice, channel, with contours


def write_sheets(target: Path, folder: Path, real: Path | None) -> list[Path]:
    """Draws phantom_axial.jpg, axial_dixon.jpg and sagittal.jpg, whole_axial.jpg and whole_sagittal.jpg.

    Args:
        target: Folder of the pictures.
        folder: Where phantoms are written.
        real: Folder with real cohorts to show beside; None: the phantom alone.
    """
    target.mkdir(parents=True, exist_ok=True)
    sheets = {
        "phantom_axial": (_axial_rows(folder), AXIAL_FIELD_MM),
        "axial_dixon": (_dixon_rows(folder, real), AXIAL_FIELD_MM),
        "sagittal": (_sagittal_rows(folder, real), SAGITTAL_FIELD_MM),
        "whole_axial": (_whole_axial_rows(folder, real), WHOLE_FIELD_MM),
        "whole_sagittal": (_whole_sagittal_rows(folder, real), WHOLE_FIELD_MM),
    }
    paths = []
    for name, (rows, field_mm) in sheets.items():
        paths.append(target / f"{name}.jpg")
        draw_sheet(rows, field_mm).savefig(paths[-1], dpi=110, pil_kwargs={"quality": 88})
    return paths


def draw_sheet(rows: Sequence[Sequence[Panel]], field_mm: tuple[float, float]) -> Figure:
    """A figure of equally large panels that all show the same millimetres."""
    num_columns = max(len(row) for row in rows)
    height = PANEL_INCHES * field_mm[0] / field_mm[1]
    size = (PANEL_INCHES * num_columns, (height + 0.2) * len(rows) + 0.6)
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), num_columns, squeeze=False)
    for row, places in zip(rows, axes, strict=True):
        for axis in places[len(row) :]:
            axis.set_axis_off()
        for (title, scan, channel, contours), axis in zip(row, places, strict=False):
            _draw(axis, scan, channel, contours, field_mm)
            axis.set_title(title, fontsize=7, pad=2)
    named = {name: colour for row in rows for panel in row if panel[3] for name, colour in _colours(panel[1]).items()}
    if named:
        patches = [Patch(color=colour, label=name.replace("_", " ")) for name, colour in named.items()]
        figure.legend(handles=patches, loc="lower center", ncols=5, fontsize=7, frameon=False)
    figure.subplots_adjust(
        left=0.005,
        right=0.995,
        top=1 - 0.2 / size[1],
        bottom=(0.5 if named else 0.05) / size[1],
        wspace=0.02,
        hspace=0.2 / height,
    )
    return figure


def _axial_rows(folder: Path) -> list[list[Panel]]:
    """Two rows per patient: the levels as they are, and with contours."""
    scans = phantom_scans("phantom, axial T2", "axial9", folder)
    rows = []
    for patient in _first(scans):
        levels = [scan for scan in scans if scan.patient == patient]
        rows += [[(f"{patient}, {scan.level}", scan, 0, contours) for scan in levels] for contours in (False, True)]
    return rows


def _dixon_rows(folder: Path, real: Path | None) -> list[list[Panel]]:
    """Water and fat of a phantom patient and of each volunteer, from upper to lower levels."""
    scans = phantom_scans("phantom, axial Dixon", "axial_muscle4", folder)
    return _water_and_fat("phantom", scans) + _dixon_volunteers(real)


def _dixon_volunteers(real: Path | None) -> list[list[Panel]]:
    return [] if real is None else _water_and_fat("real", real_scans("real, axial Dixon", real))


def _water_and_fat(source: str, scans: Sequence[Scan]) -> list[list[Panel]]:
    rows: list[list[Panel]] = []
    for patient in _first(scans)[:2]:
        slices = [scan for scan in scans if scan.patient == patient]
        places = np.linspace(0.1, 0.9, NUM_SHOWN) * (len(slices) - 1)
        shown = [slices[place] for place in np.unique(places.round().astype(int))]
        for channel, contrast in enumerate(("water", "fat")):
            title = f"{source}, {contrast}, {patient}"
            rows.append([(f"{title} {scan.level}".strip(), scan, channel, False) for scan in shown])
    return rows


def _sagittal_rows(folder: Path, real: Path | None) -> list[list[Panel]]:
    """Mid-sagittal slices of the same phantom patients in T2, T1 and water, and real ones, with contours once each."""
    rows: list[list[Panel]] = []
    for contrast, title in (("T2", "T2"), ("T1", "T1"), ("Dixon", "water")):
        scans = phantom_scans(f"phantom, sagittal {contrast}", "vertebrae5", folder)[:NUM_SHOWN]
        for contours in (False, True) if contrast == "Dixon" else (False,):
            rows.append([(f"phantom, {title}, {scan.patient}", scan, 0, contours) for scan in scans])
    if real is not None:
        scans = real_scans("real, sagittal T1", real)[:NUM_SHOWN]
        rows += [[(f"real, T1, {scan.patient}", scan, 0, contours) for scan in scans] for contours in (False, True)]
    return rows


def _whole_axial_rows(folder: Path, real: Path | None) -> list[list[Panel]]:
    """Whole cross-sections from upper to lower in T2 and as water and fat, with the structures once, and volunteers."""
    rows: list[list[Panel]] = []
    for contrast, channels in (("T2", ("T2",)), ("dixon", ("water", "fat"))):
        scans = whole_scans("phantom, whole axial", 2, folder, contrast=contrast, slices_per_level=1)
        for patient in _first(scans):
            shown = [scan for scan in scans if scan.patient == patient]
            shown = [shown[place] for place in (0, 2, 4, 5)]
            for channel, name in enumerate(channels):
                title = f"phantom, {name}, {patient}"
                rows.append([(f"{title}, {scan.level}", scan, channel, False) for scan in shown])
            if contrast == "T2":
                rows.append([(f"{patient}, {scan.level}, labels", scan, LABELLED, False) for scan in shown])
    return rows + _dixon_volunteers(real)


def _whole_sagittal_rows(folder: Path, real: Path | None) -> list[list[Panel]]:
    """Middle slices of whole bodies in T2 and T1 with the structures once, and real ones of either contrast."""
    rows: list[list[Panel]] = []
    for contrast in ("T2", "T1"):
        scans = whole_scans("phantom, whole sagittal", NUM_SHOWN, folder, contrast=contrast)[:NUM_SHOWN]
        rows.append([(f"phantom, {contrast}, {scan.patient}", scan, 0, False) for scan in scans])
        if contrast == "T2":
            rows.append([(f"{scan.patient}, labels", scan, LABELLED, False) for scan in scans])
        if real is not None:
            scans = real_scans(f"real, sagittal {contrast}", real)
            first = [next(scan for scan in scans if scan.patient == patient) for patient in _first(scans)]
            rows.append([(f"real, {contrast}, {scan.patient}", scan, 0, False) for scan in first])
    return rows


def _first(scans: Sequence[Scan]) -> list[str]:
    """Names of the patients that are shown."""
    return list(dict.fromkeys(scan.patient for scan in scans))[:NUM_SHOWN]


def _colours(scan: Scan) -> dict[str, str]:
    return {name: scan.anatomy.colours[name] for name in scan.anatomy.structures}


def _tints(scan: Scan) -> np.ndarray:
    """A colour per class, neighbouring ids far apart, black for background."""
    number = np.arange(scan.anatomy.num_classes)
    hue = np.stack([(number * 0.618) % 1, 0.45 + 0.4 * (number % 3) / 2, 0.95 - 0.3 * (number % 2)], axis=1)
    return hsv_to_rgb(hue) * (number > 0)[:, None]


def _draw(axis: Any, scan: Scan, channel: int, contours: bool, field_mm: tuple[float, float]) -> None:
    """One panel, centred on the structures; beyond the image it stays black."""
    rows, columns = np.nonzero(scan.mask)
    middle = (np.array([np.ptp(rows), np.ptp(columns)]) / 2 + (rows.min(), columns.min())).tolist()
    half = [side / 2 / spacing for side, spacing in zip(field_mm, scan.spacing_mm, strict=True)]
    low = [max(0, round(centre - reach)) for centre, reach in zip(middle, half, strict=True)]
    high = [round(centre + reach) for centre, reach in zip(middle, half, strict=True)]
    shown = scan.image[channel, low[0] : high[0], low[1] : high[1]]
    dark, bright = np.percentile(shown, WINDOW_PERCENTILES)
    axis.set(xticks=[], yticks=[], facecolor="black")
    aspect = scan.spacing_mm[0] / scan.spacing_mm[1]
    if channel == LABELLED:
        axis.imshow(_tints(scan)[scan.mask], aspect=aspect, interpolation="nearest")
    else:
        axis.imshow(scan.image[channel], cmap="gray", vmin=dark, vmax=bright, aspect=aspect)
    if contours:
        for number, colour in enumerate(_colours(scan).values(), start=1):
            inside = scan.mask == number
            if inside.any():
                axis.contour(inside, levels=[0.5], colors=[colour], linewidths=0.8)
    axis.set(xlim=(middle[1] - half[1], middle[1] + half[1]), ylim=(middle[0] + half[0], middle[0] - half[0]))
