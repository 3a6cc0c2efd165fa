"""Mixed supervision: which training patients keep their masks, who has key points alone, and what a batch holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped

from datamodules.cohort import Cohort
from datamodules.loading import MixedBatches, Share, TrainingBatches
from datamodules.slice_batches import VisibleLabels
from datamodules.splits.dealing import num_validating
from datamodules.splits.split import PATIENT, Split
from datamodules.store.slice_store import SliceStore


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What the slices of a store teach in one fold.

    Attributes:
        masked: Rows of the store that train with their mask (and key points, if those are trained on).
        weak: Rows that train with key points alone, or with their picture alone.
        validation: Rows that validate.
        labels: What of the annotations may be seen in training: without key points that only an unseen mask told.
        masked_patients: Names of those that keep their masks, to train or to validate with; sorted, as the next two.
        validation_patients: Names of those among them that validate.
        weak_patients: Names of those that train without masks.
    """

    masked: Int[np.ndarray, " i"]
    weak: Int[np.ndarray, " j"]
    validation: Int[np.ndarray, " v"]
    labels: VisibleLabels
    masked_patients: tuple[str, ...]
    validation_patients: tuple[str, ...]
    weak_patients: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """What training slices are taught with; validation and test are not touched, but for who validates.

    With `masked_patients` set, the training and validation patients of a fold keep their masks as far as this budget
    goes, which those for validation count in (docs/protocol.md, "Patients, parts, folds"). Validation then takes the
    share of the budget that it has of the split's training part, from three patients on; the others lose their masks,
    train with their key points alone or not at all, and stay out of validation. A patient who lost the masks is left
    with what keypoints.csv states; where that has nothing on the case, with the centroids, as if somebody had set them.

    Attributes:
        masks: Whether masks are trained on.
        keypoints: Whether key points are, those of patients without masks too.
        masked_patients: How many patients of a fold's training part keep their masks; None: all that have any.
        draw: Which ones: the first of the draw's permutation of the cohort's patients, so that the patients of a small
            budget are among those of a larger one.
        weak_cohort: Cohort, or folder, whose cases come to the patients without masks; see `open_weak_cohort`.
        unlabelled: Whether the pictures of patients without masks are shown, without anything that is known of them.
        batch: Slices with masks and without in a batch, "masked" and "weak"; larger batches hold
            multiples. Where one kind alone is trained on, the places of the other stay empty: as many steps with as
            many masks as a row that has both. None, then: all places are of the one kind.

    Raises:
        ValueError: If a number is out of range, or the options contradict each other.
    """

    masks: bool
    keypoints: bool
    masked_patients: int | None = None
    draw: int = 0
    weak_cohort: Cohort | str | Path | None = None
    unlabelled: bool = False
    batch: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        given = self.masked_patients
        if not (self.masks or self.keypoints):
            raise ValueError("supervision: masks and keypoints are both false, nothing would be trained on")
        if given is not None and not self.masks:
            raise ValueError(
                f"supervision.masked_patients is {given}, but nobody's masks are trained on (supervision=keypoint); "
                "leave it null, or choose supervision=mixed"
            )
        if given is not None and given < 1:
            raise ValueError(
                f"supervision.masked_patients is {given}, expected at least 1, or null for all; supervision=keypoint "
                "trains without masks"
            )
        if self.draw < 0:
            raise ValueError(f"supervision.draw is {self.draw}, expected a whole number from 0")
        if self.unlabelled and (self.keypoints or not self.masks):
            raise ValueError(
                "supervision.unlabelled shows pictures of which nothing is known, beside slices with masks; set masks "
                "to true and keypoints to false, as supervision=unlabelled, or choose supervision=mixed"
            )
        if self.batch is not None or self._has_both:
            counts = dict(self.batch or {})
            if set(counts) != {"masked", "weak"} or min(counts.values()) < 1:
                raise ValueError(
                    f"supervision.batch is {counts}, expected masked and weak, slices in a batch, each at least 1"
                )

    def teach(self, store: SliceStore, split: Split, fold: int) -> Teaching:
        """Deals what a fold's training part has.

        Raises:
            ValueError: If a budget of masks is set and the split is not by patient.
        """
        patients = store.table["patient"].to_numpy(dtype=object)
        masked = store.table["has_mask"].to_numpy(dtype=bool)
        train, validation = (split.indices(fold, part, store.table) for part in ("train", "validation"))
        dealt = np.concatenate([train, validation])
        kept, validating = {*patients[dealt][masked[dealt]]}, {*patients[validation]}
        if self.masked_patients is not None:
            if split.columns != PATIENT:
                raise ValueError("supervision.masked_patients needs folds by patient, as split=patient_folds")
            kept, validating = self._keep({*patients[masked]}, kept, validating)
            validates = _are(patients[dealt], validating)
            train, validation = np.sort(dealt[~validates]), np.sort(dealt[validates & masked[dealt]])
        has_mask = np.zeros(len(store), bool)
        has_mask[train] = masked[train] & _are(patients[train], kept) & self.masks
        keypoints = _stated(store, has_mask)
        visible = np.asarray(np.isfinite(keypoints[..., 0]).any(axis=1))
        teaches = visible & self.keypoints | self.unlabelled
        weak = train[teaches[train] & ~has_mask[train]]
        return Teaching(
            masked=np.flatnonzero(has_mask),
            weak=weak,
            validation=validation,
            labels=VisibleLabels(has_mask=has_mask, has_keypoints=visible & self.keypoints, keypoints=keypoints),
            masked_patients=tuple(sorted(kept)) if self.masks else (),
            validation_patients=tuple(sorted(validating)),
            weak_patients=tuple(sorted({*patients[weak]} - (kept if self.masks else set()))),
        )

    def check(self, teaching: Teaching, fold: int) -> None:
        """Refuses to train where a kind of supervision has nobody left.

        Raises:
            ValueError: Saying what is missing in this fold, and what to do.
        """
        num_kept = len(teaching.masked_patients)
        if self.masked_patients is not None and num_kept < self.masked_patients:
            raise ValueError(
                f"supervision.masked_patients is {self.masked_patients}, but the training part of fold {fold} has only "
                f"{num_kept} patient(s) with masks: {', '.join(teaching.masked_patients) or 'none'}; set it to at most "
                f"{num_kept}, or split.num_folds higher"
            )
        if self.masks and not len(teaching.masked):
            raise ValueError(
                f"supervision: no case with a mask is left to train on in fold {fold}"
                f"{_validating(teaching)}; add labels, set supervision.masked_patients higher, or train on key points "
                "alone (supervision=keypoint)"
            )
        if self.unlabelled and not len(teaching.weak):
            raise ValueError(
                f"supervision: no picture without a mask is left to train on in fold {fold}; add cases without label "
                "to cohort.csv, give others as supervision.weak_cohort=DIR, take masks away by "
                "supervision.masked_patients=N, or choose supervision=full"
            )
        if self.keypoints and not len(teaching.weak):
            raise ValueError(
                f"supervision: no case with key points alone is left to train on in fold {fold}: every training case "
                f"has a mask, or no key points (the anatomy has {teaching.labels.keypoints.shape[1]} of them); "
                "add cases without label to cohort.csv and their key points, give others as supervision.weak_cohort="
                "DIR, take masks away by supervision.masked_patients=N, or choose supervision=full"
            )

    def batches(
        self, teaching: Teaching, *, batch_size: int, samples_per_epoch: int | None, seed: int, share: Share
    ) -> TrainingBatches | MixedBatches:
        """The order in which a fold's training slices are shown; see the arguments of what is returned.

        Raises:
            ValueError: If slices with and without masks cannot share a batch of this size in their ratio.
        """
        masked, weak = self._places(batch_size)
        if not self._has_both:
            places = masked if self.masks else weak
            return TrainingBatches(
                np.union1d(teaching.masked, teaching.weak),
                batch_size=places,
                samples_per_epoch=samples_per_epoch and samples_per_epoch * places // batch_size,
                seed=seed,
                share=share,
            )
        return MixedBatches(
            teaching.masked,
            teaching.weak,
            num_masked=masked,
            num_weak=weak,
            samples_per_epoch=samples_per_epoch,
            seed=seed,
            share=share,
        )

    @property
    def weak_has(self) -> str:
        """What is known of the slices that train without a mask, in words."""
        return "their picture" if self.unlabelled else "key points"

    @property
    def _has_both(self) -> bool:
        return self.masks and (self.keypoints or self.unlabelled)

    def _places(self, batch_size: int) -> tuple[int, int]:
        """Places in a batch for slices with masks, and for those without."""
        if self.batch is None:
            return batch_size, batch_size
        divisor = gcd(self.batch["masked"], self.batch["weak"])
        masked, weak = self.batch["masked"] // divisor, self.batch["weak"] // divisor
        times, rest = divmod(batch_size, masked + weak)
        if rest:
            raise ValueError(
                f"supervision.batch is {masked} slice(s) with masks to {weak} with {self.weak_has} alone, which does "
                f"not divide a batch of {batch_size}; set data.batch_size to a multiple of {masked + weak}"
            )
        return times * masked, times * weak

    def _keep(self, everyone: set[str], candidates: set[str], validating: set[str]) -> tuple[set[str], set[str]]:
        """Who of a fold's candidates keeps masks, and who of those validates: whoever does by the split, if kept."""
        order = np.random.default_rng(self.draw).permutation(sorted(everyone)).tolist()
        kept = [name for name in order if name in candidates][: self.masked_patients]
        count = num_validating(len(kept), len(validating) / max(len(candidates), 1))
        return set(kept), set(sorted(kept, key=lambda name: name not in validating)[:count])


def _are(given: Shaped[np.ndarray, " r"], names: set[str]) -> Bool[np.ndarray, " r"]:
    return np.array([name in names for name in given], bool)


def _stated(store: SliceStore, has_mask: Bool[np.ndarray, " s"]) -> Float32[np.ndarray, "s k 2"]:
    """Key points without the centroids of masks that may not be seen, in cases that have rows in keypoints.csv."""
    clicked = np.array(store.clicked)
    cases = store.table["case"].to_numpy(dtype=object)
    in_table = _are(cases, {*cases[clicked.any(axis=1)]})
    told_by_mask = ~clicked & (in_table & ~has_mask)[:, None]
    return np.where(told_by_mask[..., None], np.float32(np.nan), store.keypoints)


def _validating(teaching: Teaching) -> str:
    names = teaching.validation_patients
    return f" (validation has {', '.join(names)})" if names else ""
