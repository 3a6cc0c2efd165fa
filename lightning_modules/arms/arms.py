"""Arms: a trained network tested in other ways than its own; each has a `cases.csv` in the run folder."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lightning
from hydra.utils import instantiate
from omegaconf import DictConfig

from datamodules.anatomy import Anatomy
from datamodules.slices import SliceDataModule
from lightning_modules.arms.box_arms import check_box_arm, shown_boxes
from lightning_modules.arms.clean_up_arms import SETTINGS as CLEAN_UP
from lightning_modules.arms.clean_up_arms import check_clean_up_arm, cleaned_up
from lightning_modules.arms.pose_arms import SETTINGS as POSE
from lightning_modules.arms.pose_arms import lying_so, pose_of_arm
from lightning_modules.segmentation import SegmentationModule
from lightning_modules.tasks.checkpoint_files import read_checkpoint
from records.folder import RunFolder

logger = logging.getLogger(__name__)


def check_arms(config: DictConfig, module: lightning.LightningModule, anatomy: Anatomy) -> None:
    """Refuses arms that cannot be tested, before anything is trained.

    Raises:
        ValueError: If an arm's settings are unknown, or not for this network or view.
    """
    network = str(config.model.get("_target_", "the network"))
    for key, settings in config.arms.items():
        if _has(settings, POSE):
            pose_of_arm(str(key), settings, anatomy)
        elif _has(settings, CLEAN_UP):
            check_clean_up_arm(str(key), settings, anatomy)
        else:
            check_box_arm(str(key), settings, network, module, anatomy)


def test_arms(
    config: DictConfig,
    folder: RunFolder,
    data: SliceDataModule,
    module: lightning.LightningModule,
    trainer: lightning.Trainer,
    checkpoint: Path | None,
) -> None:
    """Tests a network in every arm that the run folder lacks; the run's own records are not touched.

    Args:
        config: Of the run.
        folder: Of the run.
        data: Whose test part is tested on.
        module: Holds the network.
        trainer: Of the run.
        checkpoint: Its weights; None: those that it has.

    Raises:
        ValueError: As `check_arms`; if arms are missing and the checkpoint is too.
    """
    check_arms(config, module, data.anatomy)
    callbacks, loggers = trainer.callbacks, trainer.loggers  # pyright: ignore[reportAttributeAccessIssue]
    if checkpoint is not None and folder.missing_arms(config.arms):
        read_checkpoint(checkpoint, "arms are to be tested on it; train anew (retrain=true)")
    for name in folder.missing_arms(config.arms):
        assert isinstance(module, SegmentationModule)
        logger.info("Testing the arm %s: %s", name, dict(config.arms[name]))
        arm = folder.arm(name)
        for each in (arm.parent, arm):
            each.mkdir(exist_ok=True)
        table = instantiate(config.callbacks.case_table, folder=str(arm), prints=False)
        try:
            # The run's own callbacks would overwrite its tables and pictures.
            trainer.callbacks, trainer.loggers = [table], []  # pyright: ignore[reportAttributeAccessIssue]
            with _asked(module, data, name, config.arms[name]):
                trainer.test(module, data, ckpt_path=checkpoint, weights_only=True, verbose=False)
        finally:
            trainer.callbacks, trainer.loggers = callbacks, loggers  # pyright: ignore[reportAttributeAccessIssue]


def _asked(
    module: SegmentationModule, data: SliceDataModule, name: str, settings: Mapping[str, Any]
) -> AbstractContextManager[None]:
    """The module as an arm asks for it, and as it was again afterwards."""
    if _has(settings, POSE):
        return lying_so(module, data, name, settings)
    if _has(settings, CLEAN_UP):
        return cleaned_up(module, name, settings, data.anatomy)
    return shown_boxes(module, data, settings)


def _has(settings: Mapping[str, Any], names: Sequence[str]) -> bool:
    return any(key in settings for key in names)
