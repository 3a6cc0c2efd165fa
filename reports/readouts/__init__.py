"""What a report reads out of its runs, ONE file each, found by being here.

A file has what it needs of:

* `build(sources)`: its tables by name, from the run folders;
* `FILES`: which of them are files of a report, each with a line on what it is;
* its `Table`s, declared once for Markdown, LaTeX, the terminal and the page;
* `PARTS`: what it says, and in which chapter.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from reports.chapters.parts import Part
    from reports.sources import Sources


@cache
def readouts() -> tuple[ModuleType, ...]:
    """All of them, by name."""
    return tuple(import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))


def built_tables(sources: "Sources") -> dict[str, pd.DataFrame]:
    """The tables of all of them."""
    builders = [module.build for module in readouts() if hasattr(module, "build")]
    return {name: table for build in builders for name, table in build(sources).items()}


def files() -> Mapping[str, str]:
    """Tables that are files where they have a row (`NAME.csv`), and what each is."""
    return {name: text for module in readouts() for name, text in getattr(module, "FILES", {}).items()}


def declared_parts() -> Iterator["Part"]:
    """The parts of all of them."""
    for module in readouts():
        yield from getattr(module, "PARTS", ())
