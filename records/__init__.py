"""What a run leaves on disk, written and read in one room. `records.load_run(folder)` reads a finished run."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from records.notebook import load_run

__all__ = ["load_run"]


def __getattr__(name: str) -> Any:
    """Found when it is asked for: a command line that looks for a run folder need not wait for pandas."""
    if name == "load_run":
        from records.notebook import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
