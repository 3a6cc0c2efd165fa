"""The chapters of a report in order; what is in them, the read-outs declare (`PARTS` of each file of `readouts`)."""

from collections.abc import Iterator

from reports.chapters.headline import headline
from reports.chapters.parts import Part, nobody
from reports.chapters.protocol import commands, rules
from reports.evidence import Evidence
from reports.pictures.album import open_album
from reports.pictures.augmentations import augmentations
from reports.pictures.gallery import features, gallery
from reports.readouts import declared_parts
from reports.render.blocks import Block, Gap, Grid, Heading, Section, grids
from reports.setting import prints_boxes, sweep

CHAPTERS = {
    "headline": "Result",
    "table": "The paper's table",
    "statistics": "Statistics",
    "setting": "A setting that the paper varies",
    "labels": "Labels against accuracy",
    "keypoints": "Key points and levels",
    "robustness": "Orientation and position",
    "muscles": "Muscle and fat",
    "measurements": "Measurements",
    "thresholds": "Areas below a threshold",
    "detection": "Detection and boxes",
    "claims": "Claims of the paper",
    "mechanism": "Mechanism",
    "training": "Training",
    "augmentation": "Augmentation",
    "pictures": "Pictures",
    "cost": "Cost",
    "protocol": "Protocol, folds, commands",
}
PARTS = (
    Part("headline", 0, headline),
    Part("mechanism", 9, lambda known: features(known, open_album(known)), missed_by=prints_boxes, drawn=True),
    Part("augmentation", 0, augmentations, drawn=True),
    Part("pictures", 0, lambda known: gallery(known, open_album(known)), drawn=True),
    Part("protocol", 0, rules),
    Part("protocol", 2, commands),
)


def sections(evidence: Evidence, *, pictures: bool = True) -> list[Section]:
    """The chapters that have something to say, or lack something that belongs to such a report.

    Args:
        evidence: What the report says.
        pictures: Whether parts that are made of pictures alone are among them.
    """
    parts = [part for part in (*PARTS, *declared_parts()) if pictures or not part.drawn]
    found = []
    for key, title in CHAPTERS.items():
        own = sorted((part for part in parts if part.chapter == key), key=lambda part: part.place)
        said = [(part.title, blocks) for part in own if (blocks := _said(part, evidence))]
        if len(own) > 1 and len(said) == 1 and said[0][0]:  # a chapter of one part is called as that is
            found.append(Section(key=key, title=said[0][0], blocks=said[0][1]))
        elif said:
            blocks = [block for name, part in said for block in ([Heading(name)] if name else []) + part]
            found.append(Section(key=key, title=title, blocks=blocks))
    return found


def printed_tables(evidence: Evidence) -> Iterator[Grid]:
    """The tables of all chapters."""
    for section in sections(evidence, pictures=False):
        yield from grids(section.blocks)


def _said(part: Part, evidence: Evidence) -> list[Block]:
    """What a part says, or what it lacks; nothing where that is no gap of such a report."""
    blocks = part.blocks(evidence)
    # Without a table of rows, what would be said of them is no gap that a command fills.
    asked = part.missed_by(evidence) and (evidence.rows or not evidence.runs.everything)
    if not blocks and part.gap and asked:
        return [Gap(part.gap, part.command.format(sweep=sweep(evidence)))]
    silent = all(block.kind in ("gap", "heading") for block in blocks)
    return [] if silent and not asked and part.missed_by is not nobody else blocks
