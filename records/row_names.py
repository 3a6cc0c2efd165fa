"""What a table calls a run: the chosen experiment and ablation, and the settings in which runs of a row differ."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Neither says what is compared: where and how fast a run is made, what it records, and what a row is averaged over.
IGNORED_NODES = (
    *("output", "paths", "machine", "logger", "hydra", "retrain", "arms", "report", "runs", "checkpoint", "task"),
    *("masks", "scored", "row", "seed", "fold", "paper"),
)
# Presets, of which other nodes take their values; `paper` is ignored anyway.
SOURCES = ("scale", "grids")
# Of the callbacks, those that change what is trained or which epoch is tested; the others record.
TRAINING_CALLBACKS = ("asynchronous_training", "best_checkpoint", "case_table")
IGNORED_NAMES = (
    *("cache", "num_workers", "device", "devices", "root", "channels_last", "compile", "compile_network", "folder"),
    *("dirpath", "default_root_dir", "accelerator", "precision", "strategy", "num_nodes", "log_every_n_steps", "fold"),
    *("enable_model_summary", "enable_progress_bar", "limit_test_batches", "citation", "licence", "colours"),
    *("use_distributed_sampler", "cell_factor"),
)
# Of the node `supervision`: a run says itself what it makes of these (`records.run.Run`).
SUPERVISION = ("_target_", "masked_patients", "draw", "weak_cohort")
BOX_ARMS = ("annotated", "jittered", "shuffled", "none")  # what the names of arms with other boxes begin with
PROMPTS = "model.prompts"  # folder of a run, `<row>-<cell>`, another one in each fold
ABSENT = "absent"
_TRAINING = [[name] for name in TRAINING_CALLBACKS]


def row_of(config: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    """Row key of a run: its experiment, with the ablation behind it; of scored masks or models fused, their `row`.

    Of shapes that are fitted, whose points they begin at stands in brackets: annotated ones tell the truth.

    Runs from before run cards had `choices` are named by the command that started them.

    Raises:
        ValueError: If neither says it.
    """
    if config.get("task") == "score" and not config.get("row"):
        raise ValueError("config.yaml does not say which row the scored masks are; score them again with row=NAME")
    if config.get("task") in ("score", "fuse") and config.get("row"):
        return str(config["row"])
    choices = card.get("choices") or _typed(str(card.get("command", "")))
    experiment, ablation = choices.get("experiment"), choices.get("ablation") or "none"
    if not experiment:
        raise ValueError("run_card.json does not say which experiment was run")
    row = str(experiment) if ablation == "none" else f"{experiment}_{ablation}"
    if config.get("task") == "shape_model":
        return f"{row} ({'annotated' if config.get('points') == 'annotated' else 'found'} points)"
    return f"{row}_fused" if config.get("task") == "fuse" else row


def is_box_arm(name: str) -> bool:
    """Whether an arm shows the gate other boxes; other arms turn or move the image."""
    return name.startswith(BOX_ARMS)


def by_name_and_number(row: str) -> tuple[str | float, ...]:
    """What rows are sorted by: their names, numbers by size, so that a weight of 40 comes before one of 100."""
    parts = re.split(r"(\d+(?:\.\d+)?)", row)  # text and number in turn
    return tuple(float(part) if place % 2 else part for place, part in enumerate(parts))


def settings_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The leaves of a configuration that say what is compared, as texts by dotted path."""
    run_seed = config.get("seed")
    leaves = {}
    for path, value in _leaves(config):
        names = path.split(".")
        if any(path == node or path.startswith(f"{node}.") for node in IGNORED_NODES):
            continue
        if set(names) & set(IGNORED_NAMES) or (names[0] == "callbacks" and names[1:2] not in _TRAINING):
            continue
        if "supervision" in names and set(names) & set(SUPERVISION):
            continue
        # Copies of the run's seed; that of a split or a cohort is a setting.
        if names[-1] == "seed" and "split" not in names and "cohort" not in names and value == run_seed:
            continue
        leaves[path] = _found_by(str(value)) if path == PROMPTS else str(value)
    return leaves


def _found_by(folder: str) -> str:
    """The row of the run that prompts were taken from: its folds are those of one row."""
    name = folder.rstrip("/").rpartition("/")[2]
    return name.rpartition("-")[0] or name


def variant_names(
    settings: Sequence[Mapping[str, str]], commits: Sequence[object], varied: tuple[str, str] = ("", "")
) -> list[str]:
    """For runs of one row, the settings in which they differ as "name=value name=value"; "" if there are none.

    `varied` is a setting that the paper varies, and the value of it that goes without saying: every other one is named,
    whether or not the runs differ in it.

    Of settings that differ together (a value and where it is interpolated) the shortest path is named. A setting that
    some runs do not have because the code did not have it yet makes no difference: they are of other commits, and
    nothing stands in its place. Neither does a value of a preset that nothing takes up, such as the rate of SGD where
    Adam trains.
    """
    path_varied, usual = varied
    paths = {path for each in settings for path in each}
    paths = sorted(paths, key=lambda path: (path != path_varied, path.count("."), len(path), path))
    found: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        values = tuple(each.get(path, ABSENT) for each in settings)
        if len(set(values)) > 1 and not _came_later(path, settings, commits):
            found.setdefault(values, []).append(path)
    chosen = {values: same[0] for values, same in found.items() if not all(_is_source(path) for path in same)}
    names = []
    for index, each in enumerate(settings):
        own = _plain(each.get(path_varied, usual))
        words = [] if own == _plain(usual) else [f"{path_varied}={own}"]
        words += [f"{path}={values[index]}" for values, path in chosen.items() if path != path_varied]
        names.append(" ".join(words))
    return names


def _is_source(path: str) -> bool:
    """Whether a setting counts only where another one takes its value; the name of a preset is told all the same."""
    return path.split(".")[0] in SOURCES and path != "scale.name"


def _plain(value: str) -> str:
    """A value as text, the same for a number however it was typed: "1" and "1.0"."""
    try:
        return str(float(value))
    except ValueError:
        return value


def _came_later(path: str, settings: Sequence[Mapping[str, str]], commits: Sequence[object]) -> bool:
    """Whether a setting is absent from some runs only because their code is older, and the same in the others."""
    having = [index for index, each in enumerate(settings) if path in each]
    lacking = [index for index in range(len(settings)) if index not in having]
    names = path.split(".")
    parents = [".".join(names[:depth]) for depth in range(1, len(names))]
    replaced = any(parent in settings[index] for index in lacking for parent in parents)
    same_commit = {commits[index] for index in having} & {commits[index] for index in lacking}
    return not replaced and not same_commit and len({settings[index][path] for index in having}) == 1


def _leaves(node: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        return [leaf for key, value in node.items() for leaf in _leaves(value, f"{path}.{key}" if path else str(key))]
    return [(path, node)]


def _typed(command: str) -> dict[str, str]:
    """Experiment and ablation as typed; nothing of a grid's command, which names several."""
    found = dict(re.findall(r"(?:^|\s)(experiment|ablation)=([\w]+)(?=\s|$)", command))
    return found if "experiment=" in command else {"experiment": ""} | found
