"""The page, and the files beside it, of a report of sagittal spines."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from records.runs import load_runs
from reports.chapters.contents import printed_tables, sections
from reports.collect import gather
from reports.readouts import files
from reports.render import text
from reports.render.page import write_page
from reports.task import write_tables
from tests.made.muscle_folders import OF_MUSCLES
from tests.made.run_folders import write_run
from tests.made.spine_folders import write_curve, write_spine, write_spines
from tests.reports.test_page import Reader, emptied, page_of

pytestmark = pytest.mark.slow  # whole reports

SMALL = {"num_patients": 6, "num_folds": 1}
OWN = ["labels", "keypoints", "robustness", "measurements"]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spines")
    arms = {"rotated_15": 0.02, "shifted_20_mm_up": 0.0}
    write_spines(folder, {"scarnet_baseline": 0.93, "scarnet": 0.95}, renumbered=("p003",), arms=arms, **SMALL)
    write_curve(folder / "curve", {3: 0.04, 6: 0.01}, draws=(0, 1), **SMALL)
    write_spine(folder / "k", supervision="keypoint", sources=("heatmap",), **SMALL)
    write_spine(folder / "f", "scarnet_fused", settings={"task": "fuse", "row": "scarnet_fused"}, **SMALL)
    return gather(load_runs([folder]), table="scarnet_table1", reference=None, margin=0.005)


@pytest.fixture(scope="module")
def built(evidence):
    return sections(evidence)


@pytest.fixture(scope="module")
def reader(evidence, built, tmp_path_factory):
    return Reader(page_of(evidence, built, tmp_path_factory.mktemp("report")).read_text(encoding="utf-8"))


def test_a_page_of_spines_has_its_own_sections_and_none_of_boxes_in_a_gate(built, reader):
    keys = [key for key in reader.attributes("section", "id") if key]
    assert [key for key in keys if key in OWN] == OWN
    assert "mechanism" not in keys
    assert reader.crossed == []
    assert "sweep=bs_esnet" not in reader.text
    gaps = {section.key for section in built for block in section.blocks if block.kind == "gap"}
    assert not gaps & set(OWN)


def test_the_page_says_what_key_points_of_others_bring(evidence, reader):
    line = evidence["curve"].query("masked_patients == 3 and supervision == 'mixed' and metric == 'dice'").iloc[0]
    words = "change the Dice of Baseline+MCCA+AT, in points by patients with masks:"
    assert f"{words} +{100 * line['difference']:.2f} [" in reader.text
    assert "2 draws)" in reader.text


def test_numbers_of_the_page_are_those_of_the_tables(evidence, reader):
    line = evidence["keypoints"].query("row == 'scarnet' and source == 'heatmap' and structure == 'mean'").iloc[0]
    assert f"{line['mean_mm']:.2f} [{line['ci95_low']:.2f} to {line['ci95_high']:.2f}]" in reader.text
    arm = (
        evidence["statistics"]
        .query("row == 'scarnet' and arm == 'rotated_15' and metric == 'dice' and structure == 'mean'")
        .iloc[0]
    )
    assert f"{100 * arm['mean']:.1f} −{-100 * arm['difference']:.2f} [" in reader.text
    fused = evidence["fusion"].iloc[0]
    assert f"{100 * fused['single_dice']:.1f}" in reader.text
    icc = evidence["agreement"].query("row == 'scarnet' and measure == 'lordosis_degrees'").iloc[0]
    assert f"{icc['icc']:.3f} [{icc['icc_low']:.3f} to {icc['icc_high']:.3f}]".replace("-", "−") in reader.text


def test_a_report_of_spines_without_read_outs_marks_the_gaps(tmp_path):
    settings = {"anatomy.view": "sagittal"}
    write_run(tmp_path / "runs" / "a", "unet", settings=settings, structures=("L1", "L1/2"), **SMALL)
    found = gather(load_runs([tmp_path / "runs"]), table="scarnet_table1", reference=None, margin=0.005)
    kinds = {section.key: [block.kind for block in section.blocks] for section in sections(found)}
    assert all("gap" in kinds[key] for key in OWN)
    text = Reader(write_page(found, tmp_path).read_text(encoding="utf-8")).text
    for words in (
        "sweep=scarnet_masks",
        "keypoints.csv",
        "confusion.csv",
        "arms=robustness",
        "morphometry.csv",
        "task=fuse",
    ):
        assert words in text


def test_an_axial_report_has_none_of_these_sections(tmp_path):
    write_run(tmp_path / "a", "unet", structures=("disc", "canal"), **SMALL)
    found = gather(load_runs([tmp_path]), table="bs_esnet_table1", reference=None, margin=0.005)
    assert not {section.key for section in sections(found)} & set(OWN)
    assert not {section.key for section in sections(emptied(found))} & set(OWN)


def test_undefined_values_are_dashes(evidence, tmp_path):
    names = ("keypoints", "levels", "confusion", "convergence", "agreement", "curve", "fusion", "measured")
    hollow = {name: evidence[name].copy() for name in names}
    for table in hollow.values():
        table[table.select_dtypes("float").columns] = np.nan
    reader = Reader(write_page(evidence.with_tables(**hollow), tmp_path).read_text(encoding="utf-8"))
    assert reader.crossed == []
    assert "nan" not in reader.text.lower().replace("nanc", "")


def test_the_tables_are_written_where_there_is_something_and_old_ones_go(evidence, tmp_path):
    write_tables(evidence, tmp_path)
    foreign = [name for name in files() if name in OF_MUSCLES or name.startswith(("varied", "threshold"))]
    assert not any((tmp_path / f"{name}.csv").exists() for name in foreign)
    for name in (name for name in files() if name not in foreign):
        read = pd.read_csv(tmp_path / f"{name}.csv")
        assert list(read.columns) == list(evidence[name].columns)
        assert len(read) == len(evidence[name]) > 0
    write_tables(evidence.with_tables(curve=evidence["curve"].iloc[:0]), tmp_path)
    assert not (tmp_path / "curve.csv").exists()


def test_every_printed_section_is_a_rectangle(evidence):
    found = {section.title: section for section in printed_tables(evidence)}
    for table in found.values():
        assert {len(line) for line in table.rows} == {len(table.header)}, table.title
    titles = ("Labels against", "Fusions", "Key points", "Structures", "Measurements", "Epochs", "Detection")
    assert all(any(title.startswith(word) for title in found) for word in titles)
    assert text.latex(evidence).isascii()


def test_the_terminal_shows_the_curve(evidence):
    stream = io.StringIO()
    text.print_tables(evidence, Console(file=stream, width=200))
    assert "Labels against accuracy" in stream.getvalue()
    assert "mixed" in stream.getvalue()
