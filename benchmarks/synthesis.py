"""Cost of `data/augmentation=synthesis`: a batch of new pictures beside a training step of the U-Net that learns of it.

    python -m benchmarks.synthesis                    # axial9 at 128 x 128, sagittal10 at 160 x 96
    python -m benchmarks.synthesis machine=gpu --json synthesis.json

Every further word is an override of `run.py`, before the options. Synthesis and step take turns within one run, so that
a machine that slows down slows both; shares are medians over the turns. At most a third is asked for. On a machine that
is busy with other things threads wait for each other, in the many small steps of the synthesis most: there, the share
of processor time says more than that of the clock.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import lightning
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.training import Stopwatch, composed, device_name, synchronise
from datamodules.slices import SliceDataModule
from lightning_modules.segmentation import SegmentationModule
from lightning_modules.tasks.training import build

VIEWS = {
    "axial9": ("experiment=unet", "phantom.num_patients=10", "data.size=[128,128]", "data.spacing_mm=1.5"),
    "sagittal10": (
        *("experiment=unet_sagittal", "phantom.num_patients=8", "phantom.masked_patients=8"),
        *("supervision.batch=null", "data.size=[160,96]", "data.spacing_mm=1.75"),
    ),
}
LARGEST_SHARE = 1 / 3


class SynthesisWatch(Stopwatch):
    """Times, after every turn of the bare step, as many batches of new pictures.

    Args:
        steps: Steps of a turn.
        turns: Turns of each.
    """

    def __init__(self, *, steps: int, turns: int) -> None:
        super().__init__(steps=steps, turns=turns)
        self.synthesis_s: list[float] = []
        self.processor_shares: list[float] = []

    def _bare_turn(self, trainer: lightning.Trainer, module: SegmentationModule) -> float:
        before = time.process_time()
        seconds = super()._bare_turn(trainer, module)
        step_s = time.process_time() - before
        data = module.data
        assert isinstance(data, SliceDataModule)
        assert self._fixed is not None
        rows = [int(row) for row in data.indices["train"][: len(self._fixed)]]
        batches = [
            data.training_slices()[[(row, 1000 * step + row) for row in rows]].to(self._fixed.image.device)
            for step in range(self.steps)
        ]
        synchronise()
        started, before = time.perf_counter(), time.process_time()
        for batch in batches:
            data.augmentation(batch)
        synchronise()
        self.synthesis_s.append((time.perf_counter() - started) / self.steps)
        self.processor_shares.append((time.process_time() - before) / step_s)
        return seconds


def measure(view: str, overrides: list[str], *, steps: int, turns: int) -> dict[str, Any]:
    """Runs the benchmark of a view in a temporary folder and returns its figures, keyed as the table names them."""
    with tempfile.TemporaryDirectory() as folder:
        longer = "data.samples_per_epoch=100000"  # the epoch does not end within the benchmark
        config = composed([*VIEWS[view], "data/augmentation=synthesis", longer, *overrides], Path(folder))
        watch = SynthesisWatch(steps=steps, turns=turns)
        data, module, trainer = build(config, watch)
        trainer.fit(module, data)
    return {
        "view": view,
        "size": "x".join(str(side) for side in config.data.size),
        "batch_size": config.data.batch_size,
        "device": device_name(config),
        "threads": torch.get_num_threads(),
        "step_ms": 1000 * median(watch.bare_s),
        "synthesis_ms": 1000 * median(watch.synthesis_s),
        "share": median(s / b for s, b in zip(watch.synthesis_s, watch.bare_s, strict=True)),
        "processor_share": median(watch.processor_shares),
        "largest_share": LARGEST_SHARE,
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as for run.py")
    parser.add_argument("--steps", type=int, default=3, help="steps of a turn (default 3)")
    parser.add_argument("--turns", type=int, default=7, help="turns of each (default 7)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    found = [measure(view, arguments.overrides, steps=arguments.steps, turns=arguments.turns) for view in VIEWS]
    table = Table(title="synthesis beside the U-Net's own step", title_justify="left")
    for name in found[0]:
        table.add_column(name)
    for figures in found:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else f"{value}" for value in figures.values()))
    Console(width=160).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
