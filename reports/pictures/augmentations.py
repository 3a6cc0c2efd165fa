"""Training slices before and after augmentation, as the runs drew them (Baur et al., Fig. 1a)."""

import io
import json
from base64 import b64encode
from pathlib import Path

from PIL import Image

from records.runs import Run
from reports.evidence import Evidence
from reports.render.blocks import Block, Figure, Figures, Gap, Text
from reports.render.formats import listed
from reports.setting import label_of, trained

SHEET = Path("figures") / "augmentations.png"
QUALITY = 88
DENSITY = 1.2  # pixels of the file to a CSS pixel: letters of 6.5 points stay legible, and sharp on a dense screen


def augmentations(evidence: Evidence) -> list[Block]:
    """A sheet of each augmentation among the rows, with their names; nothing where no run folder has a sheet.

    Rows that were trained on slices as they are have none, and say so.
    """
    members: dict[str, list[Run]] = {}
    for run in (run for run in trained(evidence) if not run.scored):
        members.setdefault(_key(run), []).append(run)
    sheets = {key: next(filter(None, map(_sheet, runs)), None) for key, runs in members.items()}
    if not any(sheets.values()):
        return []
    blocks: list[Block] = []
    for key, runs in members.items():
        sheet, rows = sheets[key], {run.row for run in runs}
        names = listed((label_of(evidence, row) for row in evidence.rows if row in rows), 20)
        if sheet is not None:
            blocks.append(Figures(figures=[sheet], caption=f"Slices that {names} trained on, of one run."))
        elif _changes_something(key):
            blocks.append(Gap(f"No run folder of {names} has {SHEET}; training a run writes it."))
        else:
            blocks.append(Text(f"Trained on slices as they are, without augmentation: {names}."))
    return blocks


def _key(run: Run) -> str:
    """The settings of a run's augmentation."""
    node = (run.config.get("data") or {}).get("augmentation") or {}
    return json.dumps({name: value for name, value in node.items() if name != "anatomy"}, sort_keys=True, default=str)


def _changes_something(key: str) -> bool:
    """Whether anything is drawn at random: whatever is has a probability."""
    return any(value for name, value in json.loads(key).items() if name.endswith("_probability"))


def _sheet(run: Run) -> Figure | None:
    """The picture of a run folder; None where there is none or it cannot be read."""
    try:
        with Image.open(run.folder / SHEET) as picture:
            shown = picture.convert("RGB")
    except OSError:
        return None
    stream = io.BytesIO()
    shown.save(stream, format="JPEG", quality=QUALITY, optimize=True)
    source = "data:image/jpeg;base64," + b64encode(stream.getvalue()).decode("ascii")
    alt = "Training slices as stored in the first row, random augmentations of them below, masks as outlines"
    return Figure(source=source, alt=alt, width=round(shown.width / DENSITY))
