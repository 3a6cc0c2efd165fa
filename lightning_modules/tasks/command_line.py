"""The command line: its mistakes told as what they are, and whatever ends it told in one line, with an exit code."""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, InstantiationException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lightning_modules.grid.grid_cell import cause_of, one_line
from lightning_modules.tasks.ending import Stopped, say_goodbye, say_last_words
from lightning_modules.tasks.settings import did_you_mean

TRACE = "HYDRA_FULL_ERROR"  # Hydra's own switch: set to 1, nothing is shortened to a line


_asked_for: list[str] = []  # what TRACE was before this process set it
_said_at_once: list[Exception] = []
# Settings that stood elsewhere in earlier versions.
MOVED = {f"callbacks.case_table.{name}": f"metrics.{name}" for name in ("score", "smoothing")}
LOST_PROCESS = re.compile(r"(closed|reset) by (remote )?peer")  # how torch says it
LOST = (
    "another process of this distributed run has ended: killed, most often because memory ran out, "
    "where no line of its own says why"
)


class PastHydra(BaseException):
    """Carries the exception that ended a task, its cause, past Hydra, which would print a line of its own about it."""


def run_command(main: Callable[[], None], conf: Path) -> None:
    """Runs what the command line says; a mistake and a signal end in one line and a non-zero exit code.

    Args:
        main: Hydra's entry point.
        conf: Folder of the configuration.

    Raises:
        SystemExit: With 1, or with what a shell makes of a signal (143 of SIGTERM); any other exception is ours.
    """
    before = os.environ.get(TRACE, "0")
    _asked_for[:] = [before]
    os.environ[TRACE] = "1"  # what goes wrong comes here, instead of being printed by Hydra
    try:
        sys.argv[1:] = options_first([with_home(word) for word in sys.argv[1:]])
        check_sweep_line(sys.argv[1:], conf)
        main()
    except Stopped as stopped:
        say_goodbye(stopped.signum)
        raise
    except (Exception, PastHydra) as caught:
        say_last_words()
        error = caught.__cause__ if isinstance(caught, PastHydra) else caught
        assert isinstance(error, Exception)
        if _said_at_once:
            raise SystemExit(1) from None
        line = None if before == "1" else told(error, conf)
        if line is None:
            raise error from error.__cause__
        raise SystemExit(_with_process(line)) from None
    finally:
        os.environ[TRACE] = before


def say_at_once(error: Exception) -> None:
    """Says what went wrong in a further process of a distributed run, before anything is torn down.

    The first process notices that one is missing, and ends all of them. If this one has lost another, it says nothing:
    either the first has lost that one as well, or the first is gone and has said why.
    """
    line = None if _asked_for == ["1"] else told(error)
    if line == LOST:
        pass
    elif line is None:
        traceback.print_exception(error)
    else:
        print(_with_process(line), file=sys.stderr, flush=True)
    _said_at_once.append(error)


def _with_process(line: str) -> str:
    rank = os.environ.get("LOCAL_RANK", "0")
    who = "" if rank == "0" else f"process {rank} of a distributed run (they count from 0): "
    return f"paraspine: {who}{line}"


@contextmanager
def trace_as_asked() -> Iterator[None]:
    """Gives TRACE back to the user for a task: further processes of a distributed run inherit it, and its meaning."""
    now = os.environ.get(TRACE, "0")
    os.environ[TRACE] = _asked_for[0] if _asked_for else now
    try:
        yield
    finally:
        os.environ[TRACE] = now


def with_home(word: str) -> str:
    """`key=~/folder` with the home folder in it: shells put it there at the start of a word alone."""
    return re.sub(r"^([^=~]+=)~(?=/|$)", lambda found: found[1] + str(Path.home()), word)


def options_first(words: Sequence[str]) -> list[str]:
    """Options such as -m may stand anywhere between the overrides; Hydra wants either all before or all behind."""
    overrides = get_args_parser().parse_intermixed_args(words).overrides
    return [*(word for word in words if word not in overrides), *overrides]


def told(error: Exception, conf: Path | None = None) -> str | None:
    """A user's mistake in one line: what was given, what was expected, what to do; None for an error of ours."""
    cause = cause_of(error)
    if isinstance(error, ConfigCompositionException | OmegaConfBaseException) or (
        isinstance(error, HydraException) and not isinstance(error, InstantiationException)
    ):
        return mistake(error, conf)
    if isinstance(cause, ValueError):  # raised by a constructor about what it was given, or by a task
        return str(cause)
    if isinstance(cause, OSError):
        where = f"{cause.filename}: " if cause.filename else ""
        return f"{where}{cause.strerror or cause}; make it possible and give the same command again: it goes on"
    if isinstance(error, InstantiationException):
        node = re.search(r"full_key: (\S+)", str(error))
        return f"{node[1] if node else 'a setting'} cannot be built: {one_line(cause)} ({TRACE}=1 shows where)"
    if isinstance(cause, RuntimeError) and LOST_PROCESS.search(str(cause)):
        return LOST
    if type(cause).__name__ == "MisconfigurationException" or type(cause).__module__.startswith("wandb"):
        return one_line(cause)
    return None


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
        raise SystemExit(f"paraspine: {mistake(error, conf)}{_experiment_hint(error, given.overrides)}") from None


def _experiment_hint(error: Exception, words: Sequence[str]) -> str:
    """What to add where a key may belong to the sweep's own experiments: Hydra composes the line before it has them."""
    if not isinstance(error, ConfigCompositionException) or any(word.startswith("experiment=") for word in words):
        return ""
    return "; for a key of the sweep's experiments alone, name them on the line: experiment=NAME"


def mistake(error: Exception, conf: Path | None = None) -> str:
    """What Hydra says of a line that cannot be composed, in one line: without search paths and class names."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        extra = f'; others are extras: pip install -e ".[{name}]"' if group == "hydra/launcher" else ""
        meant = did_you_mean(name, error.options)
        return f"there is no {group}={name}{meant}: choose from {', '.join(sorted(error.options))}{extra}"
    unknown = re.match(r"Could not override '([\w.]+)'", str(error))
    if unknown and unknown[1] in MOVED:
        return f"{unknown[1]} has moved: give {MOVED[unknown[1]]}"
    misplaced = re.match(r"In '(ablation)/(\w+)': Could not override '([\w/]+)'", str(error))
    if misplaced and conf is not None:
        group, name, part = misplaced.groups()
        return f"{group}={name} replaces {part}, which this experiment has not: give {_hosts(name, conf)}"
    known = getattr(error.__cause__, "parent_node", None)
    cause = f" ({str(error.__cause__).partition(chr(10))[0]})" if error.__cause__ else ""
    if isinstance(known, DictConfig):
        cause += did_you_mean(str(getattr(error.__cause__, "key", "")), [str(key) for key in known])
    return " ".join(f"{error}{cause}".split())


def _hosts(ablation: str, conf: Path) -> str:
    """The experiments that an ablation departs from: those whose rows with it have files of their own."""
    rows = (path.stem for path in (conf / "experiment").glob(f"*_{ablation}.yaml"))
    hosts = sorted(row.removesuffix(f"_{ablation}") for row in rows)
    return " or ".join(f"experiment={host}" for host in hosts) or "the experiment that it belongs to"
