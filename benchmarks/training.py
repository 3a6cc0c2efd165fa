"""Speed of training: the full pipeline beside the same step on a batch that is already there.

    python -m benchmarks.training        # BS-ESNet, width 16, 256 x 256, the papers' augmentation
    python -m benchmarks.training experiment=unet data/augmentation=batched
    python -m benchmarks.training machine=gpu model.width=64 --json speed.json

Every further word is an override of `run.py`. Pipeline and bare step take turns within one run of Lightning's trainer,
so that a machine that slows down slows both; the medians over the turns are compared.
"""

import time

STARTED = time.perf_counter()  # before the imports: a user waits for those too

import argparse
import json
import platform
import resource
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import lightning
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from datamodules.batch import SpineBatch
from lightning_modules.segmentation import SegmentationModule
from lightning_modules.tasks.training import build

DEFAULTS = (
    "trainer=small",
    "logger=csv",
    "data.size=[256,256]",
    "data.spacing_mm=0.75",
    "data.samples_per_epoch=null",
)
CALLBACKS = ("progress_bar", "asynchronous_training")
WARM_UP_STEPS = 2


class Stopwatch(lightning.Callback):
    """Times steps of the running trainer and, between them, the same step on a fixed batch.

    Args:
        steps: Steps of a turn.
        turns: Turns of each of the two.
    """

    def __init__(self, *, steps: int, turns: int) -> None:
        self.steps, self.turns = steps, turns
        self.pipeline_s: list[float] = []
        self.bare_s: list[float] = []
        self.first_step_s = 0.0
        self.flop_per_image = 0.0
        self._fixed: SpineBatch | None = None
        self._mark = 0.0

    def on_train_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx) -> None:
        """Ends a turn of the pipeline and takes one of the bare step."""
        synchronise()
        now = time.perf_counter()
        assert isinstance(pl_module, SegmentationModule)
        if self._fixed is None:
            self.first_step_s = now - STARTED
            self._fixed = batch
            self.flop_per_image = count_flop(pl_module, batch) / len(batch)
        step = trainer.global_step
        if step > WARM_UP_STEPS and (step - WARM_UP_STEPS) % self.steps == 0:
            self.pipeline_s.append((now - self._mark) / self.steps)
            self.bare_s.append(self._bare_turn(trainer, pl_module))
            trainer.should_stop = len(self.bare_s) >= self.turns
        if step >= WARM_UP_STEPS and (step - WARM_UP_STEPS) % self.steps == 0:
            synchronise()
            self._mark = time.perf_counter()

    def _bare_turn(self, trainer: lightning.Trainer, module: SegmentationModule) -> float:
        """Seconds per step on the fixed batch: forward, loss, backward, optimizer."""
        assert self._fixed is not None
        (optimizer,) = trainer.optimizers
        synchronise()
        started = time.perf_counter()
        for _ in range(self.steps):
            optimizer.zero_grad()
            with trainer.precision_plugin.forward_context():
                loss, _ = module.objective(module(self._fixed), self._fixed)
            loss.backward()
            optimizer.step()
        synchronise()
        return (time.perf_counter() - started) / self.steps


def count_flop(module: SegmentationModule, batch: SpineBatch) -> float:
    """Floating-point operations of one forward and backward pass over a batch, by torch's own counter."""
    counter = FlopCounterMode(display=False)
    with counter:
        module.objective(module(batch), batch)[0].backward()
    module.zero_grad()
    return float(counter.get_total_flops())


def synchronise() -> None:
    """Waits for an accelerator; a clock read before that measures nothing."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(overrides: list[str], *, steps: int, turns: int) -> dict[str, Any]:
    """Runs the benchmark in a temporary folder and returns its figures, keyed as the table names them."""
    with tempfile.TemporaryDirectory() as folder:
        config = composed(overrides, Path(folder))
        stopwatch = Stopwatch(steps=steps, turns=turns)
        data, module, trainer = build(config, stopwatch)
        assert isinstance(module, SegmentationModule)
        trainer.fit(module, data)
    batch_size = config.data.batch_size
    pipeline, bare = batch_size / median(stopwatch.pipeline_s), batch_size / median(stopwatch.bare_s)
    return {
        "network": config.model["_target_"].rsplit(".", 1)[1],
        "parameters": sum(parameter.numel() for parameter in module.network.parameters()),
        "size": "x".join(str(side) for side in config.data.size),
        "batch_size": batch_size,
        "augmentation": type(data.augmentation).__name__,
        "device": device_name(config),
        "threads": torch.get_num_threads(),
        "precision": str(config.machine.precision),
        "pipeline_images_per_s": pipeline,
        "bare_images_per_s": bare,
        "ratio": median(b / p for b, p in zip(stopwatch.bare_s, stopwatch.pipeline_s, strict=True)),
        "first_step_s": stopwatch.first_step_s,
        "peak_memory_mib": peak_memory_mib(),
        "gflop_per_image": stopwatch.flop_per_image / 1e9,
        "achieved_gflop_per_s": stopwatch.flop_per_image * pipeline / 1e9,
    }


def composed(overrides: list[str], folder: Path, defaults: tuple[str, ...] = DEFAULTS) -> DictConfig:
    """The configuration of a run, long enough for the benchmark to stop it."""
    conf = Path(__file__).parents[1] / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        base = [*defaults, f"output={folder}", "trainer.max_epochs=1000", "trainer.limit_val_batches=0"]
        base += ["+trainer.enable_checkpointing=false"]  # else Lightning writes one of its own at the end
        config = compose("config", overrides=[*base, *overrides])
    # Nothing is saved, scored or drawn. Joint throughout: all parts of a network learn in the steps that are timed.
    callbacks = {name: config.callbacks[name] for name in config.callbacks if name in CALLBACKS}
    if "asynchronous_training" in callbacks:
        callbacks["asynchronous_training"].joint_epochs = 1000 - config.scale.tail_epochs
    config.callbacks = callbacks
    return config


def device_name(config: DictConfig) -> str:
    """What the benchmark ran on."""
    if config.machine.accelerator == "gpu":
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()})"


def peak_memory_mib() -> float:
    """Largest memory of the device, or of the process on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as for run.py")
    parser.add_argument("--steps", type=int, default=3, help="steps of a turn (default 3)")
    parser.add_argument("--turns", type=int, default=7, help="turns of pipeline and bare step each (default 7)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    figures = measure(arguments.overrides, steps=arguments.steps, turns=arguments.turns)
    table = Table(title="training speed", title_justify="left", show_header=False)
    for name, value in figures.items():
        table.add_row(name, f"{value:.3g}" if isinstance(value, float) else f"{value}")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
