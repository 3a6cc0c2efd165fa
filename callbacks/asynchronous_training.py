"""The asynchronous schedule of BS-ESNet: which parts of the network learn in which epoch (section 2.2)."""

from collections.abc import Mapping, Sequence

import lightning
from torch import nn

from lightning_modules.segmentation import SegmentationModule


class AsynchronousTraining(lightning.Callback):
    """Trains all parts jointly, then in turn, then some alone; a part that rests does not change by a single bit.

    At the start of every epoch the parts of that epoch get gradients and training mode and their loss terms count; the
    others are frozen, in evaluation mode (batch-norm statistics would drift otherwise), and their terms left out. The
    phase follows from (epoch, max_epochs) alone, so that a resumed run needs no memory of it.

    One optimizer serves all parts: it skips parameters whose gradient is None and leaves their momentum as it is, which
    equals one optimizer per part stepped in turn, but keeps Lightning's clipping and accumulation. The learning rate of
    a part falls over the epochs in which it learns (`lightning_modules.learning_rate`), and is logged for each.

    Args:
        parts: Submodules of the network that make up each part.
        joint_epochs: Epochs at the start in which all parts learn.
        cycle: Then, repeated: how many epochs each part learns alone, in this order. The last cycle may be cut short.
        tail: How many of the last epochs each part learns alone, in this order.

    Raises:
        ValueError: On negative or unknown entries; at the start of training if the schedule does not fit its length.
    """

    def __init__(
        self,
        *,
        parts: Mapping[str, Sequence[str]],
        joint_epochs: int,
        cycle: Mapping[str, int],
        tail: Mapping[str, int],
    ) -> None:
        self.parts = {name: tuple(modules) for name, modules in parts.items()}
        self.joint_epochs = joint_epochs
        self.cycle = [part for part, epochs in cycle.items() for _ in range(epochs)]
        self.tail = [part for part, epochs in tail.items() for _ in range(epochs)]
        unknown = (set(cycle) | set(tail)) - set(self.parts)
        if unknown:
            raise ValueError(
                f"asynchronous_training: cycle and tail name {', '.join(sorted(unknown))}, "
                f"but parts are {', '.join(self.parts)}"
            )
        if joint_epochs < 0 or any(epochs < 0 for epochs in (*cycle.values(), *tail.values())) or not self.cycle:
            raise ValueError(
                f"asynchronous_training: joint_epochs={joint_epochs}, cycle={dict(cycle)}, tail={dict(tail)}: "
                "epochs must not be negative and a cycle needs at least one"
            )

    def active_parts(self, epoch: int, max_epochs: int) -> frozenset[str]:
        """Parts that learn in `epoch` (from 0) of `max_epochs`."""
        tail_start = max_epochs - len(self.tail)
        if epoch < self.joint_epochs:
            return frozenset(self.parts)
        if epoch >= tail_start:
            return frozenset({self.tail[epoch - tail_start]})
        return frozenset({self.cycle[(epoch - self.joint_epochs) % len(self.cycle)]})

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Checks the schedule against the length of training and the network's parts; says who learns when."""
        assert isinstance(pl_module, SegmentationModule)
        if stage != "fit":
            return
        epochs = trainer.max_epochs
        if epochs is None or self.joint_epochs + len(self.tail) > epochs:
            raise ValueError(
                f"asynchronous_training: {self.joint_epochs} joint epochs and a tail of {len(self.tail)} do not fit "
                f"into trainer.max_epochs={epochs}: lower callbacks.asynchronous_training.joint_epochs or tail, or "
                "train longer"
            )
        named = [module for modules in self.parts.values() for module in modules]
        present = [name for name, child in pl_module.network.named_children() if any(True for _ in child.parameters())]
        if sorted(named) != sorted(present):
            raise ValueError(
                f"asynchronous_training: the parts list {sorted(named)}, the network has {sorted(present)}: every "
                "submodule belongs to exactly one part (callbacks.asynchronous_training.parts)"
            )
        learning = {part: [e for e in range(epochs) if part in self.active_parts(e, epochs)] for part in self.parts}
        for part, own in learning.items():
            if not own:
                raise ValueError(
                    f"asynchronous_training: {part} learns in none of the {epochs} epochs: raise joint_epochs, its "
                    "epochs in cycle or tail, or trainer.max_epochs"
                )
        pl_module.learning_epochs = {name: learning[part] for part, modules in self.parts.items() for name in modules}

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Wakes the parts of this epoch and freezes the others."""
        assert isinstance(pl_module, SegmentationModule)
        assert trainer.max_epochs is not None
        active = self.active_parts(trainer.current_epoch, trainer.max_epochs)
        pl_module.objective.active_parts = active
        rates = {group["name"]: group["lr"] for group in trainer.optimizers[0].param_groups}
        for part, modules in self.parts.items():
            for name in modules:
                self._set_learning(pl_module.network.get_submodule(name), part in active)
            pl_module.log(f"schedule/{part}", float(part in active), on_step=False, on_epoch=True)
            pl_module.log(f"learning_rate/{part}", rates[modules[0]], on_step=False, on_epoch=True)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leaves no part frozen behind."""
        assert isinstance(pl_module, SegmentationModule)
        pl_module.objective.active_parts = None
        pl_module.network.requires_grad_(True)

    @staticmethod
    def _set_learning(module: nn.Module, learning: bool) -> None:
        module.train(learning)
        module.requires_grad_(learning)
        if not learning:
            for parameter in module.parameters():
                parameter.grad = None  # a left-over gradient would be applied in the first step of this epoch
