"""The summary of a patient: one page that opens from disk and can be printed."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lightning_modules.prediction.page_tables import Table
from records.whole_files import replace_text

# Of a printed A4 page with margins of 9 mm; letters are as wide as those of a sans serif on average.
PAGE_WIDTH_MM, PAGE_HEIGHT_MM = 192.0, 279.0
LARGEST_PT, SMALLEST_PT, MM_PER_PT, MEAN_LETTER = 8.5, 5.5, 25.4 / 72, 0.52
TITLE_MM, GAP_MM, RULE_MM = 12.0, 2.2, 0.5  # the title; around a paragraph; under a line of a table
PADDING_MM = 8 * 25.4 / 96  # of a cell, both sides together
LEAST_PICTURE_MM, MOST_PICTURE_MM = 60.0, 112.0
TEMPLATES = Path(__file__).parent / "templates"
NOTICE = (
    "For research use only. This is no medical device; no diagnosis and no decision about a patient may rest on it. "
    "Outlines and numbers were computed and nobody has checked them."
)
TO_BE_CHECKED = "To be checked before any number is used"
LEARNED = "The network learned from this very scan: how well it does here says nothing of other patients."


@dataclass(kw_only=True)
class ScanSummary:
    """What the page says of one scan.

    Attributes:
        name: Of the scan.
        facts: Lines such as "400 x 400 pixels of 1.02 x 1.02 mm".
        warnings: What speaks against the numbers.
        notes: What was taken for granted.
        refused: Why it was not predicted; empty if it was.
        is_learned: Whether it was among the scans that the network learned from.
    """

    name: str
    facts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    is_learned: bool = False


def write_page(
    path: Path,
    *,
    patient: str,
    scans: Sequence[ScanSummary],
    tables: Sequence[Table],
    sheet: Path | None,
    network: Sequence[str],
    learned: str,
    explained: str,
) -> None:
    """Writes the page with its picture inside; text is escaped, for a scan may be called anything.

    Args:
        path: The HTML file.
        patient: Name of the patient, as the folders have it.
        scans: The scans, refused ones among them.
        tables: Their numbers.
        sheet: The overlay sheet; None where no scan could be predicted.
        network: What predicted them, line by line.
        learned: Whom the network learned from, in the first lines of the page.
        explained: What the columns of the tables mean.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    picture = None if sheet is None else base64.b64encode(sheet.read_bytes()).decode()
    notes = list(dict.fromkeys(text for scan in scans for text in scan.notes))
    words = [NOTICE, learned, explained, " · ".join(network), *notes]
    for scan in scans:
        words += [f"{scan.name} {' · '.join(scan.facts)}", *scan.warnings, scan.refused]
        words += [TO_BE_CHECKED] * bool(scan.warnings) + [LEARNED] * scan.is_learned
    layout = print_layout([word for word in words if word], tables, has_picture=sheet is not None)
    text = environment.get_template("summary.html.j2").render(
        patient=patient,
        scans=scans,
        tables=tables,
        notes=notes,
        picture=picture,
        network=network,
        notice=NOTICE,
        learned=learned,
        to_be_checked=TO_BE_CHECKED,
        learned_from_it=LEARNED.partition(":")[::2],
        layout=layout,
        explained=explained,
    )
    replace_text(path, text)


@dataclass(frozen=True, kw_only=True)
class PrintLayout:
    """How a page is printed so that it is one page of A4, where that is possible.

    Attributes:
        font_pt: Size of the letters.
        picture_mm: What is left for the picture.
        num_pages: About how many pages it takes; more than one only in the smallest letters.
        wraps: Whether a table is wider than the page in the smallest letters, so that its cells take several lines.
    """

    font_pt: float
    picture_mm: float
    num_pages: int = 1
    wraps: bool = False


def print_layout(texts: Sequence[str], tables: Sequence[Table], *, has_picture: bool) -> PrintLayout:
    """Makes the picture as high as the words leave room for, and the letters smaller where that is too little.

    Args:
        texts: Everything that is written beside the tables, a paragraph each.
        tables: A line of a table is a line of the page, its heading may take two.
        has_picture: Whether there is a picture.
    """
    least_mm = LEAST_PICTURE_MM if has_picture else 0.0
    font_pt = left_mm = 0.0
    wraps = False
    for font_pt in np.arange(LARGEST_PT, SMALLEST_PT - 0.01, -0.25):
        line_mm = 1.25 * font_pt * MM_PER_PT
        letter_mm = float(MEAN_LETTER * font_pt * MM_PER_PT)
        wraps = any(_width_mm(table, letter_mm) > PAGE_WIDTH_MM for table in tables)
        paragraphs = sum(ceil(len(text) * letter_mm / PAGE_WIDTH_MM) * line_mm + GAP_MM for text in texts)
        rows = sum(4 + sum(1 + (1 + wraps) * len(group.rows) for group in table.groups) for table in tables)
        left_mm = PAGE_HEIGHT_MM - TITLE_MM - paragraphs - rows * (line_mm + RULE_MM)
        if (left_mm >= least_mm and not wraps) or font_pt == SMALLEST_PT:
            break
    return PrintLayout(
        font_pt=float(font_pt),
        picture_mm=float(np.clip(left_mm, least_mm, MOST_PICTURE_MM)),
        num_pages=ceil(1 + max(0.0, least_mm - left_mm) / PAGE_HEIGHT_MM),
        wraps=wraps,
    )


def _width_mm(table: Table, letter_mm: float) -> float:
    """Width of a table whose headings break between words and whose cells do not break."""
    longest = [max(len(word) for word in heading.split() or [""]) for heading in table.header]
    for group in table.groups:
        for row in group.rows:
            longest = [max(pair) for pair in zip(longest, map(len, row), strict=False)]
    return float(sum(longest) * letter_mm + len(longest) * PADDING_MM)
