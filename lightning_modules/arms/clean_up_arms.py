"""Arms of what may follow the network: every picture seen twice, small pieces dropped, levels counted in order."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from datamodules.anatomy import Anatomy
from lightning_modules.evaluation.clean_up import AS_FOUND, CleanUp
from lightning_modules.segmentation import SegmentationModule

SETTINGS = ("mirror", "smallest_piece", "level_order")


def check_clean_up_arm(name: str, settings: Mapping[str, Any], anatomy: Anatomy) -> None:
    """Refuses an arm that cannot be tested, or asks for nothing.

    Args:
        name: Of the arm.
        settings: `mirror` (axial slices once more with left and right exchanged, and the mean of both), and those of
            `lightning_modules.evaluation.clean_up.CleanUp`.
        anatomy: Of the masks.

    Raises:
        ValueError: If the settings are unknown, or the anatomy has no sides to exchange or levels to count.
    """
    if set(settings) - set(SETTINGS) or not any(settings.values()):
        raise ValueError(f"arms.{name} is {dict(settings)}, expected one or more of {', '.join(SETTINGS)}")
    if settings.get("mirror") and anatomy.view != "axial":
        raise ValueError(f"arms.{name}: sagittal slices show no sides to exchange; leave the arm out (~arms.{name})")
    CleanUp.of(settings, anatomy, f"arms.{name}")


@contextmanager
def cleaned_up(module: SegmentationModule, name: str, settings: Mapping[str, Any], anatomy: Anatomy) -> Iterator[None]:
    """Tests with what an arm asks for, and as the network says again afterwards."""
    try:
        module.mirrors = bool(settings.get("mirror"))
        module.clean_up = CleanUp.of(settings, anatomy, f"arms.{name}")
        yield
    finally:
        module.mirrors, module.clean_up = False, AS_FOUND
