"""What a report prints and writes, and what becomes of it when a part of it fails."""

import io
import logging
import re
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from rich.console import Console

from records.runs import AS_PUBLISHED, load_runs
from reports.chapters.contents import printed_tables
from reports.collect import gather
from reports.render import text as tables
from reports.task import ReportAtEnd, sweep_folder, write
from tests.conftest import ROOT
from tests.made.run_folders import STRUCTURES, write_grid, write_run

QUALITY = {"unet": 0.80, "bs_esnet": 0.90, "extra_row": 0.85}
FILES = {"statistics.csv", "table.csv", "table.md", "table.tex", "claims.csv", "convergence.csv", "report.html"}
TABLE_COLUMNS = (
    *("split", "row", "label", "structure", "published_mean", "published_sd", "slice_mean", "slice_sd"),
    *("patient_mean", "ci95_low", "ci95_high", "num_patients", "num_slices", "missed", "false_alarms", "undefined"),
    *("hd95_mm", "bold", "complete"),
)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    folders = write_grid(folder, QUALITY, num_patients=14, arms={"none": 0.1})
    write_run(folder / "rater", "second_rater", scored=True, num_patients=14)
    (folders[-1] / "summary.json").unlink()  # extra_row, fold 1
    return folder


@pytest.fixture
def few(tmp_path):
    """A folder of few patients, for what a report writes and not what it says."""
    folder = tmp_path / "few"
    write_grid(folder, ("unet", "bs_esnet"), num_patients=4)
    return folder


@pytest.fixture(scope="module")
def evidence(grid):
    return gather(load_runs([grid]), table="bs_esnet_table1", reference=None, margin=0.005)


@pytest.fixture
def parts(monkeypatch):
    """Claims and page as they are called, without what they do."""
    claims = pd.DataFrame({"id": ["c1"], "claim": ["a | b"], "verdict": ["not testable"], "note": ["n_1"]})
    stand_ins = SimpleNamespace(
        judge=lambda evidence: claims,
        write_page=lambda evidence, folder: (
            folder.joinpath("report.html").write_text("page") and folder / "report.html"
        ),
    )
    monkeypatch.setattr("reports.collect.judge", lambda evidence: stand_ins.judge(evidence))
    monkeypatch.setitem(sys.modules, "reports.render.page", stand_ins)
    return stand_ins


def config_of(**values):
    report = {"table": "bs_esnet_table1", "reference": None, "margin": 0.005, "overlay": None}
    sweep = {"hydra": {"sweep": {"dir": "nowhere"}}}
    return OmegaConf.create({"task": "report", "runs": None, "output": "out", "report": report} | sweep | values)


def markdown_lines(text, heading):
    part = text.split(f"## {heading}")[1].split("\n## ")[0]
    return [re.split(r"(?<!\\) \| ", line[2:-2]) for line in part.splitlines() if line.startswith("|")]


@pytest.mark.slow
def test_a_second_rater_is_no_competitor(tmp_path):
    """The best masks of all, scored beside two systems: neither bold nor ranked, and the best system is bold."""
    write_grid(tmp_path, {"unet": 0.80, "bs_esnet": 0.90}, num_patients=14)
    write_run(tmp_path / "rater", "second_rater", scored=True, num_patients=14, quality=0.99)
    evidence = gather(load_runs([tmp_path]), table="bs_esnet_table1", reference=None, margin=0.005)
    mean = evidence["table"].loc[evidence["table"]["structure"] == "mean"].set_index("row")
    assert mean["patient_mean"].idxmax() == "second_rater"
    assert mean.index[mean["bold"]].tolist() == ["bs_esnet"]
    assert set(evidence["ranks"]["row"]) == {"unet", "bs_esnet"}


@pytest.mark.slow
@pytest.mark.parametrize("told", [{"prompts": "annotated", "mask": "first"}, {"prompts": "runs/x-1", "mask": "best"}])
def test_an_oracle_is_no_competitor_and_is_called_so(tmp_path, told):
    """What was told of the true masks stands beside the systems, like a second rater, and its name says it."""
    write_grid(tmp_path, {"unet": 0.80, "bs_esnet": 0.90}, num_patients=14)
    settings = {f"model.{name}": value for name, value in told.items()}
    write_grid(tmp_path, {"a_box": 0.99}, num_patients=14, settings=settings)
    write_grid(tmp_path, {"sam_found": 0.85}, num_patients=14, settings={"model.prompts": "runs/unet-1"})
    evidence = gather(load_runs([tmp_path]), table="bs_esnet_table1", reference=None, margin=0.005)
    mean = evidence["table"].loc[evidence["table"]["structure"] == "mean"].set_index("row")
    assert mean["patient_mean"].idxmax() == "a_box"
    assert mean.index[mean["bold"]].tolist() == ["bs_esnet"]
    assert set(evidence["ranks"]["row"]) == {"unet", "bs_esnet", "sam_found"}
    for heading in ("Dice in percent", "Primary endpoint"):
        names = [line[0] for line in markdown_lines(tables.markdown(evidence), heading)]
        assert "a\\_box (oracle, told of the true masks)" in names
        assert "sam\\_found" in names
    alone = gather(load_runs([tmp_path]), table=None, reference=None, margin=0.005)
    assert alone.rows[0] == "a_box"
    assert alone.reference == "bs_esnet", "nor is it what the others are measured by, unless asked for"


@pytest.mark.slow
def test_every_section_is_a_rectangle(evidence):
    found = list(printed_tables(evidence))
    assert len(found) > 6
    for table in found:
        assert {len(line) for line in table.rows} == {len(table.header)}, table.title


def test_markdown_has_published_beside_ours(evidence):
    lines = markdown_lines(tables.markdown(evidence), "Dice in percent")
    names = lines[0]
    own = next(line for line in lines if line[0] == "BS-ESNet")
    found = evidence["table"].set_index(["row", "structure"]).loc[("bs_esnet", "disc")]
    ours = f"{found['slice_mean']:.1f} ± {found['slice_sd']:.1f} (97.5 ± 1.8)"
    assert own[names.index("disc")].strip("*") == ours
    boxes = next(line for line in lines if line[0].startswith("box IoU of BS-ESNet"))
    assert boxes[names.index("disc")].endswith("(82.5)")


def test_markdown_marks_gaps_and_missing_folds(evidence):
    text = tables.markdown(evidence)
    lines = markdown_lines(text, "Dice in percent")
    gap = next(line for line in lines if line[0] == "Mask R-CNN (no finished run)")
    assert {cell.split(" ")[0] for cell in gap[1:]} == {"–"}
    assert any(line[0].endswith("(folds are missing)") for line in lines[2:])
    assert "no finished cell for fold 1" in text


def test_bold_in_print_is_bold_in_the_statistics(evidence):
    lines = markdown_lines(tables.markdown(evidence), "Dice in percent")
    own = [line for line in lines[2:] if "no finished run" not in line[0] and "box IoU" not in line[0]]
    marked = {line[0].removesuffix(" (folds are missing)"): line[lines[0].index("canal")] for line in own}
    marked = {label: text.startswith("**") for label, text in marked.items()}
    expected = evidence["statistics"].query("metric == 'dice' and structure == 'canal' and stratum == '' and arm == ''")
    assert {label.replace("\\_", "_") for label, bold in marked.items() if bold} == {
        evidence.labels[row] for row in expected.loc[expected["bold"], "row"]
    }
    assert 0 < sum(marked.values()) < len(marked)


def test_notes_say_size_n_and_commands(evidence):
    text = tables.markdown(evidence)
    for phrase in ("not paper size", "n = 7 to 14", "t interval", "Smallest p", "80 % power", "Licence: CC0", "run.py"):
        assert phrase in text


def test_csv_is_the_contract(evidence):
    read = pd.read_csv(io.StringIO(evidence["table"].to_csv(index=False)))
    assert tuple(read.columns) == TABLE_COLUMNS
    ours = read.loc[(read["row"] == "bs_esnet") & (read["structure"] == "mean")].iloc[0]
    found = (
        evidence["statistics"]
        .query("row == 'bs_esnet' and structure == 'mean' and metric == 'dice' and stratum == '' and arm == ''")
        .iloc[0]
    )
    assert ours["patient_mean"] == pytest.approx(100 * found["mean"])
    assert 80 < ours["patient_mean"] < 95


def test_latex_is_balanced_ascii_with_the_right_number_of_cells(evidence):
    text = tables.latex(evidence)
    assert text.isascii()
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count("{") == body.count("}")
    for name in ("table", "tabular"):
        assert body.count(rf"\begin{{{name}}}") == body.count(rf"\end{{{name}}}") > 2
    for part in body.split(r"\begin{tabular}")[1:]:
        columns = re.match(r"\{(l?r*)\}", part)
        rows = [line for line in part.split(r"\end{tabular}")[0].splitlines() if line.endswith(r"\\")]
        assert columns is not None
        assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(columns[1])}
        assert all(rule in part for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert not re.search(r"(?<!\\)[%_#]", body.replace("{%\n", "{\n"))
    assert r"\textbf{" in body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % of a_b & c#", r"50 \% of a\_b \& c\#"),
        ("1.0 ± 0.2", r"1.0 $\pm$ 0.2"),
        ("< 0.001 · −1", r"$<$ 0.001 $\cdot$ $-$1"),
        ("{\\x}~^", r"\{\textbackslash{}x\}\textasciitilde{}\textasciicircum{}"),
    ],
)
def test_latex_escapes(text, expected):
    assert tables.escape_latex(text) == expected


def test_the_terminal_shows_the_primary_endpoint(evidence):
    stream = io.StringIO()
    tables.print_tables(evidence, Console(file=stream, width=160))
    text = stream.getvalue()
    assert "BS-ESNet" in text
    assert re.search(r" \d\d\.\d \[\d\d\.\d to \d\d\.\d\]", text)
    assert "not paper size" in text


def decimals(text):
    return {len(digits) for digits in re.findall(r"\d\.(\d+)", text)}


def test_a_dice_has_one_decimal_and_a_difference_of_two_has_two(evidence):
    """The margin of interest is half a point: differences have to be read against it."""
    names = [name.replace("_", " ") for name in STRUCTURES]
    levels, differences = {}, {}
    for table in printed_tables(evidence):
        for place, name in enumerate(table.header):
            found = decimals(" ".join(line[place].text for line in table.rows))
            if "Dice, %" in name or (table.title.startswith("Dice") and name.removesuffix(" [95 %]") in names):
                levels[table.title, name] = found
            elif name.startswith("difference, points"):
                differences[table.title, name] = found
    assert len(levels) > len(names)
    assert {key: found for key, found in levels.items() if found != {1}} == {}
    assert differences
    assert {key: found for key, found in differences.items() if found != {2}} == {}


@pytest.mark.slow
def test_two_splits_are_two_tables_and_the_inflation(tmp_path):
    write_grid(tmp_path / "a", {"unet": 0.85}, num_patients=8)
    write_grid(tmp_path / "b", {"unet": 0.87}, num_patients=8, split=AS_PUBLISHED)
    text = tables.markdown(gather(load_runs([tmp_path]), table=None, reference=None, margin=0.005))
    assert text.count("## Dice in percent") == 2
    assert len(markdown_lines(text, "What folds dealt by image add to Dice\n")) == 2 + 1
    assert len(markdown_lines(text, "What folds dealt by image add to Dice: each structure")) == 2 + 5
    assert "dealt by image" in text


@pytest.mark.slow
def test_the_task_writes_every_file_and_nothing_else(few, tmp_path, parts):
    write(config_of(runs=str(few), hydra={"sweep": {"dir": str(tmp_path)}}))
    folder = few / "report"
    assert {path.name for path in folder.iterdir()} == FILES
    assert r"a \| b" in (folder / "table.md").read_text()
    assert (folder / "report.html").read_text() == "page"
    # A report does not become a run: the next one reads the same folders.
    write(config_of(runs=[str(few)]))


@pytest.mark.slow
def test_several_folders_are_reported_beside_the_sweep(few, tmp_path, parts):
    folders = sorted(str(path) for path in few.iterdir())
    write(config_of(runs=folders, hydra={"sweep": {"dir": str(tmp_path)}}))
    assert (tmp_path / "report" / "table.md").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "left"), [("judge", FILES - {"claims.csv"}), ("write_page", FILES - {"report.html"})])
def test_a_part_that_fails_leaves_the_others(few, tmp_path, parts, name, left):
    def fail(*_):
        raise RuntimeError("broken on purpose")

    setattr(parts, name, fail)
    folders = [str(path) for path in few.iterdir()]
    with pytest.raises(ValueError, match=r"broken on purpose.* failed; the tables are in"):
        write(config_of(runs=folders, hydra={"sweep": {"dir": str(tmp_path)}}))
    assert {path.name for path in (tmp_path / "report").iterdir()} == left


@pytest.mark.slow
def test_a_sweep_is_reported_at_its_end(few, parts):
    ReportAtEnd().on_multirun_end(config_of(task="train", hydra={"sweep": {"dir": str(few)}}))
    assert {path.name for path in (few / "report").iterdir()} == FILES


def test_the_folder_of_a_sweep_may_name_its_choices(tmp_path):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        sweep = f"hydra.sweep.dir={tmp_path}/${{hydra:runtime.choices.experiment}}"
        config = compose("config", overrides=["experiment=unet", sweep], return_hydra_config=True)
    try:
        assert sweep_folder(config) == tmp_path / "unet"
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None


def test_a_sweep_that_cannot_be_reported_is_one_line(tmp_path, caplog):
    with caplog.at_level(logging.ERROR):
        ReportAtEnd().on_multirun_end(config_of(task="train", hydra={"sweep": {"dir": str(tmp_path)}}))
    assert len(caplog.records) == 1
    assert "there is no finished run in" in caplog.text
    assert "task=report makes it again" in caplog.text


def test_a_report_that_was_asked_for_and_fails_says_so(tmp_path):
    with pytest.raises(ValueError, match="there is no finished run in"):
        ReportAtEnd().on_multirun_end(config_of(task="report", hydra={"sweep": {"dir": str(tmp_path)}}))


def test_other_tasks_are_not_reported(tmp_path):
    write_grid(tmp_path, ("unet",), num_patients=4)
    ReportAtEnd().on_multirun_end(config_of(task="phantom", hydra={"sweep": {"dir": str(tmp_path)}}))
    assert not (tmp_path / "report").exists()
