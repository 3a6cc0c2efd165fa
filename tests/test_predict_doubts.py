"""What a prediction says of itself, and what it refuses: never a guess, never a silent gap."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from omegaconf import OmegaConf

from datamodules.case_list import Case
from datamodules.scan_list import find_scans
from datamodules.seen_images import Look, SeenImages, look_of_slice, seen_images
from lightning_modules import tasks
from lightning_modules.prediction.familiarity import compare
from lightning_modules.prediction.findings import cut_off, describe_findings, swapped
from lightning_modules.prediction.members import checkpoint_files, load_members
from lightning_modules.prediction.outlines import outline
from lightning_modules.prediction.task import predict
from tests.conftest import TINY_PHANTOM, compose_line
from tests.predicted_scans import TRUTH, picture, run_config, write_run, write_scan, write_series

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path, generated):
    return write_run(tmp_path / "run", run_config(tmp_path / "run", generated))


@pytest.fixture
def members(checkpoint):
    return load_members([checkpoint], CPU)


@pytest.fixture
def scan(tmp_path):
    return write_scan(tmp_path / "scan.nii.gz", picture())


def block_of(path, members, **changes):
    return outline(members, Case(case="scan", patient="scan", images=(path,), row={}, **changes))[0]


def with_mask(block, mask):
    return replace(block, mask=mask.astype(np.uint8))


def test_a_good_prediction_has_nothing_to_say(scan, members):
    block = block_of(scan, members)
    assert describe_findings(block, members[0].anatomy) == []
    assert not cut_off(block, 4).any()
    assert not swapped(block, members[0].anatomy).any()


def test_cut_off_missing_and_swapped_structures_are_said(scan, members):
    anatomy, block = members[0].anatomy, block_of(scan, members)
    edge = TRUTH.copy()
    edge[1, 8:16, 38:] = 1
    assert cut_off(with_mask(block, edge), 4).tolist() == [[False] * 4, [True, False, False, False], [False] * 4]
    assert any(
        "multifidus left reaches the edge" in text for text in describe_findings(with_mask(block, edge), anatomy)
    )
    turned = np.array([0, 2, 1, 4, 3])[TRUTH]
    assert swapped(with_mask(block, turned), anatomy)[0].all()
    assert not swapped(with_mask(block, turned), anatomy)[2, 2:].any(), "what is not there is on no side"
    lonely = np.where(TRUTH == 3, 0, TRUTH)
    told = describe_findings(with_mask(block, lonely), anatomy)
    assert told == ["not found on any slice: erector spinae left"]
    lonely[0] = TRUTH[0]
    assert "only one of erector spinae left and erector spinae right was found on slice 1" in describe_findings(
        with_mask(block, lonely), anatomy
    )
    assert "nothing was found on any slice" in describe_findings(with_mask(block, 0 * TRUTH), anatomy)[0]


def test_a_field_smaller_than_the_image_cuts_at_its_own_edge(tmp_path, generated, scan):
    config = run_config(tmp_path / "narrow", generated)
    config.data.size, config.data.spacing_mm = [48, 32], 1.0
    narrow = load_members([write_run(tmp_path / "narrow", config)], CPU)
    block = block_of(scan, narrow)
    assert cut_off(block, 4)[0].all(), "all four muscles go on where this network sees nothing"


def looks_of(images):
    return Look.of_slices([look_of_slice(image[None], TRUTH[0], 4) for image in images])


def z_scored(rng, means):
    """A slice of noise with muscles of these means on a ground of 0."""
    return (rng.normal(0, 0.3, TRUTH[0].shape) + np.array([0, *means])[TRUTH[0]] + rng.normal(0, 0.1)).astype(
        np.float32
    )


@pytest.fixture
def seen():
    rng = np.random.default_rng(0)
    look = looks_of([z_scored(rng, (2, 2, 2, 2)) for _ in range(30)])
    return SeenImages(
        structures=["multifidus_left", "multifidus_right", "erector_spinae_left", "erector_spinae_right"],
        num_patients=10,
        num_channels=1,
        pixel_mm=[1.0, 1.25],
        field_mm=[40.0, 40.0, 60.0, 60.0],
        looks={"T2": look},
    )


def test_what_was_seen_survives_a_checkpoint(tmp_path, seen):
    torch.save({"seen": seen.plain()}, tmp_path / "file.ckpt")
    again = torch.load(tmp_path / "file.ckpt", weights_only=True)["seen"]
    assert SeenImages.of_plain(again) == seen


@pytest.mark.parametrize(
    ("means", "unlike"),
    [((2, 2, 2, 2), False), ((2.2, 2.1, 1.9, 2.1), False), ((-1, -1, 2, 2), True), ((0, 0, 0, 0), True)],
)
def test_intensities_that_the_network_never_saw_are_said(scan, members, seen, means, unlike):
    image = np.stack([z_scored(np.random.default_rng(place), means) for place in range(3)])[None]
    mask = np.repeat(TRUTH[:1], 3, axis=0)
    block = replace(block_of(scan, members, contrast="T2"), image=image, mask=mask)
    told = compare(block, [replace(members[0], seen=seen)])
    assert bool(told.warnings) == unlike
    assert told.notes == []
    if means[0] == -1:
        assert "unlike those of the 10 training patients" in told.warnings[0]
        assert "multifidus left -1" in told.warnings[0]


def test_contrast_pixels_and_field_are_compared(scan, members, seen):
    member = replace(members[0], seen=replace(seen, pixel_mm=[0.4, 0.6], field_mm=[80.0, 90.0, 80.0, 90.0]))
    told = compare(block_of(scan, members, contrast="T1"), [member])
    for words in (
        "stated to be T1; the network was trained on T2",
        "pixels of 1.25 mm are coarser",
        "40 x 60 mm, less",
    ):
        assert any(words in text for text in told.warnings)
    unstated = compare(block_of(scan, members), [member])
    assert "the files do not name their contrast; the network was trained on T2" in unstated.notes
    assert unstated.contrast == "unknown", "nor is a threshold for fat trusted then"
    assert "nothing could be compared" in compare(block_of(scan, members), members).notes[0]


def test_a_training_stores_what_its_images_look_like_and_can_be_predicted_with(tmp_path, generated):
    """The whole way: train, predict the same scans from their folder, find the areas of the label maps in the table."""
    line = (*TINY_PHANTOM, "experiment=unet", "trainer=smoke", "scale.epochs=1")
    config = compose_line(tmp_path / "run", generated, *line)
    tasks.train(config)
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    (member,) = load_members([checkpoint], CPU)
    data = tasks.build_data(config)
    assert member.seen == seen_images(data.store, data.indices["train"])
    assert member.seen.num_patients == len(data.patients("train"))
    assert set(member.seen.looks) == {"T2"}
    assert member.grid == data.store.grid
    root = data.cohort.root
    cases = pd.read_csv(root / "cohort.csv").head(2)
    (tmp_path / "in").mkdir()
    cases.assign(image=[str(root / name) for name in cases["image"]], label="").to_csv(
        tmp_path / "in" / "cohort.csv", index=False
    )
    predict(
        compose_line(tmp_path / "out", generated, "task=predict", f"checkpoint={checkpoint}", f"input={tmp_path}/in")
    )
    scans = pd.read_csv(tmp_path / "out" / "scans.csv", keep_default_na=False)
    assert scans["refused"].tolist() == ["", ""]
    assert "files do not name" not in "".join(scans["notes"]), "cohort.csv names the contrast"
    assert set(pd.read_csv(tmp_path / "out" / "morphometry.csv")["level"]) == set(cases["level"])


def test_a_refused_scan_does_not_stop_the_others(tmp_path, generated, checkpoint):
    given = tmp_path / "in"
    write_scan(given / "anna.nii.gz", picture())
    write_scan(given / "bert" / "sagittal.nii.gz", picture(), view="sagittal")
    for view in ("axial", "sagittal"):
        write_scan(given / "dora" / f"{view}.nii.gz", picture(), view=view)
    (given / "carl").mkdir()
    (given / "carl" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM")
    line = ("task=predict", f"checkpoint={checkpoint}", f"input={given}")
    with pytest.raises(ValueError, match=r"2 scan\(s\) could not be predicted") as caught:
        predict(compose_line(tmp_path / "out", generated, *line))
    assert "slices are not axial" in str(caught.value)
    assert "broken.dcm: cannot be read" in str(caught.value)
    assert "dora" not in str(caught.value), "the other view of a patient is set aside"
    assert set(pd.read_csv(tmp_path / "out" / "morphometry.csv")["case"]) == {"anna", "dora_axial"}
    assert "Not measured" in (tmp_path / "out" / "bert" / "summary.html").read_text()
    refused = pd.read_csv(tmp_path / "out" / "scans.csv", keep_default_na=False).set_index("case")["refused"]
    assert set(refused[refused != ""].index) == {"bert_sagittal", "carl", "dora_sagittal"}


def test_unknown_orientation_and_missing_channels_are_refused(tmp_path, members, generated):
    flat = sitk.GetImageFromArray(picture()[0])
    sitk.WriteImage(flat, str(tmp_path / "flat.mha"))
    with pytest.raises(ValueError, match=r"does not say where the patient's left is; add the column orientation"):
        block_of(tmp_path / "flat.mha", members)
    config = run_config(tmp_path / "dixon", generated, "cohort.channels=[water,fat]")
    two = load_members([write_run(tmp_path / "dixon", config)], CPU)
    with pytest.raises(ValueError, match=r"1 image\(s\), but the network needs 2 \(water, fat\).*cohort\.csv"):
        block_of(write_scan(tmp_path / "scan.nii.gz", picture()), two)


def test_a_dixon_pair_gives_the_measured_fraction(tmp_path, generated):
    config = run_config(tmp_path / "dixon", generated, "cohort.channels=[water,fat]")
    checkpoint = write_run(tmp_path / "dixon", config)
    write_scan(tmp_path / "in" / "w.nii.gz", picture())
    write_scan(tmp_path / "in" / "f.nii.gz", (picture() / 3).astype(np.int16))
    rows = "case,patient,image,contrast\nw,anna,w.nii.gz,water\nf,anna,f.nii.gz,fat\n"
    (tmp_path / "in" / "cohort.csv").write_text(rows)
    line = ("task=predict", f"checkpoint={checkpoint}", f"input={tmp_path}/in")
    predict(compose_line(tmp_path / "out", generated, *line))
    table = pd.read_csv(tmp_path / "out" / "morphometry.csv")
    found = table.query("csa_mm2 > 50")["fat_fraction_signal"]
    assert len(found) > 10
    np.testing.assert_allclose(found, 0.25, atol=0.01)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda run: (run / "config.yaml").unlink(), r"config\.yaml is missing; network, anatomy, grid and channels"),
        (lambda run: (run / "config.yaml").write_text("anatomy: 1"), r"is no configuration of a run \(it lacks model"),
        (
            lambda run: OmegaConf.save(
                OmegaConf.merge(OmegaConf.load(run / "config.yaml"), {"model": {"width": 8}}), run / "config.yaml"
            ),
            r"holds another network than config\.yaml.*model\.width: None -> 8",
        ),
    ],
)
def test_a_run_folder_that_does_not_fit_is_refused(checkpoint, break_it, message):
    break_it(checkpoint.parent.parent)
    with pytest.raises(ValueError, match=message):
        load_members([checkpoint], CPU)


def test_members_that_disagree_are_refused(tmp_path, generated, checkpoint):
    config = run_config(tmp_path / "other", generated, "+cohort.slices=3")
    other = write_run(tmp_path / "other", config)
    with pytest.raises(ValueError, match=r"cannot be averaged; they differ in slices: all -> 3"):
        load_members([checkpoint, other], CPU)
    config.cohort.slices = "all"
    config.anatomy.structures = config.anatomy.structures[::-1]
    with pytest.raises(ValueError, match=r"they differ in structures: multifidus_left, .* -> erector_spinae_right"):
        load_members([checkpoint, write_run(tmp_path / "third", config)], CPU)


def test_checkpoints_are_named_in_several_ways(tmp_path, checkpoint):
    second = tmp_path / "second.ckpt"
    second.touch()
    both = [checkpoint, second]
    assert checkpoint_files(OmegaConf.create([str(path) for path in both])) == both
    assert checkpoint_files(f"{checkpoint}, {second}") == both
    assert checkpoint_files(str(tmp_path / "*" / "checkpoints" / "*.ckpt")) == [checkpoint]
    for given, message in [
        (None, "needs checkpoint=FILE"),
        ("nowhere.ckpt", "there is no such file"),
        (f"{second},{second}", "twice"),
    ]:
        with pytest.raises(ValueError, match=message):
            checkpoint_files(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [("", "needs input=FILE-or-FOLDER"), ("nowhere", "no such file or folder"), (".", "no scan in")],
)
def test_an_input_without_scans_is_refused(tmp_path, generated, checkpoint, given, message):
    (tmp_path / "empty").mkdir()
    path = tmp_path / "empty" / given if given else ""
    with pytest.raises(ValueError, match=message):
        predict(compose_line(tmp_path / "out", generated, "task=predict", f"checkpoint={checkpoint}", f"input={path}"))


def test_patients_of_a_folder(tmp_path):
    """Files, folders of files, a study over two folders, two studies of one folder, an export of two series."""
    write_scan(tmp_path / "in" / "anna.nii.gz", picture())
    write_scan(tmp_path / "in" / "bert" / "bert_L4-5.mha", picture())
    still = np.eye(3)
    for study, name, series in [
        ("1", "carl/a", "1.1"),
        ("1", "carl/b", "1.2"),
        ("2", "dora/x", "2.1"),
        ("3", "dora/y", "3.1"),
        ("4", "emil", "4.1"),
        ("4", "emil", "4.2"),
    ]:
        write_series(
            tmp_path / "in" / name, picture()[:1], tilt=still, height_mm=0, first=1, study=study, series=series
        )
    cases, unreadable = find_scans(tmp_path / "in", "axial")
    assert unreadable == {}
    assert {case.case: case.patient for case in cases} == {
        "anna": "anna",
        "bert_L4-5": "bert",
        "carl_a": "carl",
        "carl_b": "carl",
        "dora_x": "dora_x",
        "dora_y": "dora_y",
        "emil_4.1": "emil",
        "emil_4.2": "emil",
    }
    (alone,), _ = find_scans(tmp_path / "in" / "carl" / "a", "axial")
    assert (alone.case, alone.patient) == ("a", "a")
    write_series(tmp_path / "in" / "emil", picture()[:1], tilt=still, height_mm=0, first=9, study="5", series="5.9")
    with pytest.raises(ValueError, match=r"emil: holds the series of 2 studies side by side.*several persons"):
        find_scans(tmp_path / "in", "axial")


def test_a_run_card_says_what_predicted(tmp_path, generated, checkpoint, scan):
    line = ("task=predict", f"checkpoint={checkpoint}", f"input={scan}")
    predict(compose_line(tmp_path / "out", generated, *line))
    card = json.loads((tmp_path / "out" / "run_card.json").read_text())
    assert list(card["checkpoints"]) == [str(checkpoint)]
    assert {"command", "commit", "versions", "files"} <= set(card)
