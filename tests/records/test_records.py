"""What the processes of one run have found, joined."""

import pytest
from torch import distributed

from lightning_modules.evaluation.rows import of_all_processes
from records.whole_files import write_json


def test_slices_of_several_processes_are_joined_and_none_counts_twice(monkeypatch):
    """A sampler that pads deals a slice to two processes."""
    found = [{0: "a", 2: "c"}, {1: "b", 0: "a"}]

    def gather(parts, own):
        assert own == found[1]
        parts[:] = found

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_gather_object", gather)
    assert of_all_processes(found[1]) == {0: "a", 1: "b", 2: "c"}


def test_a_single_process_has_what_it_has():
    assert of_all_processes({3: "x"}) == {3: "x"}


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "summary.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"dice": float("nan")})
    assert not path.exists()
    write_json(path, {"dice": None})
    assert path.read_text() == '{\n  "dice": null\n}\n'
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]
    with pytest.raises(FileNotFoundError, match="vanished"):  # a run folder that was deleted is not made anew
        write_json(tmp_path / "vanished" / "summary.json", {})
