"""What one side of a claim is measured on, and what says that it cannot be."""

from dataclasses import dataclass

PREDICTED = "predicted"  # the run's own test, whose arm is ""


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one side of a comparison is measured on: `arm` "predicted" is the own test, `stratum` "" all slices."""

    row: str
    metric: str
    structure: str
    arm: str = PREDICTED
    stratum: str = ""


class GapError(Exception):
    """Something that a claim needs is not in the evidence.

    Args:
        missing: What, in words.
        row: Row that would have to be run, "" if none would help.
        more: What to add to its command line.
    """

    def __init__(self, missing: str, *, row: str = "", more: str = "") -> None:
        super().__init__(missing)
        self.row, self.more = row, more
