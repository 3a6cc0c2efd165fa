"""A patient turned or moved in the network's picture: what is seen there goes back to where it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from datamodules.reading.geometry import SliceGrid
from datamodules.store.slice_store import SliceStore
from lightning_modules.arms.pose_arms import count_cut, pose_of_arm
from lightning_modules.evaluation.evaluated import evaluate
from lightning_modules.evaluation.native_grid import NativeGrid
from lightning_modules.evaluation.pose import Pose, posed
from lightning_modules.tasks import training
from metrics.overlap import count_overlap
from models.prediction import Prediction
from tests.conftest import compose_line

pytestmark = pytest.mark.slow  # a trained network

SAGITTAL = (
    *("phantom=scarnet", "phantom.num_patients=8", "phantom.masked_patients=8", "cohort.num_workers=1"),
    *("phantom.size=128", "phantom.spacing_mm=2.2", "trainer=smoke", "experiment=unet"),
    *("data.size=[96,64]", "data.spacing_mm=3.0", "data.offset_mm=[6.0,-3.0]"),
)
POSES = {
    "as scanned": Pose(),
    "turned": Pose(rotate_degrees=15.0),
    "moved": Pose(shift_mm=(20.0, -9.0)),
    "both": Pose(rotate_degrees=-15.0, shift_mm=(4.0, 11.0)),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory, generated):
    return training.build_data(compose_line(tmp_path_factory.mktemp("unused"), generated, *SAGITTAL))


def test_a_pose_turns_clockwise_then_moves_and_has_an_inverse():
    row, column = Pose(rotate_degrees=90.0).to_picture(torch.tensor(0.0), torch.tensor(1.0))
    assert (round(float(row), 6), round(float(column), 6)) == (1, 0), "what was right is below"
    row, column = Pose(rotate_degrees=90.0, shift_mm=(5.0, 0.0)).to_picture(torch.tensor(0.0), torch.tensor(1.0))
    assert float(row) == pytest.approx(6)
    pose, places = POSES["both"], torch.randn(2, 50, dtype=torch.float64)
    torch.testing.assert_close(torch.stack(pose.to_scan(*pose.to_picture(*places))), places)


def test_without_turn_or_shift_images_are_those_of_the_store(data):
    batch = next(iter(data.test_dataloader()))
    same = posed(batch, data.store, Pose())
    assert (same.image - batch.image).abs().max() < 0.02, "the store keeps the scan's pixels with 11 bits"
    assert same.mask is batch.mask


@pytest.mark.parametrize("pose", [pytest.param(pose, id=name) for name, pose in POSES.items()])
def test_points_and_maps_go_back_together(pose):
    """A peak drawn in the network's picture is found at the same place of the scan by both ways."""
    grid = SliceGrid(size=(80, 60), spacing_mm=1.5, offset_mm=(4.0, -3.0))
    scan = NativeGrid(grid=grid, size=(140, 130), spacing_mm=(0.8, 1.1), pose=pose)
    point = torch.tensor([[33.0, 41.0]], dtype=torch.float64)
    rows, columns = torch.meshgrid(torch.arange(80), torch.arange(60), indexing="ij")
    peak = torch.exp(-((rows - 41) ** 2 + (columns - 33) ** 2) / 18.0)[None]
    there = scan.values(peak)[0]
    native_rows, native_columns = torch.meshgrid(torch.arange(140), torch.arange(130), indexing="ij")
    centre = torch.stack([(there * index).sum() / there.sum() for index in (native_columns, native_rows)])
    torch.testing.assert_close(scan.points(point)[0].float(), centre, atol=0.05, rtol=0)


class MaskStore(SliceStore):
    """A store whose images are the masks themselves."""

    def __init__(self, store):
        self.__dict__.update(store.__dict__)

    def native(self, index):
        native = super().native(index)
        return replace(native, image=native.mask[None].astype(np.float32))


@pytest.mark.parametrize("pose", [pytest.param(pose, id=name) for name, pose in POSES.items()])
def test_what_a_network_sees_in_another_pose_is_scored_where_it_is(data, pose):
    """A network that sees which pixels are structure, wherever they lie: nothing but the borders is lost."""
    batch = next(iter(data.test_dataloader()))
    seen = posed(batch, MaskStore(data.store), pose).image[:, 0]
    logits = torch.stack([0.5 - seen, seen - 0.5, *[torch.full_like(seen, -9)] * 9], dim=1) * 9
    found = evaluate(Prediction(logits=logits), batch, data.store, pose=pose)
    assert len(found) == len(batch)
    for item in found:
        scan = NativeGrid(grid=data.store.grid, size=item.true_mask.shape, spacing_mm=item.spacing_mm, pose=pose)
        inside = scan.field_of_view.numpy()
        structure = item.true_mask > 0
        assert count_overlap(structure & inside, item.predicted_mask > 0).dice > 0.9
        assert (structure & inside).sum() > 500, "the test would be empty"


def test_a_structure_that_leaves_the_field_is_counted(data):
    cut, whole = count_cut(data, None)
    assert whole == sum(len(np.unique(data.store.native(int(i)).mask)) - 1 for i in data.indices["test"])
    assert count_cut(data, Pose(shift_mm=(500.0, 0.0))) == (whole, whole)
    assert cut < whole


@pytest.mark.parametrize(
    ("settings", "pose"),
    [
        ({"rotate_degrees": 15}, Pose(rotate_degrees=15.0)),
        ({"shift_mm": 20, "toward": "head"}, Pose(shift_mm=(-20.0, 0.0))),
        ({"shift_mm": 20, "toward": "feet"}, Pose(shift_mm=(20.0, 0.0))),
        ({"shift_mm": 20, "toward": "front"}, Pose(shift_mm=(0.0, -20.0))),
        ({"shift_mm": 20, "toward": "back"}, Pose(shift_mm=(0.0, 20.0))),
    ],
)
def test_arms_say_where_to(composed, settings, pose):
    assert pose_of_arm("x", settings, instantiate(composed("anatomy=sagittal10").anatomy)) == pose


@pytest.mark.parametrize(
    ("anatomy", "settings", "message"),
    [
        ("sagittal10", {"rotate_degrees": 0}, r"arms\.x .*expected rotate_degrees"),
        ("sagittal10", {"shift_mm": 20}, r"expected rotate_degrees .*toward \(head, feet, front, back\)"),
        ("sagittal10", {"rotate_degrees": 5, "toward": "head"}, "expected rotate_degrees"),
        ("sagittal10", {"rotate_degrees": 5, "colour": "red"}, "expected rotate_degrees"),
        ("axial9", {"shift_mm": 20, "toward": "head"}, r"toward is 'head', but axial slices .*~arms\.x"),
    ],
)
def test_impossible_arms_are_refused(composed, anatomy, settings, message):
    with pytest.raises(ValueError, match=message):
        pose_of_arm("x", settings, instantiate(composed(f"anatomy={anatomy}").anatomy))
