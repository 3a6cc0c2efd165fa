"""Cost tables: how coarse each row sees beside its paper, and whether the rows were shown as many masks."""

import json
from dataclasses import replace

import pytest

from records.runs import load_runs
from reports.collect import gather
from reports.readouts.costs import build_costs
from reports.readouts.costs import costs as cost_section
from reports.render import text
from tests.made.run_folders import write_grid

SMALL = {"num_patients": 4, "num_folds": 2, "structures": ("disc",)}
SCARNET = {"low": 2.8, "bottleneck": 11.2}
LATER = {"model": ("cell_low_mm", "cell_bottleneck_mm"), "train": ("steps", "num_masked")}


def evidence_of(folder):
    return gather(load_runs([folder]), table=None, reference=None, margin=0.005)


@pytest.fixture(scope="module")
def costs_of(tmp_path_factory):
    """Of a folder with the row unet what a report says of its cost; the statistics of such rows are gathered once."""
    folder = tmp_path_factory.mktemp("unet")
    write_grid(folder, ("unet",), **SMALL)
    gathered = evidence_of(folder)

    def of(folder):
        runs = load_runs([folder])
        return replace(gathered, runs=runs).with_tables(costs=build_costs(runs, gathered.rows))

    return of


def cells(low, bottleneck):
    return {"model": {"cell_low_mm": low, "cell_bottleneck_mm": bottleneck}}


def make_older(folders):
    """Takes from summary.json what older versions did not write."""
    for folder in folders:
        summary = json.loads((folder / "summary.json").read_text())
        for node, names in LATER.items():
            for name in names:
                del summary[node][name]
        (folder / "summary.json").write_text(json.dumps(summary))


def html_lines(evidence, name):
    """Rows of the table of the cost section that has a column `name`, as texts by header."""
    found = [block for block in cost_section(evidence) if name in block.header]
    return [dict(zip(block.header, (cell.text for cell in row), strict=True)) for block in found for row in block.rows]


@pytest.mark.parametrize(
    ("own", "paper", "expected"),
    [
        (cells(3.5, 14.0), SCARNET, "2.8, 11.2"),
        (cells(4.2, 16.8), SCARNET, "2.8, 11.2"),
        (cells(7.0, 28.0), SCARNET, "2.8, 11.2; OFF: ours are 2.5 times as coarse"),
        (cells(1.4, 5.6), SCARNET, "2.8, 11.2; OFF: ours are 2.0 times as fine"),
        (cells(2.8, 28.0), SCARNET, "2.8, 11.2; OFF: ours are 2.5 times as coarse (bottleneck)"),
        (
            cells(1.4, 28.0),
            SCARNET,
            "2.8, 11.2; OFF: ours are 2.0 times as fine (low-level), 2.5 times as coarse (bottleneck)",
        ),
        (cells(3.5, 14.0), None, "not given"),
    ],
    ids=["near", "at the limit", "coarse", "fine", "one of two", "both ways", "not given"],
)
def test_the_papers_cells_stand_beside_ours_and_words_say_when_they_are_far(tmp_path, costs_of, own, paper, expected):
    write_grid(tmp_path, ("unet",), settings={"paper.cell_mm": paper}, summary=own, **SMALL)
    evidence = costs_of(tmp_path)
    low, bottleneck = own["model"].values()
    assert evidence["costs"].loc[0, ["cells_mm", "paper_cells_mm"]].tolist() == [
        f"{low:g}, {bottleneck:g}",
        expected,
    ]
    (shown,) = html_lines(evidence, "the paper's")
    assert (shown["the paper's"], shown["cells, mm (low-level, bottleneck)"]) == (expected, f"{low:g}, {bottleneck:g}")
    assert f"| {low:g}, {bottleneck:g} | {expected} | 800 | 3,200 | 0 |" in text.markdown(evidence)


def test_older_runs_say_nothing_of_cells_and_masks_and_have_no_such_table(tmp_path):
    make_older(write_grid(tmp_path, ("unet",), **SMALL))
    evidence = evidence_of(tmp_path)
    assert evidence["costs"].loc[0, ["cells_mm", "paper_cells_mm"]].tolist() == ["", ""]
    assert evidence["costs"].loc[0, ["steps", "num_masked", "num_keypoint_only"]].isna().all()
    assert html_lines(evidence, "steps") == []
    assert "cells, mm" not in text.markdown(evidence)


@pytest.mark.slow
def test_an_older_row_beside_one_of_now_is_blank_and_not_accused(tmp_path):
    write_grid(tmp_path / "now", ("unet",), **SMALL)
    make_older(write_grid(tmp_path / "before", ("bs_esnet",), **SMALL))
    evidence = evidence_of(tmp_path)
    before = next(line for line in html_lines(evidence, "steps") if line["row"] == "bs_esnet")
    assert list(before.values())[1:] == ["–"] * 5
    assert not [note for note in evidence.notes if "slices with masks" in note]


def test_what_was_shown_is_counted_by_kind(tmp_path):
    write_grid(tmp_path, ("unet",), summary={"train": {"num_masked": 1200}}, **SMALL)
    (shown,) = html_lines(evidence_of(tmp_path), "steps")
    seen = ("steps", "slices with masks seen", "slices without masks seen")
    assert [shown[name] for name in seen] == ["800", "1,200", "2,000"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("masked", "named"),
    [(1600, "bs_esnet saw 1600 slices with masks in 800 steps; unet saw 3200"), (3190, None), (3200, None)],
    ids=["half", "a fold of unequal size", "equal"],
)
def test_rows_that_saw_other_numbers_of_masks_are_named(tmp_path, masked, named):
    write_grid(tmp_path / "a", ("unet",), **SMALL)
    write_grid(tmp_path / "b", ("bs_esnet",), summary={"train": {"num_masked": masked}}, **SMALL)
    found = [note for note in evidence_of(tmp_path).notes if "slices with masks" in note]
    assert len(found) == (named is not None)
    assert named is None or named in found[0]


@pytest.mark.slow
def test_rows_that_saw_alike_are_named_together(tmp_path):
    write_grid(tmp_path / "a", ("unet", "bs_esnet"), **SMALL)
    write_grid(tmp_path / "b", ("scarnet",), summary={"train": {"steps": 400}}, **SMALL)
    (note,) = [note for note in evidence_of(tmp_path).notes if "slices with masks" in note]
    assert "bs_esnet, unet saw 3200 slices with masks in 800 steps; scarnet saw 3200" in note
