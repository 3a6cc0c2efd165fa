"""`task=score`: masks of a second rater or another tool get the records of a run, without any training."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict

from datamodules.reading.foreign_masks import MaskFiles, find_masks, name_of_slice, read_mask, reader_of_masks
from datamodules.slices import SliceDataModule
from datamodules.store.file_hashes import FileHashes
from lightning_modules.evaluation.evaluated import EvaluatedSlice, slice_with_mask
from lightning_modules.evaluation.measurement import morphometry_settings
from lightning_modules.evaluation.prediction_files import PredictionFolder
from lightning_modules.evaluation.readouts import Readout, confusion, keypoints, morphometry, try_out
from lightning_modules.evaluation.rows import slice_rows
from lightning_modules.tasks.provenance import run_card
from metrics.aggregate import summarise
from metrics.cases import FACTOR_COLUMNS
from records.folder import RunFolder
from records.registry import register
from records.run_files import write_cases
from records.whole_files import write_json

logger = logging.getLogger(__name__)


@dataclass
class Scored:
    """Rows of the case table, and what has to be said about the masks.

    Attributes:
        readouts: The tables beside it.
        rows: Of `cases.csv`.
        gathered: What the tables beside it are made of, by their file.
        missing: Cases without a mask, and slices (case/slice) that a mask does not cover: their structures are missed.
        resampled: Cases whose mask lay on another grid.
    """

    readouts: Sequence[Readout]
    rows: list[dict] = field(default_factory=list)
    gathered: dict[str, list] = field(default_factory=lambda: defaultdict(list))
    missing: list[str] = field(default_factory=list)
    resampled: list[str] = field(default_factory=list)

    def add(self, item: EvaluatedSlice, data: SliceDataModule) -> None:
        """Scores a slice."""
        factors, nominal = data.cohort.factors(item.case, FACTOR_COLUMNS), data.cohort.nominal_spacing
        self.rows += slice_rows(item, data.anatomy.structures, factors, nominal_spacing=nominal)
        for readout in self.readouts:
            self.gathered[readout.file] += readout.of_slice(item, data)

    def write(self, folder: Path) -> dict[str, Any]:
        """Registers and writes the tables and returns the summary of `cases.csv`."""
        register(*(folder / readout.file for readout in self.readouts), folder / "cases.csv")
        for readout in self.readouts:
            readout.write(folder, self.gathered[readout.file])
        return summarise(write_cases(folder / "cases.csv", self.rows))


def score(config: DictConfig) -> None:
    """Scores the folder `masks` (a file per case) against the cohort's annotations, under the name `row`.

    All annotated cases are scored, whatever the split, with scored=fold those alone that `fold` of the split tests; one
    without a mask is a miss. Masks have changed more easily than a finished training, so they are always scored anew.

    Raises:
        ValueError: If a setting or a mask is wrong; names the file.
    """
    for name, meant in (("masks", "the folder of masks, a file per case"), ("row", "what tables call these masks")):
        if not config[name]:
            raise ValueError(f"task=score needs {name}=..., {meant}")
    config = config.copy()
    if config.scored not in ("all", "fold"):
        raise ValueError(f"scored is {config.scored!r}, expected all (annotated cases) or fold (those that it tests)")
    if config.scored == "all":
        with open_dict(config):
            config.split, config.fold = {"_target_": "datamodules.folds.AllTest"}, None
    folder = RunFolder(config.output, config)
    with folder.locked():
        if config.retrain:
            folder.clear()
        folder.claim()
        register(*(folder.path / name for name in ("summary.json", "cases.csv", "run_card.json", "predictions")))
        (folder.path / "summary.json").unlink(missing_ok=True)
        data: SliceDataModule = instantiate(config.data, fold=config.fold or 0)
        annotated = data.store.table["case"].iloc[data.indices["test"]]
        files, extra = find_masks(Path(config.masks).expanduser(), list(annotated.unique()))
        scored = score_masks(data, files, PredictionFolder(folder.path), readouts(config, data))
        _say(config.row, data, scored, extra)
        _write(folder.path, data, scored, files, extra)
        logger.info("Everything is in %s: cases.csv, summary.json, run_card.json, predictions/", folder.path)


def readouts(config: DictConfig, data: SliceDataModule) -> list[Readout]:
    """The tables beside cases.csv, tried out.

    Raises:
        ValueError: If muscles are to be measured in a way that does not fit to the anatomy or the cohort.
    """
    measured = morphometry(data, morphometry_settings(config))
    try_out(measured, data)
    return [keypoints(data), confusion(data), measured]


def score_masks(
    data: SliceDataModule, files: dict[str, MaskFiles], predictions: PredictionFolder, tables: Sequence[Readout]
) -> Scored:
    """Scores every annotated slice of a cohort."""
    scored, cases = Scored(tables), {case.case: case for case in data.cohort.cases}
    reader = data.cohort.reader
    if files:
        reader = reader_of_masks(next(iter(next(iter(files.values())).values())).parent, reader)
    predictions.clear()
    annotated = data.store.table.iloc[data.indices["test"]]
    for name, rows in annotated.groupby("case", sort=False):
        case, slices = str(name), {}
        if case in files:
            mask = read_mask(reader, cases[case], files[case])
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


def _write(folder: Path, data: SliceDataModule, scored: Scored, files: dict[str, MaskFiles], extra: list[Path]) -> None:
    hashes = FileHashes()
    contents = {
        case if number is None else name_of_slice(case, number): hashes.of_path(path)
        for case, own in sorted(files.items())
        for number, path in own.items()
    }
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
        "%d patients, %d slices: mean Dice %.1f %%, %d missed",
        *(test["num_patients"], test["num_slices"], 100 * dice["mean"], test["num_missed"]),
    )
