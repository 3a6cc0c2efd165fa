"""The embedded default cohort: synthetic patients, written on first use."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datamodules.anatomy import Anatomy
from datamodules.cohort import Cohort
from datamodules.phantom.settings import PhantomSettings
from datamodules.phantom.structures import labels_of
from datamodules.phantom.writer import write_cohort


class PhantomCohort(Cohort):
    """A cohort of synthetic patients, whose tissue maps are written when somebody asks for them.

    Args:
        with_maps: Opens the same patients with tissue maps; None where the folder is what it is.
        **options: Arguments of `Cohort`.
    """

    def __init__(self, *, with_maps: Callable[[], Cohort] | None, **options) -> None:
        super().__init__(**options)
        self._with_maps = with_maps

    def with_tissue_maps(self) -> Cohort:
        """The same patients with tissue maps, which are written first if they are not there."""
        return super().with_tissue_maps() if self._with_maps is None else self._with_maps().with_tissue_maps()


def phantom_cohort(
    *,
    anatomy: Anatomy,
    root: str | Path,
    settings: Mapping[str, Any],
    seed: int = 0,
    name: str = "phantom",
    num_workers: int | None = None,
    **options,
) -> Cohort:
    """Opens the synthetic cohort of these settings, and writes it first if it is not there.

    Args:
        anatomy: What to segment; its view must be that of the settings.
        root: Folder of all phantom cohorts; this one gets a folder of its own in it, named by its settings. A folder
            with a cohort.csv is a cohort that `task=phantom` wrote, or another of its labels, and is read as it is.
        settings: Values of `PhantomSettings`, as in `conf/phantom`.
        seed: Seed of the patients.
        name: Name of the cohort.
        num_workers: Processes that write; one per processor by default. The files do not depend on it.
        **options: Further arguments of `Cohort`.

    Raises:
        ValueError: If a setting is impossible or the anatomy is of another view.
    """
    checked = PhantomSettings.from_mapping({**settings, "seed": seed})
    if anatomy.view != checked.anatomy_view:
        raise ValueError(
            f"cohort {name}: anatomy {anatomy.name} has {anatomy.view} slices, the phantom's view is {checked.view};"
            f" choose an anatomy (and grids) with {checked.anatomy_view} slices, or another preset (phantom=NAME)"
        )
    drawn = labels_of(checked.body)
    labels = anatomy.labels_from(drawn)
    folder, with_maps = Path(root).expanduser(), None
    if not (folder / "cohort.csv").exists():
        folder = write_cohort(checked, Path(root), name=name, num_workers=num_workers)
        if not checked.tissue_maps:
            asked = {**settings, "tissue_maps": True}
            shared = {"anatomy": anatomy, "root": root, "seed": seed, "name": name, "num_workers": num_workers}
            with_maps = partial(phantom_cohort, settings=asked, **shared, **options)
    other_keypoints = [structure for structure in drawn if structure not in anatomy.keypoints]
    return PhantomCohort(
        with_maps=with_maps,
        name=name,
        root=folder,
        anatomy=anatomy,
        labels=labels,
        other_keypoints=other_keypoints,
        **options,
    )
