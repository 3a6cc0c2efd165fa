"""What a prediction says of itself, and what of it is doubtful."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from datamodules.reading.case_images import read_images
from datamodules.store.preparation import z_score
from datamodules.store.seen_images import Look, SeenImages, look_of_slice, seen_images
from lightning_modules.prediction.familiarity import compare
from lightning_modules.prediction.findings import cut_off, describe_findings, swapped
from lightning_modules.prediction.members import load_members
from lightning_modules.prediction.page import ScanSummary, print_layout, write_page
from lightning_modules.prediction.page_tables import Group, Table
from lightning_modules.prediction.page_words import whom_it_learned_from
from lightning_modules.prediction.task import predict
from lightning_modules.tasks import training
from tests.conftest import TINY_PHANTOM, UNDRAWN, compose_line
from tests.made.predicted_scans import TRUTH, block_of, picture, run_config, write_run, write_scan

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


def test_a_scan_that_was_trained_on_is_known_again_whatever_its_file(composed):
    """By the pixels of its middle slice, as `task=predict` reads them."""
    data = training.build_data(composed(*TINY_PHANTOM, "experiment=unet", "trainer=smoke"))
    learned = seen_images(data.store, data.indices["train"])
    assert len(learned.slices) == len(set(data.store.table["case"].iloc[data.indices["train"]]))
    assert SeenImages.of_plain(learned.plain()) == learned
    for part, expected in (("train", True), ("test", False)):
        name = data.store.table["case"].iloc[data.indices[part][0]]
        case = next(case for case in data.cohort.cases if case.case == name)
        (channel,) = read_images(case, view="axial", has_sides=True)
        assert learned.holds(z_score(np.stack([channel[0].voxels]).astype(np.float32))) == expected


def test_the_first_lines_of_a_page_say_whom_the_network_learned_from(tmp_path, seen, members):
    def member(name, **cohort):
        return replace(members[0], config=OmegaConf.create({"cohort": {"name": name, **cohort}}), seen=seen)

    real = member("axial_muscle", licence="CC-BY-4.0")
    assert whom_it_learned_from([real]) == "This network learned from 10 patients (cohort axial_muscle)."
    learned = whom_it_learned_from([member("phantom", licence="CC0-1.0, synthetic")])
    assert "10 synthetic patients, no person among them" in learned
    scans = [ScanSummary(name="scan", is_learned=True), ScanSummary(name="other")]
    what = {"patient": "anna", "scans": scans, "tables": [], "sheet": None, "network": [], "explained": "Area."}
    write_page(tmp_path / "page.html", **what, learned=learned)
    page = (tmp_path / "page.html").read_text()
    body = page[page.index("<body>") :]
    assert body.index(learned) < body.index("The network learned from this very scan") < body.index("other")
    assert body.count("this very scan") == 1
    assert body.index(learned) < 500


@pytest.mark.parametrize(("num_rows", "num_warnings", "picture"), [(8, 0, 112), (30, 4, 112), (45, 8, 61)])
def test_what_is_printed_fits_one_page(num_rows, num_warnings, picture):
    """The more there is to say, the smaller the picture, then the letters; a line takes 1.25 times their size."""
    table = Table(caption="", header=[], groups=[Group(title="", rows=[["x"]] * num_rows)])
    texts = ["word " * 30] * (num_warnings + 5)
    layout = print_layout(texts, [table], has_picture=True)
    line_mm = 1.25 * layout.font_pt * 25.4 / 72
    lines = (num_rows + 5) + 2 * len(texts)
    assert lines * line_mm + layout.picture_mm < 279 - 12
    assert 5.5 <= layout.font_pt <= 8.5
    assert layout.picture_mm <= picture


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


def test_a_network_of_any_contrast_doubts_none_and_trusts_no_threshold_without_one(scan, members, seen):
    image = np.stack([z_scored(np.random.default_rng(place), (2, 2, 2, 2)) for place in range(3)])[None]
    mask = np.repeat(TRUTH[:1], 3, axis=0)
    of_any = replace(seen, looks={"": seen.looks["T2"]}, of_any_contrast=True)
    member = replace(members[0], seen=of_any)
    stated = compare(replace(block_of(scan, members, contrast="T1"), image=image, mask=mask), [member])
    assert (stated.warnings, stated.notes, stated.contrast) == ([], [], "T1")
    unstated = compare(replace(block_of(scan, members), image=image, mask=mask), [member])
    assert unstated.contrast == "unknown"
    assert not unstated.warnings
    assert "do not name their contrast; the network was trained on pictures of any" in unstated.notes[0]
    assert "no threshold for fat is trusted" in unstated.notes[1]


@pytest.mark.slow
def test_a_training_stores_what_its_images_look_like_and_can_be_predicted_with(tmp_path, generated):
    """The whole way: train, predict the same scans from their folder, find the areas of the label maps in the table."""
    line = (*TINY_PHANTOM, *UNDRAWN, "experiment=unet", "trainer=smoke", "scale.epochs=1")
    config = compose_line(tmp_path / "run", generated, *line)
    training.train(config)
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    (member,) = load_members([checkpoint], CPU)
    data = training.build_data(config)
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


def test_a_run_card_says_what_predicted(tmp_path, generated, checkpoint, scan):
    line = ("task=predict", f"checkpoint={checkpoint}", f"input={scan}")
    predict(compose_line(tmp_path / "out", generated, *line))
    card = json.loads((tmp_path / "out" / "run_card.json").read_text())
    assert list(card["checkpoints"]) == [str(checkpoint)]
    assert {"command", "commit", "versions", "files"} <= set(card)
