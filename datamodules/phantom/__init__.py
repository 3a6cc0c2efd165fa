"""Synthetic lumbar patients in four steps: patient, anatomy, signal, acquisition."""

from datamodules.phantom.cohort import phantom_cohort
from datamodules.phantom.settings import PhantomSettings, Population
from datamodules.phantom.writer import write_cohort, write_into

__all__ = ["PhantomSettings", "Population", "phantom_cohort", "write_cohort", "write_into"]
