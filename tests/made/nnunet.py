"""nnU-Net in an environment of its own, which shares what is installed here, and its commands."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

VERSION = "2.8.1"
# Found by its path; what nnU-Net's shortest own trainer does a thousand times this does four times.
TRAINER = "nnUNetTrainerFourSteps"
SOURCE = f"""
import torch
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import nnUNetTrainerNoMirroring


class {TRAINER}(nnUNetTrainerNoMirroring):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 1, 4, 1

    def perform_actual_validation(self, save_probabilities=False):
        pass
"""
UNREACHED = ("No matching distribution found", "Could not find a version", "Connection", "Max retries", "timed out")


class Nnunet:
    """Its commands, on the folders that `task=export_nnunet` has written.

    Args:
        folder: Where the environment is made.
        exported: The folder of the export.
    """

    def __init__(self, folder: Path, exported: Path) -> None:
        self.commands = folder / "nnunet" / "bin"
        trainers = folder / "trainers"
        venv.create(folder / "nnunet", with_pip=True)
        # A file of paths: an environment made inside another one would share the packages of the outermost alone.
        (packages,) = (folder / "nnunet").glob("lib/python*/site-packages")
        (packages / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        self._install()
        trainers.mkdir()
        (trainers / f"{TRAINER}.py").write_text(SOURCE)
        folders = {name: str(exported / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        own = {"nnUNet_extTrainer": str(trainers), "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.environment = {**inherited, **folders, **own, "OMP_NUM_THREADS": "1"}

    def _install(self) -> None:
        command = [str(self.commands / "python"), "-m", "pip", "install", "--quiet", f"nnunetv2=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode and any(sign in done.stderr for sign in UNREACHED):
            pytest.skip(f"nnunetv2 {VERSION} cannot be installed, as no package index is reached: {_last(done.stderr)}")
        assert done.returncode == 0, done.stderr

    def __call__(self, command: str, *words: str) -> str:
        """Runs one of its commands; returns what it says."""
        line = [str(self.commands / f"nnUNetv2_{command}"), *words]
        done = subprocess.run(line, capture_output=True, text=True, env=self.environment, cwd=self.commands)
        assert done.returncode == 0, f"{command} {' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout


def _last(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else sys.executable
