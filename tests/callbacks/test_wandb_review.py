"""What is shown of slices and tables of every kind, and that a run without a dashboard is left alone."""

import warnings
from dataclasses import replace

import lightning
import numpy as np
import pandas as pd
import pytest
import wandb

from callbacks.overlays import worst_to_best
from callbacks.wandb_review import MAX_ROWS, WandbReview, flat_summary, review_media, shown_cases
from datamodules.anatomy import Anatomy
from lightning_modules.evaluation.evaluated import EvaluatedSlice
from tests.conftest import ROOT

ANATOMY = Anatomy(
    name="two", view="axial", structures=["disc", "psoas"], colours={"disc": "#000000", "psoas": "#ffffff"}
)
NO_BOX = [np.nan] * 4


def slice_of(channels: int = 1, **changes) -> EvaluatedSlice:
    """A slice of 8 x 12 pixels: a disc of 4 x 6 pixels, no psoas."""
    mask = np.zeros((8, 12), dtype=np.int64)
    mask[2:6, 3:9] = 1
    boxes = np.array([[0.5, 0.5, 0.5, 0.5], NO_BOX], dtype=np.float32)
    rng = np.random.default_rng(0)
    item = EvaluatedSlice(
        index=0,
        case="case_1",
        patient="7",
        level="",
        slice=3,
        image=rng.normal(size=(channels, 8, 12)).astype(np.float32),
        true_mask=mask,
        predicted_mask=np.roll(mask, 1, axis=1),
        labelled=np.array([True, True, True]),
        true_boxes=boxes,
        mask_boxes=boxes,
        network_boxes=np.array([[0.4, 0.5, 0.5, 0.5], [0.9, 0.9, 0.4, 0.4]], dtype=np.float32),
        saliency=np.full((8, 12), 0.5, dtype=np.float32),
        spacing_mm=(1.0, 2.0),
    )
    return replace(item, **changes)


def cases_of(rows: int, **columns) -> pd.DataFrame:
    numbers = np.arange(rows)
    table = {"case": "c", "patient": (numbers % 40).astype(str), "slice": numbers, "structure": "disc", "dice": 0.5}
    return pd.DataFrame({**table, **columns})


def shown_boxes(image: wandb.Image) -> dict[str, list[dict]]:
    assert image._boxes is not None
    return {group: boxes._val for group, boxes in image._boxes.items()}


def test_masks_and_boxes_of_a_slice():
    shown = review_media([(0.7, slice_of())], cases_of(3), ANATOMY)
    assert set(shown) == {"test/cases", "test/overlays", "test/saliency"}
    (overlay,) = shown["test/overlays"]
    assert set(overlay._masks) == {"prediction", "ground_truth"}
    boxes = shown_boxes(overlay)
    assert [box["class_id"] for box in boxes["ground_truth"]] == [1], "an absent organ has no box"
    assert boxes["ground_truth"][0]["position"] == {"middle": [0.5, 0.5], "width": 0.5, "height": 0.5}
    assert [box["box_caption"] for box in boxes["network"]] == ["disc (network)", "psoas (network)"]
    assert "case_1 slice 3, patient 7, Dice 70.0 %" in overlay._caption


@pytest.mark.parametrize(
    ("item", "keys", "boxes"),
    [
        (slice_of(network_boxes=None), {"test/saliency"}, {"ground_truth": [1]}),
        (slice_of(saliency=None), set(), {"ground_truth": [1], "network": [1, 2]}),
        (slice_of(channels=3), {"test/saliency"}, {"ground_truth": [1], "network": [1, 2]}),
        (
            slice_of(labelled=np.array([True, False, True])),
            {"test/saliency"},
            {"ground_truth": [], "network": [2]},
        ),
        (
            slice_of(image=np.zeros((1, 8, 12), dtype=np.float32)),
            {"test/saliency"},
            {"ground_truth": [1], "network": [1, 2]},
        ),
    ],
    ids=["no boxes", "no attention", "three channels", "partly labelled", "empty image"],
)
def test_slices_that_lack_something(item, keys, boxes):
    shown = review_media([(0.7, item)], cases_of(3), ANATOMY)
    assert set(shown) == {"test/cases", "test/overlays", *keys}
    found = shown_boxes(shown["test/overlays"][0])
    assert {group: [box["class_id"] for box in each] for group, each in found.items()} == boxes


def test_without_a_slice_there_is_the_table_alone():
    assert set(review_media([], cases_of(3), ANATOMY)) == {"test/cases"}


def test_columns_that_are_blank_or_mixed_do_not_stop_a_run(tmp_path):
    cases = cases_of(4, level=["L3/4", "", "", "L4/5"], site=np.nan, snr=[1.5, np.nan, np.nan, 2.0], missing=None)
    cases.to_csv(tmp_path / "cases.csv", index=False)
    table = review_media([], shown_cases(tmp_path / "cases.csv"), ANATOMY)["test/cases"]
    assert table.columns == list(cases.columns)
    assert len(table.data) == 4


def test_a_table_that_is_too_long_shows_patients(tmp_path):
    cases_of(MAX_ROWS).to_csv(tmp_path / "cases.csv", index=False)
    assert len(shown_cases(tmp_path / "cases.csv")) == MAX_ROWS
    cases_of(MAX_ROWS + 1, dice=np.linspace(0, 1, MAX_ROWS + 1)).to_csv(tmp_path / "cases.csv", index=False)
    shown = shown_cases(tmp_path / "cases.csv")
    assert len(shown) == 40
    first = np.linspace(0, 1, MAX_ROWS + 1)[::40]
    assert shown.set_index("patient").loc["0", "dice"] == pytest.approx(first.mean())


def test_attention_is_bright():
    image, mask = np.zeros((1, 64, 96), np.float32), np.zeros((64, 96), np.int64)
    items = [
        slice_of(image=image, true_mask=mask, predicted_mask=mask, saliency=np.full((64, 96), value))
        for value in (0.0, 1.0)
    ]
    shown = review_media([(0.7, item) for item in items], cases_of(3), ANATOMY)["test/saliency"]
    dark, bright = (np.asarray(each.image.convert("RGB")).astype(int)[16:48, 16:80, 0] for each in shown)
    assert (bright - dark > 100).all()


@pytest.mark.parametrize(("count", "number"), [(1, 6), (2, 6), (5, 3), (9, 4), (100, 6), (4, 1)])
def test_worst_median_and_best_are_shown(count, number):
    scores = np.random.default_rng(1).permutation(count) / count
    chosen = [score for score, _ in worst_to_best([(float(score), slice_of()) for score in scores], number)]
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, number)
    assert chosen[0] == 0
    if number > 2:
        assert chosen[-1] == max(scores)
        assert sorted(scores)[(count - 1) // 2] in chosen


def test_without_a_wandb_logger_nothing_is_kept_or_written(tmp_path):
    review = WandbReview(str(tmp_path))
    pd.DataFrame({"epoch": [0, 1], "loss/total": [1.0, 0.5]}).to_csv(tmp_path / "metrics.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(logger=False, accelerator="cpu", barebones=True)
    review.on_train_start(trainer, lightning.LightningModule())
    review.on_test_start(trainer, lightning.LightningModule())
    review.on_test_batch_end(trainer, None, {"slices": [slice_of()]}, None, 0)
    assert review._slices == []
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.csv"}


def test_a_summary_of_an_older_run_has_gaps_not_zeros():
    given = {"test": {"dice": {"mean": 0.9, "psoas": None}, "num_missed": 0}, "train": None, "model": {"parameters": 5}}
    assert flat_summary(given) == {"test/dice/mean": 0.9, "test/num_missed": 0, "cost/parameters": 5}
    assert flat_summary({"test": {}}) == {}


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # wandb-workspaces 0.4
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["paraspine"], "is not ENTITY/PROJECT"),
        (["team/paraspine", "--anatomy", "axial"], "axial7, axial9"),
    ],
)
def test_a_dashboard_that_cannot_be_built_is_one_line(capsys, words, message):
    from reports.dashboard import main

    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # wandb-workspaces 0.4
@pytest.mark.parametrize("anatomy", sorted(path.stem for path in (ROOT / "conf" / "anatomy").glob("*.yaml")))
def test_every_anatomy_has_a_dashboard(capsys, anatomy):
    from reports.dashboard import main, read_structures

    main(["team/paraspine", "--anatomy", anatomy, "--print"])
    printed = capsys.readouterr().out
    assert all(f'"val/dice/{name}"' in printed for name in read_structures(anatomy))
