"""Label fusion: when networks vote, when one of them is followed, and what `task=fuse` writes."""

import json

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from lightning_modules.evaluation.evaluated import slice_with_mask
from lightning_modules.evaluation.prediction_files import PredictionFolder
from lightning_modules.tasks.label_fusion import distances_mm, fuse, fuse_masks
from lightning_modules.tasks.provenance import run_card
from lightning_modules.tasks.training import build_data
from metrics.cases import CASE_COLUMNS
from metrics.keypoints import centres_of_masks
from records.folder import RunFolder
from tests.conftest import TINY_PHANTOM

pytestmark = pytest.mark.slow  # whole trainings and tests

LINE = (*TINY_PHANTOM, "experiment=scarnet", "trainer=smoke", "phantom.masked_patients=6", "phantom.spacing_mm=4.4")
WEIGHTS = (40.0, 70.0, 100.0)


def test_networks_that_agree_vote_pixel_by_pixel():
    masks = np.array([[[1, 1, 2, 0]], [[1, 2, 2, 1]], [[0, 2, 1, 2]]], np.uint8)
    mask, chosen = fuse_masks(masks, np.array([4.0, 5.0, 6.0]), num_classes=3)
    assert chosen is None
    assert mask.tolist() == [[1, 2, 2, 0]], "a tie goes to the first of the classes"


def test_where_networks_disagree_the_one_whose_key_points_fit_its_mask_is_followed():
    masks = np.array([[[1, 1]], [[2, 2]], [[2, 2]]], np.uint8)
    mask, chosen = fuse_masks(masks, np.array([1.0, 9.0, 9.0]), num_classes=3)
    assert chosen == 0
    assert mask.tolist() == [[1, 1]]
    half = np.array([1.0, 3.0])  # SD 1, mean 2: half of it is not more than half of it
    assert fuse_masks(masks[:2], half, num_classes=3)[1] is None
    assert fuse_masks(masks[:2], np.array([1.0, 3.01]), num_classes=3)[1] == 0


def test_distances_are_millimetres_and_what_a_network_lacks_counts_as_missed():
    keypoints = np.array([[[10.0, 10.0], [20.0, 10.0], [5.0, 5.0]]] * 2)
    away = [[[3.0, 0.0], [0.0, 4.0], [np.nan, np.nan]], [[0.0, 0.0], [np.nan, np.nan], [np.nan, np.nan]]]
    centres = keypoints + np.array(away)
    found = distances_mm(keypoints, centres, (2.0, 0.5), (30, 160))
    np.testing.assert_allclose(found, [(1.5 + 8.0) / 2, (0.0 + 100.0) / 2])
    nothing = distances_mm(keypoints, np.full_like(centres, np.nan), (2.0, 0.5), (30, 160))
    np.testing.assert_allclose(nothing, [100.0, 100.0])


@pytest.fixture
def ensemble(composed, tmp_path):
    """Run folders of three lambdas, as a training leaves them: true masks, the first and the last shifted sideways."""

    def write(shifts=(2, 0, -2), wrong_points=()):
        for weight, shift in zip(WEIGHTS, shifts, strict=True):
            path = tmp_path / "grid" / f"scarnet-{weight:g}"
            config = composed(*LINE, f"objective.terms.keypoints.weight={weight}", f"output={path}")
            write_member(path, config, shift, weight in wrong_points)
        return tmp_path / "grid"

    return write


def write_member(path, config, shift, wrong_points):
    folder = RunFolder(path, config)
    path.mkdir(parents=True)
    folder.claim()
    data = build_data(config)
    predictions, rows = PredictionFolder(path), []
    for index in data.indices["test"]:
        mask = np.roll(data.store.native(int(index)).mask, shift, axis=1)
        item = slice_with_mask(data, int(index), mask)
        predictions.add(item)
        names = data.anatomy.keypoints
        for name, (x, y) in zip(names, centres_of_masks(mask, data.anatomy.structures, names), strict=True):
            place = {"x": x + 30 * wrong_points, "y": y}
            for source in ("heatmap", "mask"):
                rows.append({"case": item.case, "slice": item.slice, "structure": name, "source": source, **place})
    predictions.finish()
    pd.DataFrame(rows).to_csv(path / "keypoints.csv", index=False)
    card = {**run_card(data), "choices": {"experiment": "scarnet", "ablation": "none"}}
    (path / "run_card.json").write_text(json.dumps(card))
    (path / "summary.json").write_text("{}")


def fused(composed, runs, tmp_path):
    fuse(composed(*TINY_PHANTOM, "task=fuse", f"runs={runs}", f"output={tmp_path / 'fused'}"))
    (folder,) = (tmp_path / "fused").iterdir()
    return folder


def test_a_fusion_is_a_run_folder_of_its_own(ensemble, composed, tmp_path):
    """The middle network is right and the others are shifted to either side: the majority is nearly right."""
    folder = fused(composed, ensemble(), tmp_path)
    assert folder.name.startswith("scarnet_fused-")
    config = OmegaConf.load(folder / "config.yaml")
    assert (config.task, config.row, config.fold) == ("fuse", "scarnet_fused", 0)
    assert config.objective.terms.keypoints.weight == list(WEIGHTS)
    cases = pd.read_csv(folder / "cases.csv")
    assert tuple(cases.columns) == CASE_COLUMNS
    summary = json.loads((folder / "summary.json").read_text())
    card = json.loads((folder / "run_card.json").read_text())
    assert set(card["members"]) == {"40", "70", "100"}
    assert summary["fusion"] == {"num_members": 3, "num_voted": cases["case"].nunique(), "num_selected": 0}
    assert summary["test"]["dice"]["mean"] > 0.9
    assert len(pd.read_csv(folder / "predictions" / "index.csv")) == cases["case"].nunique()
    assert (folder / "split.csv").exists()
    before = (folder / "cases.csv").read_text()
    assert fused(composed, tmp_path / "grid", tmp_path) == folder
    assert (folder / "cases.csv").read_text() == before


def test_key_points_decide_where_they_contradict_the_masks(ensemble, composed, tmp_path):
    folder = fused(composed, ensemble(shifts=(0, 2, 2), wrong_points=WEIGHTS[1:]), tmp_path)
    decisions = pd.read_csv(folder / "fusion.csv")
    assert set(decisions["rule"]) == {"selected"}
    assert set(decisions["selected_lambda"]) == {40.0}
    assert (decisions["distance_mm_40"] < 1).all()
    assert json.loads((folder / "summary.json").read_text())["test"]["dice"]["mean"] == 1


def test_what_cannot_be_fused_is_refused(ensemble, composed, tmp_path):
    line = (*TINY_PHANTOM, "task=fuse", f"output={tmp_path / 'fused'}")
    with pytest.raises(ValueError, match=r"needs runs=DIR"):
        fuse(composed(*line))
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
        fuse(composed(*line, f"runs={tmp_path / 'nowhere'}"))
    grid = ensemble()
    with pytest.raises(ValueError, match=r"scarnet has 40 \(.*Give the folder of a whole sweep=scarnet_lambda"):
        fuse(composed(*line, f"runs={grid / 'scarnet-40'}"))
    index = grid / "scarnet-100" / "predictions" / "index.csv"
    index.write_text("\n".join(index.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"did not predict the same slices"):
        fuse(composed(*line, f"runs={grid}"))
    (grid / "scarnet-100" / "keypoints.csv").unlink()
    (grid / "scarnet-70" / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"scarnet-70 is not finished"):
        fuse(composed(*line, f"runs={grid}"))
