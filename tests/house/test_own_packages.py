"""Our packages have common names; another one of such a name is refused at the start, in one line."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def start(folder, path, *flags):
    # Hydra's help needs no torch; -P takes the folder of run.py out of the path, as an editable installation does.
    return subprocess.run(
        [sys.executable, *flags, str(ROOT / "run.py"), "--version"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("behind", "name"), [([ROOT], "metrics"), ([], "benchmarks")], ids=["shadowed", "missing"])
def test_a_package_that_is_not_ours_is_refused_in_one_line(tmp_path, behind, name):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "__init__.py").touch()
    told = start(tmp_path, [tmp_path, *behind], "-P", "-S")  # nor does -S know of any installation
    assert told.returncode == 1
    (line,) = told.stderr.strip().splitlines()
    assert line.startswith(f"paraspine: the package {name} is found")


def test_beside_run_py_ours_are_found_wherever_one_starts(tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "__init__.py").touch()
    assert start(tmp_path, [tmp_path]).returncode == 0
