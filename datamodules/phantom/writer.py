"""Writes synthetic patients as an ordinary cohort on disk, once, by parallel workers."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from datamodules.phantom.templates import LEVELS

# Part of the folder's name: raise it whenever the same settings would give other pixels.
GENERATOR_VERSION = 2
_SMALLEST_FIELD_MM, _LARGEST_PIXEL_MM = 150.0, 5.0


@dataclass(frozen=True, kw_only=True)
class PhantomSettings:
    """Everything that decides the bytes of a phantom cohort.

    Attributes:
        num_patients: Number of patients.
        seed: Seed; patient i is the same in a cohort of any size.
        levels: Discs with a block of slices each.
        slices_per_level: Slices of a block, 4 mm apart.
        size: Rows and columns of a slice.
        spacing_mm: Size of a pixel.

    Raises:
        ValueError: If a value is impossible.
    """

    num_patients: int = 45
    seed: int = 0
    levels: tuple[str, ...] = LEVELS
    slices_per_level: int = 1
    size: int = 320
    spacing_mm: float = 0.6

    def __post_init__(self) -> None:
        for name, smallest in (("num_patients", 1), ("seed", 0), ("slices_per_level", 1), ("size", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise ValueError(f"phantom cohort: {name} is {value!r}, expected a whole number of at least {smallest}")
        unknown = [level for level in self.levels if level not in LEVELS]
        if unknown or not self.levels or len(set(self.levels)) < len(self.levels):
            raise ValueError(
                f"phantom cohort: levels are {list(self.levels)}, expected some of {', '.join(LEVELS)}, each once"
            )
        if not 0 < self.spacing_mm <= _LARGEST_PIXEL_MM:
            raise ValueError(
                f"phantom cohort: spacing_mm is {self.spacing_mm}, expected more than 0 and at most {_LARGEST_PIXEL_MM}"
            )
        field_mm = self.size * self.spacing_mm
        if field_mm < _SMALLEST_FIELD_MM:
            raise ValueError(
                f"phantom cohort: size {self.size} at spacing_mm {self.spacing_mm} shows {field_mm:.0f} mm,"
                f" the muscles need {_SMALLEST_FIELD_MM:.0f} mm; raise size or spacing_mm"
            )

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name these settings and the version of the generator."""
        text = json.dumps([GENERATOR_VERSION, asdict(self)], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def write_cohort(
    settings: PhantomSettings, root: Path, *, name: str = "phantom", num_workers: int | None = None
) -> Path:
    """Writes the cohort unless it is there, and returns its folder.

    The folder appears complete or not at all: it is filled under another name and moved. Two processes that write the
    same cohort at once both succeed, with the same bytes.

    Raises:
        ValueError: If the number of workers is not positive.
        RuntimeError: If a worker fails.
    """
    num_workers = (os.cpu_count() or 1) if num_workers is None else num_workers
    if num_workers < 1:
        raise ValueError(f"phantom cohort: num_workers is {num_workers}, expected at least 1")
    folder = root / f"{name}-{settings.digest}"
    if (folder / "cohort.csv").is_file():
        return folder
    unfinished = root / f".{folder.name}-{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        for part in ("images", "labels"):
            (unfinished / part).mkdir(parents=True)
        rows = _write_patients(settings, unfinished, min(num_workers, settings.num_patients))
        pd.DataFrame(rows).sort_values("case", key=lambda cases: cases.map(_natural)).to_csv(
            unfinished / "cohort.csv", index=False
        )
        _publish(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _write_patients(settings: PhantomSettings, folder: Path, num_workers: int) -> list[dict]:
    """Runs the workers and returns the rows of cohort.csv.

    Workers are fresh interpreters that load only this package. A forked copy of a process with threads can hang, and
    `multiprocessing` would make each spawned one import the whole main program again.
    """
    # One thread per worker: how a matrix product is divided among threads could change its last bit.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **threads, "PYTHONPATH": path}
    shares = [list(range(worker, settings.num_patients, num_workers)) for worker in range(num_workers)]
    bar = tqdm(total=settings.num_patients, desc="synthetic patients", unit="patient")
    with ExitStack() as running, bar as progress, ThreadPoolExecutor(num_workers) as readers:
        workers = []
        try:
            for share in shares:
                task = json.dumps({"settings": asdict(settings), "folder": str(folder), "patients": share})
                command = [sys.executable, "-m", "datamodules.phantom.worker", task]
                worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
                workers.append(running.enter_context(worker))
            return [row for rows in readers.map(lambda worker: _collect(worker, progress), workers) for row in rows]
        finally:
            for worker in workers:  # after an error or Ctrl-C they are still running
                worker.kill()


def _collect(worker: subprocess.Popen, progress: tqdm) -> list[dict]:
    """Reads the rows that a worker prints, one line per patient, until it ends."""
    assert worker.stdout is not None
    rows = []
    for line in worker.stdout:
        rows += json.loads(line)
        progress.update()
    if worker.wait():
        raise RuntimeError(
            f"a worker that writes the phantom cohort ended with exit code {worker.returncode}; see above"
        )
    return rows


def _publish(unfinished: Path, folder: Path) -> None:
    """Moves a finished folder to its place; another process may have been faster."""
    try:
        unfinished.replace(folder)
    except OSError:
        if not (folder / "cohort.csv").is_file():
            raise


def _natural(case: str) -> tuple[int, int]:
    """Patient number and level of a case, to sort by."""
    patient, level = case.split("_", 1)
    return int(patient[1:]), LEVELS.index(level.replace("-", "/"))
