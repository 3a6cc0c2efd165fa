"""Runs of every kind: what lies in their folder is on their list of written files, and only that is ever cleared."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lightning_modules.tasks import training
from records.registry import LIST, Written
from tests.conftest import TINY_PHANTOM, UNDRAWN, compose_line
from tests.lightning_modules.test_rescoring import LINES, NETWORK

SMOKE = (*TINY_PHANTOM, "trainer=smoke", "scale.epochs=1")
# A line that writes it, and the files that a plain U-Net does not leave.
WRITERS = {
    "regions": (LINES["regions"], {"region_outputs.csv"}),
    "key points": (LINES["keypoints"], {"keypoints.csv", "figures/keypoints.png", "figures/augmentations.png"}),
    "arms": (
        (*SMOKE, *UNDRAWN, "scale.epochs=2", "experiment=bs_esnet", "arms=boxes"),
        {"arms/none/cases.csv", "arms/none/summary.json"},
    ),
    "a start from trained weights": (
        (*SMOKE, *UNDRAWN, "experiment=fine_tuned_axial", "data/augmentation=none"),
        {"initial_weights.csv"},
    ),
}
MINE = ("notes.txt", "figures/mine.png", "arms/mine/cases.csv", "predictions of mine/index.csv")


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_everything_is_on_the_list_and_retrain_clears_it_and_nothing_else(tmp_path, generated, kind):
    folder, (line, expected) = tmp_path / "run", WRITERS[kind]
    config = compose_line(folder, generated, *line)
    if kind == "key points":
        config.model = OmegaConf.create(NETWORK)
    training.train(config)
    left = files_in(folder)
    assert expected <= left
    known = set(Written(folder).names)
    covered = {name for name in left if {name, *map(str, Path(name).parents)} & known}
    assert left - covered == {".lock", LIST}
    for name in MINE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    for name in covered:  # what is cleared is gone, and what is written anew is no longer this
        (folder / name).write_text("of the run before")
    config.retrain = True
    # The new training is stopped at its start: what it finds then is what was left to it.
    found = {}

    def stop(*_):
        found.update({name: (folder / name).read_text() for name in files_in(folder) - {".lock"}})
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build", stop)
        with pytest.raises(KeyboardInterrupt):
            training.train(config)
    assert {name for name, text in found.items() if text == "of the run before"} == set()
    assert {name for name, text in found.items() if text == "mine"} == set(MINE)
    training.train(config)
    assert files_in(folder) == left | set(MINE)
    assert {(folder / name).read_text() for name in MINE} == {"mine"}
