"""What settings may be: checked by type, by bound and against the machine before anything is written to disk."""

import inspect
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, Union

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

# Found when they are run: training imports torch, seconds that --help, --cfg and task=phantom need not wait for.
TASKS = {
    "train": "lightning_modules.tasks.training.train",
    "test": "lightning_modules.tasks.training.test",
    "predict": "lightning_modules.prediction.task.predict",
    "score": "lightning_modules.tasks.scoring.score",
    "fuse": "lightning_modules.tasks.label_fusion.fuse",
    "shape_model": "lightning_modules.tasks.shape_model.shape_model",
    "phantom": "lightning_modules.tasks.phantom_task.write",
    "report": "reports.task.write",
    "rescore": "lightning_modules.tasks.rescoring.rescore",
    "export": "lightning_modules.tasks.export.export",
    "export_nnunet": "lightning_modules.tasks.nnunet_export.export_nnunet",
}
BUILDS = ("train", "test", "shape_model")  # tasks that build the nodes; the others may leave them as they are

SHAPE_MODEL = "models.shape_model."  # targets that are fitted, and no networks

# Lowest and highest value of a setting, by the last part of its name, wherever it stands.
WHOLE = {
    **dict.fromkeys(
        ("epochs", "max_epochs", "batch_size", "samples_per_epoch", "width", "depth", "num_patients"), (1, math.inf)
    ),
    **dict.fromkeys(("fold", "joint_epochs", "tail_epochs", "num_workers"), (0, math.inf)),
    "seed": (0, 2**32 - 1),  # NumPy's
}
ABOVE_ZERO = ("lr", "learning_rate", "sgd_learning_rate", "gradient_clip", "limit_train_batches")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
SIMPLE = (bool, int, float, str)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The nearest of the `known` names in brackets, with a space before; "" where none is near."""
    near = get_close_matches(given, [str(name) for name in known], n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def check_settings(config: DictConfig) -> None:
    """Checks what the constructors of the composed nodes, the bounds above and the machine allow.

    Args:
        config: The composed configuration; it may still have its `hydra` node.

    Raises:
        ValueError: Naming the first setting that is wrong, what it is and what was expected.
    """
    task = config.task
    if task not in (*TASKS, "status"):
        names = (*TASKS, "status")
        raise ValueError(f"task is {task!r}{did_you_mean(str(task), names)}, expected one of {', '.join(names)}")
    if task not in BUILDS:
        return
    _check_task_of_model(task, str(config.model._target_))
    raw = _without_running(config)
    for path, value in _leaves(raw):  # as they were given: what repeats another setting is not the one to be named
        _check_bounds(path, value)
    tree: Any = OmegaConf.to_container(OmegaConf.create(raw), resolve=True)
    _check_trainer(tree["trainer"], tree["machine"])
    for path, node in _nodes(tree):
        _check_constructor(path, node)


def _check_task_of_model(task: str, target: str) -> None:
    """Networks train and are tested, shapes are fitted."""
    if target.startswith(SHAPE_MODEL) and task != "shape_model":
        raise ValueError(f"task is {task}, but {target} is no network; leave the task out, experiment=sims has its own")
    if task == "shape_model" and not target.startswith(SHAPE_MODEL):
        raise ValueError(f"task is shape_model, but {target} is a network; give experiment=sims")


def _without_running(config: DictConfig) -> dict[str, Any]:
    """Every node that is built, unresolved, without those that only a running application can resolve."""
    raw: Any = OmegaConf.to_container(config, resolve=False)
    return {key: value for key, value in raw.items() if key not in ("hydra", "logger")} | {"output": "output"}


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree


def _nodes(tree: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(tree, dict):
        if "_target_" in tree:
            yield path, tree
        for key, value in tree.items():
            yield from _nodes(value, f"{path}.{key}" if path else str(key))


def _check_bounds(path: str, value: Any) -> None:
    name = path.rpartition(".")[2]
    if value == "???":
        raise ValueError(f"{path} is missing: give {path}=VALUE")
    if path.startswith("paper.") or value is None or str(value).startswith("${"):
        return
    if name in WHOLE:
        lowest, highest = WHOLE[name]
        if type(value) is not int or not lowest <= value <= highest:
            most = "" if highest == math.inf else f", at most {highest}"
            raise ValueError(f"{path} is {value!r}, expected a whole number from {lowest} on{most}")
    elif name in ABOVE_ZERO and (type(value) not in (int, float) or not 0 < value < math.inf):
        raise ValueError(f"{path} is {value!r}, expected a number above 0")


def _check_trainer(trainer: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
    if trainer["precision"] not in PRECISIONS:
        meant = did_you_mean(str(trainer["precision"]), PRECISIONS)
        raise ValueError(
            f"machine.precision is {trainer['precision']!r}{meant}, expected one of {', '.join(PRECISIONS)}: the "
            "losses and the weights' updates need 32 bits, and more are of no use"
        )
    if trainer.get("fast_dev_run"):
        raise ValueError(
            "trainer.fast_dev_run keeps no checkpoint, of which a test needs one: trainer=smoke takes seconds"
        )
    if trainer["accelerator"] in ("gpu", "cuda"):
        import torch  # seconds that other tasks need not wait for

        there, asked = torch.cuda.device_count(), trainer["devices"]
        number = len(asked) if isinstance(asked, list) else asked
        if there == 0 or (type(number) is int and number > there):
            raise ValueError(
                f"machine.accelerator is {trainer['accelerator']} with devices={asked}, but this machine has {there} "
                "CUDA device(s): machine=cpu trains without one"
            )


def _check_constructor(path: str, node: Mapping[str, Any]) -> None:
    """Compares the settings of a node with what its constructor takes, by name and by type."""
    parameters, types_of = _signature(node["_target_"])
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    for name, value in node.items():
        if str(name).startswith("_"):
            continue
        if name not in parameters:
            if open_ended:
                continue
            known = [each for each in parameters if each != "self"]
            raise ValueError(
                f"there is no {path}.{name}{did_you_mean(str(name), known)}: {node['_target_']} has {', '.join(known)}"
            )
        if name in types_of and not _fits(value, types_of[name]):
            raise ValueError(f"{path}.{name} is {value!r}, expected {_in_words(types_of[name])}")


@cache
def _signature(target: str) -> tuple[Mapping[str, inspect.Parameter], dict[str, Any]]:
    """Parameters of a constructor or function, and their types as far as they can be told."""
    found = get_object(target)
    try:
        types_of = typing.get_type_hints(found.__init__ if inspect.isclass(found) else found)
    except (NameError, TypeError):  # shapes of jaxtyping are no types
        types_of = {}
    return inspect.signature(found).parameters, types_of


def _fits(value: Any, kind: Any) -> bool:
    """Whether a plain value is of an annotated type; whatever is not plain (a node, an array) is not ours to judge."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return value in inner
    if origin is not None and inspect.isclass(origin) and issubclass(origin, Sequence) and isinstance(value, list):
        return all(_fits(item, inner[0]) for item in value) if inner else True
    if kind in SIMPLE or kind is type(None):
        wanted = (int, float) if kind is float else kind
        return isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
    is_plain = isinstance(value, SIMPLE) or value is None
    return not (is_plain and inspect.isclass(origin or kind) and issubclass(origin or kind, Sequence | Mapping))


def _in_words(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        told = [each for each in inner if not (each is int and float in inner)]  # a whole number is a number
        # Python remembers a union by what is in it, and gives it the order in which anybody wrote it first.
        return " or ".join(sorted((_in_words(each) for each in told), key=lambda words: (words == "null", words)))
    if origin is Literal:
        return " or ".join(str(each) for each in inner)
    names = {
        int: "a whole number",
        float: "a number",
        str: "a word",
        bool: "true or false",
        type(None): "null",
    }
    if origin is not None and inspect.isclass(origin) and issubclass(origin, Sequence):
        return "a list"
    return names.get(kind, getattr(kind, "__name__", str(kind)))
