"""The way of tissue maps: written by the phantom on request, checked, stored at their own pixels, read into batches."""

import dataclasses
import json
from hashlib import blake2b

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from datamodules.cohort import Cohort
from datamodules.phantom import PhantomSettings
from datamodules.phantom.settings import GENERATOR_VERSION, YOUNGER
from datamodules.phantom.writer import is_written
from datamodules.reading.geometry import SliceGrid
from datamodules.slices import SliceDataModule
from datamodules.store.seen_images import SeenImages, seen_images
from datamodules.store.slice_store import build_store
from datamodules.store.tissue_batch import MapReader
from datamodules.supervision import Supervision
from tests.conftest import TINY_PHANTOM, compose_line
from tests.made.scans import random_image, replace_line, small_cohort, two_muscles, write_cohort, write_volume

GRID = SliceGrid(size=(10, 14), spacing_mm=0.8)


@pytest.fixture
def root(tmp_path):
    """Two cases with tissue maps; one has a fat map."""
    root = write_cohort(tmp_path / "data")
    lines = (root / "cohort.csv").read_text().splitlines()
    lines = [lines[0] + ",tissues,fat_map"] + [
        f"{line},tissues/{name}.nii.gz,{fat}"
        for line, name, fat in zip(lines[1:], ("anna", "bert"), ("fat/anna.nii.gz", ""), strict=True)
    ]
    (root / "cohort.csv").write_text("\n".join(lines) + "\n")
    (root / "tissues.csv").write_text("id,tissue\n40,muscle\n41,muscle\n7,fat\n")
    for name in ("anna", "bert"):
        mask = two_muscles()
        write_volume(root / f"tissues/{name}.nii.gz", np.where(mask > 0, mask.astype(np.int16) + 39, 7))
    write_volume(root / "fat/anna.nii.gz", (random_image(5) / 1000).astype(np.float32))
    return root


def build(root, cache):
    return build_store(small_cohort(root).with_tissue_maps(), grid=GRID, cache=cache, num_workers=0)


def test_maps_are_stored_on_the_pixels_of_their_files(root, tmp_path):
    store = build(root, tmp_path / "cache")
    assert store.tissues == ("air", "muscle", "muscle", "fat")
    maps = MapReader(store).read([6, 0])
    drawn = two_muscles()
    torch.testing.assert_close(maps["tissues"][0].numpy(), np.where(drawn > 0, drawn, 3)[1].astype(np.int16))
    assert (maps["fat"][0] == 255).all()
    np.testing.assert_allclose(maps["fat"][1] / 254, random_image(5)[3] / 1000, atol=0.003)
    np.testing.assert_array_equal(maps["native_mask"][0], store.native(6).mask)
    assert maps["native_size"].tolist() == [[12, 16]] * 2
    assert maps["native_mm"].tolist() == [[0.75, 0.5]] * 2


def test_a_store_without_maps_keeps_its_name_whether_there_are_some_or_not(root, tmp_path):
    def name(cohort):
        return build_store(cohort, grid=GRID, cache=tmp_path / "cache", num_workers=0).folder.name

    plain, with_maps = small_cohort(root), small_cohort(root).with_tissue_maps()
    assert name(plain) != name(with_maps)
    before = name(with_maps)
    write_volume(root / "fat/anna.nii.gz", (random_image(6) / 1000).astype(np.float32))
    assert name(small_cohort(root).with_tissue_maps()) != before
    assert not build_store(plain, grid=GRID, cache=tmp_path / "cache", num_workers=0).tissues


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: replace_line(root, "tissues/bert.nii.gz", ""), "'bert' has no tissue map"),
        (lambda root: (root / "tissues.csv").unlink(), r"tissues\.csv: is missing"),
        (lambda root: (root / "tissues/bert.nii.gz").unlink(), "column tissues is missing"),
        (lambda root: (root / "fat/anna.nii.gz").unlink(), "column fat_map is missing"),
        (lambda root: (root / "tissues.csv").write_text("id,tissue\n40,muscle\n7,fat\n"), "holds the id 41"),
        (lambda root: (root / "tissues.csv").write_text("id,tissue\n4.5,muscle\n"), "'4.5', expected a whole number"),
        (lambda root: (root / "tissues.csv").write_text("id,tissue\n4,muscle\n4,fat\n"), "id 4 is listed twice"),
        (lambda root: write_volume(root / "fat/anna.nii.gz", random_image(5)), r"outside of 0\.\.1"),
        (
            lambda root: write_volume(root / "tissues/anna.nii.gz", two_muscles(), spacing=(0.6, 0.75, 4.0)),
            "does not lie on the grid of the image",
        ),
    ],
)
def test_what_is_wrong_with_maps_is_said_in_one_line(root, tmp_path, spoil, said):
    spoil(root)
    with pytest.raises(ValueError, match=said) as caught:
        build(root, tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_settings_that_ask_for_no_maps_have_the_digest_they_had():
    settings = PhantomSettings()
    older = {name: value for name, value in dataclasses.asdict(settings).items() if name not in YOUNGER}
    text = json.dumps([GENERATOR_VERSION, older], sort_keys=True)
    assert settings.digest == blake2b(text.encode(), digest_size=6).hexdigest()
    assert dataclasses.replace(settings, tissue_maps=True).digest != settings.digest
    with pytest.raises(ValueError, match="tissue_maps is 'yes', expected true or false"):
        PhantomSettings(tissue_maps="yes")


@pytest.fixture(scope="module")
def data(generated, tmp_path_factory):
    line = ("experiment=unet", "trainer=smoke", "data/augmentation=synthesis", *TINY_PHANTOM)
    return instantiate(compose_line(tmp_path_factory.mktemp("run"), generated, *line).data)


def test_the_phantom_writes_maps_for_who_asks(data):
    root = data.cohort.root
    plain = PhantomSettings.from_mapping(json.loads((root / "phantom.json").read_text())["settings"])
    assert plain.tissue_maps
    without = dataclasses.replace(plain, tissue_maps=False)
    with pytest.raises(ValueError, match="tissue_maps: True -> None"):
        is_written(without, root)
    assert {"muscle", "marrow", "cortex", "csf", "air"} <= set(data.store.tissues)
    listed = (root / "tissues.csv").read_text().splitlines()
    assert listed[0] == "id,tissue,structure"
    assert any(line.endswith(",muscle,psoas_left") for line in listed)


def test_training_batches_are_made_and_validation_ones_are_not(data):
    (row, *_) = data.indices["train"]
    stored = data.training_slices()[[(int(row), 5)]]
    made, again, other = (data.augmentation(data.training_slices()[[(int(row), seed)]]) for seed in (5, 5, 6))
    assert torch.equal(made.image, again.image)
    assert not torch.equal(made.image, other.image)
    assert made.image.shape == stored.image.shape
    assert made.mask.unique().numel() > 3
    assert torch.equal(stored.image[0], torch.from_numpy(data.store.image[row]))
    (validation, *_) = data.val_dataloader()
    assert not hasattr(validation, "tissues")


def test_an_epoch_that_is_drawn_again_gives_the_same_pictures(data):
    def pictures(epoch):
        data.load_state_dict({"next_epoch": epoch})
        (first, *_) = data.train_dataloader()
        return data.augmentation(first).image

    assert torch.equal(pictures(3), pictures(3))
    assert not torch.equal(pictures(3), pictures(4))


def test_pictures_of_another_cohort_have_no_maps(data, tmp_path):
    known = {name: getattr(data.cohort, name) for name in ("root", "anatomy", "other_keypoints")}
    weak = Cohort(name="weak", labels=data.cohort.reader.labels, prefix="weak_", **known)
    with pytest.raises(ValueError, match="weak_cohort is weak, whose pictures have no tissue maps"):
        SliceDataModule(
            cohort=data.cohort,
            split=lambda table: pytest.fail("comes later"),
            supervision=Supervision(masks=True, keypoints=False, weak_cohort=weak),
            fold=0,
            size=(64, 64),
            spacing_mm=3.0,
            batch_size=2,
            augmentation=data.augmentation,
            cache=tmp_path,
        )


def test_what_a_network_of_any_contrast_has_seen_are_the_pictures_that_were_made(data):
    seen = data.seen_images()
    assert seen.of_any_contrast
    assert list(seen.looks) == [""]
    assert not seen.slices, "no stored picture trained it"
    assert list(seen.field_mm) == [*data.augmentation.field_mm] * 2
    assert list(seen.pixel_mm) == [*data.augmentation.pixel_mm]
    again = SeenImages.of_plain(data.seen_images().plain())
    np.testing.assert_array_equal(seen.looks[""].mean, again.looks[""].mean)
    stored = seen_images(data.store, data.indices["train"])
    (look,) = stored.looks.values()
    spread = [np.trace(each.covariance) for each in (seen.looks[""], look)]
    assert spread[0] > 4 * spread[1], "of many contrasts, beside one"
