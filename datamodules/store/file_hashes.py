"""Hashes of file contents, which make a change of the data visible wherever results depend on them."""

import json
import logging
import os
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from records.whole_files import naming

log = logging.getLogger(__name__)


class FileHashes:
    """Hashes of file contents, remembered as long as a file's size and time of change stay the same."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of_path(self, path: Path) -> str:
        """Hash of a file, or of the names and contents of all files of a folder."""
        if path.is_dir():
            files = [file for file in sorted(path.rglob("*")) if file.is_file()]
            parts = [f"{file.relative_to(path).as_posix()} {self.of_path(file)}" for file in files]
            return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
        state = path.stat()
        key = f"{path.absolute()}|{state.st_size}|{state.st_mtime_ns}"
        if key not in self._known:
            with path.open("rb") as file:
                self._known[key] = _hash_of_stream(file)
        return self._known[key]

    def load(self, memory: Path) -> None:
        """Adds what an earlier run remembered; a damaged memory is forgotten."""
        try:
            self._known = {**json.loads(memory.read_text()), **self._known}
        except (OSError, ValueError):
            log.debug("no usable file hashes in %s", memory)

    def save(self, memory: Path) -> None:
        """Writes the memory in one step, so that no reader sees half of it."""
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=memory.parent, prefix=".hashes-")
        with naming(memory), os.fdopen(handle, "w") as file:
            json.dump(self._known, file)
        Path(temporary).replace(memory)


def _hash_of_stream(file: BinaryIO) -> str:
    digest = blake2b(digest_size=16)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
