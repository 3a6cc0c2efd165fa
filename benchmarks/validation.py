"""What validation costs: epochs with it beside epochs without it.

    python -m benchmarks.validation                    # BS-ESNet, trainer=small, the default cohort
    python -m benchmarks.validation experiment=unet --pairs 5

Every further word is an override of `run.py`. Every second epoch of one training validates, so that a machine that
slows down slows both; the median over neighbours is taken, the first pair left out.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import lightning
from rich.console import Console

from benchmarks.training import composed, synchronise
from lightning_modules.tasks.training import build

PRESET = ("trainer=small", "logger=csv")


class EpochClock(lightning.Callback):
    """Seconds of every epoch, validation included; stops after an even number of epochs.

    Args:
        pairs: Pairs of an epoch without and one with validation, after the first.
    """

    def __init__(self, *, pairs: int) -> None:
        self.pairs = pairs
        self.seconds: list[float] = []
        self._started = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the clock."""
        synchronise()
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stops it; an epoch that validates has done so."""
        synchronise()
        self.seconds.append(time.perf_counter() - self._started)
        trainer.should_stop = len(self.seconds) >= 2 * (self.pairs + 1)


def measure(overrides: list[str], *, pairs: int) -> dict[str, float]:
    """Trains in a temporary folder: slices of an epoch and of a validation, seconds of both kinds of epoch, ratio."""
    with tempfile.TemporaryDirectory() as folder:
        validating = ["trainer.limit_val_batches=1.0", "+trainer.check_val_every_n_epoch=2"]
        config = composed([*validating, *overrides], Path(folder), PRESET)
        clock = EpochClock(pairs=pairs)
        data, module, trainer = build(config, clock)
        trainer.fit(module, data)
    without, with_it = clock.seconds[2::2], clock.seconds[3::2]
    return {
        "slices_trained": data.samples_per_epoch or len(data.indices["train"]),
        "slices_validated": len(data.indices["validation"]),
        "seconds_without": median(without),
        "seconds_with": median(with_it),
        "ratio": median(b / a for a, b in zip(without, with_it, strict=True)),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as for run.py")
    parser.add_argument("--pairs", type=int, default=3, help="epochs of each kind (default 3)")
    arguments = parser.parse_args()
    for name, value in measure(arguments.overrides, pairs=arguments.pairs).items():
        Console().print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    main()
