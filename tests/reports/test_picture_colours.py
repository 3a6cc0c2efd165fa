"""Colours that the red-green blind can tell, and what every picture of a slice bears."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from callbacks.terminal import print_summary
from pictures.marks import mark_bar, mark_sides
from reports.plots.style import published_rows, row_styles
from tests.conftest import ROOT

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
SEEN_BY = {
    "everybody": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
LEAST = 10.0


def lab(colour: str, eye: str) -> np.ndarray:
    """CIE L*a*b* (D65) of a colour as somebody sees it."""
    red_green_blue = np.array(to_rgb(colour))
    linear = np.where(red_green_blue <= 0.04045, red_green_blue / 12.92, ((red_green_blue + 0.055) / 1.055) ** 2.4)
    ratio = TO_XYZ @ np.clip(SEEN_BY[eye] @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """CIEDE2000 of two colours (Sharma, Wu and Dalal 2005)."""
    mean_chroma = (np.hypot(*one[1:]) + np.hypot(*other[1:])) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7)))
    (l1, a1, b1), (l2, a2, b2) = (colour * (1, stretch, 1) for colour in (one, other))
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180
    hue = (h1 + turn / 2) % 360
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * np.cos(np.radians(hue - 30)) + 0.24 * np.cos(np.radians(2 * hue))
    t += 0.32 * np.cos(np.radians(3 * hue + 6)) - 0.2 * np.cos(np.radians(4 * hue - 63))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    rotation *= np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    parts = (
        (l2 - l1) / (1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)),
        (c2 - c1) / (1 + 0.045 * chroma),
        2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t),
    )
    return float(np.sqrt(sum(part**2 for part in parts) + rotation * parts[1] * parts[2]))


def test_the_difference_is_that_of_the_published_pairs():
    """Sharma et al., Table 1, pairs 1, 7 and 17."""
    pairs = {
        2.0425: ((50, 2.6772, -79.7751), (50, 0, -82.7485)),
        2.3669: ((50, 0, 0), (50, -1, 2)),
        27.1492: ((50, 2.5, 0), (73, 25, -18)),
    }
    for expected, (one, other) in pairs.items():
        assert difference(np.array(one, float), np.array(other, float)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "anatomy").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("eye", SEEN_BY)
def test_any_two_structures_of_an_anatomy_are_told_apart(path, eye):
    colours = dict(OmegaConf.load(path).colours)
    near = {
        pair: found
        for pair in combinations(colours, 2)
        if (found := difference(*(lab(colours[name], eye) for name in pair))) < LEAST
    }
    assert not near


@pytest.mark.parametrize(("view", "edges"), [("axial", ["R", "L"]), ("sagittal", ["A", "P"])])
def test_a_picture_bears_sides_and_a_bar_of_its_length(view, edges):
    axis = Figure().subplots()
    axis.set(xlim=(10, 90), ylim=(60, 0))
    mark_sides(axis, view)
    mark_bar(axis, 0.5, 20.0)
    assert [text.get_text() for text in axis.texts] == [*edges, "20 mm"]
    assert axis.texts[0].get_position()[0] < 0.5 < axis.texts[1].get_position()[0]
    for line in axis.get_lines():
        assert np.ptp(line.get_xdata()) * 0.5 == pytest.approx(20)
    assert axis.get_xlim() == (10, 90)


def test_a_method_keeps_its_colour_whichever_rows_are_there():
    everything = row_styles(published_rows())
    for rows in (["bs_esnet"], ["unet", "bs_esnet"], ["mine", "bs_esnet", "unet"]):
        styles = row_styles(rows)
        assert {row: styles[row] for row in rows if row != "mine"} == {
            row: everything[row] for row in rows if row != "mine"
        }
        assert len({style.colour for style in styles.values()}) == len(rows)


def test_a_run_ends_with_percent(tmp_path, capsys):
    scores = {"disc": 0.9254, "mean": 0.9254}
    test = {"num_patients": 2, "num_slices": 8, "num_missed": 0, "num_false_alarms": 0, "num_absent": 0}
    test |= {"dice": scores, "box_iou": {"disc": None, "mean": None}, "hd95_mm": {"disc": 3.14, "mean": 3.14}}
    print_summary({"test": test}, ["disc"], tmp_path)
    printed = capsys.readouterr().out
    assert "Dice %" in printed
    assert printed.count("92.5") == 2
    assert "0.92" not in printed
