"""Tables computed again from what a run left: equal to the byte, or as they were and named with the reason."""

import shutil

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from lightning_modules.tasks import training
from lightning_modules.tasks.rescoring import rescore_folder
from tests.conftest import TINY_PHANTOM, arrays_of, compose_line

pytestmark = pytest.mark.slow  # whole trainings and tests

SMOKE = ("trainer=smoke", "scale.epochs=1", "trainer.limit_test_batches=1.0")
SAGITTAL = (
    *("phantom=scarnet", "phantom.num_patients=8", "phantom.masked_patients=8", "cohort.num_workers=1"),
    *("phantom.size=128", "phantom.spacing_mm=2.2", *SMOKE, "experiment=unet"),
    *("data.size=[96,64]", "data.spacing_mm=3.0", "objective.undo_class_weights=false"),
)
NETWORK = {"_target_": "tests.made.keypoint_network.KeypointNetwork", "_partial_": True, "num_keypoints": 10}
LINES = {
    "regions": (*TINY_PHANTOM, *SMOKE, "experiment=baur_unet", "split.num_folds=4"),
    "keypoints": SAGITTAL,
}
TABLES = {"regions": "region_outputs.csv", "keypoints": "keypoints.csv"}


@pytest.fixture(scope="module", params=list(LINES))
def tested(request, tmp_path_factory, generated):
    """What kind of run it is, and its folder."""
    folder = tmp_path_factory.mktemp("tested") / "run"
    config = compose_line(folder, generated, *LINES[request.param])
    if request.param == "keypoints":
        config.model = OmegaConf.create(NETWORK)
    training.train(config)
    return request.param, folder


@pytest.fixture
def copied(tested, tmp_path):
    """The same, to be spoiled."""
    kind, folder = tested
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoints", "figures"))
    return kind, folder, tmp_path / "copy"


def test_every_table_is_the_same_to_the_byte(copied):
    kind, folder, copy = copied
    tables = sorted(path.name for path in folder.glob("*.csv"))
    assert {TABLES[kind], "cases.csv", "confusion.csv", "morphometry.csv"} <= set(tables)
    for name in ("cases.csv", "confusion.csv", "morphometry.csv", TABLES[kind]):
        spoiled = pd.read_csv(copy / name, dtype=str, keep_default_na=False)
        spoiled.drop(columns=spoiled.columns[-6]).to_csv(copy / name, index=False)  # of an earlier version
    changed, left = rescore_folder(copy)
    assert set(changed) == {"cases.csv", "confusion.csv", "morphometry.csv", TABLES[kind]}
    assert left == {}
    for name in (*tables, "summary.json"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes(), name


def test_what_was_not_kept_leaves_its_table_as_it_is(copied):
    """Files of an earlier version, and a cohort that has gone or changed."""
    kind, folder, copy = copied
    later = {"regions", "true_keypoints", "keypoints", "keypoint_peaks"}
    for path in (copy / "predictions").glob("*.npz"):
        np.savez_compressed(path, **{name: array for name, array in arrays_of(path).items() if name not in later})
    card = (copy / "run_card.json").read_text()
    content = OmegaConf.create(card).cohort_content
    (copy / "run_card.json").write_text(card.replace(content, "0" * 32))
    changed, left = rescore_folder(copy)
    assert changed == []
    expected = {
        "regions": {
            "region_outputs.csv": "did not keep overlapping outputs",
            "morphometry.csv": "not those of the run",
        },
        "keypoints": {"keypoints.csv": "did not keep key points"},
    }[kind]
    assert left.keys() == expected.keys()
    assert all(words in left[name] for name, words in expected.items())
    for name in (TABLES[kind], "cases.csv"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes()


def test_columns_of_others_are_not_lost(copied):
    kind, _, copy = copied
    table = pd.read_csv(copy / TABLES[kind], dtype=str, keep_default_na=False)
    table["reader"] = [f"R{number}" for number in range(len(table))]
    table.drop(columns="patient").to_csv(copy / TABLES[kind], index=False)
    assert TABLES[kind] in rescore_folder(copy)[0]
    after = pd.read_csv(copy / TABLES[kind], dtype=str, keep_default_na=False)
    assert after["reader"].tolist() == table["reader"].tolist()
    assert after["patient"].tolist() == table["patient"].tolist()
