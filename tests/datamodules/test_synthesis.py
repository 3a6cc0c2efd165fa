"""Pictures made of tissue maps: what may change with what, and what every one of them has to be."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from datamodules.synthesis.contrast import mixed
from tests.made.augmentation_samples import assert_same, quick
from tests.made.tissue_slices import SIZE, STRUCTURES, TISSUES, YAML, slices, synthesis

SEQUENCES = list(OmegaConf.load(YAML).contrast.sequences)
STILL = {
    "geometry": {
        "field_mm": [400, 400], "field_aspect": 0.0, "centre_share": [0, 0], "rotate_degrees": 0, "log_scale": 0.0,
        "elastic_magnitude_mm": 0.0, "oblique_degrees": 0.0, "flip_probability": {"axial": 0.0, "sagittal": 0.0},
    }
}  # fmt: skip
CLEAN = {
    "artefacts": {
        "coil_probability": 0.0, "saturation_probability": 0.0, "bias": [0, 0], "blur_probability": 0.0,
        "resolution_mm": [0.5, 0.5], "ghost_probability": 0.0, "shift_probability": 0.0, "noise": [1e-4, 1e-4],
    }
}  # fmt: skip
seeds = st.integers(0, 2**31 - 1)
PLACES = {"disc": (24, 32), "left": (27, 47), "right": (27, 17), "fat": (24, 5), "csf": (34, 32)}  # of a still picture


def only(name: str) -> dict:
    return {"random_share": 0.0, "sequences": {other: {"weight": float(other == name)} for other in SEQUENCES}}


def smooth_contrast(name: str) -> dict:
    return {**only(name), "coarse_texture": [0, 0], "fine_texture": [0, 0]}


@quick
@given(seeds)
def test_the_same_seed_gives_the_same_picture_whatever_lies_beside_it(seed):
    augment = synthesis()
    together = augment(slices([seed + 1, seed, seed + 2]))
    alone = augment(slices([seed]))
    assert torch.equal(together.image[1], alone.image[0])
    assert torch.equal(together.mask[1], alone.mask[0])
    assert torch.equal(together.boxes[1].nan_to_num(), alone.boxes[0].nan_to_num())
    assert not torch.equal(together.image[0], together.image[2])


@quick
@given(seeds)
def test_labels_do_not_change_with_contrast_or_faults(seed):
    batch = slices([seed, seed + 1])
    masks = [
        synthesis(contrast={"random_share": share}, **faults)(batch)
        for share, faults in ((0.0, {}), (1.0, {}), (0.5, CLEAN))
    ]
    assert not torch.equal(masks[0].image, masks[1].image)
    for other in masks[1:]:
        assert torch.equal(masks[0].mask, other.mask)
        assert torch.equal(masks[0].keypoints.nan_to_num(), other.keypoints.nan_to_num())


@pytest.mark.parametrize("name", SEQUENCES)
def test_every_sequence_gives_finite_pictures_that_show_something(name):
    image = synthesis(contrast=only(name))(slices(range(12))).image
    assert image.isfinite().all()
    assert (image.flatten(1).std(dim=1) > 0.3).all()


def test_random_contrasts_are_finite_and_show_something():
    image = synthesis(contrast={"random_share": 1.0})(slices(range(40))).image
    assert image.isfinite().all()
    assert (image.flatten(1).std(dim=1) > 0.3).all()


@quick
@given(seeds)
def test_what_is_drawn_lies_in_its_range(seed):
    augment = synthesis()
    rng = np.random.default_rng(seed)
    place = augment.geometry.draw(rng, "axial")
    high, wide = place["field"]
    assert 160 <= high <= 420
    assert abs(np.log(wide / high)) <= 0.25 + 1e-9
    assert (np.abs(place["shift"]) <= 0.15 * np.array([wide, high])).all()
    linear = np.array(place["linear"])
    scale = 1 / np.sqrt(np.linalg.det(linear))
    assert np.exp(-0.25) <= scale <= np.exp(0.25)
    assert abs(np.degrees(np.arctan2(linear[0, 1], linear[0, 0]))) <= 17
    faults = augment.artefacts.draw(rng, 540.0)
    for name in ("coil", "ghost", "saturation_mm"):
        low, high = getattr(augment.artefacts, name)
        assert faults[name] == 0 or low <= faults[name] <= high
    assert augment.artefacts.noise[0] <= faults["noise"] <= augment.artefacts.noise[1]
    contrast = augment.contrast.draw(rng, augment.numbered)
    assert contrast["lean"].shape == (len(TISSUES),)
    assert (contrast["lean"] >= 0).all()
    assert 0.5 <= contrast["gamma"] <= 1.7


@pytest.mark.parametrize("name", ["dixon_water", "dixon_fat", "dixon_in", "dixon_opposed"])
def test_timings_come_from_the_range_of_the_sequence(name):
    kind = synthesis().contrast.kinds[name]
    assert kind.flip_degrees[1] < 90
    assert kind.echo_ms[1] < 10


def test_a_flip_swaps_sides_in_axial_pictures_and_only_mirrors_sagittal_ones():
    batch = slices([3, 4])
    for view, swapped in (("axial", [0, 1, 3, 2]), ("sagittal", [0, 1, 2, 3])):
        still, flipped = (synthesis(view, geometry={"flip_probability": {view: share}})(batch) for share in (0.0, 1.0))
        table = torch.tensor(swapped)
        assert torch.equal(flipped.mask, table[still.mask.flip(-1)])
        assert torch.equal(flipped.image, still.image.flip(-1))
        left = (flipped.mask == STRUCTURES.index("muscle_left") + 1).nonzero()[:, 2].float().mean()
        right = (flipped.mask == STRUCTURES.index("muscle_right") + 1).nonzero()[:, 2].float().mean()
        assert (left > right) == (view == "axial")


def test_sagittal_pictures_are_not_mirrored_unless_asked():
    geometry = synthesis("sagittal").geometry
    drawn = [geometry.draw(np.random.default_rng(seed), "sagittal") for seed in range(50)]
    assert not any(place["flipped"] for place in drawn)


def test_outside_the_field_of_view_is_background_at_the_lowest_value():
    geometry = {**STILL["geometry"], "field_mm": [60, 60]}
    batch = synthesis(geometry=geometry)(slices(range(6)))
    inside = torch.zeros(SIZE, dtype=torch.bool)
    inside[14:34, 22:42] = True  # 20 pixels of 3 mm
    assert not batch.mask[:, ~inside].any()
    assert (batch.mask[:, inside] == 1).any()
    for image in batch.image[:, 0]:
        outside = image[~inside]
        assert (outside == outside[0]).all()
        assert outside[0] <= image[inside].min()


def test_outside_the_map_is_background_too():
    batch = slices([1])
    batch = replace(batch, native_size=torch.tensor([[75, 180]]))
    made = synthesis(**STILL)(batch)
    assert made.image[0, 0, -3:].unique().numel() == 1
    assert not made.mask[0, -3:].any()


def test_dixon_water_and_fat_add_up_to_the_picture_in_phase():
    torch.manual_seed(0)
    lean, fraction = torch.rand(2, 2, 5, 6).unbind()
    weights = {"fat": torch.tensor([0.7, 0.3])}
    one, none = torch.ones(2), torch.zeros(2)
    water, fat, both, opposed = (
        mixed(lean, fraction, fraction, {**weights, "water": w, "of_fat": f})
        for w, f in ((one, none), (none, one), (one, one), (one, -one))
    )
    torch.testing.assert_close(water + fat, both)
    torch.testing.assert_close((water - fat).abs(), opposed)


@pytest.mark.parametrize(("name", "brighter", "darker"), [
    ("t2", "csf", "left"), ("t2", "fat", "left"), ("t1", "fat", "csf"), ("t2_fat_suppressed", "csf", "fat"),
    ("stir", "csf", "fat"), ("dixon_water", "left", "fat"), ("dixon_fat", "fat", "left"),
])  # fmt: skip
def test_tissues_are_as_bright_as_on_scans(name, brighter, darker):
    batch = synthesis(contrast=smooth_contrast(name), **STILL, **CLEAN)(slices(range(8)))
    values = {place: batch.image[:, 0, row, column] for place, (row, column) in PLACES.items()}
    assert (values[brighter] > values[darker] + 0.2).all()


def test_without_a_fat_map_a_tissue_has_its_usual_fat():
    unknown = slices([0, 1], with_fat=False)
    usual = torch.tensor([{"muscle": 30, "connective": 229, "marrow": 114}.get(name, 0) for name in TISSUES])
    known = replace(unknown, fat=usual[unknown.tissues.long()].to(torch.uint8))
    assert_same(synthesis()(unknown), synthesis()(known))


def test_pictures_are_z_scored_over_the_whole_field():
    """The grid shows the middle of a large field, mostly body; the air around counts as in the preparation."""
    small, large = (
        synthesis(geometry={**STILL["geometry"], "field_mm": [size, size]}, contrast=smooth_contrast("t2"), **CLEAN)
        for size in (140, 1000)
    )
    batch = slices(range(6))
    batch = replace(batch, native_mm=torch.full((6, 2), 1.4))
    assert abs(small(batch).image[:, :, 1:-1, 8:-8].mean()) < 0.15
    torch.testing.assert_close(
        large(batch).image.mean(),
        synthesis(**STILL, contrast=smooth_contrast("t2"), **CLEAN)(batch).image.mean(),
        atol=0.2,
        rtol=0,
    )


@quick
@given(seeds)
def test_key_points_follow_the_mask(seed):
    batch = synthesis(geometry={"field_mm": [300, 400]})(slices([seed]))
    points = batch.keypoints[0, 0]
    shown = batch.mask[0] == 1
    if points.isfinite().all() and 6 < points[0] < SIZE[1] - 7 and 6 < points[1] < SIZE[0] - 7:
        centre = shown.nonzero().float().mean(dim=0).flip(0)
        assert (centre - points).abs().max() < 1.2


def test_a_slice_whose_mask_may_not_be_seen_keeps_none():
    batch = slices([5])
    batch = replace(batch, native_mask=torch.zeros_like(batch.native_mask), has_mask=torch.tensor([False]))
    made = synthesis()(batch)
    assert not made.mask.any()
    assert made.image.std() > 0.3


def test_slices_of_other_sizes_may_share_a_batch():
    one, other = slices([7]), slices([8])
    alone = synthesis()(one)
    padded = {
        name: torch.nn.functional.pad(torch.cat([getattr(one, name), getattr(other, name)]), (0, 9, 0, 5))
        for name in ("tissues", "fat", "native_mask")
    }
    together = synthesis()(replace(slices([7, 8]), **padded))
    assert torch.equal(together.image[0], alone.image[0])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"contrast": {"random_share": 1.5}}, "random_share"),
        ({"contrast": {"sequences": {"t2": {"echo_ms": [100, 80]}}}}, "sequences.t2.echo_ms"),
        ({"contrast": {"sequences": {name: {"weight": 0} for name in SEQUENCES}}}, "weight"),
        ({"geometry": {"field_mm": [420, 160]}}, "geometry.field_mm"),
        ({"geometry": {"elastic_magnitude_mm": 30.0}}, "fold"),
        ({"artefacts": {"ghost_probability": 2}}, "artefacts.ghost_probability"),
        ({"tissues": {"groups": {"skin": ["muscle"]}}}, "muscle is in two groups"),
        ({"tissues": {"groups": {"skin": ["hair"]}}}, "'hair' has no values"),
        ({"tissues": {"values": {"skin": {"density": 1.0}}}}, "density, t1_ms, t2_ms"),
        ({"tissues": {"fat": {"muscle": 1.2}}}, "0..1"),
    ],
)
def test_impossible_settings_are_named(changes, named):
    with pytest.raises(Exception, match=named.replace(".", r"\.")):
        synthesis(**changes)


def test_a_tissue_without_a_group_and_pictures_of_two_channels_are_refused():
    with pytest.raises(ValueError, match=r"hold tendon, which no group"):
        synthesis().of_store(("air", "tendon"), 1)
    with pytest.raises(ValueError, match=r"one channel, those of the cohort have 2"):
        synthesis().of_store(TISSUES, 2)


def test_own_tissues_have_their_own_values():
    table = {"groups": {"skin": ["skin", "tendon"]}, "values": {"tendon": {"density": 0.2, "t1_ms": 500, "t2_ms": 5}}}
    numbered = synthesis(tissues=table).of_store(("air", "tendon"), 1).numbered
    assert numbered.values[1].tolist() == [0.2, 500, 5]


def test_batches_compare_with_themselves():
    batch = synthesis()(slices([1]))
    assert_same(batch, synthesis()(slices([1])))
