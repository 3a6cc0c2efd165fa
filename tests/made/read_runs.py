"""Small grids of run folders, and what is read of them."""

import json

SMALL = {"num_patients": 8, "num_folds": 2}


def rows(runs):
    return sorted({run.row for run in runs.runs})


def edit_card(folder, **entries):
    card = json.loads((folder / "run_card.json").read_text()) | entries
    (folder / "run_card.json").write_text(json.dumps(card))
