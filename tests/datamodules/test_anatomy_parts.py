import pytest

from datamodules.anatomy import Anatomy


def anatomy(view, structures, **options):
    colours = dict.fromkeys(structures, "#000000")
    return Anatomy(name="mine", view=view, structures=structures, colours=colours, **options)


def test_labels_follow_the_parts():
    muscles = anatomy(
        "axial", ["disc", "lean", "aorta"], parts={"disc": ["L3/4", "L4/5"], "lean": ["m_left", "m_right"]}
    )
    drawn = {"L3/4": 1, "L4/5": 2, "m_left": 3, "m_right": 4, "aorta": 5, "skin": 6}
    assert muscles.labels_from(drawn) == {1: "disc", 2: "disc", 3: "lean", 4: "lean", 5: "aorta", 6: None}
    with pytest.raises(ValueError, match="the cohort does not draw m_right, aorta; it draws"):
        muscles.labels_from({"L3/4": 1, "L4/5": 2, "m_left": 3})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"heart": ["left", "right"]}, "parts are given of unknown heart; structures are a, b"),
        ({"a": []}, "parts of a are no list"),
        ({"a": "left"}, "parts of a are no list"),
        ({"a": ["x"], "b": ["x", "y"]}, "x belongs to two structures"),
        ({"a": ["a", "b"]}, "b belongs to two structures"),
    ],
)
def test_impossible_parts_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        anatomy("axial", ["a", "b"], parts=parts)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({"rib": ["a"]}, "series is given of rib; expected vertebra, disc"),
        ({"vertebra": ["a", "T12"]}, "series names unknown T12; structures are a, b"),
        ({"vertebra": ["a", "b"], "disc": ["b"]}, "b has two places in series"),
    ],
)
def test_impossible_series_are_refused(series, message):
    with pytest.raises(ValueError, match=message):
        anatomy("sagittal", ["a", "b"], series=series)
