"""Writes synthetic patients as an ordinary cohort on disk, once, by parallel workers."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from datamodules.phantom.settings import GENERATOR_VERSION, PhantomSettings
from datamodules.phantom.structures import labels_of
from records.whole_files import naming

FOLDERS = ("images", "labels", "second_rater", "fat")
ABANDONED_S = 86400.0  # what a process that was killed has left is deleted by the next one, a day later
_CARD = "phantom.json"
_README = """\
# Synthetic lumbar patients

Written by paraspine; no person was scanned. Licence: CC0-1.0 (no rights reserved).

* `cohort.csv`: a row per image, with what is hidden in it (fat, fascia contrast, SNR, rater noise, ...)
* `labels/`: ids as in `labels.csv`, drawn exactly; `second_rater/`: the same by another hand
* `fat/`: fat fraction of every pixel, 0..1
* `measurements.csv`: exact areas, lengths, angles and fat fractions
* `keypoints.csv` (sagittal): indices slice, col, row along the axes of the file
* `phantom.json`: settings and version of the generator; the same settings give the same bytes
"""
_README_OF_TISSUES = "* `tissues/`: the tissue of every pixel, structure by structure; ids as in `tissues.csv`\n"


def write_cohort(
    settings: PhantomSettings, root: Path, *, name: str = "phantom", num_workers: int | None = None
) -> Path:
    """Writes the cohort into a folder named by its settings, unless it is there, and returns that folder.

    Raises:
        ValueError: If the number of workers is not positive.
        OSError: If a worker fails, or cannot write; with the file.
    """
    return write_into(settings, root / f"{name}-{settings.digest}", num_workers=num_workers)


def write_into(settings: PhantomSettings, folder: Path, *, num_workers: int | None = None) -> Path:
    """Writes the cohort into exactly this folder, unless it is there, and returns it.

    The folder appears complete or not at all: it is filled under another name and moved. Two processes that write the
    same cohort at once both succeed, with the same bytes.

    Raises:
        ValueError: If the folder holds anything else, or the number of workers is not positive.
        OSError: If a worker fails, or cannot write; with the file.
    """
    num_workers = (os.cpu_count() or 1) if num_workers is None else num_workers
    if num_workers < 1:
        raise ValueError(f"phantom: num_workers is {num_workers}, expected at least 1")
    folder = folder.absolute()
    if is_written(settings, folder):
        return folder
    unfinished = folder.parent / f".{folder.name}-{os.getpid()}"
    for left in folder.parent.glob(f".{folder.name}-*"):
        with suppress(FileNotFoundError):  # another process may clear up as well
            if left == unfinished or left.stat().st_mtime < time.time() - ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)
    try:
        for part in (*FOLDERS, *(["tissues"] if settings.tissue_maps else [])):
            (unfinished / part).mkdir(parents=True)
        tables = _write_patients(settings, unfinished, min(num_workers, settings.num_patients))
        _write_tables(settings, unfinished, tables)
        _publish(settings, unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def is_written(settings: PhantomSettings, folder: Path) -> bool:
    """Whether the folder holds the cohort of these settings; False where it is missing or empty.

    Raises:
        ValueError: If it holds anything else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    card = folder / _CARD
    if not card.is_file():
        raise ValueError(f"{folder} is not empty and no phantom cohort; choose a new folder for the synthetic patients")
    try:
        found = _flat(json.loads(card.read_text()))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{card} is damaged; choose another folder, or delete this one") from None
    ours = _flat(_card(settings))
    changed = [name for name in {**ours, **found} if found.get(name) != ours.get(name)]
    different = [f"{name}: {found.get(name)} -> {ours.get(name)}" for name in changed]
    if different:
        raise ValueError(
            f"{folder} holds the phantom cohort of other settings ({'; '.join(different)}); choose another folder, or"
            " delete this one"
        )
    return True


def _write_patients(settings: PhantomSettings, folder: Path, num_workers: int) -> dict[str, list[dict]]:
    """Runs the workers and returns the rows of every table, patient after patient.

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
                task = json.dumps({"settings": settings.written, "folder": str(folder), "patients": share})
                command = [sys.executable, "-m", "datamodules.phantom.worker", task]
                worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
                workers.append(running.enter_context(worker))
            lines = [
                line for found in readers.map(lambda worker: _collect(worker, progress), workers) for line in found
            ]
        finally:
            for worker in workers:  # after an error or Ctrl-C they are still running
                worker.kill()
    lines.sort(key=lambda line: line["patient"])
    tables = {name: [row for line in lines for row in line["tables"][name]] for name in lines[0]["tables"]}
    tissues = {row["id"]: row for row in tables["tissues"]}
    return {**tables, "tissues": [tissues[number] for number in sorted(tissues)]}


def _collect(worker: subprocess.Popen, progress: tqdm) -> list[dict]:
    """Reads what a worker prints, one line per patient or an error, until it ends."""
    assert worker.stdout is not None
    found = []
    for line in worker.stdout:
        told = json.loads(line)
        if "error" in told:
            raise OSError(*told["error"])
        found.append(told)
        progress.update()
    if worker.wait():
        why = "was killed, most often because memory ran out" if worker.returncode < 0 else "failed; see above"
        raise ChildProcessError(errno.ECHILD, f"a process that writes synthetic patients {why}")
    return found


def _write_tables(settings: PhantomSettings, folder: Path, tables: dict[str, list[dict]]) -> None:
    """Writes everything beside the volumes."""
    labels = [{"id": index, "structure": name} for name, index in labels_of(settings.body).items()]
    tables = {**tables, "labels": labels}
    for name, rows in tables.items():
        if rows:
            with naming(path := folder / f"{name}.csv"):
                pd.DataFrame(rows).to_csv(path, index=False)
    readme = _README + (_README_OF_TISSUES if settings.tissue_maps else "")
    for name, text in {"README.md": readme, _CARD: json.dumps(_card(settings), indent=2) + "\n"}.items():
        with naming(folder / name):
            (folder / name).write_text(text)


def _publish(settings: PhantomSettings, unfinished: Path, folder: Path) -> None:
    """Moves a finished folder to its place; another process may have been faster."""
    try:
        unfinished.replace(folder)
    except OSError:
        if not is_written(settings, folder):
            raise


def _card(settings: PhantomSettings) -> dict[str, Any]:
    values = json.loads(json.dumps(settings.written))
    return {"generator_version": GENERATOR_VERSION, "settings": values}


def _flat(card: dict[str, Any]) -> dict[str, Any]:
    settings = card.get("settings", {})
    return {
        "generator_version": card.get("generator_version"),
        **{name: value for name, value in settings.items() if name != "population"},
        **{f"population.{name}": value for name, value in settings.get("population", {}).items()},
    }
