"""Pictures of test slices: which ones are chosen, by rules that the captions state, and how they are laid out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from records.predictions import StoredSlice
from reports.endpoint import averaged_kind
from reports.evidence import Evidence
from reports.pictures.album import KEYS, Album
from reports.pictures.panels import View, load_slice, panel
from reports.pictures.region_gallery import region_gallery
from reports.render.blocks import Block, Figure, Gallery, Gap, Heading, PictureRow
from reports.render.formats import has_values, is_number, number, percent, pick
from reports.setting import label_of, prints_boxes

AGAIN = "python run.py task=test checkpoint=RUN/checkpoints/best.ckpt output=RUN, with the run's own settings"
PREDICTS = "Coloured: the prediction; white line: the truth."
BOXES = "Boxes: the network's solid, true ones dashed. "
AGREES = "Colours of the systems: where truth and prediction agree, as the legend says."


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a row of the paper's Fig. 5 is chosen: at a level, the case with the lowest or highest factor."""

    title: str
    level: str
    factor: str
    highest: bool


# The paper's case 1: L3/4, boundary between multifidus and erector spinae hard to find; cases 2 and 3: severe fat.
FIGURE_5 = (
    Rule(title="faded fascia, L3/4", level="L3/4", factor="fascia_contrast", highest=False),
    Rule(title="fattest, L5/S1", level="L5/S1", factor="fat_fraction", highest=True),
    Rule(title="fattest, L4/5", level="L4/5", factor="fat_fraction", highest=True),
)


def gallery(evidence: Evidence, album: Album) -> list[Block]:
    """Worst, median and best cases of the reference, and the paper's Fig. 5."""
    label = label_of(evidence, evidence.reference)
    if album.slices.empty:
        text = (
            "No run folder has a folder predictions/, so there are no pictures of test slices; testing a run writes it."
        )
        return [Gap(text, AGAIN)]
    own = pick(album.slices, row=evidence.reference).dropna(subset=["dice"])
    blocks: list[Block] = [Heading(f"Worst, median and best cases of {label}")]
    if own.empty:
        blocks.append(Gap(f"There are no pictures of the reference {label}, by which cases are chosen.", AGAIN))
    else:
        blocks += _ranked_cases(evidence, album, own)
    regions = region_gallery(evidence, album)
    if regions or not album.sides:
        return [*blocks, *regions]
    own_figure = ", as in the paper's Fig. 5" if prints_boxes(evidence) else ""
    blocks.append(Heading(f"Difficult cases{own_figure}"))
    return blocks + _figure_5(evidence, album, own if len(own) else album.slices)


def ranked(slices: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    """Worst, median and best slice by mean Dice, ties by name; fewer where there are fewer."""
    order = slices.sort_values(["dice", *KEYS]).to_dict("records")
    places = {"worst": 0, "median": (len(order) - 1) // 2, "best": len(order) - 1}
    chosen: dict[int, list[str]] = {}
    for name, place in places.items():
        chosen.setdefault(place, []).append(name)
    return [(" and ".join(names), order[place]) for place, names in chosen.items()]


def _ranked_cases(evidence: Evidence, album: Album, own: pd.DataFrame) -> list[Block]:
    cases = [(name, entry, load_slice(entry["path"])) for name, entry in ranked(own)]
    known = [(name, entry, item) for name, entry, item in cases if item is not None]
    if not known:
        return [Gap("The chosen pictures in predictions/ cannot be read.", AGAIN)]
    view = album.view([item for *_, item in known])
    kinds = {"image": "image", "truth": "truth", "prediction": "prediction"}
    kinds |= {"agreement": "agreement"} if album.agreement else {}
    kinds |= {"boxes": "boxes"} if any(len(item.network_boxes) for *_, item in known) else {}
    kinds |= {"saliency": "saliency"} if any(item.saliency.size for *_, item in known) else {}
    rows = [
        PictureRow(
            title=name,
            note=_about(entry),
            pictures=[_shown(item, kind, view, f"{name} case {entry['case']}: {kind}") for kind in kinds],
        )
        for name, entry, item in known
    ]
    caption = (
        f"Chosen by rule: of the {len(own)} test slices with a picture ({album.num_scored} were scored), those with "
        f"the lowest, median and highest Dice (mean over {averaged_kind(evidence)}). White line: the truth. "
        f"{BOXES if 'boxes' in kinds else ''}{_display(album)}"
    )
    return [Gallery(caption=caption, columns=list(kinds), rows=rows, legend=album.legend())]


def _figure_5(evidence: Evidence, album: Album, own: pd.DataFrame) -> list[Block]:
    blocks: list[Block] = []
    chosen: list[tuple[Rule, dict[str, Any]]] = []
    for rule in FIGURE_5:
        entry, missing = choose(own, rule)
        if entry is None:
            blocks.append(Gap(f"{rule.title}: {missing}."))
        else:
            chosen.append((rule, entry))
    rows_of = [row for row in evidence.rows if len(pick(album.slices, row=row))]
    found = [[album.find(row, entry) for row in rows_of] for _, entry in chosen]
    truths = [next((item for item, _ in line if item is not None), None) for line in found]
    shown = [item for item in truths if item is not None]
    if not shown:
        return blocks
    view = album.view(shown)
    kind, shows = ("agreement", AGREES) if album.agreement else ("prediction", PREDICTS)
    rows = []
    for (rule, entry), line, truth in zip(chosen, found, truths, strict=True):
        if truth is not None:
            pictures: list[Figure | str] = [_shown(truth, k, view, f"{rule.title}: {k}") for k in ("image", "truth")]
            for row, (item, dice) in zip(rows_of, line, strict=True):
                name = label_of(evidence, row)
                pictures.append(_shown(item, kind, view, f"{rule.title}: {name}", f"Dice {percent(dice)} %"))
            rows.append(PictureRow(title=rule.title, note=_about(entry, rule.factor), pictures=pictures))
    rules = "; ".join(
        f"{rule.title}: {'highest' if rule.highest else 'lowest'} {rule.factor} among slices at {rule.level}"
        for rule, _ in chosen
    )
    absent = [label_of(evidence, row) for row in evidence.rows if row not in rows_of]
    caption = f"Chosen by rule, not by result: {rules}. {shows} {_display(album)}"
    caption += f" Without pictures: {', '.join(absent)}." if absent else ""
    columns = ["image", "truth", *(label_of(evidence, row) for row in rows_of)]
    return [Gallery(caption=caption, columns=columns, rows=rows, legend=album.legend()), *blocks]


def choose(slices: pd.DataFrame, rule: Rule) -> tuple[dict[str, Any] | None, str]:
    """The slice that a rule asks for, or what is missing."""
    if not has_values(slices, rule.factor):
        return None, f"the cohort does not say {rule.factor} (a column of cohort.csv), by which the case is chosen"
    there = pick(slices, level=rule.level).dropna(subset=[rule.factor])
    if there.empty:
        return None, f"no slice with a picture at level {rule.level} has {rule.factor}"
    order = there.sort_values([rule.factor, *KEYS], ascending=[not rule.highest, True, True])
    return {str(key): value for key, value in order.iloc[0].items()}, ""


def features(evidence: Evidence, album: Album) -> list[Block]:
    """Features before and after the gate of every row that wrote them, on the median slice of the reference."""
    own = pick(album.slices, row=evidence.reference).dropna(subset=["dice"])
    own = own if len(own) else album.slices
    entry = dict(ranked(own)).get("median", ranked(own)[0][1]) if len(own) else None
    found = [(row, *album.find(row, entry)) for row in evidence.rows] if entry is not None else []
    gated = [
        (row, item, dice)
        for row, item, dice in found
        if item is not None and item.saliency.size and item.gated_features.size
    ]
    if entry is None or not gated:
        text = "No run has pictures of both saliency and the features before its gate, so the gate cannot be shown."
        return [Gap(text, AGAIN)]
    view = album.view([item for _, item, _ in gated])
    columns = {"image": "image", "features": "features before the gate", "saliency": "saliency"}
    columns |= {"gated": "features after the gate"}
    rows = [
        PictureRow(
            title=(name := label_of(evidence, row)),
            note=_about({**entry, "dice": dice}),
            pictures=[_shown(item, kind, view, f"{name}: {title}") for kind, title in columns.items()],
        )
        for row, item, dice in gated
    ]
    caption = (
        "The median slice of the reference. Features: mean of their absolute values over channels, scaled to the "
        "maximum before the gate; after the gate: the same times the saliency, on the same scale (black 0, yellow 1). "
        + _display(album)
    )
    return [Gallery(caption=caption, columns=list(columns.values()), rows=rows)]


def _shown(item: StoredSlice | None, kind: str, view: View, alt: str, caption: str = "") -> Figure | str:
    """A panel, or a word where the slice has nothing of the kind."""
    if item is None:
        return "no picture"
    if (kind == "boxes" and not len(item.network_boxes)) or (kind == "saliency" and not item.saliency.size):
        return f"no {kind}"
    drawn = panel(item, kind, view, alt=alt)
    return Figure(source=drawn.source, alt=drawn.alt, width=drawn.width, caption=caption)


def _about(entry: Mapping[str, Any], factor: str = "") -> str:
    """Name, level (without one the slice), factor or Dice of a case."""
    known = isinstance(entry.get("level"), str) and entry["level"]
    level = f" {entry['level']}" if known else f", slice {entry['slice']}"
    value = f", {factor} {number(entry[factor], 2)}" if factor else ""
    dice = f", Dice {percent(entry['dice'])} %" if not factor and is_number(entry.get("dice")) else ""
    return f"{entry['case']}{level}{value}{dice}"


def _display(album: Album) -> str:
    sides = "Radiological view: R is the patient's right, on the image's left. " if album.sides else ""
    return f"{sides}Bar: 20 mm."
