"""A part of a chapter, as a read-out declares it."""

from collections.abc import Callable
from dataclasses import dataclass

from reports.evidence import Evidence
from reports.render.blocks import Block


def everybody(evidence: Evidence) -> bool:
    """For parts whose lack is a gap in every report."""
    return True


def nobody(evidence: Evidence) -> bool:
    """For parts whose lack is no gap."""
    return False


@dataclass(frozen=True)
class Part:
    """A part of a chapter.

    Attributes:
        chapter: Key of one of `reports.chapters.contents.CHAPTERS`.
        place: Order inside it.
        blocks: What it says; nothing where it has nothing to say.
        title: A heading above; "" for none.
        gap: What is said then.
        command: What provides it; `{sweep}` is the command of the paper's table.
        missed_by: Whose gap it is: a report on other slices lacks nothing.
        drawn: Whether it is made of pictures alone, which cost time and have no table.
    """

    chapter: str
    place: int
    blocks: Callable[[Evidence], list[Block]]
    title: str = ""
    gap: str = ""
    command: str = ""
    missed_by: Callable[[Evidence], bool] = everybody
    drawn: bool = False
