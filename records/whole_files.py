"""Files that are whole or not there, and errors by the name of the file: of a full disk the system tells none."""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives an error that comes while a file is written the name of the file, if it has none.

    Libraries that write by themselves (torch, ITK) raise RuntimeError.

    Args:
        path: The file.

    Raises:
        OSError: With `filename`.
    """
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise OSError(errno.EIO, f"cannot be written ({reason})", str(path)) from error
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error


def check_there(folder: Path) -> None:
    """Refuses to go on where the folder of a run has vanished under it: nothing makes it anew.

    Raises:
        FileNotFoundError: If it has.
    """
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder of a running training has vanished", str(folder))


def replace_text(path: Path, text: str) -> None:
    """Writes a file as a whole or not at all, also where the machine goes down at that moment.

    Its folder is there already: one that vanished is not made anew.

    Raises:
        OSError: With the name of the file; what was there before stays.
    """
    partial = partial_of(path)
    try:
        with naming(path), partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def partial_of(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(f".{path.name}.partial")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes nested, JSON-ready values; NaN is refused, None stands for what is undefined."""
    replace_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object that a run has left.

    Args:
        path: The file.
        remedy: What to do if it is damaged.

    Raises:
        ValueError: If it is missing, empty, cut off or no object; with the remedy.
    """
    if not path.exists():
        raise ValueError(f"{path} is missing: {remedy}")
    damage = "cut off or was edited" if path.read_bytes().strip() else "empty"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path} is {damage}: {remedy}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no object: {remedy}")
    return content
