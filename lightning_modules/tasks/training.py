"""What `task=...` on the command line runs. Every node of the configuration is built here, once, one by one."""

import fcntl
import logging
import warnings
from pathlib import Path
from typing import cast

import lightning
import torch
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import ProgressBar
from omegaconf import DictConfig, OmegaConf
from torch import nn

from datamodules.slices import SliceDataModule
from lightning_modules.arms.arms import check_arms, test_arms
from lightning_modules.evaluation.regrouped import ask_for_others, class_groups
from lightning_modules.prompting.offered import prompts_for
from lightning_modules.tasks.checkpoint_files import latest_whole, read_checkpoint
from lightning_modules.tasks.initial_weights import initialise, keep_table
from lightning_modules.tasks.named_checkpoints import one_checkpoint
from lightning_modules.tasks.orderly_end import OrderlyEnd
from lightning_modules.tasks.same_network import (
    check_same_channels,
    check_same_network,
    check_same_shapes,
    network_text,
)
from lightning_modules.tasks.trained_network import read_trained
from lightning_modules.tasks.untrained import check_ready, learns
from models.sam.network import PromptedSam
from models.strides import check_cells, strides_of
from records.folder import RunFolder, is_first_process
from records.whole_files import read_json

logger = logging.getLogger(__name__)

# Lightning announces what the progress bar and the summary show, and advertises.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
# lightning 2.6 asks torch 2.14 for a private type by its old name; nothing that a user could change.
warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")


def train(config: DictConfig) -> None:
    """Trains, or goes on where a killed run stopped, and tests the best checkpoint; tests what has nothing to learn.

    Raises:
        ValueError: For everything that is wrong with the settings or the data.
    """
    check_ready(config)
    folder = RunFolder(config.output, config)
    with folder.locked():
        if is_first_process():
            if config.retrain:
                folder.clear()
            folder.claim()
        if folder.finished and not folder.missing_arms(config.arms):
            check_same_data(card_identity(folder.path), folder.path, build_data(config))
            logger.info("%s is finished: nothing to do (retrain=true starts anew).", folder.path)
            if different := folder.other_morphometry():
                logger.warning(
                    "Its morphometry.csv is measured otherwise than asked for (%s); task=test checkpoint=FILE "
                    "output=DIR measures anew, into another folder.",
                    different,
                )
        else:
            data, module, trainer = build(config)
            check_arms(config, module, data.anatomy)
            if folder.finished:
                check_same_data(card_identity(folder.path), folder.path, data)
            elif not learns(config):
                trainer.test(module, data, verbose=False)
            else:
                fit_and_test(config, folder, data, module, trainer)
            test_arms(config, folder, data, module, trainer, folder.path / "checkpoints" / "best.ckpt")
        if is_first_process() and folder.finished:
            folder.forget_resumption()


def fit_and_test(
    config: DictConfig,
    folder: RunFolder,
    data: SliceDataModule,
    module: lightning.LightningModule,
    trainer: lightning.Trainer,
) -> None:
    """Trains from the start or from the last checkpoint, and tests the best one."""
    resumed, best = None, folder.path / "checkpoints" / "best.ckpt"
    if (latest := latest_whole(folder.last_checkpoints)) is not None:
        resumed, saved = latest
        logger.info("Going on from %s.", resumed)
        check_same_data(saved["data"], resumed, data)
        if best.exists():
            read_checkpoint(best, "no later epoch may be better, so start anew (retrain=true)")
    elif (taken := initialise(cast(nn.Module, module.network), config, data.anatomy)) and is_first_process():
        keep_table(taken, folder.path)
    trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
    if not trainer.strategy.broadcast(best.exists()):
        logger.info("Nobody validated before training ended: best.ckpt is its last state.")
        trainer.save_checkpoint(best, weights_only=True)
    if trainer.limit_test_batches == 0:
        logger.info(
            "trainer.limit_test_batches is 0: trained, not tested; task=test checkpoint=%s output=DIR tests.", best
        )
        return
    trainer.test(module, data, ckpt_path=best, weights_only=True, verbose=False)


def test(config: DictConfig) -> None:
    """Tests `checkpoint` on the test part of the split, and in every arm; `split=all` makes every case one.

    A network of other structures is asked for those of the configuration: `lightning_modules.evaluation.regrouped`.

    Raises:
        ValueError: If no checkpoint is given, or its network is not the one of the configuration.
    """
    if not learns(config):
        train(config)  # which has nothing to train
        return
    path = one_checkpoint(config.checkpoint, config.anatomy.view, "task=test checkpoint=FILE")
    folder = RunFolder(config.output, config)
    with folder.locked():
        folder.claim()
        checkpoint = read_checkpoint(path, "give another one, or train it anew")
        other_structures = check_same_network(checkpoint, path, config)
        trained = read_trained(path) if other_structures else None
        if trained is not None:  # before the data are read
            class_groups(trained.anatomy, instantiate(config.anatomy))
        data, module, trainer = build(config)
        if trained is None:
            check_same_shapes(checkpoint["state_dict"], path, module, data)
            module.load_state_dict(checkpoint["state_dict"])
        else:
            check_same_channels(trained.num_channels, path, data)
            ask_for_others(module, trained, data.anatomy, undo_class_weights=config.objective.undo_class_weights)
        check_arms(config, module, data.anatomy)
        trainer.test(module, data, verbose=False)
        for name in config.arms:  # of another test of this folder
            (folder.arm(str(name)) / "summary.json").unlink(missing_ok=True)
        test_arms(config, folder, data, module, trainer, None)


def build(
    config: DictConfig, *more_callbacks: lightning.Callback
) -> tuple[SliceDataModule, lightning.LightningModule, lightning.Trainer]:
    """Instantiates data, module and trainer of a configuration; `more_callbacks` come after its own."""
    lightning.seed_everything(config.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    data = build_data(config)
    num_classes = data.anatomy.num_classes
    network = instantiate(config.model)(in_channels=data.num_channels, num_classes=num_classes)
    objective = instantiate(config.objective)(num_classes=num_classes)
    parts = {"network": network, "objective": objective, "metrics": instantiate(config.metrics)}
    module = instantiate(config.module)(**parts, network_text=network_text(config))
    if isinstance(network, PromptedSam):
        module.offer_prompts = prompts_for(network, data)
    if config.task == "train":
        check_cells(
            str(config.model._target_).rpartition(".")[2],
            strides_of(network),
            data.store.grid.spacing_mm,
            paper_mm=config.paper.cell_mm,
            factor=config.scale.cell_factor,
        )
    callbacks = [*(instantiate(node) for node in config.callbacks.values()), *more_callbacks, OrderlyEnd()]
    if OmegaConf.select(config, "trainer.enable_progress_bar") is False:
        callbacks = [each for each in callbacks if not isinstance(each, ProgressBar)]
    run_logger = instantiate(config.logger) or False
    validation = {} if len(data.indices["validation"]) else {"limit_val_batches": 0}
    # Where Lightning looks for checkpoints of interrupted Slurm jobs, which older versions of this project left.
    root = {"default_root_dir": str(Path(config.output) / "checkpoints")}
    plugins = [instantiate(node) for node in config.trainer.plugins]
    # Left to itself, Lightning requeues a job, which then goes on from a checkpoint of Lightning's own.
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))
    trainer = instantiate(config.trainer, callbacks=callbacks, logger=run_logger, plugins=plugins, **validation, **root)
    for kept in trainer.loggers:
        kept.log_hyperparams(OmegaConf.to_container(config, resolve=True))
    return data, module, trainer


def build_data(config: DictConfig) -> SliceDataModule:
    """Instantiates the data; processes that start together prepare a cohort once, the others wait for the first."""
    cache = Path(config.paths.cache).expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return instantiate(config.data)


def card_identity(folder: Path) -> dict[str, str]:
    """Hashes of the images and of the split that a finished run was trained and tested on."""
    card = read_json(
        folder / "run_card.json",
        "nobody can tell which data the run was made with. Put the file back, or start anew (retrain=true)",
    )
    return {"images": card["data"], "split": card["split"]}


def check_same_data(before: dict[str, str], where: Path, data: SliceDataModule) -> None:
    """Refuses to go on with other images or another split than a run began with.

    Args:
        before: Hashes of the images and of the split, as in `SliceDataModule.identity`.
        where: What was made from them.
        data: What is there now.

    Raises:
        ValueError: Naming which of the two changed.
    """
    now = data.identity
    changed = [name for name in now if before[name] != now[name]]
    if changed:
        raise ValueError(
            f"cohort {data.cohort.name}: the {' and the '.join(changed)} changed since {where} was written: restore "
            "what was there, or start anew (retrain=true)"
        )
