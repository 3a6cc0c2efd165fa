"""A mistake in the command line of a sweep, told as what it is."""

from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException


def check_sweep_line(arguments: Sequence[str], conf: Path) -> None:
    """Composes what `sweep=NAME ...` says, before Hydra does.

    That a sweep is many runs stands in its file. If the line cannot be composed, Hydra never learns of it, takes the
    line for a single run and complains about the first comma ("Ambiguous value for argument") instead of the mistake.

    Args:
        arguments: Words of the command line after the program.
        conf: Folder of the configuration.

    Raises:
        SystemExit: With the mistake in one line.
    """
    given = get_args_parser().parse_args(arguments)
    if given.config_dir or not any(word.startswith("sweep=") for word in given.overrides):
        return
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            hydra.compose_config("config", given.overrides, RunMode.MULTIRUN, validate_sweep_overrides=False)
    except (HydraException, OmegaConfBaseException) as error:
        raise SystemExit(f"paraspine: {mistake(error)}{_experiment_hint(error, given.overrides)}") from None


def _experiment_hint(error: Exception, words: Sequence[str]) -> str:
    """What to add where a key may belong to the sweep's own experiments: Hydra composes the line before it has them."""
    if not isinstance(error, ConfigCompositionException) or any(word.startswith("experiment=") for word in words):
        return ""
    return "; for a key of the sweep's experiments alone, name them on the line: experiment=NAME"


def mistake(error: Exception) -> str:
    """What Hydra says of a line that cannot be composed, in one line: without search paths and class names."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        extra = f'; others are extras: pip install -e ".[{name}]"' if group == "hydra/launcher" else ""
        return f"there is no {group}={name}: choose from {', '.join(sorted(error.options))}{extra}"
    cause = f" ({str(error.__cause__).partition(chr(10))[0]})" if error.__cause__ else ""
    return " ".join(f"{error}{cause}".split())
