"""Thresholds, Dixon fractions and the correction of shading, against values worked out elsewhere."""

import numpy as np
import pytest
from hydra.utils import instantiate

from metrics.bias_field import BiasFieldCorrection
from metrics.dixon import SpinEcho, fat_picture, signal_fraction
from metrics.fat_threshold import GaussianMixture, KMeans, Otsu, separation
from tests.conftest import ROOT
from tests.made.muscle_slices import morphometry, picture, rows_by_side, sampled

CONF = ROOT / "conf" / "morphometry"
ALGORITHMS = [Otsu(), KMeans(2), KMeans(3), GaussianMixture(2), GaussianMixture(3)]


def two_tissues(share: float = 0.2, num_pixels: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(0)
    fat = round(share * num_pixels)
    return np.concatenate([rng.normal(100, 10, num_pixels - fat), rng.normal(400, 40, fat)])


def best_split(values: np.ndarray) -> float:
    """Share above the split with the largest variance between the classes, by trying all of them."""
    ordered, size = np.sort(values), len(values)
    low = np.arange(1, size)
    means = np.cumsum(ordered)[:-1] / low, np.cumsum(ordered[::-1])[:-1][::-1] / (size - low)
    return 1 - low[(low * (size - low) * (means[0] - means[1]) ** 2).argmax()] / size


@pytest.mark.parametrize("algorithm", [Otsu(), KMeans(2)], ids=str)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_otsu_and_two_means_find_the_best_split(algorithm, share):
    values = two_tissues(share)
    assert (values > algorithm(values)).mean() == pytest.approx(best_split(values), abs=2e-3)


@pytest.mark.parametrize("algorithm", [Otsu(), GaussianMixture(2), KMeans(2)], ids=str)
def test_two_plain_tissues_are_told_apart(algorithm):
    values = two_tissues()
    assert (values > algorithm(values)).mean() == pytest.approx(0.2, abs=5e-3)


@pytest.mark.parametrize("algorithm", [GaussianMixture(3), KMeans(3)], ids=str)
def test_of_three_tissues_the_brightest_is_fat(algorithm):
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(m, 12, n) for m, n in ((100, 3000), (250, 500), (400, 500))])
    assert (values > algorithm(values)).mean() == pytest.approx(0.125, abs=5e-3)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_threshold_is_the_same_every_time_and_moves_with_the_intensities(algorithm):
    values = two_tissues()
    assert algorithm(values) == algorithm(values)
    assert algorithm(2 * values + 50) == pytest.approx(2 * algorithm(values) + 50, rel=1e-2)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_equal_intensities_have_no_threshold(algorithm):
    assert np.isnan(algorithm(np.full(100, 3.0)))


def test_separation_of_known_distributions():
    rng = np.random.default_rng(0)
    assert separation(rng.normal(0, 1, 200_000), 0.0) == pytest.approx(2.65, abs=0.02)  # 2 m / sqrt(1 - m^2), m = E|x|
    assert separation(np.linspace(0, 1, 10_001), 0.5) == pytest.approx(np.sqrt(12), abs=1e-2)
    assert separation(np.array([1.0, 1.0, 4.0]), 2.0) == np.inf
    assert np.isnan(separation(np.array([1.0, 2.0]), 5.0))


@pytest.mark.parametrize("path", sorted((CONF / "fat").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_fat_method_of_the_folder_is_called_by_its_file_and_measures(composed, path):
    if path.stem == "threshold":
        pytest.skip("what the thresholds share")
    anatomy = "muscle_fat" if path.stem == "learned" else "axial9"
    method = instantiate(composed(f"anatomy={anatomy}", f"morphometry/fat={path.stem}").morphometry).fat
    assert method.name == path.stem
    if path.stem not in ("learned", "measured"):
        settings = morphometry(fat=method)
        row = rows_by_side(settings, sampled(settings, image=picture(0.2, 0.2), contrast="T2"))["multifidus", "left"]
        assert row["fat_pixel_share"] == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize("anatomy", ["axial9", "axial7", "axial_muscle4", "muscle_fat"])
def test_every_axial_anatomy_has_its_muscles(composed, anatomy):
    config = composed(f"anatomy={anatomy}")
    settings = instantiate(config.morphometry)
    settings.muscles.check_structures(config.anatomy.structures)
    assert settings.simplified.grades == ("I", "II", "III")
    assert settings.five_grade is None


def test_a_sagittal_anatomy_has_no_muscles(composed):
    assert "morphometry" not in composed("phantom=scarnet", "anatomy=sagittal10")


def test_signal_fraction_by_hand():
    water, fat = np.array([[3.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 2.0], [1.0, 0.0]])
    np.testing.assert_array_equal(signal_fraction(water, fat), [[0.25, 1.0], [0.5, np.nan]])


@pytest.mark.parametrize(
    ("water", "message"), [(np.array([-1.0]), "magnitudes as stored"), (np.ones(3), r"\(3,\).*give one pair")]
)
def test_what_is_no_pair_is_refused(water, message):
    with pytest.raises(ValueError, match=message):
        signal_fraction(water, np.array([1.0]))


@pytest.mark.parametrize(
    ("stated", "believed", "contrast", "measured"),
    [
        ("water+fat", None, "T2", 0.25),
        ("fat+water", None, "T2", 0.75),
        ("dixon", None, "T2", 0.25),
        ("T2+T1", None, "T2", None),
        ("T2+T1", "unknown", "unknown", None),
        ("water+T1", None, "water", None),
        ("T2", None, "T2", None),
        ("", "T2", "T2", None),
        ("", None, "", None),
    ],
)
def test_a_picture_is_made_of_what_its_channels_are(stated, believed, contrast, measured):
    """The first channel has 3 everywhere, the second 1; one that states one contrast has a single channel."""
    channels = np.stack([np.full((2, 2), 3.0), np.ones((2, 2))])[: 2 if "+" in stated or stated == "dixon" else 1]
    found = fat_picture(channels, stated, believed)
    assert found.contrast == contrast
    if measured is None:
        assert found.fraction is None
        np.testing.assert_array_equal(found.image, channels[0])
    else:
        np.testing.assert_allclose(found.fraction, measured)
        np.testing.assert_array_less(found.image, channels.max(axis=0))


def test_fat_is_as_bright_on_the_t2_like_picture_as_on_scans():
    echo = SpinEcho()
    fat, muscle = echo.picture(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    assert fat == pytest.approx(np.exp(-90 / 125) * (1 - np.exp(-4000 / 371)))
    assert 4 < fat / muscle < 8


def test_n4_takes_out_shading_and_leaves_contrast():
    image = np.clip(picture(0.2, 0.2, noise=1.0) + 1, 0, None)
    shading = np.exp(np.linspace(-0.6, 0.6, 60))[None, :]
    correction = BiasFieldCorrection(shrink=2, iterations=20, levels=2)
    corrected = correction(image * shading)
    before, after = (
        np.log(shown[38:50, 35:55].mean() / shown[38:50, 5:25].mean()) for shown in (image * shading, corrected)
    )
    assert abs(after) < before / 2
    assert corrected[31, 40] / corrected[45, 40] > 4


@pytest.mark.parametrize(
    ("image", "message"), [(np.full((8, 8), 2.0), "constant"), (np.linspace(-1, 1, 64).reshape(8, 8), "not z-scored")]
)
def test_n4_refuses_what_has_no_logarithm_or_no_field(image, message):
    with pytest.raises(ValueError, match=message):
        BiasFieldCorrection()(image)


def test_morphometry_measures_the_corrected_picture():
    settings = morphometry(bias_field=BiasFieldCorrection(shrink=2, iterations=5, levels=1))
    image = np.clip(picture(0.2, 0.2, noise=1.0) + 1, 0, None)
    sample = sampled(settings, image=image)
    plain = sampled(morphometry(), image=image)
    assert not np.array_equal(sample.pixels["multifidus"].intensity, plain.pixels["multifidus"].intensity)
    assert rows_by_side(settings, sample)["multifidus", "left"]["fat_pixel_share"] == pytest.approx(0.2, abs=0.01)
