"""The identity of a run: everything in its configuration that can change a number, and the name made of it."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from records.registry import IDENTITY
from records.starters import named_weights, sha256

# These say where and how fast a run is made, not what comes out of it.
NOT_IN_NAME = (
    *("hydra", "logger", "retrain", "arms", "report", "runs", "input", "morphometry", "predict"),
    "scored",  # which masks are scored is said by split and fold
)
WITHOUT_VALUE = ("machine", "paths", "output")
LOOKS_ON = ("status", "report")  # tasks that look at a training's folder; they must find it by its name
SHAPE_MODEL = "models.shape_model."  # what the targets of models without a network begin with: their task is another
LEARNS = ("train", "shape_model")  # tasks whose results do not depend on where data lie
# Other nodes take their values from these: what of them counts stands where it is used, and the rest (the rate of SGD
# in a training by Adam, the grid of another preset) changes nothing.
SOURCES = ("scale", "paper", "grids")
# Callbacks that write, draw or show what there is. One of your own says so by `only_looks_on = True` in its class; what
# says nothing may stop a training early or average its weights, and belongs to the identity. Ours are named here, for a
# name is asked for before anything is imported that takes seconds.
ONLOOKERS = {
    *(f"callbacks.{name}" for name in ("augmentation_sheet.AugmentationSheet", "slice_table.SliceTable")),
    *(f"callbacks.{name}" for name in ("cost.Cost", "epoch_table.EpochTable", "keypoint_sheet.KeypointSheet")),
    *(f"callbacks.{name}" for name in ("overlays.Overlays", "prediction_writer.PredictionWriter")),
    *(f"callbacks.{name}" for name in ("run_card.RunCard", "wandb_review.WandbReview")),
    *(f"callbacks.{name}" for name in ("training_curves.TrainingCurves", "checkpoints.LastCheckpoint")),
    *(
        f"lightning.pytorch.callbacks.{name}"
        for name in ("TQDMProgressBar", "RichProgressBar", "ProgressBar", "ModelSummary", "RichModelSummary")
    ),
    *(
        f"lightning.pytorch.callbacks.{name}"
        for name in ("LearningRateMonitor", "DeviceStatsMonitor", "ThroughputMonitor", "ModelCheckpoint")
    ),
}
# Those of folders of earlier versions: each became a `slice_table.SliceTable`.
FORMER_ONLOOKERS = {
    *(f"callbacks.{name}" for name in ("confusion_table.ConfusionTable", "keypoint_table.KeypointTable")),
    *(f"callbacks.{name}" for name in ("morphometry_table.MorphometryTable", "region_table.RegionTable")),
}
ACTING = {
    *("callbacks.asynchronous_training.AsynchronousTraining", "callbacks.checkpoints.BestCheckpoint"),
    *("callbacks.case_table.CaseTable", "callbacks.finite_loss.FiniteLoss"),
    "callbacks.weight_averaging.AveragedWeights",
}
# Measures of ours that validate: what they do follows from the anatomy, and which of them choose the best checkpoint is
# said by `metrics.score`. One of your own counts with all its settings.
MEASURES = {
    *("metrics.validation.masks.PatientDice", "metrics.validation.masks.PatientBoxIou"),
    "metrics.validation.keypoints.PatientKeypointError",
}
# Settings that are files, or folders of runs: what is in them counts, wherever they lie.
FILES = (("split", "path"), ("model", "weights"), ("model", "init"), ("model", "prompts"))
RESULTS = "cases.csv"  # tells one run's predictions from another's
CONTENT = "content:"
# Leaves that are looked at or read by people, wherever they stand.
COSMETIC = {
    *("colours", "citation", "licence", "prints"),
    *("default_root_dir", "enable_progress_bar", "enable_model_summary", "log_every_n_steps"),
}


def row_name(experiment: str, ablation: str) -> str:
    """What a table calls an experiment: `experiment=bs_esnet ablation=no_sag` is the row bs_esnet_no_sag."""
    return experiment if ablation == "none" else f"{experiment}_{ablation}"


def cell_name(*, _root_: DictConfig) -> str:
    """Twelve characters that name what can change a number of a run; resolves `cell` in the names of its wandb run."""
    return _digest(identity(_root_))


def run_name(where: str, row: str, *, _root_: DictConfig) -> str:
    """Name of the run's folder in the folder `where`: the row and the cell; resolves `run_name` in Hydra's folders.

    A folder of the row that was named by an older version, when more was part of the name, keeps its name.
    """
    ours = identity(_root_)
    name = f"{row}-{_digest(ours)}"
    if (Path(where) / name).exists():
        return name
    older = [file.parent for file in Path(where).glob(f"{row}-*/{IDENTITY}") if not differences(_stored(file), ours)]
    older.sort(key=lambda folder: (not (folder / "summary.json").exists(), folder.name))
    return older[0].name if older else name


def identity(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration without what depends on the machine, and, of a training, without where data lie.

    Nor are there callbacks that only look on, loggers, colours, or texts that are for people. In place of the path of
    a file stands a hash of its content.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    raw = {key: value for key, value in raw.items() if key not in NOT_IN_NAME}
    raw["callbacks"] = _that_act(raw.get("callbacks") or {})
    raw = _chosen_by(raw)
    raw = {**raw, "model": _started_from(raw["model"], config.anatomy.view)} if "model" in raw else raw
    raw["cohort"].pop("sides", None)  # refuses label files, and changes nothing of what is trained
    raw["task"] = _own_task(raw) if raw["task"] in LOOKS_ON else raw["task"]
    for key in WITHOUT_VALUE:
        raw[key] = dict.fromkeys(raw[key]) if isinstance(raw[key], dict) else None
    if raw["task"] in LEARNS:
        raw["checkpoint"] = None
        raw["cohort"]["root"] = None
        raw["supervision"]["weak_cohort"] = _without_place(raw["supervision"]["weak_cohort"])
    resolved = OmegaConf.to_container(OmegaConf.create(raw), resolve=True)
    assert isinstance(resolved, dict)
    return _with_contents({str(key): _plain(value) for key, value in resolved.items() if key not in SOURCES})


def reduced(stored: dict[str, Any]) -> dict[str, Any]:
    """An identity as an older version wrote it, without what can change no number."""
    acting = {**stored, "callbacks": _that_act(stored.get("callbacks") or {})}
    return _with_contents({key: _plain(value) for key, value in acting.items() if key not in SOURCES})


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Leaves in which two nested configurations differ, as "key: before -> after"."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = {**before, **after}
        return [
            text
            for key in keys
            for text in differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if before == after else [f"{path}: {before} -> {after}"]


def as_text(tree: dict[str, Any]) -> str:
    """An identity as it is hashed and stored."""
    return json.dumps(tree, sort_keys=True, default=str)


def _digest(tree: dict[str, Any]) -> str:
    return hashlib.sha256(as_text(tree).encode()).hexdigest()[:12]


def _own_task(raw: dict[str, Any]) -> str:
    """What runs in the folder of a row: most train, shapes are fitted."""
    return "shape_model" if str((raw.get("model") or {}).get("_target_")).startswith(SHAPE_MODEL) else "train"


def _that_act(callbacks: dict[str, Any]) -> dict[str, Any]:
    return {
        name: node
        for name, node in callbacks.items()
        if not (isinstance(node, dict) and _only_looks_on(str(node.get("_target_"))))
    }


def _chosen_by(raw: dict[str, Any]) -> dict[str, Any]:
    """Settings with what chooses the best checkpoint in the node where it stood before there was a node `metrics`.

    So runs keep their names. That the means that choose are those of the network's grid now is a matter of the code, as
    all that is computed from settings; the run card names the commit.
    """
    if not isinstance(metrics := raw.get("metrics"), dict):
        return raw
    own = {key: raw[key] for key in raw if key != "metrics"}
    measures = {name: node for name, node in metrics["measures"].items() if node.get("_target_") not in MEASURES}
    table = {**own["callbacks"].get("case_table", {}), "score": metrics["score"], "smoothing": metrics["smoothing"]}
    own["callbacks"] = {**own["callbacks"], "case_table": table}
    return {**own, "metrics": {"measures": measures}} if measures else own


@cache
def _only_looks_on(target: str) -> bool:
    looking_on = ONLOOKERS | FORMER_ONLOOKERS
    if target in looking_on | ACTING or target.startswith("lightning."):
        return target in looking_on
    try:
        return bool(getattr(get_class(target), "only_looks_on", False))
    except Exception:  # whatever is wrong with it is said where it is built
        return False


def _plain(node: Any) -> Any:
    """A node without what is cosmetic."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items() if key not in COSMETIC}
    return [_plain(value) for value in node] if isinstance(node, list) else node


def _stored(file: Path) -> dict[str, Any]:
    """The reduced identity in a file; {} where it is damaged, which is said when its run is asked for."""
    try:
        return reduced(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, AttributeError, KeyError):
        return {}


def _with_contents(tree: dict[str, Any]) -> dict[str, Any]:
    """Settings with what is in FILES instead of their paths."""
    for group, key in FILES:
        node = tree.get(group)
        if isinstance(node, dict) and isinstance(node.get(key), str):
            tree = {**tree, group: {**node, key: _content(node[key])}}
    return tree


def _content(path: str) -> str:
    """What stands for a file in an identity; the path of one that cannot be read, which is said where it is used."""
    if path.startswith(CONTENT):
        return path
    file = Path(path) / RESULTS if Path(path).is_dir() else Path(path)
    try:
        state = file.stat()
        return CONTENT + _hash_of(str(file), state.st_mtime_ns, state.st_size)
    except OSError:
        return path


@cache
def _hash_of(path: str, changed_ns: int, size: int) -> str:
    """Twelve characters; weights of some hundred MB are read once, however many cells a grid has."""
    return sha256(Path(path))[:12]


def _without_place(cohort: Any) -> Any:
    """A cohort without where it lies: a node without its root, a folder as the last part of its path."""
    return {**cohort, "root": None} if isinstance(cohort, dict) else cohort and Path(cohort).name


def _started_from(model: Any, view: str) -> Any:
    """A network's node with the file that it starts from; without `init` where it starts from none, as before."""
    if not isinstance(model, dict) or "init" not in model:
        return model
    rest = {key: value for key, value in model.items() if key != "init"}
    return rest if model["init"] is None else {**rest, "init": str(named_weights(model["init"], view))}
