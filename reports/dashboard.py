"""The wandb dashboard as code: `python -m reports.dashboard ENTITY/PROJECT` saves it as a view of a project."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    sections = _panels(structures)
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


def _panels(structures: Sequence[str]) -> dict[str, list]:
    """Panels by section: test results and costs a bar a row, what is logged while training over the epochs."""
    words = {name: name.replace("_", " ") for name in structures}
    means = {"Dice": "test/dice", "HD95 mm": "test/hd95_mm", "box IoU": "test/box_iou"}
    terms = _lines("Loss, every term", logarithmic=True)
    terms.metric_regex = "^loss/"
    curves = {"Validation Dice": "val/dice", "Validation box IoU": "val/box_iou"}
    curves |= {"Score that chooses the best checkpoint": "val/score"}
    costs = {"Parameters": "parameters", "FLOP per image": "flop_per_image", "ms per image": "ms_per_image"}
    costs |= {"Peak memory, MB": "peak_memory_mb", "Training, s": "training_seconds"}
    costs |= {"Training, images per s": "training_images_per_s"}
    parameters, dice = SummaryMetric("cost/parameters"), SummaryMetric("test/dice/mean")
    return {
        "Table": [
            *(_bars(f"Test {title}, mean over structures", f"{key}/mean") for title, key in means.items()),
            _bars("Missed structures", "test/num_missed"),
            _bars("False alarms", "test/num_false_alarms"),
            *(_bars(f"Test Dice, {title}", f"test/dice/{name}") for name, title in words.items()),
        ],
        "Curves": [
            *(_lines(title, key) for title, key in curves.items()),
            *(_lines(f"Validation Dice, {title}", f"val/dice/{name}") for name, title in words.items()),
        ],
        "Training": [
            _lines("Loss, total", "loss/total", logarithmic=True),
            terms,
            _lines("BSN learns (1) or rests (0)", "schedule/bsn"),
            _lines("ESNet learns (1) or rests (0)", "schedule/esnet"),
            MediaBrowser(title="Curves of a run", media_keys=["train/curves"]),
            MediaBrowser(title="Slices before and after augmentation", media_keys=["train/augmentations"]),
        ],
        "Cases": [
            MediaBrowser(title="Worst to best: masks and boxes", media_keys=["test/overlays"], num_columns=3),
            MediaBrowser(title="Worst to best: attention", media_keys=["test/saliency"], num_columns=3),
            MediaBrowser(title="Worst to best: all panels", media_keys=["test/sheet"]),
            WeavePanelSummaryTable(table_name="test/cases", layout=Layout(w=24, h=12)),
        ],
        "Cost": [
            *(_bars(title, f"cost/{key}") for title, key in costs.items()),
            ScatterPlot(title="Test Dice over parameters", x=parameters, y=dice, log_x=True),
        ],
    }


OVER_ROWS: dict[str, Any] = {"groupby": "Group", "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}


def _bars(title: str, key: str) -> BarPlot:
    """A number of the runs' summaries, a bar a row."""
    return BarPlot(title=title, metrics=[SummaryMetric(key)], **OVER_ROWS)


def _lines(title: str, *keys: str, logarithmic: bool = False) -> LinePlot:
    """Metrics over the epochs, a line a row."""
    return LinePlot(title=title, x="epoch", y=list(keys), log_y=logarithmic, **OVER_ROWS)


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
