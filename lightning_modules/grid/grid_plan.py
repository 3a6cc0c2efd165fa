"""Which runs a grid's command line stands for: named, in order, before any of them starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lightning_modules.tasks.settings import check_settings


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a grid.

    Attributes:
        folder: Where it lies; its last part names the cell.
        experiment: Chosen file, as `ablation` and `split` are.
        ablation: "none" for the experiment as it stands.
        split: Who is trained on and tested.
        fold: Which part is tested on.
        seed: Of the training.
        arms: Further ways to test it.
        overrides: What the command line and the sweep say of it.
    """

    folder: Path
    experiment: str
    ablation: str
    split: str
    fold: int
    seed: int
    arms: tuple[str, ...]
    overrides: tuple[str, ...]


def plan(config: DictConfig, loader: ConfigLoader) -> list[Cell]:
    """Lists the cells of a multirun as Hydra's basic sweeper will start them; cells of one name are one cell.

    Args:
        config: The composed configuration of the multirun, with its `hydra` node.
        loader: What composed it.

    Raises:
        ValueError: If a setting is wrong, the cells would need several processes each, or are sent to one folder.
        HydraException: If a cell cannot be composed.
    """
    cells = {}
    for line in _lines(config, loader):
        composed = loader.load_sweep_config(config, list(line))
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(composed)
        try:
            cell = _cell(composed, line)
        finally:
            HydraConfig.instance().cfg = before
        cells.setdefault(cell.folder, cell)
    return list(cells.values())


def _lines(config: DictConfig, loader: ConfigLoader) -> list[list[str]]:
    """Overrides of every cell: the product of the axes of the sweep file and of the command line, which wins."""
    axes = [f"{name}={values}" for name, values in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides([*axes, *config.hydra.overrides.task])
    (lines,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return lines


def _cell(config: DictConfig, line: Sequence[str]) -> Cell:
    _check(config, line)
    choices = config.hydra.runtime.choices
    return Cell(
        folder=Path(config.hydra.sweep.dir) / str(OmegaConf.select(config, "hydra.sweep.subdir")),
        experiment=choices.experiment,
        ablation=choices.ablation,
        split=choices.split,
        fold=config.fold,
        seed=config.seed,
        arms=tuple(str(name) for name in config.arms),
        overrides=tuple(line),
    )


def _check(config: DictConfig, line: Sequence[str]) -> None:
    check_settings(config)
    if any(word.startswith("output=") for word in line):
        raise ValueError("output=DIR would put all runs of a grid into one folder: hydra.sweep.dir=DIR moves the grid")
    devices = OmegaConf.select(config, "trainer.devices")
    if OmegaConf.is_list(devices):
        devices = len(devices) if len(devices) != 1 else 1
    if str(devices) != "1":
        raise ValueError(
            f"a grid starts one process a run, trainer.devices is {devices}: give trainer.devices=1, or start each run "
            "by a command of its own"
        )
