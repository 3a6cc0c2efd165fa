"""The wandb dashboard as code: `python -m reports.dashboard ENTITY/PROJECT` saves it as a view of a project."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from wandb.errors import Error

try:
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.reports.v2 import (
        BarPlot,
        LinePlot,
        MediaBrowser,
        ScatterPlot,
        SummaryMetric,
        WeavePanelSummaryTable,
    )
    from wandb_workspaces.reports.v2.interface import Layout
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("a dashboard needs wandb-workspaces: pip install -e '.[dashboard]'") from error

ANATOMIES = Path(__file__).parents[1] / "conf" / "anatomy"
COLUMNS = (
    *("test/dice/mean", "test/hd95_mm/mean", "test/box_iou/mean", "test/num_missed", "test/num_false_alarms"),
    *("test/num_patients", "cost/parameters", "cost/ms_per_image", "cost/training_seconds"),
)


def build_workspace(entity: str, project: str, structures: Sequence[str]) -> ws.Workspace:
    """The view of a project whose runs segment `structures`; nothing is sent before its `save()`.

    Runs of one row of a table share a wandb group, folds and seeds inside: panels show the mean and range of rows.
    """
    sections = {
        "Table": _table(structures),
        "Curves": _curves(structures),
        "Training": _training(),
        "Cases": _cases(),
        "Cost": _cost(),
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name="paraspine",
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=50),  # seven rows of five folds are 35 runs
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Metric("Group")], pinned_columns=[f"summary:{name}" for name in COLUMNS]
        ),
    )


def _table(structures: Sequence[str]) -> list:
    """Test results, a bar a row."""
    means = {"Dice": "test/dice", "HD95 mm": "test/hd95_mm", "box IoU": "test/box_iou"}
    return [
        *(_bars(f"Test {title}, mean over structures", f"{key}/mean") for title, key in means.items()),
        _bars("Missed structures", "test/num_missed"),
        _bars("False alarms", "test/num_false_alarms"),
        *(_bars(f"Test Dice, {_words(name)}", f"test/dice/{name}") for name in structures),
    ]


def _curves(structures: Sequence[str]) -> list:
    """Validation over the epochs."""
    return [
        _lines("Validation Dice", "val/dice"),
        _lines("Validation box IoU", "val/box_iou"),
        _lines("Score that chooses the best checkpoint", "val/score"),
        *(_lines(f"Validation Dice, {_words(name)}", f"val/dice/{name}") for name in structures),
    ]


def _training() -> list:
    """Losses, and which parts of the network learn in which epoch."""
    terms = _lines("Loss, every term", logarithmic=True)
    terms.metric_regex = "^loss/"
    return [
        _lines("Loss, total", "loss/total", logarithmic=True),
        terms,
        _lines("BSN learns (1) or rests (0)", "schedule/bsn"),
        _lines("ESNet learns (1) or rests (0)", "schedule/esnet"),
        MediaBrowser(title="Curves of a run", media_keys=["train/curves"]),
        MediaBrowser(title="Slices before and after augmentation", media_keys=["train/augmentations"]),
    ]


def _cases() -> list:
    """Test slices and the table of all of them."""
    return [
        MediaBrowser(title="Worst to best: masks and boxes", media_keys=["test/overlays"], num_columns=3),
        MediaBrowser(title="Worst to best: attention", media_keys=["test/saliency"], num_columns=3),
        MediaBrowser(title="Worst to best: all panels", media_keys=["test/sheet"]),
        WeavePanelSummaryTable(table_name="test/cases", layout=Layout(w=24, h=12)),
    ]


def _cost() -> list:
    """What a row costs, and Dice against it."""
    return [
        _bars("Parameters", "cost/parameters"),
        _bars("FLOP per image", "cost/flop_per_image"),
        _bars("ms per image", "cost/ms_per_image"),
        _bars("Peak memory, MB", "cost/peak_memory_mb"),
        _bars("Training, s", "cost/training_seconds"),
        _bars("Training, images per s", "cost/training_images_per_s"),
        ScatterPlot(
            title="Test Dice over parameters",
            x=SummaryMetric("cost/parameters"),
            y=SummaryMetric("test/dice/mean"),
            log_x=True,
        ),
    ]


def _bars(title: str, key: str) -> BarPlot:
    """A number of the runs' summaries, a bar a row."""
    return BarPlot(
        title=title,
        metrics=[SummaryMetric(key)],
        groupby="Group",
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def _lines(title: str, *keys: str, logarithmic: bool = False) -> LinePlot:
    """Metrics over the epochs, a line a row."""
    return LinePlot(
        title=title,
        x="epoch",
        y=list(keys),
        log_y=logarithmic,
        groupby="Group",
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def read_structures(anatomy: str) -> list[str]:
    """The structures of a file in `conf/anatomy`.

    Raises:
        ValueError: If there is no such file.
    """
    path = ANATOMIES / f"{anatomy}.yaml"
    if not path.exists():
        known = ", ".join(sorted(path.stem for path in ANATOMIES.glob("*.yaml")))
        raise ValueError(f"conf/anatomy has no {anatomy!r}; it has {known}")
    return [str(name) for name in OmegaConf.select(OmegaConf.load(path), "structures")]


def main(words: Sequence[str] | None = None) -> None:
    """Saves the view, or prints it."""
    parser = argparse.ArgumentParser(prog="python -m reports.dashboard", description=__doc__)
    parser.add_argument("project", metavar="ENTITY/PROJECT", help="where the runs are, such as my-team/paraspine")
    parser.add_argument("--anatomy", default="axial9", help="whose structures have panels (default: %(default)s)")
    parser.add_argument("--print", action="store_true", help="print the view as JSON; nothing is sent")
    given = parser.parse_args(words)
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", given.project):
        parser.error(f"{given.project!r} is not ENTITY/PROJECT, such as my-team/paraspine")
    entity, project = given.project.split("/")
    try:
        workspace = build_workspace(entity, project, read_structures(given.anatomy))
        if given.print:
            print(workspace._to_model().model_dump_json(by_alias=True, indent=2))
        else:
            workspace.save()
    except (ValueError, Error) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
