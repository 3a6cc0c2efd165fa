"""The folder that a prediction writes into."""

import json
import re
from pathlib import Path

CARD = "run_card.json"


class OutputFolder:
    """Hands out paths of files, a folder per patient; a prediction that lies there already is replaced.

    Args:
        path: The folder.

    Raises:
        ValueError: If it holds anything else: nobody's files are mixed with a prediction's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: list[str] = []
        self._folders: dict[str, str] = {}  # of patients
        if path.is_file() or (path.exists() and any(path.iterdir()) and not self._clear()):
            raise ValueError(f"output={path}: holds other files; choose a folder of its own for the prediction")
        path.mkdir(parents=True, exist_ok=True)

    def file(self, patient: str, name: str) -> Path:
        """Path of a file of a patient; of all patients where that is ""."""
        parts = [self._folder_of(patient)] if patient else []
        path = self.path.joinpath(*parts, _readable(name))
        path.parent.mkdir(exist_ok=True)
        self._files.append(str(path.relative_to(self.path)))
        return path

    def finish(self) -> list[str]:
        """Every file that was written, relative to the folder."""
        return [*self._files, CARD]

    def _folder_of(self, patient: str) -> str:
        """A patient may be called anything; two never share a folder."""
        if patient not in self._folders:
            name = _readable(patient)
            taken = {other.lower() for other in self._folders.values()}
            number = next(n for n in range(len(taken) + 2) if (f"{name}_{n}" if n else name).lower() not in taken)
            self._folders[patient] = f"{name}_{number}" if number else name
        return self._folders[patient]

    def _clear(self) -> bool:
        """Removes the files of an earlier prediction, if this is one."""
        card = self.path / CARD
        if not card.is_file():
            return False
        written = json.loads(card.read_text()).get("files")
        if written is None:
            return False
        for name in written:
            path = self.path / name
            path.unlink(missing_ok=True)
            if path.parent != self.path and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        return True


def _readable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:100].strip("_") or "unnamed"
