"""`task=score`: masks of a second rater or another tool get the records of a run, without any training."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from jaxtyping import UInt8
from omegaconf import DictConfig, open_dict

from datamodules.batch import boxes_of_masks
from datamodules.file_hashes import FileHashes
from datamodules.foreign_masks import find_masks, read_mask
from datamodules.slices import SliceDataModule
from lightning_modules.evaluation import EvaluatedSlice
from lightning_modules.native_grid import points_to_native
from lightning_modules.prediction_files import PredictionFolder
from lightning_modules.provenance import run_card
from lightning_modules.readouts import READOUTS, Readout
from lightning_modules.records import slice_rows, write_cases, write_json
from lightning_modules.run_folder import RunFolder
from metrics.aggregate import summarise
from metrics.cases import FACTOR_COLUMNS

logger = logging.getLogger(__name__)


@dataclass
class Scored:
    """Rows of the case table, and what has to be said about the masks.

    Attributes:
        rows: Of `cases.csv`.
        readouts: Rows of the tables beside it.
        missing: Cases without a mask, and slices (case/slice) that a mask does not cover: their structures are missed.
        resampled: Cases whose mask lay on another grid.
    """

    rows: list[dict] = field(default_factory=list)
    readouts: dict[Readout, list] = field(default_factory=lambda: {readout: [] for readout in READOUTS})
    missing: list[str] = field(default_factory=list)
    resampled: list[str] = field(default_factory=list)

    def add(self, item: EvaluatedSlice, data: SliceDataModule) -> None:
        """Scores a slice."""
        self.rows += slice_rows(item, data.anatomy.structures, data.cohort.factors(item.case, FACTOR_COLUMNS))
        for readout, found in self.readouts.items():
            found += readout.rows(item, data)

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the tables and returns the summary of `cases.csv`."""
        for readout, rows in self.readouts.items():
            readout.write(folder, rows)
        return summarise(write_cases(folder / "cases.csv", self.rows))


def score(config: DictConfig) -> None:
    """Scores the folder `masks` (a file per case) against the cohort's annotations, under the name `row`.

    All annotated cases are scored, whatever the split; one without a mask is a miss. Masks have changed more easily
    than a finished training, so they are always scored anew.

    Raises:
        ValueError: If a setting or a mask is wrong; names the file.
    """
    for name, meant in (("masks", "the folder of masks, a file per case"), ("row", "what tables call these masks")):
        if not config[name]:
            raise ValueError(f"task=score needs {name}=..., {meant}")
    config = config.copy()
    with open_dict(config):
        config.split, config.fold = {"_target_": "datamodules.folds.AllTest"}, None
    folder = RunFolder(config.output, config)
    with folder.locked():
        if config.retrain:
            folder.clear()
        folder.claim()
        (folder.path / "summary.json").unlink(missing_ok=True)
        data: SliceDataModule = instantiate(config.data, fold=0)
        annotated = data.store.table["case"].iloc[data.indices["test"]]
        files, extra = find_masks(Path(config.masks).expanduser(), list(annotated.unique()))
        scored = score_masks(data, files, PredictionFolder(folder.path))
        _say(config.row, data, scored, extra)
        _write(folder.path, data, scored, files, extra)
        logger.info("Everything is in %s: cases.csv, summary.json, run_card.json, predictions/", folder.path)


def score_masks(data: SliceDataModule, files: dict[str, Path], predictions: PredictionFolder) -> Scored:
    """Scores every annotated slice of a cohort."""
    scored, cases = Scored(), {case.case: case for case in data.cohort.cases}
    predictions.clear()
    annotated = data.store.table.iloc[data.indices["test"]]
    for name, rows in annotated.groupby("case", sort=False):
        case, slices = str(name), {}
        if case in files:
            mask = read_mask(data.cohort.reader, cases[case], files[case])
            slices = mask.slices
            scored.resampled += [case] * mask.resampled
        for index, number in rows["slice"].items():
            item = slice_with_mask(data, int(str(index)), slices.get(int(number)))
            if int(number) not in slices:
                scored.missing.append(f"{case}/{number}" if slices else case)
            scored.add(item, data)
            predictions.add(item)
    scored.missing = list(dict.fromkeys(scored.missing))
    predictions.finish()
    return scored


def slice_with_mask(data: SliceDataModule, index: int, mask: UInt8[np.ndarray, "H W"] | None) -> EvaluatedSlice:
    """A slice with a mask in place of a prediction, nothing predicted where there is none."""
    native, row = data.store.native(index), data.store.table.iloc[index]
    true_mask, num_structures = native.mask.astype(np.int64), data.anatomy.num_structures
    predicted = np.zeros_like(true_mask) if mask is None else mask.astype(np.int64)
    true_boxes, mask_boxes = (
        boxes_of_masks(torch.from_numpy(each)[None], num_structures)[0].numpy() for each in (true_mask, predicted)
    )
    points = torch.from_numpy(np.array(data.store.keypoints[index], dtype=np.float64))
    return EvaluatedSlice(
        index=index,
        case=str(row["case"]),
        patient=str(row["patient"]),
        level=str(row["level"]),
        slice=int(row["slice"]),
        image=native.image,
        true_mask=true_mask,
        predicted_mask=predicted,
        labelled=np.array(data.store.labelled[index]),
        true_boxes=true_boxes,
        mask_boxes=mask_boxes,
        network_boxes=None,
        saliency=None,
        spacing_mm=native.spacing_mm,
        true_keypoints=points_to_native(points, data.store.grid, native.mask.shape, native.spacing_mm).numpy(),
    )


def _say(row: str, data: SliceDataModule, scored: Scored, extra: list[Path]) -> None:
    told = (
        (scored.missing, "without a mask, counted as missed"),
        (scored.resampled, "on another grid of the same field, resampled (nearest neighbour)"),
        ([path.name for path in extra], "named after no annotated case of the cohort, left out"),
    )
    for names, what in told:
        if names:
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            logger.warning("%s: %d %s: %s", row, len(names), what, shown)


def _write(folder: Path, data: SliceDataModule, scored: Scored, files: dict[str, Path], extra: list[Path]) -> None:
    hashes = FileHashes()
    contents = {case: hashes.of_path(path) for case, path in sorted(files.items())}
    write_json(folder / "run_card.json", {**run_card(data), "masks": contents})
    test = scored.write(folder)
    masks = {
        "num_missing": len(scored.missing),
        "num_resampled": len(scored.resampled),
        "num_extra_files": len(extra),
    }
    write_json(folder / "summary.json", {"test": test, "masks": masks})
    dice = test["dice"]
    assert isinstance(dice, dict)
    logger.info(
        "%d patients, %d slices: mean Dice %.3f, %d missed",
        *(test["num_patients"], test["num_slices"], dice["mean"], test["num_missed"]),
    )
