"""Errors of writing, by the name of the file: of a full disk the system tells none."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
