"""Networks that the suite ships, learned from synthetic patients alone: found by name, trusted by their hash."""

import hashlib
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from records.whole_files import naming

WEIGHTS = ".safetensors"  # weights that are handed on by themselves, with all that has to be known to use them
STARTER = "starter"  # on a command line: that of the view
FOLDER = Path(__file__).parents[1] / "models" / "weights"  # wherever both are installed
VIEWS: tuple[str, ...] = ("axial", "sagittal")
FENCE = "---"  # around the facts at the head of a card


def weights_of(view: str, folder: Path = FOLDER) -> Path:
    """Where the weights of a view's starter lie, if it has one."""
    return folder / f"{STARTER}_{view}{WEIGHTS}"


def named_weights(name: Any, view: str) -> Path:
    """The file that a setting names, which need not be there; `starter` is that of the view."""
    return weights_of(view) if name == STARTER else Path(str(name)).expanduser()


def starter_of(view: str, folder: Path = FOLDER) -> Path:
    """The weights of a view's starter.

    Args:
        view: Of the slices.
        folder: Where weights and cards lie.

    Raises:
        ValueError: If there is none for the view, or its content is not what its card says.
    """
    path = weights_of(view, folder)
    if not path.is_file():
        raise ValueError(f"there is no starter for {view} slices ({path} is missing): give a checkpoint of your own")
    stated, found = card_facts(path.with_suffix(".md")).get("sha256"), sha256(path)
    if stated != found:
        raise ValueError(
            f"{path}: its SHA-256 is {found}, but its card says {stated}: the file is damaged or not the one that was "
            "published; install the suite again"
        )
    return path


def shipped_starters(folder: Path = FOLDER) -> list[Path]:
    """The starters of all views that have one.

    Raises:
        ValueError: As `starter_of`, for one that is there.
    """
    return [starter_of(view, folder) for view in VIEWS if weights_of(view, folder).is_file()]


def card_facts(card: Path) -> dict[str, str]:
    """What stands between the fences at the head of a card; {} where there is no card or no head.

    Args:
        card: Markdown.
    """
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    if not lines or lines[0] != FENCE or FENCE not in lines[1:]:
        return {}
    facts = OmegaConf.to_container(OmegaConf.create("\n".join(lines[1 : lines.index(FENCE, 1)])))
    return {str(key): str(value) for key, value in facts.items()} if isinstance(facts, dict) else {}


def write_card(card: Path, facts: dict[str, str], words: str) -> None:
    """Writes the facts at the head of a card, and the words below where it has none yet; words of people stay.

    Args:
        card: Markdown.
        facts: Name and value.
        words: What a new card says.
    """
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    if lines and lines[0] == FENCE and FENCE in lines[1:]:
        words = "\n".join(lines[lines.index(FENCE, 1) + 1 :]) + "\n"
    head = OmegaConf.to_yaml(OmegaConf.create(facts))
    with naming(card):
        card.write_text(f"{FENCE}\n{head}{FENCE}\n{words}", encoding="utf-8")


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
