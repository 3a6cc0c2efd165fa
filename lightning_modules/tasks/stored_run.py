"""A finished run as its folder tells of it: its structures, its tables, and its cohort, if that is still there."""

from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from datamodules.anatomy import Anatomy
from datamodules.cohort import Cohort
from lightning_modules.evaluation.measurement import morphometry_settings
from lightning_modules.evaluation.readouts import Readout, confusion, keypoints, morphometry, region_outputs
from lightning_modules.grid.grid_cell import one_line
from records.whole_files import read_json

TEST_AGAIN = "predictions/ is of a version that did not keep {}; test the run again"


class StoredRun:
    """What the tables of a run are computed again with (`readouts.Tested`).

    Args:
        path: The run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: Any = OmegaConf.load(path / "config.yaml")
        self.anatomy: Anatomy = instantiate(self.config.anatomy)
        self.nominal_spacing = bool(OmegaConf.select(self.config, "cohort.nominal_spacing"))

    def cohorts(self) -> tuple[Cohort, ...]:
        """The cohort; slices of a weak one are never tested.

        Raises:
            ValueError: If it is not there, or its files are not those that the run was made with.
        """
        try:
            cohort: Cohort = instantiate(self.config.cohort)
            memory = Path(self.config.paths.cache).expanduser() / "file_hashes.json"
            content = cohort.fingerprint(memory if memory.exists() else None)
        except (ValueError, OSError, InstantiationException, OmegaConfBaseException) as error:
            raise ValueError(f"the pictures of its cohort cannot be read ({one_line(error)})") from None
        card = read_json(self.path / "run_card.json", "nobody can tell which files the run was made with")
        if content != card.get("cohort_content"):
            raise ValueError(f"the files of the cohort {cohort.name} in {cohort.root} are not those of the run")
        return (cohort,)

    def readouts(self, held: frozenset[str]) -> tuple[list[Readout], dict[str, str]]:
        """The tables beside cases.csv.

        Args:
            held: Names of the arrays that predictions/ has of a slice.

        Returns:
            Those that can be made, and why the others stay as they are, by the name of the file or folder.
        """
        made, left = [confusion(self)], {}
        if "true_keypoints" in held:
            made.append(keypoints(self))
        else:
            left["keypoints.csv"] = TEST_AGAIN.format("key points")
        outputs = OmegaConf.select(self.config, "callbacks.region_table.outputs")
        if outputs is not None and "regions" in held:
            made.append(region_outputs(self, [str(name) for name in outputs]))
        else:
            left["region_outputs.csv"] = TEST_AGAIN.format("overlapping outputs")
        try:
            made.append(morphometry(self, morphometry_settings(self.config)))
        except ValueError as error:
            left["morphometry.csv"] = str(error)
        left |= {"fusion.csv": "task=fuse writes it", "arms": "their masks are not kept"}
        return made, {name: why for name, why in left.items() if (self.path / name).exists()}
