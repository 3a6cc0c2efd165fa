"""What `task=export_nnunet` runs: a cohort with its folds for nnU-Net, whose masks `task=score` takes back."""

import logging

from hydra.utils import instantiate
from omegaconf import DictConfig

from datamodules.nnunet_dataset import NUMBER, NnunetDataset
from datamodules.slices import SliceDataModule
from lightning_modules.tasks.phantom_task import given_output, leave_no_run_folder

logger = logging.getLogger(__name__)


def export_nnunet(config: DictConfig) -> None:
    """Writes the slices of the cohort that have masks, and all folds of the split, into the folder `output`.

    Patients who are tested in a fold are in none of its lists. What comes next is in docs/commands.md, "nnU-Net".

    Raises:
        ValueError: If no folder is given or it is not empty, or the cohort or its split does not suit.
    """
    leave_no_run_folder()
    output = given_output(config)
    if output is None:
        raise ValueError("task=export_nnunet needs output=DIR, the folder to write nnU-Net's folders into")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(
            f"output={output}: task=export_nnunet expects a folder that is empty or not there yet; remove what is in "
            "it, or give another one"
        )
    data: SliceDataModule = instantiate(config.data, fold=0)
    dataset = NnunetDataset(data)
    try:
        dataset.write(output)
    except OSError as error:
        raise ValueError(f"{output}: cannot be written ({error}); choose another folder (output=DIR)") from error
    logger.info(
        "%s: data set %d, %d folds, %d structures; nnUNet_raw, nnUNet_preprocessed and nnUNet_results are its folders",
        *(output, NUMBER, len(dataset.folds), sum(name in data.anatomy.structures for name in dataset.labels)),
    )
    if data.anatomy.mirror:
        logger.info("left and right are different structures here: train with -tr nnUNetTrainerNoMirroring")
