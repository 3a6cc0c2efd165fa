"""How far a random forest on single pixels gets on the phantom: intensity, position and level, but no context."""

from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from benchmarks.phantom_gates import score_test_part, training_rows
from datamodules.slices import SliceDataModule
from datamodules.store.slice_store import NativeSlice

NUM_TREES = 50
PIXELS_PER_CLASS = 100  # of each class on each slice, so that the small structures are learnt as well as the large
SMOOTHING_MM = (1.5, 4.0)


def forest_cases(data: SliceDataModule) -> dict[float, pd.DataFrame]:
    """Case tables of a random forest on intensity, position and level of single pixels, by how its votes are weighted.

    It learns from as many pixels of each class. Its votes are multiplied by the share of the class among all pixels to
    the power of 0 (small structures grow too large), 1 (they are lost) and 0.5.
    """
    forest, shares = trained_forest(data)
    levels = data.store.table["level"].astype(str).tolist()

    def predict(index: int, native: NativeSlice, power: float) -> np.ndarray:
        votes = forest.predict_proba(pixel_features(native, level_number(levels[index])))
        weighted = votes * shares[forest.classes_] ** power
        return forest.classes_[weighted.argmax(axis=1)].reshape(native.mask.shape)

    return {power: score_test_part(data, partial(predict, power=power)) for power in (0.0, 0.5, 1.0)}


def trained_forest(data: SliceDataModule) -> tuple[Any, Float[np.ndarray, " c"]]:
    """A forest, and the share of each class among the training pixels."""
    ensemble = import_module("sklearn.ensemble")  # here: seconds that the other parts need not wait for
    rng = np.random.default_rng(0)
    levels = data.store.table["level"].astype(str).tolist()
    features, classes = [], []
    counts = np.zeros(data.anatomy.num_classes)
    for index in training_rows(data):
        native = data.store.native(index)
        labels = native.mask.ravel()
        counts += np.bincount(labels, minlength=len(counts))
        drawn = np.concatenate(
            [rng.choice(np.flatnonzero(labels == label), PIXELS_PER_CLASS) for label in np.unique(labels)]
        )
        features.append(pixel_features(native, level_number(levels[index]))[drawn])
        classes.append(labels[drawn])
    forest = ensemble.RandomForestClassifier(NUM_TREES, min_samples_leaf=5, n_jobs=-1, random_state=0)
    return forest.fit(np.concatenate(features), np.concatenate(classes)), counts / counts.sum()


def pixel_features(native: NativeSlice, level: int) -> Float[np.ndarray, "pixels f"]:
    """Of every pixel: z-scored intensity, plain and smoothed, row and column in mm from the centre, and the level."""
    pixel_mm = np.array(native.spacing_mm)
    columns = [*native.image]
    for sigma_mm in SMOOTHING_MM:
        columns += [gaussian_filter(channel, sigma_mm / pixel_mm) for channel in native.image]
    height, width = native.mask.shape
    rows_mm = (np.arange(height) - (height - 1) / 2) * pixel_mm[0]
    columns_mm = (np.arange(width) - (width - 1) / 2) * pixel_mm[1]
    columns += [*np.meshgrid(rows_mm, columns_mm, indexing="ij"), np.full((height, width), level)]
    return np.stack([column.ravel() for column in columns], axis=1).astype(np.float32)


def level_number(level: str) -> int:
    """A number that grows downwards for "L3/4" and the like, so that a tree can divide upper from lower levels."""
    digits = "".join(letter for letter in level.split("/")[0] if letter.isdigit())
    return int(digits or 0) % 12  # T12 comes above L1
