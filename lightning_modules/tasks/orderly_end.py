"""What a trainer does with signals and progress bars is undone here, so that a run ends as the command line says."""

from contextlib import suppress

import lightning
from lightning.pytorch.callbacks import TQDMProgressBar

from lightning_modules.tasks.command_line import say_at_once
from lightning_modules.tasks.ending import hear


class OrderlyEnd(lightning.Callback):
    """Takes signals back from the trainer, which takes them when a phase begins, and closes bars before the last line.

    See `lightning_modules.tasks.ending`.
    """

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Takes the signals back for training."""
        hear()

    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Takes the signals back for testing."""
        hear()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Closes the bars: what is said next begins on a line of its own; further processes say it here."""
        bars = trainer.progress_bar_callback
        if isinstance(bars, TQDMProgressBar):
            for name in ("val_progress_bar", "test_progress_bar", "train_progress_bar"):
                with suppress(TypeError):  # there is none in this phase
                    getattr(bars, name).close()
        if not trainer.is_global_zero and isinstance(exception, Exception):
            say_at_once(exception)
