"""The embedded default cohort: synthetic patients, written on first use."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from datamodules.anatomy import Anatomy
from datamodules.cohort import Cohort
from datamodules.phantom.templates import LEVELS
from datamodules.phantom.writer import PhantomSettings, write_cohort


def phantom_cohort(
    *,
    anatomy: Anatomy,
    root: str | Path,
    labels: Mapping[int, str | None],
    name: str = "phantom",
    num_patients: int = 45,
    seed: int = 0,
    levels: Sequence[str] = LEVELS,
    slices_per_level: int = 1,
    size: int = 320,
    spacing_mm: float = 0.6,
    num_workers: int | None = None,
    **options,
) -> Cohort:
    """Opens the synthetic axial cohort of these settings, and writes it first if it is not there.

    Args:
        anatomy: What to segment; its view must be axial.
        root: Folder of all phantom cohorts; this one gets a folder of its own in it, named by its settings.
        labels: Which structure each id of `canvas.LABELS` belongs to; None for background.
        name: Name of the cohort.
        num_patients: See `PhantomSettings`, as for the next five.
        seed: Seed.
        levels: Discs.
        slices_per_level: Slices of each block.
        size: Rows and columns.
        spacing_mm: Size of a pixel.
        num_workers: Processes that write; one per processor by default. The files do not depend on it.
        **options: Further arguments of `Cohort`.

    Raises:
        ValueError: If a setting is impossible or the anatomy is not axial.
    """
    if anatomy.view != "axial":
        raise ValueError(
            f"phantom cohort {name}: anatomy {anatomy.name} has {anatomy.view} slices, the phantom is axial"
        )
    settings = PhantomSettings(
        num_patients=num_patients,
        seed=seed,
        levels=tuple(levels),
        slices_per_level=slices_per_level,
        size=size,
        spacing_mm=float(spacing_mm),
    )
    folder = write_cohort(settings, Path(root), name=name, num_workers=num_workers)
    return Cohort(name=name, root=folder, anatomy=anatomy, labels=labels, **options)
