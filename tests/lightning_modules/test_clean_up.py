"""What may follow the network: small pieces taken away, levels counted in order, both sides looked at."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from datamodules.anatomy import Anatomy
from lightning_modules.arms.clean_up_arms import check_clean_up_arm, cleaned_up
from lightning_modules.evaluation.clean_up import AS_FOUND, CleanUp
from lightning_modules.evaluation.evaluated import evaluate
from lightning_modules.evaluation.level_order import in_level_order
from lightning_modules.segmentation import SegmentationModule
from lightning_modules.tasks.training import build
from models.prediction import Prediction
from models.strides import Strides
from tests.conftest import TINY_PHANTOM, compose_line
from tests.made.batches import random_batch

LEVELS = ["L1", "L2", "L3", "L4", "L5"]
DISCS = ["L1/2", "L2/3", "L3/4", "L4/5", "L5/S1"]
NAMES = [*LEVELS, "canal", *DISCS]
SPINE = Anatomy(
    name="spine",
    view="sagittal",
    structures=NAMES,
    colours=dict.fromkeys(NAMES, "#000000"),
    series={"vertebra": LEVELS, "disc": DISCS},
)
BODIES = Anatomy(
    name="bodies",
    view="sagittal",
    structures=LEVELS,
    colours=dict.fromkeys(LEVELS, "#000000"),
    series={"vertebra": LEVELS},
)


def spine(labels: list[str], anatomy: Anatomy = SPINE, missing: tuple[int, ...] = ()) -> np.ndarray:
    """Bodies of twelve rows and discs of four below each other, with these labels; a canal behind them."""
    mask = np.zeros((20 + 17 * len(labels), 60), np.int64)
    row = 4
    for place, label in enumerate(labels):
        height = 4 if "/" in label else 12
        if place not in missing:
            mask[row : row + height, 10:34] = 0 if label == "background" else anatomy.class_index(label)
        row += height + (0 if anatomy is SPINE else 5)
    if "canal" in anatomy.structures:
        mask[4:row, 40:44] = anatomy.class_index("canal")
    return mask


def down_from(first: int, last: int = 10) -> list[str]:
    return [name for level in zip(LEVELS, DISCS, strict=True) for name in level][first:last]


@given(first=st.integers(0, 7), length=st.integers(2, 10), missing=st.sets(st.integers(1, 8), max_size=1))
@settings(deadline=None, max_examples=40)
def test_a_spine_that_is_counted_rightly_stays_as_it_is(first, length, missing):
    labels = down_from(first, first + length)
    mask = spine(labels, missing=tuple(missing) if len(labels) > 4 else ())
    np.testing.assert_array_equal(in_level_order(mask, SPINE), mask)


def test_levels_are_counted_from_the_sacrum():
    """L3 is left out, and all above it are one off: most of what is drawn is wrong."""
    wrong = ["L1", "L1/2", "L1", "L1/2", "L2", "L3/4", "L4", "L4/5", "L5", "L5/S1"]
    np.testing.assert_array_equal(in_level_order(spine(wrong), SPINE), spine(down_from(0)))
    np.testing.assert_array_equal(in_level_order(spine(wrong[::2], BODIES), BODIES), spine(LEVELS, BODIES))


def test_without_a_last_level_most_pixels_say_where_the_count_begins():
    wrong = ["L1", "L1/2", "L2", "L2/3", "L2", "L3/4", "L3"]  # L3 and L4 one off, and L5 out of the picture
    np.testing.assert_array_equal(in_level_order(spine(wrong), SPINE), spine(down_from(0, 7)))


def test_a_body_in_two_labels_becomes_one_and_a_speck_is_no_level():
    mask, right = spine(down_from(0)), spine(down_from(0))
    third = np.argwhere(mask == SPINE.class_index("L3"))
    mask[third[0][0] : third[0][0] + 5, 10:34] = SPINE.class_index("L4")
    mask[2, 2] = SPINE.class_index("L5")
    found = in_level_order(mask, SPINE)
    assert found[2, 2] == SPINE.class_index("L5"), "left to whoever takes small pieces away"
    found[2, 2] = 0
    np.testing.assert_array_equal(found, right)


def test_bodies_that_touch_are_two_levels():
    mask = spine(down_from(0))
    neck = np.argwhere(mask == SPINE.class_index("L4/5"))[:, 0]
    mask[neck.min() : neck.max() + 1, 10:12] = SPINE.class_index("L5")
    found = in_level_order(mask, SPINE)
    differing = (found != mask).sum()
    assert differing <= 2 * 4, "at most the neck itself changes its level"
    assert (found[mask == SPINE.class_index("L4")] == SPINE.class_index("L4")).all()


@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.02, 0.2, 0.6]))
@settings(deadline=None, max_examples=60)
def test_any_mask_can_be_counted(seed, share):
    """Shreds, as far from the middle: nothing is drawn where nothing was, and only levels change."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, SPINE.num_classes, (6, 5)) * (rng.random((6, 5)) < share)
    mask = np.kron(coarse, np.ones((9, 7), np.int64))
    for anatomy in (SPINE, BODIES):
        drawn = np.where(mask < anatomy.num_classes, mask, 0)
        found = in_level_order(drawn, anatomy)
        assert not found[drawn == 0].any()
        if anatomy is SPINE:
            canal = SPINE.class_index("canal")
            np.testing.assert_array_equal(found == canal, drawn == canal)


def test_a_body_in_two_pieces_side_by_side_is_one_level():
    mask = np.zeros((60, 60), np.int64)
    mask[20:32, 10:20], mask[20:32, 24:34] = SPINE.class_index("L3"), SPINE.class_index("L4")
    found = in_level_order(mask, SPINE)
    assert len(np.unique(found[mask > 0])) == 1


def test_what_lies_beyond_the_last_level_is_background():
    wrong = ["L5", *down_from(0, 8)]  # the lowest thoracic body taken for L5
    wrong.insert(1, "L5/S1")
    mask = spine(wrong)
    found = in_level_order(mask, SPINE)
    np.testing.assert_array_equal(found[:20, :36], 0)
    np.testing.assert_array_equal(found[20:], mask[20:])
    np.testing.assert_array_equal(found == SPINE.class_index("canal"), mask == SPINE.class_index("canal"))


def test_levels_are_counted_among_what_nobody_drew(composed):
    """L1 is drawn in nobody; the network calls it L2, and the disc below it L2/3."""
    spines = ("experiment=unet_sagittal", "phantom.masked_patients=8", "phantom.spacing_mm=4.0")
    data, _, _ = build(composed(*TINY_PHANTOM, "trainer=smoke", *spines))
    batch = next(iter(data.test_dataloader()))
    number = {name: data.anatomy.class_index(name) for name in data.anatomy.structures}
    one_off, labelled = batch.mask.clone(), batch.labelled.clone()
    one_off[batch.mask == number["L1"]], one_off[batch.mask == number["L1/2"]] = number["L2"], number["L2/3"]
    labelled[:, number["L1"]] = False
    logits = 20 * one_hot(one_off, data.anatomy.num_classes).movedim(-1, 1).float()
    (item, *_) = evaluate(
        Prediction(logits=logits),
        replace(batch, labelled=labelled),
        data.store,
        clean_up=CleanUp(level_order=True),
    )
    assert (item.predicted_mask[item.true_mask == number["L1"]] == 0).mean() > 0.9
    for name in ("L1/2", "L2", "L5/S1"):
        true, found = item.true_mask == number[name], item.predicted_mask == number[name]
        assert 2 * (true & found).sum() / (true.sum() + found.sum()) > 0.8


def test_small_pieces_go_and_both_sides_stay():
    mask = np.zeros((40, 60), np.int64)
    mask[5:15, 5:15], mask[5:15, 40:48], mask[30:33, 30:33] = 1, 1, 1
    mask[25:30, 5:10] = 2
    found = CleanUp(smallest_piece=0.5)(mask, SPINE)
    assert (found != mask).sum() == 9
    assert not found[30:33, 30:33].any()
    np.testing.assert_array_equal(CleanUp(smallest_piece=1.0)(mask, SPINE)[:, 40:], 0)
    assert AS_FOUND(mask, SPINE) is mask
    assert AS_FOUND.words == ""
    assert "below 50%" in CleanUp(smallest_piece=0.5).words


@pytest.mark.parametrize(
    ("view", "arm", "message"),
    [
        ("sagittal", {"mirror": True}, r"arms\.x: sagittal slices show no sides .*~arms\.x"),
        ("axial", {"level_order": True}, r"arms\.x\.level_order: anatomy axial9 has no structures that follow"),
        ("axial", {"smallest_piece": 0}, "expected one or more of mirror, smallest_piece, level_order"),
        ("axial", {"smallest_piece": 1.5}, "smallest_piece is 1.5, expected a share"),
        ("axial", {"mirror": True, "colour": "red"}, "expected one or more of"),
    ],
)
def test_impossible_arms_are_refused(composed, view, arm, message):
    anatomy = SPINE if view == "sagittal" else instantiate(composed("anatomy=axial9").anatomy)
    with pytest.raises(ValueError, match=message):
        check_clean_up_arm("x", arm, anatomy)


class Brighter(torch.nn.Module):
    """The scores of a class are the picture, and further classes see only its left half."""

    strides = Strides(low=1, bottleneck=1)

    def forward(self, image: torch.Tensor, boxes: object) -> Prediction:
        left = torch.where(torch.arange(image.shape[-1]) < image.shape[-1] // 2, image, 0 * image)
        return Prediction(logits=torch.cat([0 * image, left, left, image], dim=1))


def test_a_mirrored_test_looks_at_both_sides_and_exchanges_their_names(composed, monkeypatch):
    anatomy = Anatomy(
        name="sides",
        view="axial",
        structures=["left", "right", "middle"],
        colours=dict.fromkeys(["left", "right", "middle"], "#000000"),
        mirror=[["left", "right"]],
    )
    config = composed("experiment=unet", "model=unet")
    objective = instantiate(config.objective)(num_classes=4)
    module = instantiate(config.module)(
        network=Brighter(), objective=objective, metrics=instantiate(config.metrics)
    ).eval()
    assert isinstance(module, SegmentationModule)
    monkeypatch.setattr(SegmentationModule, "data", SimpleNamespace(anatomy=anatomy))
    batch = random_batch(num_classes=4)
    with torch.no_grad(), cleaned_up(module, "x", {"mirror": True, "smallest_piece": 0.5}, anatomy):
        assert module.clean_up == CleanUp(smallest_piece=0.5)
        here = module.decided(batch).logits.exp()
        there = module.decided(replace(batch, image=batch.image.flip(-1))).logits.exp()
    torch.testing.assert_close(here, there.flip(-1)[:, [0, 2, 1, 3]])
    torch.testing.assert_close(here.sum(dim=1), torch.ones_like(here[:, 0]))
    assert (module.mirrors, module.clean_up) == (False, AS_FOUND)
    assert not torch.allclose(here, module.decided(batch).logits.softmax(dim=1))


@pytest.mark.slow
def test_a_test_has_its_arms(tmp_path, generated):
    from lightning_modules.tasks import training

    line = (*TINY_PHANTOM, "trainer=smoke", "scale.epochs=10", "data.samples_per_epoch=32", "experiment=unet")
    training.train(compose_line(tmp_path / "run", generated, *line))
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    again = compose_line(
        tmp_path / "test", generated, *line, "task=test", f"checkpoint={checkpoint}", "arms=clean_up_axial"
    )
    training.test(again)
    names = ["both", "mirrored", "small_pieces_dropped"]
    assert sorted(path.name for path in (tmp_path / "test" / "arms").iterdir()) == names
    tables = [(tmp_path / "test" / "arms" / name / "cases.csv").read_bytes() for name in names]
    assert len({*tables, (tmp_path / "test" / "cases.csv").read_bytes()}) == 4
