"""Hydra's work on conf/, a quarter of a second for each of hundreds of command lines, done once for each choice."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf"


@contextmanager
def composed_once() -> Iterator[None]:
    """Files are parsed, chosen and merged once for each set of chosen files; every composition gets a copy.

    What a command line changes beyond its choices is applied by Hydra itself every time.
    """
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, once in REPLACED:
            own = getattr(owner, name)
            replaced = wraps(own)(once(own))
            patch.setattr(owner, name, staticmethod(replaced) if owner is OmegaConf else replaced)
        yield


@contextmanager
def composed_by_hydra() -> Iterator[None]:
    """Within `composed_once`, Hydra as it is."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, _ in REPLACED:
            own = getattr(owner, name).__wrapped__
            patch.setattr(owner, name, staticmethod(own) if owner is OmegaConf else own)
        yield


def _parsed_once(load: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[Path, bytes] = {}

    def load_once(file: Any) -> Any:
        path = Path(getattr(file, "name", file)).absolute()
        if not path.is_relative_to(CONF):
            return load(file)
        if path not in known:
            known[path] = pickle.dumps(load(file))
        return pickle.loads(known[path])

    return load_once


def _mapped_if_needed(create: Callable[..., Any]) -> Callable[..., Any]:
    """Hydra makes a container of all choices for each of forty files, of which two ask for it."""
    return lambda choices, files, *more: (
        create(choices, files, *more) if any(file.is_interpolation() for file in files) else None
    )


def _chosen_once(choose: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[Any, Any] = {}

    def choose_once(*, repo: Any, overrides_list: Sequence[Override], **how: Any) -> Any:
        if not _ours(repo):
            return choose(repo=repo, overrides_list=overrides_list, **how)
        choices, values = [], []
        for item in overrides_list:
            if not item.is_sweep_override():  # which Hydra leaves aside here
                chosen = repo.group_exists(item.key_or_group) and not isinstance(item.value(), dict)
                (choices if chosen else values).append(item)
        key = (*(item.input_line for item in choices), *how.items())
        if key not in known:
            known[key] = choose(repo=repo, overrides_list=choices, **how)
        return replace(known[key], config_overrides=values)

    return choose_once


def _merged_once(merge: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[str, bytes] = {}

    def merge_once(self: ConfigLoaderImpl, *, defaults: Sequence[Any], repo: Any) -> Any:
        if not _ours(repo):
            return merge(self, defaults=defaults, repo=repo)
        key = repr(defaults)
        if key not in known:
            known[key] = pickle.dumps(merge(self, defaults=defaults, repo=repo))
        return pickle.loads(known[key])

    return merge_once


def _ours(repo: Any) -> bool:
    """Whether nothing but Hydra's own files and conf/ is looked at."""
    return [source.path for source in repo.get_sources() if source.scheme() == "file"] == [str(CONF)]


REPLACED = (
    (OmegaConf, "load", _parsed_once),
    (defaults_list, "_create_interpolation_map", _mapped_if_needed),
    (config_loader_impl, "create_defaults_list", _chosen_once),
    (ConfigLoaderImpl, "_compose_config_from_defaults_list", _merged_once),
)
