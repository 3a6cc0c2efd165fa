"""A finished run in one line, for notebooks: `records.load_run(folder)`."""

import logging
from pathlib import Path

from records.run import Run, read_run
from records.runs import find_run_folders

logger = logging.getLogger(__name__)


def load_run(folder: str | Path, arm: str = "") -> Run:
    """Everything that a finished run left, checked as a report checks it; docs/records.md says what each column means.

        run = load_run("runs/bs_esnet-0123456789ab")
        run.cases, run.epochs, run.readouts.morphometry, run.predictions[0]["image"], run.config, run.card, run.summary

    What had to be left out (a table that was cut off) is said as a warning in the log.

    Args:
        folder: The run folder.
        arm: Name of a further test in `arms/` of it; "" for the run's own test.

    Raises:
        ValueError: If there is no such folder or arm, it is a folder of several runs, or the run is unfinished or
            damaged.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ValueError(f"there is no folder {path}; give the folder of a run, as runs/unet-0123456789ab")
    if not any((path / name).exists() for name in ("config.yaml", "error.txt")):
        inside = ", ".join(found.name for found in find_run_folders(path)[:3])
        told = f"it holds the runs {inside}, ...; give one of them" if inside else "it has no config.yaml"
        raise ValueError(f"{path} is no run folder: {told}")
    try:
        runs, notes = read_run(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for note in notes:
        logger.warning("%s: %s", path, note)
    by_arm = {run.arm: run for run in runs}
    if arm not in by_arm:
        known = ", ".join(name for name in by_arm if name) or "none"
        raise ValueError(f"{path} has no arm {arm!r}; it has {known}")
    return by_arm[arm]
