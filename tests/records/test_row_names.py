"""What a run folder is called in a table: its experiment, and the settings that it differs from others in."""

import pytest

from records.runs import load_runs
from reports.collect import ordered_rows
from reports.papers import empty_published
from tests.made.read_runs import SMALL, edit_card, rows
from tests.made.run_folders import write_grid, write_run


def test_an_ablation_on_the_line_is_the_row_of_its_experiment_file(tmp_path):
    folders = write_grid(tmp_path, ("bs_esnet_no_sag",), **SMALL)
    edit_card(folders[1], choices={"experiment": "bs_esnet", "ablation": "no_sag"})
    assert rows(load_runs([tmp_path])) == ["bs_esnet_no_sag"]


def test_an_old_folder_is_named_by_its_command(tmp_path):
    first, second, third = (
        write_run(tmp_path / name, "unet", fold=fold, num_patients=9, num_folds=3) for fold, name in enumerate("abc")
    )
    edit_card(first, choices={}, command="python run.py experiment=bs_esnet ablation=no_sag fold=0")
    edit_card(second, choices={}, command="python run.py experiment=unet fold=1")
    edit_card(third, choices={}, command="python run.py -m experiment=unet,bs_esnet fold=0,1")
    runs = load_runs([tmp_path])
    assert rows(runs) == ["bs_esnet_no_sag", "unet"]
    assert any("does not say which experiment" in problem and "/c:" in problem for problem in runs.problems)


def test_settings_that_differ_within_a_row_make_rows_of_their_own(tmp_path):
    write_grid(tmp_path / "a", ("unet",), settings={"optimizer.lr": 0.001, "machine.devices": 2}, **SMALL)
    write_grid(tmp_path / "b", ("unet", "bs_esnet"), settings={"paths.data": "elsewhere"}, **SMALL)
    assert rows(load_runs([tmp_path])) == ["bs_esnet", "unet optimizer.lr=0.001", "unet optimizer.lr=0.002"]


def test_rows_of_a_setting_are_in_the_order_of_its_values(tmp_path):
    for value in (100.0, 0.5, 40.0):
        write_grid(tmp_path / str(value), ("unet",), settings={"optimizer.lr": value}, **SMALL)
    found = ordered_rows(load_runs([tmp_path]), empty_published())
    assert found == ("unet optimizer.lr=0.5", "unet optimizer.lr=40.0", "unet optimizer.lr=100.0")


LATER = {"trainer.accumulate_grad_batches": 1, "model.detector.scale": 4}


@pytest.mark.parametrize(
    ("settings", "commit", "named"),
    [
        (LATER, "1" * 40, None),
        (LATER, "0" * 40, "model.detector.scale=4"),
        ({"model.width": {"encoder": 8}}, "1" * 40, "model.width.encoder=8"),
        ({"callbacks.overlays.num_slices": 3}, "0" * 40, None),
        ({"callbacks.case_table.smoothing": 0.1}, "0" * 40, "callbacks.case_table.smoothing=0.1"),
    ],
    ids=["newer code", "same code", "replaced", "a recorder", "a choice of the checkpoint"],
)
def test_what_older_code_did_not_have_makes_no_row(tmp_path, settings, commit, named):
    write_run(tmp_path / "a", "unet", fold=0, **SMALL)
    write_run(tmp_path / "b", "unet", fold=1, settings=settings, card={"commit": commit}, **SMALL)
    found = rows(load_runs([tmp_path]))
    assert found == ["unet"] if named is None else len(found) == 2
    assert named is None or any(named in row for row in found), found


def test_seeds_folds_and_paths_do_not_make_rows(tmp_path):
    write_grid(tmp_path, ("unet",), seeds=(0, 1), **SMALL)
    assert rows(load_runs([tmp_path])) == ["unet"]


def test_prompts_of_the_runs_of_one_row_are_one_setting(tmp_path):
    """The run that is followed is another one in each fold."""
    for fold, run in enumerate(("grids/t/scarnet-0a1b", "elsewhere/scarnet-2c3d/")):
        write_run(tmp_path / f"f{fold}", "sam", fold=fold, settings={"model.prompts": run}, **SMALL)
    assert rows(load_runs([tmp_path])) == ["sam"]
    other = {"model.prompts": "grids/t/unet-4e5f"}
    write_run(tmp_path / "other", "sam", fold=0, settings=other, **SMALL)
    assert set(rows(load_runs([tmp_path]))) == {"sam model.prompts=scarnet", "sam model.prompts=unet"}


def test_a_stand_in_for_a_network_is_left_out_of_every_table(tmp_path):
    write_run(tmp_path / "a", "unet", **SMALL)
    write_run(tmp_path / "b", "sam", settings={"model.stand_in": True}, **SMALL)
    runs = load_runs([tmp_path])
    assert rows(runs) == ["unet"]
    assert any("stand-in for tests" in problem for problem in runs.problems)


def test_presets_that_every_row_was_run_with_are_compared(tmp_path):
    write_grid(tmp_path / "a", ("unet", "bs_esnet"), **SMALL)
    paper = {"scale.name": "paper", "scale.epochs": 200, "trainer.max_epochs": 200}
    write_grid(tmp_path / "b", ("unet", "bs_esnet"), settings=paper, card={"data": "e" * 32}, **SMALL)
    found = rows(load_runs([tmp_path]))
    assert len(found) == 4
    assert all("scale.epochs=" in row for row in found)
