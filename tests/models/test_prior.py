"""What is trained on is what is decided on: class weights are undone, in every consumer of class scores."""

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional as F

from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.objective import Objective
from lightning_modules.losses.prior import without_class_weights
from lightning_modules.losses.segmentation import CrossEntropy, inverse_root_frequency
from lightning_modules.prediction.members import load_members
from lightning_modules.tasks import training
from models.prediction import Prediction
from tests.conftest import TINY_PHANTOM, UNDRAWN, compose_line
from tests.made.predicted_scans import run_config, write_run

SCORES = arrays("float32", (2, 3, 4, 4), elements=st.floats(-8, 8, width=32))
WEIGHTS = arrays("float32", (3,), elements=st.floats(0.0625, 16, width=32))


@given(scores=SCORES, weights=WEIGHTS)
@settings(deadline=None, max_examples=50)
def test_probabilities_are_divided_by_the_weights(scores, weights):
    logits, weights = torch.from_numpy(scores), torch.from_numpy(weights)
    undone = without_class_weights(Prediction(logits=logits), weights).logits.softmax(dim=1)
    expected = logits.softmax(dim=1) / weights[:, None, None]
    torch.testing.assert_close(undone, expected / expected.sum(dim=1, keepdim=True), rtol=1e-4, atol=1e-6)


def test_a_weighted_training_decided_without_its_weights_finds_the_true_shares():
    """Pixels that look alike are of class 0, 1, 2 in 70, 25 and 5 %: what the optimum of the weighted loss says."""
    counts, weights = torch.tensor([70.0, 25.0, 5.0]), torch.tensor([0.4, 1.0, 3.0])
    scores = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=100, tolerance_grad=1e-9)

    def closure():
        optimizer.zero_grad()
        loss = -(counts * weights * scores.log_softmax(dim=0)).sum() / (counts * weights).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    logits = scores.detach()[None, :, None, None]
    decided = without_class_weights(Prediction(logits=logits), weights).logits.softmax(dim=1).flatten()
    torch.testing.assert_close(decided, counts / 100, rtol=1e-3, atol=1e-4)
    assert logits.softmax(dim=1).flatten()[2] > 0.1, "with the weights the rare class is drawn too large"


def test_every_head_of_class_scores_is_undone_and_nothing_else():
    weights = torch.tensor([0.5, 2.0])
    scores = {name: torch.randn(1, 2, size, size) for name, size in (("logits", 8), ("preliminary", 2), ("key", 1))}
    others = {"boxes": torch.rand(1, 1, 4), "regions": torch.randn(1, 3, 8, 8), "saliency": torch.rand(1, 1, 2, 2)}
    given = Prediction(**scores, **others, deep=(torch.randn(1, 2, 4, 4),))
    undone = without_class_weights(given, weights)
    shift = weights.log()[:, None, None]
    for name, value in scores.items():
        torch.testing.assert_close(getattr(undone, name), value - shift)
    torch.testing.assert_close(undone.deep[0], given.deep[0] - shift)
    for name in others:
        assert getattr(undone, name) is getattr(given, name)


def test_without_weights_or_with_the_old_way_a_prediction_stays_as_it_is():
    given = Prediction(logits=torch.randn(1, 3, 4, 4))
    assert without_class_weights(given, torch.ones(3)) is given
    objective = Objective(terms={"a": CrossEntropy()}, num_classes=3, undo_class_weights=False)
    objective.class_weights.copy_(torch.tensor([0.1, 1.0, 2.0]))
    assert objective.decided(given) is given


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_cannot_be_undone_is_refused(weight):
    with pytest.raises(ValueError, match=r"cannot be undone.*undo_class_weights=false"):
        without_class_weights(Prediction(logits=torch.zeros(1, 2, 4, 4)), torch.tensor([1.0, weight]))


def test_a_class_that_never_occurs_is_decided_with_the_background_that_it_is_part_of():
    """Its pixels are only ever seen merged with the background: how the two share them must not matter."""
    weights = inverse_root_frequency(torch.tensor([900.0, 100.0, 0.0]))
    assert weights[2] == weights[0]
    merged = []
    for share in (0.2, 0.9):
        logits = torch.tensor([0.5 * (1 - share), 0.5, 0.5 * share]).log()[None, :, None, None]
        decided = without_class_weights(Prediction(logits=logits), weights).logits
        merged.append(merge_unlabelled(decided, torch.tensor([[True, True, False]])).softmax(dim=1))
    torch.testing.assert_close(*merged)


def test_scans_are_outlined_without_the_weights(tmp_path, generated):
    config = run_config(tmp_path / "run", generated)
    weights = (0.2, 1.0, 1.0, 2.0, 3.0)
    checkpoint = write_run(tmp_path / "run", config, class_weights=weights)
    image = torch.randn(2, 1, 48, 64).numpy()
    (undone,) = load_members([checkpoint], torch.device("cpu"))
    (as_trained,) = load_members([checkpoint], torch.device("cpu"), undo_class_weights=False)
    expected = as_trained.probabilities(image) / torch.tensor(weights)[:, None, None]
    torch.testing.assert_close(undone.probabilities(image), F.normalize(expected, p=1, dim=1), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_checkpoint_is_tested_both_ways(tmp_path, generated):
    """It holds its weights: the test that ends its training is repeated without them, and differs with them."""
    line = (*TINY_PHANTOM, *UNDRAWN, "trainer=smoke", "experiment=unet", "objective.class_weighting=inverse_root")
    training.train(compose_line(tmp_path / "run", generated, *line))
    checkpoint = f"checkpoint={tmp_path / 'run/checkpoints/best.ckpt'}"
    tables = {}
    for name, way in (("undone", "true"), ("as_trained", "false")):
        ways = ("task=test", checkpoint, f"objective.undo_class_weights={way}")
        training.test(compose_line(tmp_path / name, generated, *line, *ways))
        tables[name] = pd.read_csv(tmp_path / name / "cases.csv")
    pd.testing.assert_frame_equal(tables["undone"], pd.read_csv(tmp_path / "run" / "cases.csv"))
    assert not tables["undone"]["dice"].equals(tables["as_trained"]["dice"])
