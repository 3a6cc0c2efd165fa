"""Arms: the same trained network, other boxes at its gate."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.utils import instantiate

from datamodules.anatomy import Anatomy
from datamodules.batch import collate
from lightning_modules.arms.box_arms import annotated_boxes, deal_of_boxes
from lightning_modules.tasks import training
from metrics.cases import CASE_COLUMNS
from tests.conftest import TINY_PHANTOM, UNDRAWN, compose_line
from tests.made.batches import first_slice, random_batch

pytestmark = pytest.mark.slow  # whole trainings and tests

SMOKE = (*TINY_PHANTOM, "trainer=smoke", "scale.epochs=2", "experiment=bs_esnet", *UNDRAWN)
NAMES = ["annotated", "jittered_05", "jittered_10", "jittered_20", "jittered_30", "shuffled", "none"]


@pytest.fixture(scope="module")
def tested(tmp_path_factory, generated):
    """A finished run whose arms were asked for afterwards, and its records as they were before."""
    folder = tmp_path_factory.mktemp("arms") / "run"
    training.train(compose_line(folder, generated, *SMOKE))
    kept = [folder / name for name in ("cases.csv", "summary.json", "metrics.csv", "checkpoints/best.ckpt")]
    before = {path: path.read_bytes() for path in [*kept, *(folder / "predictions").iterdir()]}
    training.train(compose_line(folder, generated, *SMOKE, "arms=boxes"))
    return folder, before


@pytest.mark.slow
def test_a_finished_run_gets_the_arms_that_it_lacks_and_is_otherwise_untouched(tested):
    folder, before = tested
    assert sorted(path.name for path in (folder / "arms").iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert tuple(pd.read_csv(folder / "arms" / name / "cases.csv").columns) == CASE_COLUMNS
        assert {"test", "model"} <= set(json.loads((folder / "arms" / name / "summary.json").read_text()))
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in (folder / "predictions").iterdir()} == {
        path.name for path in before if path.parent.name == "predictions"
    }


def test_arms_differ_in_what_the_gate_sees_and_in_nothing_before_it(tested):
    folder, _ = tested
    tables = {name: pd.read_csv(folder / "arms" / name / "cases.csv") for name in NAMES}
    tables["predicted"] = pd.read_csv(folder / "cases.csv")
    shares = {name: table["saliency_share"].to_numpy() for name, table in tables.items()}
    for name in NAMES:
        pd.testing.assert_series_equal(tables[name]["preliminary_dice"], tables["predicted"]["preliminary_dice"])
        assert not np.array_equal(shares[name], shares["predicted"]), name
    assert len({share.tobytes() for share in shares.values()}) == len(shares), "no two arms see the same boxes"


def test_an_arm_that_is_there_is_not_tested_again(tested, generated):
    folder, _ = tested
    (folder / "arms" / "none" / "summary.json").unlink()
    before = {name: (folder / "arms" / name / "cases.csv").stat().st_mtime_ns for name in NAMES}
    training.train(compose_line(folder, generated, *SMOKE, "arms=boxes"))
    after = {name: (folder / "arms" / name / "cases.csv").stat().st_mtime_ns for name in NAMES}
    assert [name for name in NAMES if before[name] != after[name]] == ["none"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["experiment=unet", "arms=boxes"], r"models\.unet\.UNet has no gate .*arms=none"),
        (["arms=boxes", "arms.none.test_query=sideways"], r"arms\.none .*expected test_query \(annotated,"),
        (["arms=boxes", "+arms.none.colour=red"], r"arms\.none .*expected test_query"),
        (["arms=boxes", "+arms.none.jitter=0.1"], r"annotated_jittered, and it alone, needs jitter"),
        (["arms=boxes", "arms.jittered_05.jitter=-1"], r"needs jitter.* above 0"),
    ],
)
def test_what_cannot_be_tested_is_refused_before_training(composed, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        training.train(composed(*SMOKE, *overrides))
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_boxes_reach_a_network_outside_training_for_an_arm_alone(composed):
    _, module, _ = training.build(composed(*SMOKE, "model.query_source=annotated"))
    batch = replace(random_batch(num_classes=10, size=(64, 64)), spacing_mm=torch.ones(2, 2))
    offered = []
    module.network.register_forward_pre_hook(lambda _, given: offered.append(given[1]))
    with torch.no_grad():
        module.eval()(batch)
        module.offer_prompts = lambda given: given.boxes * 0.5
        module(batch)
    assert offered[0] is None
    torch.testing.assert_close(offered[1], batch.boxes * 0.5, equal_nan=True)


NUMBERS = np.array([3, 0])


def test_jitter_belongs_to_the_slice_and_grows_in_proportion():
    batch = random_batch()
    boxes = annotated_boxes(NUMBERS, 0.1)(batch)
    torch.testing.assert_close(boxes, annotated_boxes(NUMBERS, 0.1)(batch), rtol=0, atol=0)
    torch.testing.assert_close(annotated_boxes(NUMBERS, 0.1)(first_slice(batch)), boxes[:1], rtol=0, atol=0)
    swapped = replace(collate([batch]), case=batch.case[::-1])
    assert not torch.equal(annotated_boxes(NUMBERS, 0.1)(swapped), boxes)
    double = annotated_boxes(NUMBERS, 0.2)(batch)
    torch.testing.assert_close(double - batch.boxes, 2 * (boxes - batch.boxes))
    torch.testing.assert_close(annotated_boxes(NUMBERS, 0.0)(batch), batch.boxes)


def test_jitter_has_the_size_that_it_says_and_leaves_absent_organs_absent():
    batch = random_batch(num_classes=400, size=(64, 64))
    absent = batch.boxes[..., 0].isnan()
    assert absent.any()
    off = (annotated_boxes(NUMBERS, 0.2)(batch) - batch.boxes) / batch.boxes[..., 2:].repeat(1, 1, 2)
    assert (off.isnan().all(dim=-1) == absent).all()
    assert off[~absent].std().item() == pytest.approx(0.2, rel=0.1)
    assert off[~absent].mean().item() == pytest.approx(0, abs=0.03)


def anatomy_of(structures, mirror=()):
    return Anatomy(
        name="x", view="axial", structures=structures, colours=dict.fromkeys(structures, "#fff"), mirror=mirror
    )


def test_every_organ_is_dealt_another_ones_box_and_never_its_mirror_sides(composed):
    for name in ("axial9", "axial_muscle4", "sagittal10", "axial7"):
        anatomy = instantiate(composed(f"anatomy={name}").anatomy)
        deal = deal_of_boxes(anatomy)
        partners = [index - 1 for index in anatomy.mirrored_classes[1:]]
        assert sorted(deal) == list(range(anatomy.num_structures)), "every box is dealt once"
        assert all(given not in (index, partners[index]) for index, given in enumerate(deal))


@pytest.mark.parametrize("anatomy", [anatomy_of(["a"]), anatomy_of(["l", "r"], [["l", "r"]])], ids=["one", "a pair"])
def test_boxes_that_cannot_be_dealt_are_refused(anatomy):
    with pytest.raises(ValueError, match=r"cannot be dealt.*~arms\.shuffled"):
        deal_of_boxes(anatomy)
