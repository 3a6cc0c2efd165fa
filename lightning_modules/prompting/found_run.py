"""The run whose findings another may use: a training of the same fold, which knows nobody that is tested."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from datamodules.slices import SliceDataModule
from records.registry import IDENTITY
from records.whole_files import read_json

REMEDY = "give the folder of a finished training of this fold and cohort"


def run_of_fold(given: str, data: SliceDataModule, setting: str) -> Path:
    """The folder of the run among those that are given that was trained for the fold of the data.

    Args:
        given: A run folder, a folder of run folders, or a pattern of either (`grids/table/scarnet-*`). Of several runs
            that of the fold counts, of several of the fold that of the seed.
        data: What is tested now; the run may know its training patients alone.
        setting: What is given, for messages.

    Raises:
        ValueError: If there is no such run or several, it is not finished, or it is of another fold, split or cohort.
    """
    told = f"{setting}={given}"
    trained = {folder: config for folder in _folders(given) if (config := _config(folder)).get("task") == "train"}
    if not trained:
        raise ValueError(f"{told}: there is no training, whose patients are known; {REMEDY}")
    own = [folder for folder, config in trained.items() if config["fold"] == data.fold]
    if not own:
        folds = ", ".join(sorted({str(config["fold"]) for config in trained.values()}))
        raise ValueError(f"{told}: trained for fold {folds}, on patients that fold {data.fold} tests; {REMEDY}")
    chosen = own if len(own) == 1 else [folder for folder in own if trained[folder]["seed"] == data.seed]
    if len(chosen) != 1:
        raise ValueError(f"{told}: fold {data.fold} has {', '.join(map(str, own))}; give one of them")
    (run,) = chosen
    if not (run / "summary.json").exists():
        raise ValueError(f"{told}: {run} is not finished; the command that began it goes on with it")
    _check_same_patients(run, data, told)
    return run


def _folders(given: str) -> list[Path]:
    """Run folders below what is given, in order; a pattern is of names below the first folder that is one."""
    parts = Path(given).expanduser().parts
    fixed = next((place for place, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    base = Path(*parts[:fixed])
    matched = [base] if fixed == len(parts) else base.glob(str(Path(*parts[fixed:])))
    return sorted({file.parent for path in matched for file in path.rglob(IDENTITY)})


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.yaml"
    config: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False) if file.exists() else {}
    return config


def _check_same_patients(run: Path, data: SliceDataModule, told: str) -> None:
    card = read_json(run / "run_card.json", "nobody can tell who the run was trained on; train it anew (retrain=true)")
    now = {"cohort_content": ("cohort", data.cohort.fingerprint()), "split": ("split", data.split.fingerprint)}
    other = [name for key, (name, value) in now.items() if card.get(key) != value]
    if other:
        raise ValueError(
            f"{told}: {run} is of another {' and another '.join(other)} than this run, and may have been trained on "
            f"patients whom fold {data.fold} tests; {REMEDY}"
        )
