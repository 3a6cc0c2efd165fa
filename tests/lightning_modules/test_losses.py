from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.boxes import BoxRegression
from lightning_modules.losses.dice import Dice
from lightning_modules.losses.levels import EveryLevel
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.objective import Objective
from lightning_modules.losses.segmentation import CrossEntropy, DeepSupervision, inverse_root_frequency
from models.prediction import Prediction
from models.strides import Strides
from tests.made.batches import first_slice, random_batch

ONES = torch.ones(4)
LOGITS = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(1))


def without_mask(batch: SpineBatch, position: int) -> SpineBatch:
    has_mask = batch.has_mask.clone()
    has_mask[position] = False
    return replace(batch, has_mask=has_mask)


def test_cross_entropy_of_full_labels_is_the_plain_one():
    batch, logits = random_batch(), LOGITS
    ours = CrossEntropy()(Prediction(logits=logits), batch, ONES)
    torch.testing.assert_close(ours, F.cross_entropy(logits, batch.mask))


def test_class_weights_are_those_of_torch():
    batch, logits, weights = random_batch(), LOGITS, torch.tensor([0.2, 1.0, 3.0, 0.5])
    ours = CrossEntropy()(Prediction(logits=logits), batch, weights)
    torch.testing.assert_close(ours, F.cross_entropy(logits, batch.mask, weights))


def test_a_coarse_output_is_compared_with_the_share_of_each_class():
    batch = random_batch()
    scores = torch.randn(2, 4, 8, 8)
    shares = F.avg_pool2d(F.one_hot(batch.mask, 4).movedim(-1, 1).float(), 4)
    expected = F.cross_entropy(scores, shares)
    prediction = Prediction(logits=LOGITS, preliminary=scores)
    torch.testing.assert_close(CrossEntropy("preliminary")(prediction, batch, ONES), expected)


def test_deep_supervision_halves_from_fine_to_coarse():
    batch = random_batch()
    deep = (torch.randn(2, 4, 16, 16), torch.randn(2, 4, 8, 8))
    prediction = Prediction(logits=LOGITS, deep=deep)
    fine, coarse = (CrossEntropy("key")(Prediction(logits=deep[0], key=scores), batch, ONES) for scores in deep)
    torch.testing.assert_close(DeepSupervision("exponential")(prediction, batch, ONES), 0.5 * fine + 0.25 * coarse)
    torch.testing.assert_close(DeepSupervision("same")(prediction, batch, ONES), fine + coarse)
    assert DeepSupervision()(Prediction(logits=deep[0]), batch, ONES) == 0


@pytest.mark.parametrize("term", [CrossEntropy(), Dice()])
def test_every_level_weighs_as_nnunet(term):
    """1, 1/2 and 1/4 over their sum; without heads it is the term itself; with equal weights a mean."""
    batch, deep = random_batch(), (torch.randn(2, 4, 16, 16), torch.randn(2, 4, 8, 8))
    values = [term(Prediction(logits=scores), batch, ONES) for scores in (LOGITS, *deep)]
    prediction = Prediction(logits=LOGITS, deep=deep)
    expected = (4 * values[0] + 2 * values[1] + values[2]) / 7
    torch.testing.assert_close(EveryLevel(term)(prediction, batch, ONES), expected)
    torch.testing.assert_close(EveryLevel(term, decay=1.0)(prediction, batch, ONES), sum(values) / 3)
    torch.testing.assert_close(EveryLevel(term)(Prediction(logits=LOGITS), batch, ONES), values[0])
    with pytest.raises(ValueError, match=r"decay is 0, expected a share above 0"):
        EveryLevel(term, decay=0.0)


def test_every_level_is_of_the_part_of_its_term_and_tells_it_all():
    told = []

    class Listener(CrossEntropy):
        def count_classes(self, pixel_counts):
            told.append(pixel_counts)

        def see_network(self, strides):
            told.append(strides)

    term = EveryLevel(Listener(part="esnet"))
    term.count_classes(ONES)
    term.see_network(Strides(1, 16))
    assert term.part == "esnet"
    assert told == [ONES, Strides(1, 16)]


def test_a_head_on_the_full_grid_is_worth_the_same_as_on_its_own():
    """MONAI's DynUNet enlarges its heads by copying cells: the cross-entropy is that on shares of classes."""
    batch, scores = random_batch(), torch.randn(2, 4, 8, 8)
    enlarged = F.interpolate(scores, (32, 32))
    own, full = (CrossEntropy()(Prediction(logits=each), batch, ONES) for each in (scores, enlarged))
    torch.testing.assert_close(own, full)


def test_the_dice_of_a_coarse_head_is_perfect_where_it_is_right():
    batch = random_batch()
    shares = F.avg_pool2d(F.one_hot(batch.mask, 4).movedim(-1, 1).float(), 4)
    right = Dice()(Prediction(logits=shares.clamp(min=1e-9).log()), batch, ONES)
    wrong = Dice()(Prediction(logits=shares.roll(1, dims=1).clamp(min=1e-9).log()), batch, ONES)
    assert right < 0.35 < 0.9 < wrong


def test_a_case_without_mask_changes_nothing():
    batch = random_batch()
    prediction = Prediction(
        logits=LOGITS, deep=(torch.randn(2, 4, 8, 8),), boxes=torch.rand(2, 3, 4), key=torch.randn(2, 4, 2, 2)
    )
    for term in (CrossEntropy(), CrossEntropy("key"), DeepSupervision(), BoxRegression()):
        first = Prediction(
            *(tuple(s[:1] for s in f) if isinstance(f, tuple) else f if f is None else f[:1] for f in prediction)
        )
        torch.testing.assert_close(
            term(prediction, without_mask(batch, 1), ONES),
            term(first, first_slice(batch), ONES),
            msg=type(term).__name__,
        )


def test_a_batch_without_any_mask_gives_zero_and_finite_gradients():
    batch = without_mask(without_mask(random_batch(), 0), 1)
    logits = LOGITS.clone().requires_grad_()
    boxes = torch.rand(2, 3, 4, requires_grad=True)
    prediction = Prediction(logits=logits, key=F.avg_pool2d(logits, 8), boxes=boxes)
    total = sum(term(prediction, batch, ONES) for term in (CrossEntropy(), CrossEntropy("key"), BoxRegression()))
    total.backward()
    assert total == 0
    assert not logits.grad.any()
    assert not boxes.grad.any()


def test_unlabelled_classes_are_merged_into_the_background():
    logits, labelled = LOGITS, torch.ones(2, 4, dtype=torch.bool)
    labelled[1, 2:] = False
    merged = merge_unlabelled(logits, labelled).softmax(dim=1)
    plain = logits.softmax(dim=1)
    torch.testing.assert_close(merged[0], plain[0])
    torch.testing.assert_close(merged[1, 0], plain[1, 0] + plain[1, 2] + plain[1, 3])
    torch.testing.assert_close(merged[1, 1], plain[1, 1])
    assert not merged[1, 2:].any()


def test_a_partially_labelled_case_does_not_teach_that_unlabelled_structures_are_background():
    """Where background is annotated, moving probability between background and an unlabelled class costs nothing."""
    batch = random_batch()
    batch = replace(
        batch,
        mask=batch.mask * (batch.mask == 1),
        labelled=torch.tensor([[True, True, False, False]] * 2),
    )
    logits = torch.zeros(2, 4, 32, 32, requires_grad=True)
    CrossEntropy()(Prediction(logits=logits), batch, ONES).backward()
    gradient = logits.grad.movedim(1, -1)[batch.mask == 0]
    assert (gradient[:, [0, 2, 3]] < 0).all(), "background and unlabelled classes are pulled up alike"
    torch.testing.assert_close(gradient[:, 0], gradient[:, 2])
    soft = torch.zeros(2, 4, 8, 8, requires_grad=True)
    CrossEntropy("key")(Prediction(logits=logits, key=soft), batch, ONES).backward()
    assert torch.isfinite(soft.grad).all()


def test_box_terms_are_not_proportional():
    """At beta = 1 smooth L1 would be half the squared error on coordinates in 0..1, and the sum no combination."""
    batch = random_batch()
    totals = {}
    for beta in (0.05, 1.0):
        term = BoxRegression(beta=beta)
        losses = [term(Prediction(LOGITS, boxes=batch.boxes + shift), batch, ONES) for shift in (0.01, 0.3)]
        squared = [shift**2 for shift in (0.01, 0.3)]
        totals[beta] = [float(loss) / square for loss, square in zip(losses, squared, strict=True)]
    assert totals[1.0][0] == pytest.approx(totals[1.0][1], rel=1e-4)
    assert totals[1.0][0] == pytest.approx(1.5, rel=1e-4)
    assert totals[0.05][0] > 2 * totals[0.05][1]


def test_absent_and_unlabelled_organs_carry_no_box_loss():
    batch = random_batch()
    boxes = batch.boxes.clone()
    boxes[0, 0] = torch.nan
    labelled = batch.labelled.clone()
    labelled[1, 3] = False
    batch = replace(batch, boxes=boxes, labelled=labelled)
    predicted = torch.rand(2, 3, 4, requires_grad=True)
    BoxRegression()(Prediction(LOGITS, boxes=predicted), batch, ONES).backward()
    counted = predicted.grad.abs().sum(dim=-1) > 0
    assert counted.tolist() == [[False, True, True], [True, True, False]]


def test_inverse_root_frequency():
    weights = inverse_root_frequency(torch.tensor([900.0, 100.0, 0.0]))
    assert weights[1] / weights[0] == pytest.approx(3.0)
    assert weights[:2].mean() == pytest.approx(1.0)
    assert weights[2] == weights[0], "what never occurs is part of the background"


def test_the_objective_counts_only_the_terms_of_active_parts():
    batch = random_batch()
    prediction = Prediction(logits=LOGITS, boxes=torch.rand(2, 3, 4))
    terms = {"mask": CrossEntropy(part="esnet", weight=2.0), "boxes": BoxRegression(part="bsn"), "gone": None}
    objective = Objective(terms=terms, num_classes=4)
    total, values = objective(prediction, batch)
    assert set(values) == {"mask", "boxes"}
    torch.testing.assert_close(total, 2 * values["mask"] + values["boxes"])
    objective.active_parts = frozenset({"bsn"})
    total, values = objective(prediction, batch)
    assert set(values) == {"boxes"}
    torch.testing.assert_close(total, values["boxes"])


def test_a_term_without_its_output_says_how_to_go_on():
    with pytest.raises(ValueError, match=r"'key'.*does not predict.*objective\.terms"):
        CrossEntropy("key")(Prediction(logits=LOGITS), random_batch(), ONES)


def test_dice_is_one_minus_the_overlap_of_every_structure_over_the_batch():
    batch = random_batch()
    chances = LOGITS.softmax(dim=1)
    true = F.one_hot(batch.mask, 4).movedim(-1, 1)
    both, sums = ((chances * true).sum((0, 2, 3)), (chances + true).sum((0, 2, 3)))
    expected = (1 - (2 * both + 1) / (sums + 1))[1:].mean()
    torch.testing.assert_close(Dice()(Prediction(logits=LOGITS), batch, ONES), expected)
    assert Dice()(Prediction(logits=20.0 * true), batch, ONES) < 1e-3


def test_dice_leaves_out_cases_without_a_mask():
    batch = random_batch()
    one = Dice()(Prediction(logits=LOGITS), without_mask(batch, 1), ONES)
    other = LOGITS.clone()
    other[1] = 0
    torch.testing.assert_close(Dice()(Prediction(logits=other), without_mask(batch, 1), ONES), one)
    nobody = without_mask(without_mask(batch, 0), 1)
    assert Dice()(Prediction(logits=LOGITS), nobody, ONES) == 0
