"""Models of spines of rectangles: learned, fitted, with structures missing, and refused."""

import numpy as np
import pytest

from models.shape_model.learning import learn
from models.shape_model.spine_line import spine_line
from tests.made.spine_shapes import NAMES, SIZE, SPACING_MM, drawn, settings, spines, structures


@pytest.fixture(scope="module")
def model():
    return learn(spines(range(12)), NAMES, settings())


def dice(model, picture, mask, centres, names=NAMES):
    """Of every structure; NaN where nobody has it."""
    parts = structures(names)
    found = parts.mask(model.fit(picture, centres) / np.array(SPACING_MM[::-1]), SIZE)
    both = [(found == number, mask == number) for number in parts.classes]
    sums = np.array([(a.sum() + b.sum(), 2 * (a & b).sum()) for a, b in both], float)
    return np.divide(sums[:, 1], sums[:, 0], out=np.full(len(sums), np.nan), where=sums[:, 0] > 0)


def centres_of(picture, mask, names=NAMES):
    return structures(names).spine(picture, mask, 64).centres


def test_a_new_spine_is_found_from_its_centres(model):
    for seed in range(100, 105):
        picture, mask = drawn(seed)
        assert dice(model, picture, mask, centres_of(picture, mask)).min() > 0.9


def test_the_search_corrects_centres_that_are_off(model):
    picture, mask = drawn(100)
    centres = centres_of(picture, mask) + np.random.default_rng(0).normal(0, 1.5, (len(NAMES), 2))
    begun = learn(spines(range(12)), NAMES, settings(num_iterations=0))
    assert dice(model, picture, mask, centres).mean() > dice(begun, picture, mask, centres).mean() + 0.03


def test_a_structure_without_a_key_point_is_not_drawn_and_the_others_are(model):
    picture, mask = drawn(101, without=("L1/2",))
    centres = centres_of(picture, mask)
    assert np.isnan(centres[1]).all()
    contours = model.fit(picture, centres)
    assert np.isnan(contours[1]).all()
    scores = dice(model, picture, mask, centres)
    assert np.isnan(scores[1])
    assert np.nanmin(scores) > 0.85


def test_a_single_key_point_gives_a_structure_of_the_usual_size(model):
    picture, mask = drawn(102)
    centres = centres_of(picture, mask)
    centres[[0, 1, 3, 4]] = np.nan
    scores = dice(model, picture, mask, centres)
    assert scores[2] > 0.85
    assert (scores[[0, 1, 3, 4]] == 0).all()
    assert np.isnan(model.fit(picture, np.full_like(centres, np.nan))).all()


def test_vertebrae_without_discs_are_a_spine_too():
    names = ("L1", "L2", "L3")

    def told(seed):
        picture, mask = drawn(seed)
        return picture, np.select([mask == 1, mask == 3, mask == 5], [1, 2, 3], 0).astype(np.uint8)

    parts = structures(names)
    model = learn([parts.spine(*told(seed), 64) for seed in range(12)], names, settings())
    assert {(space.source, space.target) for space in model.spaces} == {(0, 1), (1, 0), (1, 2), (2, 1)}
    picture, mask = told(103)
    assert dice(model, picture, mask, centres_of(picture, mask, names), names).min() > 0.9


def test_the_last_structure_has_one_neighbour(model):
    assert [space.target for space in model.spaces if space.source == len(NAMES) - 1] == [len(NAMES) - 2]


def test_a_structure_that_no_training_mask_has_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^L2/3: whole in fewer than 2 of 4 training masks.*give more"):
        learn(spines(range(4), without=("L2/3",)), NAMES, settings())


def test_a_structure_that_some_cases_lack_is_learned_from_the_others(model):
    some = learn([*spines(range(6)), *spines(range(6, 12), without=("L2/3",))], NAMES, settings())
    picture, mask = drawn(104)
    assert dice(some, picture, mask, centres_of(picture, mask)).min() > 0.9


def test_the_same_input_gives_the_same_contours(model):
    picture, mask = drawn(105)
    centres = centres_of(picture, mask)
    again = learn(spines(range(12)), NAMES, settings())
    np.testing.assert_array_equal(model.fit(picture, centres), again.fit(picture, centres))


def test_the_line_of_a_spine_leads_to_the_feet_over_gaps():
    centres = np.stack([np.zeros(5), np.arange(5) * 17.0], axis=1)
    centres[2] = np.nan
    tangents, steps_mm = spine_line(centres)
    known = [0, 1, 3, 4]
    np.testing.assert_allclose(tangents[known], [[0, 1]] * 4, atol=1e-9)
    np.testing.assert_allclose(steps_mm[known], 17)
    assert np.isnan(steps_mm[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_points": 30}, r"num_points is 30, expected a multiple of four"),
        ({"variance_share": 1.2}, r"variance_share is 1.2, expected a number above 0 and up to 1"),
        ({"num_iterations": -1}, r"num_iterations and model.num_samples are -1"),
        ({"search_mm": 0.0}, r"search_mm is 0.0, expected a number above 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)
