"""What a wandb dashboard gets to see, read back from offline runs: of one process, of several, and of a killed one."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wandb
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict
from PIL import Image

from callbacks.loggers import CellLogger
from lightning_modules.tasks import training
from records.identity import cell_name
from tests.conftest import ROOT, TINY_PHANTOM
from tests.made.processes import started
from tests.made.wandb_files import OfflineRun, only_run

pytestmark = pytest.mark.slow  # whole trainings

# Lightning warns of epochs that are shorter than its logging interval; nothing here is logged by the step.
SMOKE = (*TINY_PHANTOM, "trainer=smoke", "trainer.log_every_n_steps=1")
ASYNCHRONOUS = (*SMOKE, "scale.epochs=4", "callbacks.asynchronous_training.cycle={esnet: 1, bsn: 1}")


def compose_as_run(folder: Path, generated: Path, *overrides: str):
    """The configuration of `python run.py ...`, with the chosen groups that the logger's names come from."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        places = [f"output={folder}", f"paths.data={generated}", f"paths.cache={generated}/cache"]
        config = compose("config", overrides=[*places, *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config


@pytest.fixture(scope="module", autouse=True)
def wandb_service():
    """Other tests of this process start processes of their own."""
    yield
    wandb.teardown()
    HydraConfig.instance().cfg = None


@pytest.fixture(scope="module")
def grid(tmp_path_factory, generated):
    """Two cells, trained one after the other in this process."""
    folder = tmp_path_factory.mktemp("grid")
    for fold, more in enumerate(((), ("ablation=no_sag", "cohort.name=phantom"))):
        training.train(compose_as_run(folder / f"cell{fold}", generated, *ASYNCHRONOUS, *more, f"fold={fold}"))
    wandb.finish()
    return folder


@pytest.fixture(scope="module")
def logged(grid) -> OfflineRun:
    return only_run(grid / "cell0")


def test_a_run_is_named_by_what_was_chosen(grid, logged):
    choices = ["phantom", "smoke", "patient_folds"]
    for fold, run, group in ((0, logged, "bs_esnet"), (1, only_run(grid / "cell1"), "bs_esnet_no_sag")):
        assert run.start["project"] == "paraspine"
        assert run.start["run_group"] == group
        assert run.start["display_name"] == f"{group}-fold{fold}-seed0"
        assert run.start["tags"] == choices
        assert run.start["job_type"] == "train"


def test_runs_of_one_process_keep_their_own_config_and_history(grid, logged):
    runs = (logged, only_run(grid / "cell1"))
    assert runs[0].start["run_id"] != runs[1].start["run_id"]
    for fold, run in enumerate(runs):
        folder = grid / f"cell{fold}"
        config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        assert run.config == {**config, "masks": None}
        assert run.config["fold"] == fold
        assert_curves(run, folder)
        assert run.of_kind("exit"), "finished"


def assert_curves(run: OfflineRun, folder: Path) -> None:
    """Everything of metrics.csv, nothing beside it."""
    epochs = pd.read_csv(folder / "metrics.csv", index_col="epoch")
    logged = [name for name in epochs.columns if "/" in name]
    assert {"loss/total", "val/dice"} <= set(logged)
    for name in logged:
        assert run.curve(name) == pytest.approx(epochs[name].dropna().to_dict()), name


def test_the_schedule_is_on_the_dashboard(logged):
    assert logged.curve("schedule/bsn") == {0: 1, 1: 0, 2: 1, 3: 1}
    assert logged.curve("schedule/esnet") == {0: 1, 1: 1, 2: 0, 3: 0}


def test_the_case_table_is_that_of_the_run_folder(grid, logged):
    shown = json.loads((logged.folder / "files" / logged.media("test/cases")["path"]).read_text())
    cases = pd.read_csv(grid / "cell0" / "cases.csv")
    assert shown["columns"] == list(cases.columns)
    table = pd.DataFrame(shown["data"], columns=shown["columns"])
    assert table["case"].tolist() == cases["case"].tolist()
    assert table["dice"].astype(float).to_numpy() == pytest.approx(cases["dice"].to_numpy(), nan_ok=True)
    (artifact,) = logged.of_kind("artifact")
    staged = Path(artifact["manifest"]["contents"][0]["local_path"])
    assert staged.is_relative_to(grid / "cell0"), "wandb sync finds everything in the run folder"
    assert staged.exists()


def test_the_summary_is_that_of_the_run_folder(grid, logged):
    summary = json.loads((grid / "cell0" / "summary.json").read_text())
    shown = logged.summary
    assert shown["test/dice/mean"] == pytest.approx(summary["test"]["dice"]["mean"])
    assert shown["test/num_missed"] == summary["test"]["num_missed"]
    assert shown["cost/parameters"] == summary["model"]["parameters"]
    assert shown["cost/training_seconds"] == pytest.approx(summary["train"]["seconds"])
    for structure in OmegaConf.load(grid / "cell0" / "config.yaml").anatomy.structures:
        for metric in ("dice", "hd95_mm", "box_iou"):
            assert shown[f"test/{metric}/{structure}"] == pytest.approx(summary["test"][metric][structure])


def test_overlays_have_masks_and_boxes_of_the_same_things(grid, logged):
    files = logged.folder / "files"
    shown = logged.media("test/overlays")
    structures = list(OmegaConf.load(grid / "cell0" / "config.yaml").anatomy.structures)
    labels = {"0": "background", **{str(index + 1): name for index, name in enumerate(structures)}}
    (config, *_) = [record["update"] for record in logged.of_kind("config")[::-1]]
    for kind, groups in (("mask", ("prediction", "ground_truth")), ("bounding_box", ("network", "ground_truth"))):
        known = config["_wandb"][f"{kind}/class_labels"]
        assert {known[f"test/overlays_wandb_delimeter_{group}"]["value"]["1"] for group in groups} == {structures[0]}
        assert known[f"test/overlays_wandb_delimeter_{groups[0]}"]["value"] == labels
    assert 1 <= shown["count"] <= 6
    for path, masks, boxes, caption in zip(
        shown["filenames"], shown["all_masks"], shown["all_boxes"], shown["captions"], strict=True
    ):
        assert "Dice" in caption
        picture = np.asarray(Image.open(files / path))
        assert picture.dtype == np.uint8
        assert picture.std() > 20, "neither black nor white"
        truth = np.asarray(Image.open(files / masks["ground_truth"]["path"]).convert("L"))
        assert truth.shape == picture.shape[:2]
        assert set(np.unique(truth)) <= set(range(len(labels)))
        drawn = json.loads((files / boxes["ground_truth"]["path"]).read_text())["box_data"]
        assert {box["class_id"] for box in drawn} == set(np.unique(truth)) - {0}
        for box in drawn:
            assert_around(box["position"], truth == box["class_id"])
            assert structures[box["class_id"] - 1] in box["box_caption"]
        network = json.loads((files / boxes["network"]["path"]).read_text())["box_data"]
        assert [box["class_id"] for box in network] == list(range(1, len(labels)))


def assert_around(position: dict, mask: np.ndarray) -> None:
    """A box in fractions of the image is the tight box of a mask."""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    edges = [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]
    (x, y), w, h = position["middle"], position["width"], position["height"]
    found = [(x - w / 2) * width, (x + w / 2) * width, (y - h / 2) * height, (y + h / 2) * height]
    assert found == pytest.approx(edges, abs=0.01)


def test_attention_is_shown_where_there_is_some(grid, logged):
    maps = logged.media("test/saliency")
    assert maps["count"] == logged.media("test/overlays")["count"]
    picture = np.asarray(Image.open(logged.folder / "files" / maps["filenames"][0]))
    assert picture.shape == (64, 64, 3)
    assert "test/saliency" not in only_run(grid / "cell1").keys, "without its gate the network has no map"


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # wandb-workspaces 0.4
def test_the_dashboard_shows_what_runs_log(grid, logged):
    from reports.dashboard import build_workspace
    from tests.made.dashboard_keys import shown_keys

    structures = [str(name) for name in OmegaConf.load(grid / "cell0" / "config.yaml").anatomy.structures]
    keys = shown_keys(build_workspace("team", "project", structures))
    assert len(keys) > 30
    assert keys - logged.keys == set()


def start(folder: Path, generated: Path, *overrides: str) -> subprocess.Popen:
    words = [f"hydra.run.dir={folder}", f"paths.data={generated}", f"paths.cache={generated}/cache", *overrides]
    return started(folder.parent, *words, OMP_NUM_THREADS="1")


@pytest.mark.slow
def test_parallel_processes_and_a_killed_one_leave_whole_runs(tmp_path, generated):
    """Two at once; the second is killed in the middle and goes on in another process: the same run, all its epochs."""
    line = (*SMOKE, "experiment=unet", "scale.epochs=6", "data.samples_per_epoch=24")
    folders = [tmp_path / "fold2", tmp_path / "fold3"]
    processes = [start(folder, generated, *line, f"fold={fold}") for fold, folder in zip((2, 3), folders, strict=True)]
    deadline = time.monotonic() + 120
    while not (folders[1] / "metrics.csv").exists() or len(pd.read_csv(folders[1] / "metrics.csv")) < 2:
        assert time.monotonic() < deadline
        assert processes[1].poll() is None
        time.sleep(0.02)
    processes[1].send_signal(signal.SIGKILL)
    assert processes[1].wait() == -signal.SIGKILL
    assert not (folders[1] / "summary.json").exists(), "it was meant to be stopped in the middle"
    (killed,) = (folders[1] / "wandb").glob("offline-run-*")
    training.train(compose_as_run(folders[1], generated, *line, "fold=3"))
    wandb.finish()
    output, _ = processes[0].communicate()
    assert processes[0].returncode == 0, output
    runs = [only_run(folder) for folder in folders]
    for run, folder in zip(runs, folders, strict=True):
        assert_curves(run, folder)
        assert len(run.curve("loss/total")) == 6
        assert run.config["fold"] == int(folder.name[-1])
        assert {"test/cases", "test/overlays", "test/dice/mean"} <= run.keys
    steps = [[row["trainer/global_step"] for row in run.history if "loss/total" in row] for run in runs]
    assert steps[0] == steps[1], "the epochs that it caught up with are where they were"
    assert runs[1].start["run_id"] != runs[0].start["run_id"]
    assert (folders[1] / "wandb" / "superseded" / killed.name).exists()
    assert killed.name.endswith(runs[1].start["run_id"]), "one wandb run"


def test_a_run_is_continued_in_its_folder_alone(tmp_path):
    def identity(folder: str) -> str:
        logger = CellLogger(cell="0123456789ab", tags=[], save_dir=str(tmp_path / folder), mode="disabled")
        assert logger.experiment is not None
        wandb.finish()
        return logger._wandb_init["id"]

    ids = [identity("a"), identity("a"), identity("b")]
    assert ids[0] == ids[1] != ids[2]
    assert all(run.startswith("0123456789ab-") for run in ids)


def test_what_was_sent_before_a_kill_stays_and_the_rest_is_set_aside(tmp_path):
    logger = CellLogger(cell="c", tags=[], save_dir=str(tmp_path), mode="disabled")
    assert logger.experiment is not None
    name = (tmp_path / "wandb" / "run_id").read_text()
    parts = [tmp_path / "wandb" / f"offline-run-20260101_00000{second}-{name}" for second in range(2)]
    for part in parts:
        part.mkdir()
    (parts[0] / f"run-{name}.wandb.syncstate").touch()
    logger.set_aside_earlier_parts()
    wandb.finish()
    assert [part.exists() for part in parts] == [True, False]
    assert (tmp_path / "wandb" / "superseded" / parts[1].name).exists()


def test_a_process_that_logs_nothing_leaves_no_run(tmp_path):
    logger = CellLogger(cell="c", tags=[], save_dir=str(tmp_path), offline=True)
    logger.log_hyperparams({"fold": 0})
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize(
    ("overrides", "group", "name", "tags"),
    [
        (["sweep=none"], "bs_esnet", "bs_esnet-fold0-seed0", ["phantom", "small", "patient_folds"]),
        (
            ["experiment=unet", "split=as_published", "fold=3", "seed=2"],
            *("unet", "unet-fold3-seed2", ["phantom", "small", "as_published"]),
        ),
        (
            ["experiment=bs_esnet_no_sag"],
            "bs_esnet_no_sag",
            "bs_esnet_no_sag-fold0-seed0",
            ["phantom", "small", "patient_folds"],
        ),
        (
            ["ablation=no_sag", "sweep=bs_esnet_table1"],
            "bs_esnet_no_sag",
            "bs_esnet_no_sag-fold0-seed0",
            ["phantom", "small", "patient_folds", "bs_esnet_table1"],
        ),
    ],
)
def test_names_come_from_the_choices(tmp_path, generated, overrides, group, name, tags):
    from hydra.utils import instantiate

    config = compose_as_run(tmp_path, generated, *overrides)
    kept = instantiate(config.logger)._wandb_init
    assert (kept["group"], kept["name"], kept["tags"]) == (group, name, tags)
    assert kept["job_type"] == config.task
    assert config.logger.cell == cell_name(_root_=config)
