"""What a run has written into its folder: each writer registers its files, and nothing else is ever overwritten."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from records.whole_files import naming, partial_of, replace_text

IDENTITY = ".identity.json"  # of a folder that is a run's: what config.yaml says once the machine is taken out of it
LIST = ".written.txt"  # a path a line, relative to the run folder; a folder stands for all that is in it
# What runs wrote before they kept the list.
BEFORE = (
    *(IDENTITY, "config.yaml", "run_card.json", "split.csv", "metrics.csv", "cases.csv", "summary.json"),
    *("keypoints.csv", "confusion.csv", "morphometry.csv", "region_outputs.csv", "fusion.csv"),
    *("checkpoints", "figures", "wandb", "arms", "predictions"),
)


class Written:
    """The list of what a run has written into a folder.

    Args:
        folder: Of the run, or of none yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._list = folder / LIST

    @property
    def names(self) -> list[str]:
        """Registered paths, relative to the folder; none where no run began."""
        if self._list.exists():
            return self._list.read_text(encoding="utf-8").splitlines()
        return [name for name in BEFORE if (self.folder / name).exists()] if (self.folder / IDENTITY).exists() else []

    def add(self, *names: str) -> None:
        """Registers paths that are about to be written.

        Raises:
            ValueError: If something lies there that no run has registered.
        """
        known = self.names
        new = [name for name in dict.fromkeys(names) if not _covered(name, known)]
        foreign = [name for name in new if (self.folder / name).exists()]
        if foreign:
            raise ValueError(
                f"{self.folder} has {', '.join(foreign)}, which no run wrote and a run would overwrite: nothing there "
                "was touched. Move it away, or choose another folder (hydra.run.dir=DIR)"
            )
        if not self._list.exists():
            replace_text(self._list, _lines([*known, *new]))
        elif new:
            with naming(self._list), self._list.open("a", encoding="utf-8") as file:
                file.write(_lines(new))

    def delete(self) -> None:
        """Deletes what is registered, what was left of an interrupted writing of it, and folders that are empty then.

        The list goes last: who is killed here goes on here.
        """
        for name in self.names:
            path = self.folder / name
            if not path.resolve().is_relative_to(self.folder.resolve()):
                continue  # a link to elsewhere, or a list that was edited
            for each in (path, partial_of(path)):
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self.folder or not parent.is_dir() or any(parent.iterdir()):
                    break
                parent.rmdir()
        self._list.unlink(missing_ok=True)


def register(*paths: Path) -> None:
    """Registers files, or folders with all that is in them, in the list of the run folder around them.

    Every writer calls it before it writes, those of a training before the first batch. Outside of a run folder nothing
    is ever cleared, and nothing is registered.

    Raises:
        ValueError: If something lies there that no run has written.
    """
    for path in paths:
        folder = next((parent for parent in path.parents if (parent / LIST).exists()), None)
        if folder is not None:
            Written(folder).add(path.relative_to(folder).as_posix())


def _covered(name: str, known: Iterable[str]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in known)


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in names)
