"""From a scan to numbers: label maps on the grid of the input, whatever its orientation, tables, sheet and page."""

import json
import re
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from datamodules.reading.image_file import read_image_file, write_image_file
from datamodules.reading.volume import canonical_volume
from lightning_modules.prediction.measuring import measure_scan
from lightning_modules.prediction.members import load_members
from lightning_modules.prediction.page_tables import tables_of
from lightning_modules.prediction.page_words import describe_members
from lightning_modules.prediction.task import predict
from metrics.fat import LearnedFat
from metrics.morphometry import Morphometry
from metrics.muscles import Muscles
from models.prediction import Prediction
from tests.conftest import compose_line
from tests.made.muscle_slices import SIMPLIFIED
from tests.made.predicted_scans import SHAPE, TRUTH, block_of, picture, run_config, write_run, write_scan, write_series

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, generated):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return write_run(folder, run_config(folder, generated))


@pytest.fixture(scope="module")
def members(checkpoint):
    return load_members([checkpoint], CPU)


@pytest.fixture
def predicted(tmp_path, generated, checkpoint):
    """Runs task=predict on an input and returns the folder it wrote."""

    def run(given, *more, checkpoints=None, output="predicted"):
        named = f"[{','.join(str(path) for path in checkpoints or [checkpoint])}]"
        line = ("task=predict", f"checkpoint={named}", f"input={given}", *more)
        predict(compose_line(tmp_path / output, generated, *line))
        return tmp_path / output

    return run


class LeftOnly(torch.nn.Module):
    """Sees multifidus where it is bright, and always calls it the left one."""

    def forward(self, image, boxes=None):
        scores = torch.zeros(len(image), 5, *image.shape[2:])
        scores[:, 1] = 4 * image[:, 0]
        return Prediction(logits=scores)


def test_a_mirrored_look_exchanges_sides_and_is_put_back(members):
    network = LeftOnly()
    once, twice = (replace(members[0], network=network, mirror=mirror) for mirror in (False, True))
    image = np.zeros((1, 1, 8, 8), np.float32)
    image[0, 0, 2, 6] = 3.0
    found, both = once.probabilities(image), twice.probabilities(image)
    assert found[0, :, 2, 6].argmax() == 1
    assert both[0, 1, 2, 6] == pytest.approx(both[0, 2, 2, 6].item()), "half of it is now the right one"
    torch.testing.assert_close(both.sum(dim=1), torch.ones(1, 8, 8))
    assert both[0, 2].argmax() == both[0, 1].argmax(), "and lies where it lies"


def test_only_axial_slices_have_sides_to_exchange(tmp_path, generated, checkpoint):
    config = run_config(tmp_path / "run", generated)
    config.anatomy.view, config.anatomy.mirror = "sagittal", []
    (sagittal,) = load_members([write_run(tmp_path / "run", config)], CPU, mirror=True)
    (axial,) = load_members([checkpoint], CPU, mirror=True)
    assert (sagittal.mirror, axial.mirror) == (False, True)
    told = "every slice looked at twice, left and right exchanged"
    assert told in describe_members([axial])
    assert told not in describe_members([sagittal])


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def assert_on_same_anatomy(path, label):
    """The label map has the grid of its image, and its structures lie where those of the patient are."""
    image, found = sitk.ReadImage(str(path)), sitk.ReadImage(str(label))
    assert found.GetSize() == image.GetSize()
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found, name)(), getattr(image, name)(), atol=1e-5)
    # In the patient's own coordinates, left is positive: whatever way the voxels are stored.
    voxels = sitk.GetArrayFromImage(found)
    intensities = sitk.GetArrayFromImage(image)
    centres = {}
    for index in (1, 2, 3, 4):
        places = np.argwhere(voxels == index)[:, ::-1]
        centres[index] = np.mean([found.TransformIndexToPhysicalPoint(place.tolist()) for place in places], axis=0)
        # Every muscle of the picture has its own brightness: the label lies on that one.
        assert np.median(intensities[voxels == index]) == pytest.approx(200 + 6 * index, abs=3)
    return centres


@pytest.mark.parametrize("suffix", [".nii.gz", pytest.param(".mha", marks=pytest.mark.slow)])
def test_all_48_orientations_of_a_file_give_the_same_outlines_on_the_right_side(tmp_path, members, suffix):
    reference = None
    for order, flips in product(permutations(range(3)), product([False, True], repeat=3)):
        path = write_scan(tmp_path / f"scan{suffix}", picture(), order=order, flips=flips)
        block = block_of(path, members)
        label = tmp_path / f"label{suffix}"
        write_image_file(label, block.volumes[0].as_stored(block.mask))
        centres = assert_on_same_anatomy(path, label)
        assert centres[1][0] > centres[2][0]
        assert centres[3][0] > centres[4][0]
        assert centres[3][1] > centres[1][1], "erector spinae lies behind"
        canonical = canonical_volume(label, read_image_file(label), view="axial").voxels
        reference = canonical if reference is None else reference
        np.testing.assert_array_equal(canonical, reference)
    for index in (1, 2, 3, 4):
        assert dice(reference == index, index == TRUTH) > 0.9


@settings(deadline=None, max_examples=15)
@given(
    st.permutations(range(3)),
    st.tuples(*[st.booleans()] * 3),
    st.tuples(*[st.floats(-25, 25)] * 3),
    st.sampled_from([".nii.gz", ".mha", ".nrrd"]),
)
def test_oblique_scans_keep_their_sides(tmp_path_factory, members, order, flips, tilt, suffix):
    folder = tmp_path_factory.mktemp("oblique")
    turn = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix()
    path = write_scan(folder / f"scan{suffix}", picture(), order=tuple(order), flips=flips, turn=turn)
    block = block_of(path, members)
    label = folder / f"label{suffix}"
    write_image_file(label, block.volumes[0].as_stored(block.mask))
    centres = assert_on_same_anatomy(path, label)
    assert centres[1][0] > centres[2][0]


def test_a_mirrored_patient_is_found_on_the_other_side(tmp_path, members):
    """The test above can fail: a header that calls the image's left half the patient's left changes the labels."""
    path = write_scan(tmp_path / "scan.nii.gz", picture())
    image = sitk.ReadImage(str(path))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    direction[0] *= -1
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))
    block = block_of(path, members)
    larger = (TRUTH == 1).sum()
    assert (block.mask == 2).sum() == pytest.approx(larger, rel=0.2)
    assert (block.mask == 1).sum() < (block.mask == 2).sum()


def test_blocks_of_a_dicom_series_get_a_label_map_each(tmp_path, predicted):
    series = tmp_path / "in" / "anna" / "axial"
    tilts = [Rotation.from_euler("x", angle, degrees=True).as_matrix() for angle in (-8, 25)]
    for number, tilt in enumerate(tilts):
        write_series(series, picture(number), tilt=tilt, height_mm=60.0 - 50 * number, first=1 + 3 * number)
    folder = predicted(tmp_path / "in")
    table = pd.read_csv(folder / "morphometry.csv")
    assert set(table["patient"]) == {"anna"}
    assert sorted(table["slice"].unique()) == [0, 1, 2, 3, 4, 5]
    for number, tilt in enumerate(tilts):
        label = sitk.ReadImage(str(folder / "anna" / f"anna_axial_block{number + 1}.nii.gz"))
        assert label.GetSize() == (SHAPE[2], SHAPE[1], SHAPE[0])
        np.testing.assert_allclose(label.GetSpacing(), (0.6, 0.7, 6.0), atol=1e-5)
        np.testing.assert_allclose(np.reshape(label.GetDirection(), (3, 3)), tilt, atol=1e-5)
        lowest = np.array([-14.0, -20.0, 60.0 - 50 * number]) - tilt[:, 2] * 6.0 * 2
        np.testing.assert_allclose(label.GetOrigin(), lowest, atol=1e-4)
        # Stored from foot to head; erector spinae ends two slices below the top.
        voxels = sitk.GetArrayFromImage(label)
        assert [bool((slice_ == 3).any()) for slice_ in voxels] == [False, True, True]


def test_what_a_prediction_leaves(tmp_path, predicted):
    """A folder of a file, a patient with a file of another format, and a DICOM study."""
    given = tmp_path / "in"
    write_scan(given / "anna.nii.gz", picture(1))
    write_scan(given / "bert <&>" / "axial.mha", picture(2), flips=(True, False, True))
    write_series(given / "carl" / "SE1", picture(3), tilt=np.eye(3), height_mm=10.0, first=1)
    folder = predicted(given)
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    pages = {f"{name}/{file}" for name in ("anna", "bert", "carl") for file in ("overlay.png", "summary.html")}
    maps = {"anna/anna.nii.gz", "bert/bert__axial.mha", "carl/carl_SE1.nii.gz"}
    assert written == {*pages, *maps, "labels.csv", "scans.csv", "morphometry.csv", "run_card.json"}
    assert set(json.loads((folder / "run_card.json").read_text())["files"]) == written
    labels = pd.read_csv(folder / "labels.csv")
    assert labels["structure"].tolist()[0] == "multifidus_left"
    table = pd.read_csv(folder / "morphometry.csv", keep_default_na=False)
    columns = ["case", "patient", "slice", "level", "structure", "side", "source", "csa_mm2"]
    assert table.columns[:8].tolist() == columns
    row = table.query("case == 'anna' and slice == 0 and structure == 'multifidus' and side == 'left'").iloc[0]
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "anna" / "anna.nii.gz")))
    assert float(row["csa_mm2"]) == pytest.approx((voxels[0] == 1).sum() * 1.25)
    page = (folder / "bert" / "summary.html").read_text()
    assert "For research use only" in page
    assert "bert &lt;&amp;&gt;" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page), "one file, that needs no other"
    assert "multifidus" in page
    assert "pixels of 1.00 x 1.25 mm" in page


@pytest.mark.slow
def test_an_ensemble_averages_and_says_how_far_its_members_agree(tmp_path, generated, checkpoint, predicted):
    """Members with other grids and other thresholds; the SD is that of their own masks."""
    config = run_config(tmp_path / "other", generated)
    config.data.size, config.data.spacing_mm = [64, 64], 0.9
    other = write_run(tmp_path / "other", config, threshold=0.2)
    write_scan(tmp_path / "anna.nii.gz", picture())
    paths = [[checkpoint], [other], [checkpoint, other]]
    folders = [
        predicted(tmp_path / "anna.nii.gz", checkpoints=each, output=f"out{index}") for index, each in enumerate(paths)
    ]
    tables = [pd.read_csv(folder / "morphometry.csv") for folder in folders]
    both = tables[2]
    areas = np.stack([table["csa_mm2"] for table in tables[:2]])
    np.testing.assert_allclose(both["csa_mm2_sd"], areas.std(axis=0, ddof=1), rtol=1e-4)
    assert (both["csa_mm2_sd"] > 0).any()
    assert "fat_pixel_share_sd" in both
    assert both["goutallier_simplified_members"].str.contains(":").all()
    assert "csa_mm2_sd" not in tables[0]
    assert "±" in (folders[2] / "anna" / "summary.html").read_text()


def test_the_probability_of_a_grade_is_the_share_of_the_members_that_give_it(tmp_path, members):
    """One finds lean muscle, one as much fat as muscle, and one nothing; on the last slice nobody finds anything."""
    path = write_scan(tmp_path / "scan.nii.gz", picture())
    block = block_of(path, members)
    lean, fat, nothing = (np.zeros(SHAPE, np.uint8) for _ in range(3))
    lean[:2, 8:16, 28:38] = fat[:2, 8:12, 28:38] = 1
    fat[:2, 12:16, 28:38] = 3
    sides = {side: [f"multifidus_{side}", f"erector_spinae_{side}"] for side in ("left", "right")}
    muscles = Muscles(muscles={"back": sides}, fat=["erector_spinae_left", "erector_spinae_right"])
    settings = Morphometry(muscles=muscles, fat=LearnedFat(name="learned"), simplified=SIMPLIFIED)
    table = measure_scan(
        [replace(block, mask=lean, member_masks=(lean, fat, nothing))],
        members[0].anatomy,
        np.ones(5, bool),
        settings,
        contrast="T2",
    )
    (shown,) = tables_of([{str(name): value for name, value in row.items()} for row in table.to_dict("records")])
    assert shown.header[-1] == "networks, grade I to III"
    assert [row[-1] for row in shown.groups[0].rows] == ["I 33.3 %, II 33.3 %"]
    table = table.set_index(["slice", "side"])
    columns = [f"goutallier_simplified_probability_{grade}" for grade in ("I", "II", "III")]
    first = int(block.slice_names[0])
    np.testing.assert_allclose(table.loc[(first, "left"), columns].to_numpy(float), [1 / 3, 1 / 3, 0])
    assert table.loc[(first, "left"), "goutallier_simplified_members"] == "I:1 II:1 none:1"
    assert table.loc[(first, "right"), columns].isna().all(), "nobody gives a grade"
    assert table.loc[int(block.slice_names[2]), columns].isna().all(axis=None)


def test_a_pixel_that_one_member_does_not_see_is_left_to_the_others(tmp_path, generated, checkpoint, members):
    config = run_config(tmp_path / "narrow", generated)
    config.data.size, config.data.spacing_mm = [48, 16], 1.0
    narrow = load_members([write_run(tmp_path / "narrow", config)], CPU)
    path = write_scan(tmp_path / "scan.nii.gz", picture())
    alone, both = block_of(path, members), block_of(path, [*members, *narrow])
    outside = np.ones(SHAPE, bool)
    outside[:, :, 16:32] = False
    np.testing.assert_array_equal(both.mask[outside], alone.mask[outside])
    assert both.member_masks[1][outside].sum() == 0


def test_slices_of_a_kind_that_was_never_trained_on_stay_empty(tmp_path, members):
    path = write_scan(tmp_path / "scan.nii.gz", picture())
    block = block_of(path, [replace(members[0], slices=1)])
    assert block.chosen.tolist() == [False, True, False]
    assert not block.mask[[0, 2]].any()
    assert block.mask[1].any()


def test_an_earlier_prediction_is_replaced_and_anything_else_is_refused(tmp_path, predicted):
    write_scan(tmp_path / "anna.nii.gz", picture())
    write_scan(tmp_path / "bert.nii.gz", picture())
    folder = predicted(tmp_path / "anna.nii.gz")
    predicted(tmp_path / "bert.nii.gz")
    assert not (folder / "anna").exists()
    assert (folder / "bert" / "summary.html").exists()
    with pytest.raises(ValueError, match=r"output=.*holds other files"):
        predicted(tmp_path / "bert.nii.gz", output=".")
