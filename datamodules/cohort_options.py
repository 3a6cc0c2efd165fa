"""Options of a cohort, checked: which label id is which structure, what was drawn, and which slices are used."""

from collections.abc import Mapping, Sequence

from datamodules.anatomy import Anatomy
from datamodules.reading.case_reader import CaseReader


def reader_of(
    cohort: str,
    anatomy: Anatomy,
    labels: Mapping[int, str | None] | Mapping[str, str | None],
    labelled: Sequence[str] | None,
    slices: str | int,
) -> CaseReader:
    """Checks the options of a cohort that concern reading; Hydra passes its own lists and mappings, and keys as text.

    Raises:
        ValueError: If a label id is no number, a structure unknown to the anatomy, or `slices` no choice.
    """
    try:
        names = {int(key): None if name is None else str(name) for key, name in labels.items()}
    except (TypeError, ValueError):
        raise ValueError(
            f"labels has a key that is no label id (whole number): {', '.join(map(str, labels))}"
        ) from None
    unknown = sorted({name for name in names.values() if name is not None} - set(anatomy.structures))
    if unknown:
        raise ValueError(
            f"labels: {unknown_structures(unknown, anatomy)}; write null for what is background in this anatomy"
        )
    drawn = [name for name in anatomy.structures if name in names.values()] if labelled is None else list(labelled)
    unknown = [name for name in drawn if name not in anatomy.structures]
    if unknown:
        raise ValueError(f"labelled: {unknown_structures(unknown, anatomy)}")
    if str(slices).isdigit() and int(slices) > 0:
        slices = int(slices)
    elif slices not in ("all", "labelled", "middle"):
        raise ValueError(
            f"slices is {slices!r}, expected 'all', 'labelled', 'middle' or the number of central slices of each volume"
        )
    return CaseReader(
        cohort=cohort,
        view=anatomy.view,
        structures=tuple(anatomy.structures),
        keypoints=tuple(anatomy.keypoints),
        has_sides=len(anatomy.mirror) > 0,
        labels=names,
        labelled=tuple(drawn),
        slices=slices,
    )


def unknown_structures(names: Sequence[str], anatomy: Anatomy) -> str:
    """What to say of structures that an anatomy does not have."""
    return f"anatomy {anatomy.name} has no structure {', '.join(names)}; it has {', '.join(anatomy.structures)}"
