"""A second cohort that gives key points alone: another scanner, another spacing, another contrast."""

from collections.abc import Callable
from pathlib import Path

from datamodules.cohort import Cohort


def open_weak_cohort(given: Cohort | str | Path | None, main: Cohort) -> Cohort | None:
    """The cohort of `supervision.weak_cohort`: itself, or a folder that is written as the main cohort is.

    Args:
        given: A cohort, the folder of one with the main cohort's label ids, channels and choice of slices, or None.
        main: The cohort that has the masks.

    Raises:
        ValueError: If the folder is no cohort, or it does not go together with the main one.
    """
    if given is None:
        return None
    try:
        weak = given if isinstance(given, Cohort) else main.in_folder(Path(given).expanduser())
    except ValueError as error:
        raise ValueError(f"supervision.weak_cohort={given}: {error}") from error
    if weak.anatomy != main.anatomy:
        raise ValueError(
            f"supervision.weak_cohort: {weak.name} is read with anatomy {weak.anatomy.name}, {main.name} with "
            f"{main.anatomy.name}; give both the same"
        )
    if weak.num_channels != main.num_channels:
        raise ValueError(
            f"supervision.weak_cohort: {weak.name} has {weak.num_channels} channel(s), {main.name} has "
            f"{main.num_channels}; a network sees the same number in all cases"
        )
    _refuse_same_names(weak, main, "case", lambda cohort: {case.case for case in cohort.cases})
    _refuse_same_names(weak, main, "patient", lambda cohort: {case.patient for case in cohort.cases})
    return weak


def _refuse_same_names(weak: Cohort, main: Cohort, kind: str, names: Callable[[Cohort], set[str]]) -> None:
    """A name used twice may be one person, whose key points would leak from test to training, or two."""
    both = sorted(names(weak) & names(main))
    if both:
        raise ValueError(
            f"supervision.weak_cohort: {weak.name} and {main.name} both have the {kind} {', '.join(both[:3])}"
            f"{', ...' if len(both) > 3 else ''}. If they are the same persons, remove them from {weak.name}; if not, "
            "give the weak cohort as a node of its own with prefix: TEXT, which goes before its names"
        )
