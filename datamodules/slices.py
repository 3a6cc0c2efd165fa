"""The LightningDataModule: a store of slices, a split of its patients, an augmentation, and loaders over them."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.anatomy import Anatomy
from datamodules.batch import SpineBatch
from datamodules.cohort import Cohort
from datamodules.folds import Split
from datamodules.loading import Share
from datamodules.reading.geometry import SliceGrid
from datamodules.reading.sides import check_sides
from datamodules.slice_batches import Augmentation, SliceBatches, TissueAugmentation
from datamodules.store.seen_images import SeenImages, made_images, seen_images
from datamodules.store.slice_store import build_store
from datamodules.supervision import Supervision
from datamodules.weak_cohort import open_weak_cohort

logger = logging.getLogger(__name__)


class SliceDataModule(lightning.LightningDataModule):
    """Slices of a cohort, split by patient.

    Args:
        cohort: Where the images come from.
        split: Divides the rows of the store's table into parts per fold.
        supervision: Whose masks and key points are trained on.
        fold: Which fold is tested on.
        size: Rows and columns of the network's grid, pixels.
        spacing_mm: Its pixel size.
        offset_mm: Where its centre lies from the image's, (row, column).
        batch_size: Slices per step of training, validation and test; several devices divide them among each other.
        samples_per_epoch: Slices in a training epoch, whatever the supervision; None is one pass over the training
            slices, under mixed supervision over those with masks.
        augmentation: Of training slices; says itself whether it works slice by slice or on the batch on its device.
        cache: Folder for preprocessed arrays.
        num_workers: Processes that load training slices; 0 loads in the training process.
        device: Where the arrays lie; "cuda" keeps the whole store in the device's memory (no worker processes then).
        seed: Order of the training slices and what they are augmented with.
    """

    def __init__(
        self,
        *,
        cohort: Cohort,
        split: Callable[..., Split],
        supervision: Supervision,
        fold: int,
        size: Sequence[int],
        spacing_mm: float | int,
        offset_mm: Sequence[float | int] = (0.0, 0.0),
        batch_size: int,
        samples_per_epoch: int | None = None,
        augmentation: Augmentation,
        cache: str | Path,
        num_workers: int = 0,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        super().__init__()
        of_tissues = isinstance(augmentation, TissueAugmentation)
        self.cohort = cohort.with_tissue_maps() if of_tissues else cohort
        self.fold = fold
        self.batch_size = batch_size
        self.samples_per_epoch = samples_per_epoch
        self.num_workers = num_workers
        self.device = device
        self.seed = seed
        self._next_epoch = 0
        grid = SliceGrid(
            size=(size[0], size[1]), spacing_mm=float(spacing_mm), offset_mm=(float(offset_mm[0]), float(offset_mm[1]))
        )
        self.weak_cohort = open_weak_cohort(supervision.weak_cohort, cohort)
        if self.weak_cohort is not None and of_tissues:
            raise ValueError(
                f"supervision.weak_cohort is {self.weak_cohort.name}, whose pictures have no tissue maps, but "
                "data/augmentation=synthesis makes every training picture of them; leave the weak cohort out, or "
                "choose another augmentation"
            )
        self.store = build_store(
            self.cohort, weak=self.weak_cohort, grid=grid, cache=cache, num_workers=os.cpu_count() or 1
        )
        self.augmentation = augmentation.of_store(self.store.tissues, self.num_channels) if of_tissues else augmentation
        check_sides(self.store, cohort)
        self.split = split(self.store.table)
        self.supervision = supervision
        self.teaching = supervision.teach(self.store, self.split, fold)
        self.indices = {
            "train": np.union1d(self.teaching.masked, self.teaching.weak),
            "validation": self.teaching.validation,
            "test": self.split.indices(fold, "test", self.store.table),
        }

    def setup(self, stage: str) -> None:
        """Says what is trained on, before the first batch.

        Raises:
            ValueError: If there is nobody for a kind of supervision in this fold.
        """
        if stage != "fit":
            return
        self.supervision.check(self.teaching, self.fold)
        taught = self.teaching
        in_use = {*taught.masked, *taught.weak, *taught.validation}
        left_out = {*self.split.indices(self.fold, "train", self.store.table)} - in_use
        logger.info(
            "training on %d slice(s) with masks and %d with %s alone; %d that would teach nothing are left out",
            *(len(taught.masked), len(taught.weak), self.supervision.weak_has, len(left_out)),
        )

    @property
    def anatomy(self) -> Anatomy:
        """The structures of the cohort."""
        return self.cohort.anatomy

    @property
    def nominal_spacing(self) -> bool:
        """Whether millimetres are undefined (`Cohort`)."""
        return self.cohort.nominal_spacing

    def cohorts(self) -> tuple[Cohort, ...]:
        """The cohort, and the weak one if there is one."""
        return (self.cohort,) if self.weak_cohort is None else (self.cohort, self.weak_cohort)

    @property
    def share(self) -> Share:
        """What this process does of every batch."""
        return Share() if self.trainer is None else Share(self.trainer.global_rank, self.trainer.world_size)

    @property
    def num_channels(self) -> int:
        """Channels of an image."""
        return self.store.image.shape[1]

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of the images and of the split: a run goes on only with the same."""
        return {"images": self.store.fingerprint, "split": self.split.fingerprint}

    def patients(self, part: str) -> list[str]:
        """Names of the patients of a part, sorted."""
        return sorted(set(self.store.table["patient"].iloc[self.indices[part]]))

    @cached_property
    def patient_numbers(self) -> Int[Tensor, " s"]:
        """Of every row of the store, a number for its patient: the same in every process."""
        return torch.from_numpy(pd.factorize(self.store.table["patient"])[0])

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint, written at the end of an epoch, needs for drawing the next one."""
        assert self.trainer is not None
        return {"next_epoch": self.trainer.current_epoch + 1}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on at the epoch after the checkpoint's."""
        self._next_epoch = state_dict["next_epoch"]

    def class_pixel_counts(self) -> Float[Tensor, " c"]:
        """Labelled pixels of every class among the training slices; a class counts in the cases that have it drawn."""
        counts = np.bincount(self.store.mask[self.teaching.masked].ravel(), minlength=self.anatomy.num_classes)
        return torch.from_numpy(counts).float()

    def training_masks(self) -> tuple[Integer[Tensor, "s h w"], Float[Tensor, "s k 2"], Float[Tensor, " 2"]]:
        """The training slices that have masks, before augmentation: classes, key points in pixels, size of a pixel."""
        rows, spacing_mm = self.teaching.masked, self.store.grid.spacing_mm
        masks, keypoints = (
            torch.from_numpy(np.asarray(array[rows])) for array in (self.store.mask, self.store.keypoints)
        )
        return masks, keypoints, torch.tensor([spacing_mm, spacing_mm])

    def train_dataloader(self) -> DataLoader:
        """Shuffled, augmented, seeded by epoch."""
        batches = self.supervision.batches(
            self.teaching,
            batch_size=self.batch_size,
            samples_per_epoch=self.samples_per_epoch,
            seed=self.seed,
            share=self.share,
        )
        # Lightning opens the first iterator of a resumed run before it announces its epoch.
        batches.set_epoch(self._next_epoch)
        slice_wise = None if self.augmentation.whole_batch else self.augmentation
        return self._loader(self.training_slices(slice_wise, device=self.device), batches, self.num_workers)

    def training_slices(self, slice_wise: Augmentation | None = None, *, device: str = "cpu") -> SliceBatches:
        """Training batches before an augmentation that takes whole batches, after one that takes slices."""
        maps = isinstance(self.augmentation, TissueAugmentation)
        return SliceBatches(self.store, self.teaching.labels, slice_wise, maps=maps, device=device)

    def seen_images(self) -> SeenImages:
        """What the pictures that train look like: those of the store, or those that are made in their place."""
        rows = self.indices["train"]
        stored = seen_images(self.store, rows)
        if not isinstance(self.augmentation, TissueAugmentation):
            return stored
        return made_images(stored, self.training_slices(), rows, self.augmentation)

    def val_dataloader(self) -> DataLoader:
        """In store order; empty where the cohort is too small for a validation part."""
        return self._in_order("validation")

    def test_dataloader(self) -> DataLoader:
        """In store order."""
        return self._in_order("test")

    def on_after_batch_transfer(self, batch: SpineBatch, dataloader_idx: int) -> SpineBatch:
        """Augments training batches where they are computed on."""
        training = self.trainer is not None and self.trainer.training
        return self.augmentation(batch) if training and self.augmentation.whole_batch else batch

    def _in_order(self, part: str) -> DataLoader:
        rows = self.share.of([(int(row), 0) for row in self.indices[part]])
        batches = [rows[at : at + self.batch_size] for at in range(0, len(rows), self.batch_size)]
        return self._loader(SliceBatches(self.store, device=self.device), batches, num_workers=0)

    def _loader(self, slices: SliceBatches, batches, num_workers: int) -> DataLoader:
        return DataLoader(
            slices,
            sampler=batches,
            batch_size=None,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available() and self.device == "cpu",
            generator=torch.Generator().manual_seed(self.seed),
        )
