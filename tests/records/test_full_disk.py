"""A disk that is full, at every kind of writer: the line names the file, and what was there before stays.

The operating system's limit on the size of a file stands for the disk: a write fails, and says of which file as little.
"""

import errno
import os
import resource
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wandb
from matplotlib.figure import Figure
from tqdm import tqdm

from callbacks.overlays import save
from datamodules.phantom import writer
from datamodules.phantom.settings import PhantomSettings
from datamodules.phantom.writer import write_cohort
from datamodules.reading.image_file import ImageFile, write_image_file
from datamodules.splits.split import Split
from datamodules.store.file_hashes import FileHashes
from datamodules.store.preparation import GrowingArray
from lightning_modules.grid.grid_cell import write_failure
from lightning_modules.tasks.command_line import told
from records.registry import Written
from records.whole_files import replace_text, write_json
from tests.conftest import ROOT


@pytest.fixture
def full():
    """No file may grow beyond 100 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_label_map(path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2, 64, 64), np.uint8)
    write_image_file(
        path,
        ImageFile(
            voxels=noise,
            spacing_mm=(1.0, 1.0, 1.0),
            origin_mm=(0.0, 0.0, 0.0),
            direction=np.eye(3),
            has_spacing=True,
            has_orientation=True,
        ),
    )


def write_array(path) -> None:
    with GrowingArray(path) as array:
        array.append(np.zeros((64, 64), np.float32))


def write_hashes(path) -> None:
    hashes = FileHashes()
    for file in (__file__, wandb.__file__):
        hashes.of_path(Path(file))
    hashes.save(path)


WRITERS = {
    "table.csv": lambda path: replace_text(path, pd.DataFrame({"dice": np.zeros(100)}).to_csv()),
    "card.json": lambda path: write_json(path, {"names": ["patient"] * 100}),
    "overlays.png": lambda path: save(Figure(), path),
    "labels.nii.gz": write_label_map,
    "image.npy": write_array,
    "split.csv": lambda path: Split(columns=("patient",), test_fold={("p" * 200,): 0}, validation=[frozenset()]).write(
        path
    ),
    "hashes.json": write_hashes,
    ".written.txt": lambda path: Written(path.parent).add(*(f"figures/{number}.png" for number in range(40))),
}


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("name", WRITERS)
def test_the_file_that_could_not_be_written_is_named(tmp_path, name):
    with pytest.raises(OSError) as error:  # noqa: PT011  the line is what counts
        WRITERS[name](tmp_path / name)
    line = told(error.value, ROOT / "conf")
    assert line is not None
    assert line.startswith(f"{tmp_path / name}: ")
    assert "\n" not in line


def test_a_table_that_cannot_be_replaced_stays(tmp_path, request):
    replace_text(tmp_path / "cases.csv", "as before")
    request.getfixturevalue("full")
    with pytest.raises(OSError, match=r"cases\.csv"):
        replace_text(tmp_path / "cases.csv", "x" * 1000)
    assert (tmp_path / "cases.csv").read_text() == "as before"
    assert [path.name for path in tmp_path.iterdir()] == ["cases.csv"]


def test_synthetic_patients_are_written_by_other_processes_and_the_file_is_named(tmp_path, monkeypatch, request):
    monkeypatch.setattr(writer, "tqdm", partial(tqdm, disable=True))  # pytest keeps what is printed in a file
    request.getfixturevalue("full")
    settings = PhantomSettings.from_mapping({"num_patients": 2, "size": 64, "spacing_mm": 3.0})
    with pytest.raises(OSError, match="written") as error:
        write_cohort(settings, tmp_path / "cohort", num_workers=2)
    assert str(error.value.filename).endswith(".nii.gz")
    assert list((tmp_path / "cohort").iterdir()) == []


def test_why_a_cell_failed_is_said_where_it_cannot_be_kept(tmp_path, caplog, request):
    request.getfixturevalue("full")
    write_failure(tmp_path / "cell", "ValueError: a mistake", "x" * 1000)
    (said,) = caplog.messages
    assert said.startswith("paraspine: cell failed: ValueError: a mistake (not kept: ")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_what_the_system_refuses_is_one_line_with_the_path(number):
    line = told(OSError(number, os.strerror(number), "/data/run"), ROOT / "conf")
    assert line is not None
    assert line.startswith(f"/data/run: {os.strerror(number)}; ")


def test_what_wandb_refuses_is_one_line():
    line = told(wandb.errors.UsageError("No API key configured.\nUse `wandb login` to log in."), ROOT / "conf")
    assert line == "UsageError: No API key configured. Use `wandb login` to log in."
