"""Synthetic lumbar patients in four steps: patient, anatomy, signal, acquisition."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.phantom.cohort import phantom_cohort
    from datamodules.phantom.settings import PhantomSettings, Population
    from datamodules.phantom.writer import write_cohort, write_into

__all__ = ["PhantomSettings", "Population", "phantom_cohort", "write_cohort", "write_into"]
_HOMES = {"phantom_cohort": "cohort", "write_cohort": "writer", "write_into": "writer"}


def __getattr__(name: str) -> Any:
    """Loads what is asked for, as the processes that draw need none of what reads cohorts, half of their start."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'settings')}"), name)
