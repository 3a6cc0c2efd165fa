"""The size-adaptive loss: its limits, its readings, its gradient."""

from dataclasses import replace

import pytest
import torch

from lightning_modules.losses.segmentation import CrossEntropy
from lightning_modules.losses.size_adaptive import SIZES, SizeAdaptive
from models.prediction import Prediction
from tests.made.batches import random_batch

EVEN = torch.ones(4)


def case(dtype=torch.float32) -> tuple[Prediction, object]:
    torch.manual_seed(1)
    batch = random_batch()
    return Prediction(logits=torch.randn(2, 4, 32, 32, dtype=dtype)), batch


def counted(term: SizeAdaptive) -> SizeAdaptive:
    term.count_classes(torch.tensor([70.0, 10.0, 15.0, 5.0]))
    return term


@pytest.mark.parametrize("weights", [EVEN, torch.tensor([0.2, 2.0, 1.0, 0.8])])
@pytest.mark.parametrize("size", SIZES)
def test_alpha_zero_is_cross_entropy(size, weights):
    prediction, batch = case()
    term = counted(SizeAdaptive(alpha=0, size=size))
    torch.testing.assert_close(term(prediction, batch, weights), CrossEntropy()(prediction, batch, weights))


def test_alpha_zero_is_pytorchs_cross_entropy():
    prediction, batch = case()
    expected = torch.nn.functional.cross_entropy(prediction.logits, batch.mask)
    torch.testing.assert_close(SizeAdaptive(alpha=0)(prediction, batch, EVEN), expected)


def test_equation_3_by_loops():
    prediction, batch = case()
    total = 0.0
    for scores, mask in zip(prediction.logits, batch.mask, strict=True):
        probability = scores.softmax(dim=0)
        for label in range(4):
            inside = mask == label
            total += (1 - inside.float().mean()) ** 2 * -probability[label][inside].log().sum()
    torch.testing.assert_close(
        SizeAdaptive(alpha=2, background="weighted")(prediction, batch, EVEN), total / batch.mask.numel()
    )


def test_equal_shares_are_a_constant_factor():
    prediction, batch = case()
    quarters = torch.arange(4).repeat_interleave(8).expand(2, 32, 32).contiguous()
    batch = replace(batch, mask=quarters)
    plain = CrossEntropy()(prediction, batch, EVEN)
    for size in ("image", "batch"):
        term = SizeAdaptive(alpha=1.5, size=size, background="weighted")
        torch.testing.assert_close(term(prediction, batch, EVEN), plain * 0.75**1.5)


def test_readings_of_the_area():
    _, batch = case()
    mask = torch.zeros(2, 32, 32, dtype=torch.long)
    mask[0, :16, :16] = 1  # a quarter
    mask[1, :8, :16] = 1  # an eighth
    mask[1, 8:16, :8] = 2  # a sixteenth
    batch = replace(batch, mask=mask)
    terms = {size: counted(SizeAdaptive(size=size, background="weighted")) for size in SIZES}
    shares = {size: 1 - term.class_factors(batch, 4) for size, term in terms.items()}
    torch.testing.assert_close(shares["image"], torch.tensor([[0.75, 0.25, 0, 0], [0.8125, 0.125, 0.0625, 0]]))
    torch.testing.assert_close(shares["batch"], shares["image"].mean(dim=0).expand(2, 4))
    torch.testing.assert_close(shares["training_set"], torch.tensor([0.7, 0.1, 0.15, 0.05]).expand(2, 4))
    torch.testing.assert_close(shares["foreground"], torch.tensor([[0.75, 1, 0, 0], [0.8125, 2 / 3, 1 / 3, 0]]))


@pytest.mark.parametrize(("background", "expected"), [("one", 1.0), ("ignored", 0.0)])
def test_background_can_count_fully_or_not_at_all(background, expected):
    _, batch = case()
    factors = SizeAdaptive(background=background).class_factors(batch, 4)
    assert (factors[:, 0] == expected).all()
    torch.testing.assert_close(factors[:, 1:], SizeAdaptive().class_factors(batch, 4)[:, 1:])


def test_by_default_a_rare_pixel_counts_hardly_more_at_any_alpha_than_one_of_the_background():
    """The curve of Table 2 is flat; with the background weighted, alpha 4 would make the factor thousands."""
    _, batch = case()
    ratios = {}
    for background in ("one", "weighted"):
        factors = SizeAdaptive(alpha=4, background=background).class_factors(batch, 4)
        ratios[background] = float((factors[:, 1:].amax(dim=1) / factors[:, 0]).max())
    assert ratios["one"] <= 1
    assert ratios["weighted"] > 100
    assert SizeAdaptive().background == "one"


@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_those_of_differences(size):
    _, batch = case()
    term = counted(SizeAdaptive(alpha=1.3, size=size))
    small = replace(batch, mask=batch.mask[:, :3, :3].contiguous(), image=batch.image[..., :3, :3].contiguous())
    torch.manual_seed(2)
    scores = torch.randn(2, 4, 3, 3, requires_grad=True)
    term(Prediction(logits=scores), small, EVEN).backward()
    step = 1e-2
    for place in [(0, 0, 1, 2), (1, 3, 0, 0), (1, 2, 2, 1)]:
        values = []
        for sign in (1, -1):
            moved = scores.detach().clone()
            moved[place] += sign * step
            values.append(float(term(Prediction(logits=moved), small, EVEN)))
        assert float(scores.grad[place]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=2e-4)


def test_cases_without_a_mask_and_unlabelled_classes_teach_nothing():
    prediction, batch = case()
    one = replace(batch, has_mask=torch.tensor([True, False]))
    first = SizeAdaptive()(prediction, one, EVEN)
    changed = Prediction(logits=torch.cat([prediction.logits[:1], torch.randn(1, 4, 32, 32)]))
    torch.testing.assert_close(SizeAdaptive()(changed, one, EVEN), first)
    labelled = torch.tensor([[True, True, True, False]] * 2)
    unlabelled = replace(batch, mask=batch.mask.masked_fill(batch.mask == 3, 0), labelled=labelled)
    logits = prediction.logits.clone().requires_grad_()
    moved = prediction.logits.clone()
    moved[:, 0], moved[:, 3] = prediction.logits[:, 3], prediction.logits[:, 0]
    values = [SizeAdaptive()(Prediction(logits=scores), unlabelled, EVEN) for scores in (logits, moved)]
    torch.testing.assert_close(values[0].detach(), values[1])


@pytest.mark.parametrize("settings", [{"size": "area"}, {"background": "no"}, {"alpha": -1}])
def test_unknown_readings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SizeAdaptive(**settings)


def test_the_training_set_must_have_been_counted():
    prediction, batch = case()
    with pytest.raises(ValueError, match="needs the classes of a training set counted"):
        SizeAdaptive(size="training_set")(prediction, batch, EVEN)
