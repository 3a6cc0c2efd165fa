"""Synthetic lumbar patients in four steps: patient, anatomy, signal, acquisition."""

from datamodules.phantom.cohort import PhantomSettings, phantom_cohort, write_cohort

__all__ = ["PhantomSettings", "phantom_cohort", "write_cohort"]
