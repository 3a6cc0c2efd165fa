"""Paths of a command line and names of files, as people and other systems write them."""

from pathlib import Path

import pytest

from lightning_modules.prediction.output_folder import OutputFolder
from lightning_modules.tasks.command_line import with_home


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("output=~/x y", "output=/home/anna/x y"),
        ("split.path=~", "split.path=/home/anna"),
        ("+a.b=~/c", "+a.b=/home/anna/c"),
        ("~morphometry", "~morphometry"),
        ("~callbacks.cost=x", "~callbacks.cost=x"),
        ("input=~bert/x", "input=~bert/x"),
        ("a=b=~/c", "a=b=~/c"),
        ("-m", "-m"),
    ],
)
def test_the_home_folder_may_stand_in_any_setting(monkeypatch, word, expected):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/anna"))
    assert with_home(word) == expected


NAMES = [
    *("anna", "anna_2", "anna ", "Anna", "an\u0303a", "a\u00f1a", "\u202eanna", "an\nna", "-rf", "--", "\U0001f600"),
    *("~", ".", "...", "a/b", "a\\b", "C:\\x", "%2e%2e", "$HOME", "*", "\u60a3\u8005 1", "\u60a3\u8005-1", "x" * 400),
]


def test_label_maps_of_any_names_are_unique_whole_visible_and_inside(tmp_path):
    """Also where the file system takes capitals and small letters for the same."""
    folder = OutputFolder(tmp_path / "out put")
    paths = [folder.file(name, name, ".nii.gz") for name in NAMES for _ in range(2)]
    for path in paths:
        path.write_text("")
        assert path.parent.parent == tmp_path / "out put"
        assert not path.name.startswith((".", "-"))
        assert not path.parent.name.startswith((".", "-"))
        assert path.name.isprintable()
        assert len(path.name.encode()) < 255
    names = [str(path.relative_to(tmp_path)).casefold() for path in paths]
    assert len(set(names)) == len(names)
