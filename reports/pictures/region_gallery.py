"""Good and poor results of each region, chosen by rule."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from records.predictions import StoredSlice
from reports.evidence import Evidence
from reports.pictures.album import KEYS, Album
from reports.pictures.panels import load_slice, panel
from reports.readouts.regions import shown_regions
from reports.region_scores import region_names
from reports.render.blocks import Block, Figure, Gallery, Heading, PictureRow
from reports.render.formats import number, percent, pick, spoken
from reports.setting import label_of

# Quantiles of Dice over the slices with a picture: neither a lucky nor a hopeless one. Whether the lower one is
# insufficient, as the paper calls its example, is for the reader to say.
SHARES = {"95th percentile": 0.95, "5th percentile": 0.05}


def region_gallery(evidence: Evidence, album: Album) -> list[Block]:
    """A good and a poor slice of each region, truth beside prediction with areas; nothing without pictures."""
    members, regions = region_names(evidence.runs.runs), shown_regions(evidence["regions"])
    own = pick(album.slices, row=evidence.reference)
    chosen = []
    for region in regions:
        scores = pick(evidence["region_cases"], row=evidence.reference, structure=region)
        scores = scores.loc[scores["area_true_mm2"] > 0, [*KEYS, "seed", "dice", "area_true_mm2", "area_pred_mm2"]]
        seen = own[[*KEYS, "seed", "path", "level"]].merge(scores, on=[*KEYS, "seed"])
        chosen += [(region, name, at_quantile(seen, share)) for name, share in SHARES.items()]
    found = [(region, name, entry, load_slice(entry["path"])) for region, name, entry in chosen if entry]
    known = [(region, name, entry, item) for region, name, entry, item in found if item is not None]
    if not known:
        return []
    names = list(album.colours)
    view = album.view([item for *_, item in known])
    rows = []
    for region, name, entry, item in known:
        part = _only(item, [names.index(member) + 1 for member in members[region] if member in names])
        pictures: list[Figure | str] = [panel(item, "image", view, alt=f"{name} {spoken(region)}: image")]
        for kind, area in (("truth", "area_true_mm2"), ("prediction", "area_pred_mm2")):
            drawn = panel(part, kind, view, alt=f"{name} {spoken(region)}: {kind}")
            pictures.append(replace(drawn, caption=f"{number(entry[area], 0)} mm²"))
        note = f"{entry['case']}, slice {entry['slice']}, Dice {percent(entry['dice'])} %"
        rows.append(PictureRow(title=f"{spoken(region)}, {name}", note=note, pictures=pictures))
    caption = (
        f"{label_of(evidence, evidence.reference)}, chosen by rule: of the slices with a picture and the region in the "
        "truth, those at the 95th and the 5th percentile of its Dice. White line: the truth. Bar: 20 mm."
        + (" R is the patient's right." if album.sides else "")
    )
    gallery = Gallery(caption=caption, columns=["image", "truth", "prediction"], rows=rows, legend=album.legend())
    return [Heading("Good and poor results of each region"), gallery]


def at_quantile(slices: pd.DataFrame, share: float) -> dict[str, Any]:
    """The slice at a quantile of Dice (the nearest rank), ties by name; {} without any."""
    order = slices.dropna(subset=["dice"]).sort_values(["dice", *KEYS])
    if order.empty:
        return {}
    return {str(key): value for key, value in order.iloc[round(share * (len(order) - 1))].items()}


def _only(item: StoredSlice, classes: Sequence[int]) -> StoredSlice:
    """The slice with the masks of some classes alone."""
    masks = {
        name: np.where(np.isin(mask, classes), mask, 0)
        for name, mask in (("true_mask", item.true_mask), ("predicted_mask", item.predicted_mask))
    }
    return replace(item, **masks)
