"""What a network costs: operations and time per image, and the memory that training it takes."""

import resource
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from datamodules.batch import SpineBatch

MB = 1e6
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Cost(lightning.Callback):
    """Measures what `summary.json` says under `model`, beside the number of parameters.

    * `flop_per_image`: of the forward pass of one test slice; a multiplication with its addition counts as two.
    * `ms_per_image`: of the forward pass alone, median over the full test batches but the first, which warms up;
      `timed_batch_size` images a batch. A GPU is waited for.
    * `peak_memory_mb`: the most that training took: of the device's memory what tensors held
      (`peak_memory_of: device`), or, on the CPU, all that the process had resident (`process`; the libraries alone are
      some hundreds). None where nothing was trained.
    """

    def __init__(self) -> None:
        self.flop_per_image: int | None = None
        self._peak_mb: float | None = None
        self._peak_of: str | None = None
        self._started: float | None = None
        self._one_slice: SpineBatch | None = None
        self._forward_s: list[tuple[int, float]] = []  # batch size and seconds
        self._hooks: list[Any] = []

    def state_dict(self) -> dict[str, float | str | None]:
        """The peak so far, for a run that goes on."""
        return {"peak_mb": self._peak_mb, "peak_of": self._peak_of}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the peak."""
        self._peak_mb, self._peak_of = state_dict["peak_mb"], state_dict["peak_of"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forgets what this process took before, as for another cell of a grid."""
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        else:
            _forget_process_peak()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Reads the peak, before the checkpoints of the epoch are written."""
        on_device = pl_module.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(pl_module.device) / MB if on_device else _process_peak_mb()
        self._peak_mb = max(peak, self._peak_mb or 0.0)
        self._peak_of = "device" if on_device else "process"

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts to time forward passes."""
        self._forward_s = []
        self._hooks = [
            pl_module.register_forward_pre_hook(self._before_forward),
            pl_module.register_forward_hook(self._after_forward),
        ]

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stops timing, and counts the operations of one slice."""
        for hook in self._hooks:
            hook.remove()
        if self._one_slice is not None:
            self.flop_per_image = count_flop(pl_module, self._one_slice)

    def _before_forward(self, module: lightning.LightningModule, given: tuple[SpineBatch, ...]) -> None:
        _wait(module)
        self._started = time.perf_counter()

    def _after_forward(self, module: lightning.LightningModule, given: tuple[SpineBatch, ...], output: Any) -> None:
        if self._started is None:  # a distributed strategy calls the module once more around the whole test step
            return
        _wait(module)
        self._forward_s.append((len(given[0]), time.perf_counter() - self._started))
        self._started = None
        self._one_slice = first_slice(given[0])

    def summary(self) -> dict[str, float | int | str | None]:
        """What was measured, by the names above; None where it was not."""
        timed_size = max((size for size, _ in self._forward_s), default=None)
        full = [seconds for size, seconds in self._forward_s if size == timed_size]
        seconds = float(np.median(full[1:] or full)) if full else None
        return {
            "flop_per_image": self.flop_per_image,
            "ms_per_image": None if seconds is None or timed_size is None else 1000 * seconds / timed_size,
            "timed_batch_size": timed_size,
            "peak_memory_mb": self._peak_mb,
            "peak_memory_of": self._peak_of,
        }


def count_flop(module: lightning.LightningModule, batch: SpineBatch) -> int:
    """FLOP of a forward pass: twice the multiply-adds of convolutions and matrix products, nothing else."""
    # A compiled network hides its operations from the counter.
    with torch.no_grad(), torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        module(batch)
    return int(counter.get_total_flops())


def first_slice(batch: SpineBatch) -> SpineBatch:
    """The batch of its first slice alone."""
    return SpineBatch(**{field.name: getattr(batch, field.name)[:1] for field in fields(batch)})


def _wait(module: lightning.LightningModule) -> None:
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)


def _forget_process_peak() -> None:
    """Sets the peak of this process's resident memory to what it is now, where the system lets it (Linux)."""
    try:
        _RESET.write_text("5")
    except OSError:
        return


def _process_peak_mb() -> float:
    """Peak resident memory since it was last forgotten; since the process began where the system knows no more."""
    if _STATUS.exists():
        lines = (line.split() for line in _STATUS.read_text().splitlines())
        peak_kib = next((float(words[1]) for words in lines if words and words[0] == "VmHWM:"), None)
        if peak_kib is not None:
            return peak_kib * 1024 / MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / MB
