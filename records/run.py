"""One finished run from disk: a test of a training, of a fusion of trainings, or of a folder of masks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from records.predictions import Predictions
from records.readout_files import Readouts, read_readouts
from records.row_names import row_of
from records.run_files import read_config, read_epochs, read_error, read_json, read_scores, read_split

AS_PUBLISHED = "as published"
BY_PATIENT = "by patient"
IMAGE_LEVEL = "datamodules.folds.ImageFolds"
FULL, MIXED, KEYPOINT = "full", "mixed", "keypoint"  # conf/supervision
FROM = " from "  # between how a training was taught and what its weights were taken from


@dataclass(frozen=True, kw_only=True)
class Run:
    """One test of one training, of models fused, or of a folder of masks.

    Attributes:
        folder: Where it lies; that of the arm for an arm.
        row: Key of its row in the table.
        split: BY_PATIENT, or AS_PUBLISHED for folds dealt by image.
        fold: Which fold was tested; None where the whole cohort was, as mostly with scored masks.
        seed: Seed of the training.
        arm: "" for the run's own test, else the name of the arm.
        config: config.yaml.
        card: run_card.json; {} where scored masks have none.
        summary: summary.json.
        cases: cases.csv, with columns that older folders lack as NaN.
        epochs: metrics.csv; None for arms and scored masks.
        parts: split.csv; None where there is none.
        readouts: Its other tables.
        supervision: FULL, MIXED or KEYPOINT; behind it the cohort that the key points come from, if another.
        masked_patients: To how many patients masks were limited, those of validation among them; None for all.
        draw: Which patients these were.
        started_from: The trained network that its weights were taken from, by the name of its file; "" for none.
    """

    folder: Path
    row: str
    split: str
    fold: int | None
    seed: int
    arm: str
    config: dict[str, Any]
    card: dict[str, Any]
    summary: dict[str, Any]
    cases: pd.DataFrame
    epochs: pd.DataFrame | None
    parts: pd.DataFrame | None = None
    readouts: Readouts = field(default_factory=Readouts)
    supervision: str = FULL
    masked_patients: int | None = None
    draw: int = 0
    started_from: str = ""

    @cached_property
    def predictions(self) -> Predictions:
        """Its test slices, read when they are asked for; none of an arm, which keeps no pictures."""
        return Predictions(self.folder)

    @property
    def curve_arm(self) -> str:
        """How it was taught, as a curve over patients with masks names its lines; others are paired with FULL."""
        return f"{self.supervision}{FROM}{self.started_from}" if self.started_from else self.supervision

    @property
    def scored(self) -> bool:
        """Whether this is no training of its own: a folder of masks, or a fusion."""
        return self.config.get("task") in ("score", "fuse")

    @property
    def competes(self) -> bool:
        """Whether it is a system among others: no second rater, no fusion, no oracle.

        Masks of one fold are a system's that was trained on the others, such as nnU-Net's; a rater draws all patients.
        """
        return not self.oracle and (not self.scored or self.config.get("scored") == "fold")

    @property
    def fused(self) -> bool:
        """Whether several models were fused, which is no single model's result."""
        return self.config.get("task") == "fuse"

    @property
    def oracle(self) -> bool:
        """Whether it was told something of the true masks, which nobody has of a new scan."""
        model = self.config.get("model") or {}
        told = self.config.get("points"), model.get("prompts")
        return "annotated" in told or model.get("mask") == "best"

    @property
    def fits_shapes(self) -> bool:
        """Whether there is no network: shapes are learned and fitted."""
        return self.config.get("task") == "shape_model"

    @property
    def trained_epochs(self) -> str:
        """How many epochs were trained, as its records say, and of how many if of more; "" where nobody says it."""
        if self.fits_shapes:
            return "fitted without epochs"
        asked = (self.config.get("scale") or {}).get("epochs")
        trained = (self.summary.get("train") or {}).get("epochs", asked)
        if trained is None:
            return ""
        return f"{trained} epochs" if asked in (None, trained) else f"{trained} epochs (of {asked} asked for)"

    @property
    def series(self) -> dict[str, list[str]]:
        """Structures that follow each other, by kind, as the anatomy says; {} where it has none."""
        return dict(self.config["anatomy"].get("series") or {})


def read_run(folder: Path) -> tuple[list[Run], list[str]]:
    """A run folder's own test and its arms, and what of it was left out.

    Raises:
        ValueError: If it is unfinished or damaged.
    """
    reason = read_error(folder)
    if reason and not (folder / "config.yaml").exists():  # it failed before there was anything to keep
        raise ValueError(f"failed: {reason}")
    config = read_config(folder)
    if (config.get("model") or {}).get("stand_in"):
        raise ValueError("its network was a stand-in for tests (model.stand_in=true), whose numbers are no result")
    scored, masks = config["task"] in ("score", "fuse"), config["task"] == "score"
    if not (folder / "summary.json").exists():
        raise ValueError(f"failed: {reason}" if reason else "not finished: it has no summary.json")
    has_card = (folder / "run_card.json").exists()
    card = read_json(folder / "run_card.json") if has_card or not scored else {}
    cases, summary = read_scores(folder)
    readouts, notes = read_readouts(folder)
    target = str(config.get("split", {}).get("_target_", ""))
    run = Run(
        folder=folder,
        row=row_of(config, card),
        split=AS_PUBLISHED if target == IMAGE_LEVEL and not scored else BY_PATIENT,
        fold=None if masks and config.get("scored", "all") == "all" else int(config["fold"]),
        seed=0 if masks else int(config["seed"]),
        arm="",
        config=config,
        card=card,
        summary=summary,
        cases=cases,
        epochs=read_epochs(folder),
        parts=None if scored else read_split(folder),
        readouts=readouts,
        **({} if scored else _supervision(config, card)),
    )
    arms, more = _read_arms(run)
    later = [f"an attempt after its test failed: {reason}"] if reason else []
    return [run, *arms], [*notes, *more, *later]


def _read_arms(run: Run) -> tuple[list[Run], list[str]]:
    arms, notes = [], []
    for path in sorted(run.folder.glob("arms/*/")):
        try:
            cases, summary = read_scores(path)
        except ValueError as error:
            notes.append(f"arm {path.name} left out: {error}")
            continue
        readouts, problems = read_readouts(path)
        notes += [f"arm {path.name}: {problem}" for problem in problems]
        tables = {"cases": cases, "summary": summary, "epochs": None, "readouts": readouts}
        arms.append(replace(run, folder=path, arm=path.name, **tables))
    return arms, notes


def _supervision(config: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """What the masks of a training were limited to; everything where older folders do not say."""
    node = config.get("supervision") or {}
    name = str((card.get("choices") or {}).get("supervision") or FULL)
    weak = None if name == FULL else (card.get("supervision") or {}).get("weak_cohort")
    masked = node.get("masked_patients")
    return {
        "supervision": f"{name} {weak['name']}" if weak else name,
        "masked_patients": None if masked is None else int(masked),
        "draw": int(node.get("draw") or 0),
        "started_from": Path(str((config.get("model") or {}).get("init") or "")).stem,
    }
