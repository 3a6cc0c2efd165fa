"""What lies below a folder: links are followed, and what an earlier prediction wrote is recognised."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

CARD = "run_card.json"  # in it, a prediction lists its files


@dataclass
class Walk:
    """The files of a folder and of all folders in it.

    Attributes:
        files: Paths in order, hidden ones and DICOMDIR left out.
        left_aside: Folders and links that were not looked into, with the reason.
    """

    files: list[Path] = field(default_factory=list)
    left_aside: dict[Path, str] = field(default_factory=dict)


def walk(root: Path) -> Walk:
    """Lists what lies below a folder, each folder once even where links lead to it; a file is listed as itself."""
    if root.is_file():
        return Walk(files=[root])
    found = Walk()
    seen = {os.path.realpath(root): root}

    def not_readable(error: OSError) -> None:
        found.left_aside[Path(error.filename)] = f"cannot be read ({error.strerror})"

    if is_prediction(root):
        found.left_aside[root] = "holds what an earlier prediction wrote"
        return found
    for folder, names, files in os.walk(root, followlinks=True, onerror=not_readable):
        here = Path(folder)
        for name in sorted(names):
            child, real = here / name, os.path.realpath(here / name)
            if name.startswith("."):
                names.remove(name)
            elif real in seen:
                found.left_aside[child] = f"leads to the same folder as {seen[real]}"
                names.remove(name)
            elif is_prediction(child):
                found.left_aside[child] = "holds what an earlier prediction wrote"
                names.remove(name)
            else:
                seen[real] = child
        names.sort()
        for name in files:
            if name.startswith(".") or name.upper() == "DICOMDIR":
                continue
            if (here / name).is_file():
                found.files.append(here / name)
            else:
                found.left_aside[here / name] = "is a link to nowhere, or no file"
    found.files.sort()
    return found


def is_prediction(folder: Path) -> bool:
    """Whether a folder was written by a prediction, finished or not."""
    return written_files(folder) is not None


def written_files(folder: Path) -> list[str] | None:
    """What a prediction wrote into a folder, relative to it; None where there was none."""
    try:
        listed = json.loads((folder / CARD).read_text(encoding="utf-8")).get("files")
    except (OSError, ValueError, AttributeError):
        return None
    return [str(name) for name in listed] if isinstance(listed, list) else None
