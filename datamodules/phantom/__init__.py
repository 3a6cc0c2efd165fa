"""Synthetic lumbar patients in four steps: patient, anatomy, signal, acquisition."""

from datamodules.phantom.cohort import phantom_cohort
from datamodules.phantom.writer import PhantomSettings, write_cohort

__all__ = ["PhantomSettings", "phantom_cohort", "write_cohort"]
