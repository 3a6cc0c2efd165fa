"""The folder that a prediction writes into."""

import re
import unicodedata
from pathlib import Path
from typing import Any

from datamodules.reading.folder_walk import CARD, written_files
from records.whole_files import write_json

MOST_BYTES = 120  # of a name without its suffix; file systems take 255 with it


class OutputFolder:
    """Hands out paths of files, a folder per patient; a prediction that lies there already is replaced.

    From the start the folder says in its run card that it is a prediction's, and which files it has: one that was
    interrupted is known as such, and is replaced as well.

    Args:
        path: The folder.

    Raises:
        ValueError: If it holds anything else: nobody's files are mixed with a prediction's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: list[str] = []
        self._folders: dict[str, str] = {}  # of patients
        self._taken: set[str] = set()
        if path.is_file() or (path.exists() and any(path.iterdir()) and not self._clear()):
            raise ValueError(f"output={path}: holds other files; choose a folder of its own for the prediction")
        path.mkdir(parents=True, exist_ok=True)
        self._taken.add(_as_compared(CARD))
        self.finish({})

    def file(self, patient: str, name: str, suffix: str) -> Path:
        """Path of a new file of a patient; of all patients where that is "".

        A scan may be called anything. Names that can be seen stay as they are; other characters become "_", what is
        too long is cut, and of two that would be one file the second is numbered.
        """
        parts = [self._folder_of(patient)] if patient else []
        path = self.path.joinpath(*parts, self._free_name("/".join(parts), name, suffix))
        path.parent.mkdir(exist_ok=True)
        self._files.append(self.name_of(path))
        self.finish({})
        return path

    def name_of(self, path: Path) -> str:
        """What tables call a file: its path in this folder."""
        return path.relative_to(self.path).as_posix()

    def finish(self, card: dict[str, Any]) -> None:
        """Writes the run card, with the names of all files that were handed out."""
        write_json(self.path / CARD, {**card, "files": [*self._files, CARD]})

    def _folder_of(self, patient: str) -> str:
        if patient not in self._folders:
            self._folders[patient] = self._free_name("", patient, "")
        return self._folders[patient]

    def _free_name(self, folder: str, name: str, suffix: str) -> str:
        """A readable name that no other file of a folder has, whatever the file system takes for the same."""
        stem, number = _readable(name), 1
        while _as_compared(f"{folder}/{stem}{suffix}") in self._taken:
            number += 1
            stem = f"{_readable(name)}_{number}"
        self._taken.add(_as_compared(f"{folder}/{stem}{suffix}"))
        return f"{stem}{suffix}"

    def _clear(self) -> bool:
        """Removes the files of an earlier prediction, if this is one."""
        written = written_files(self.path)
        if written is None:
            return False
        for name in written:
            path = self.path / name
            if self.path.resolve() not in path.resolve().parents:
                continue  # nobody but an edited card names what lies outside
            path.unlink(missing_ok=True)
            if path.parent != self.path and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        return True


def _readable(name: str) -> str:
    """A name of letters and digits of any script, and "._-", that hides no file, leaves no folder and is no option."""
    known = unicodedata.normalize("NFC", name)
    kept = "".join(letter if unicodedata.category(letter)[0] in "LNM" or letter in "._-" else " " for letter in known)
    joined = re.sub(" +", "_", kept)
    short = joined.lstrip("._-").encode()[:MOST_BYTES].decode(errors="ignore").rstrip("._")
    return short or "unnamed"


def _as_compared(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
