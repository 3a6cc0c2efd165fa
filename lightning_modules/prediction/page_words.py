"""Sentences of the summary page that say what the numbers are and where they come from."""

from collections.abc import Sequence
from datetime import date

from omegaconf import DictConfig

from datamodules.anatomy import View
from lightning_modules.prediction.members import Member
from lightning_modules.prediction.outlines import Block
from metrics.morphometry import Morphometry

AXIAL_EXPLAINED = (
    "Area: within the fascia, fat included. Lean area: its pixels that are not fat. Fat pixels: share of pixels called "
    "fat (method: {method}), not a fat fraction; fat signal: measured, from a Dixon pair. Grade: simplified Goutallier "
    "of the fat pixels. Left and right are the patient's. ± is the standard deviation between networks, and the share "
    "of the networks that give a grade is its probability; both on average over the slices."
)
NARROW = " Threshold of the {name}: {mm2:g} mm²; an area below it is no finding until somebody has checked the outline."
SAGITTAL_EXPLAINED = (
    "Heights at 10 to 20, 40 to 60 and 80 to 90 % of the depth; wedge and lordosis by Cobb, positive where it is "
    "taller in front. ± is the standard deviation between networks."
)


def explain(view: View, settings: Morphometry | None) -> str:
    """What the columns of the tables mean."""
    method = "none" if settings is None else settings.fat.name
    if view != "axial":
        return SAGITTAL_EXPLAINED
    thresholds = {} if settings is None else settings.narrow_below_mm2
    narrow = [NARROW.format(name=name.replace("_", " "), mm2=mm2) for name, mm2 in thresholds.items()]
    return AXIAL_EXPLAINED.format(method=method) + "".join(narrow)


def describe_members(members: Sequence[Member]) -> list[str]:
    """Lines for the foot of a page."""
    first = members[0]
    grids = {
        f"{member.grid.size[0]} x {member.grid.size[1]} pixels of {member.grid.spacing_mm:g} mm" for member in members
    }
    lines = [
        f"{len(members)} network(s): {', '.join(member.name for member in members)}",
        f"anatomy {first.anatomy.name}, grid {', '.join(sorted(grids))}",
    ]
    if first.mirror:
        lines.append("every slice looked at twice, left and right exchanged")
    return [*lines, f"paraspine, {date.today().isoformat()}"]


def whom_it_learned_from(members: Sequence[Member]) -> str:
    """Whose pictures the networks learned from, and whether these are people, in one sentence."""
    parts = []
    for member in members:
        cohort = member.config.cohort
        number = f"{member.seen.num_patients} " if member.seen is not None else ""
        kind = "synthetic patients, no person among them" if _is_synthetic(cohort) else "patients"
        parts.append(f"{number}{kind} (cohort {cohort.get('name', 'without a name')})")
    whose = "This network" if len(members) == 1 else f"These {len(members)} networks"
    return f"{whose} learned from {'; '.join(dict.fromkeys(parts))}."


def _is_synthetic(cohort: DictConfig) -> bool:
    """By its maker, its licence or its citation."""
    said = " ".join(str(cohort.get(name, "")) for name in ("_target_", "name", "licence", "citation")).lower()
    return "synthetic" in said or "phantom" in said


def describe_geometry(block: Block) -> str:
    """Size and pixels of a block."""
    depth, rows, columns = block.mask.shape
    apart, row_mm, column_mm = block.volumes[0].spacing_mm
    return f"{depth} slice(s) of {rows} x {columns} pixels of {row_mm:.2f} x {column_mm:.2f} mm, {apart:.1f} mm apart"
