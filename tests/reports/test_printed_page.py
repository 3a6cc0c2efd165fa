"""The page of a patient on paper: one sheet where that is possible, said where it is not, and no number lost.

There is no browser here. What the page writes is set again, line by line, with the widths of a sans serif.
"""

import re
from html.parser import HTMLParser
from math import ceil

import numpy as np
import pytest
from PIL import Image, ImageFont

from lightning_modules.evaluation.measurement import morphometry_settings
from lightning_modules.prediction.measuring import measure_scan
from lightning_modules.prediction.page import ScanSummary, write_page
from lightning_modules.prediction.page_tables import tables_of
from lightning_modules.prediction.page_words import explain
from tests.conftest import ROOT, compose_line
from tests.made.predicted_scans import anatomy_of, block_with

ANATOMIES = sorted(path.stem for path in (ROOT / "conf" / "anatomy").glob("*.yaml"))
FONT = ImageFont.load_default(size=100)
PAGE_MM = (279.0, 192.0)  # A4 with margins of 9 mm
FACTS = ["1 slice(s) of 200 x 200 pixels of 0.80 x 0.80 mm, 4.0 mm apart"]


def rows_of(anatomy_name, tmp_path, generated, *, num_blocks):
    """Rows of morphometry.csv with every structure of an anatomy on every block, by networks that differ a little."""
    anatomy = anatomy_of(anatomy_name)
    config = compose_line(tmp_path / "run", generated, f"anatomy={anatomy_name}")
    masks = [np.zeros((200, 200), np.uint8) for _ in range(4)]  # the mean of three networks, and each
    for index in range(anatomy.num_structures):
        top, left = 5 + 36 * (index // 5), 5 + 38 * (index % 5)
        for member, mask in enumerate(masks):
            mask[top + member : top + 30, left : left + 33 - member] = index + 1
    block = block_with(masks[0], (0.8, 0.8), number=1, member_masks=tuple(mask[None] for mask in masks[1:]))
    taught = np.ones(anatomy.num_structures + 1, bool)
    chosen = morphometry_settings(config)
    table = measure_scan([block], anatomy, taught, chosen, "T2")
    # Measured once: every block has the same numbers under a name of its own.
    rows = [{str(column): value for column, value in row.items()} for row in table.to_dict("records")]
    names = [f"scan_block{number + 1}.nii.gz" for number in range(num_blocks)]
    return [{**row, "label_map": name} for name in names for row in rows], explain(anatomy.view, chosen)


def page_of(tmp_path, rows, explained, **scan):
    Image.new("RGB", (1260, 780)).save(tmp_path / "overlay.png")
    write_page(
        tmp_path / "page.html",
        patient="anna",
        scans=[ScanSummary(name="scan", facts=FACTS, **scan)],
        tables=tables_of(rows),
        sheet=tmp_path / "overlay.png",
        network=["3 network(s): a, b, c", "anatomy axial7, grid 256 x 256 pixels of 0.8 mm", "paraspine, 2026-11-30"],
        learned="These 3 networks learned from 40 patients (cohort axial_muscle).",
        explained=explained,
    )
    return (tmp_path / "page.html").read_text()


class Page(HTMLParser):
    """What stands on a page: (tag, class, text) of every block of words, and the rows of its tables as cells."""

    def __init__(self, text):
        super().__init__()
        self.blocks, self.tables, self._open = [], [], []
        self.feed(text[text.index("<body>") :])

    def handle_starttag(self, tag, attrs):
        kind = dict(attrs).get("class", "")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append((tag, kind, ""))
            self._open.append(self.tables[-1][-1])
        elif tag in ("h1", "p", "li", "caption"):
            self.blocks.append((tag, kind, ""))
            self._open.append(self.blocks)

    def handle_endtag(self, tag):
        if tag in ("td", "th", "h1", "p", "li", "caption"):
            self._open.pop()

    def handle_data(self, data):
        if self._open:
            tag, kind, text = self._open[-1][-1]
            self._open[-1][-1] = (tag, kind, text + data)


def printed(text):
    """Height and width in mm of what is printed: the words wrapped, the rows of the tables, the picture."""
    page, style = Page(text), text[text.index("@media print") : text.index("</style>")]
    points = float(re.search(r"h2, p.* font-size: ([\d.]+)pt", style)[1])
    picture = float(re.search(r"img { max-height: ([\d.]+)mm", style)[1])
    mm = points * 25.4 / 72
    line, wide = 1.25 * mm, lambda words: FONT.getlength(words) / 100 * mm
    height = picture + 2 + 8  # its margins; the title
    for tag, kind, words in page.blocks:
        if tag == "h1" or ("paper" in kind and ".paper { display: block; }" not in style):
            continue
        height += ceil(wide(words) / PAGE_MM[1]) * line + (0.8 if tag == "li" else 1.6)
    width = 0.0
    for table in page.tables:
        columns = np.zeros(len(table[0]))
        for row in table:
            if len(row) == len(columns):
                for place, (tag, _, words) in enumerate(row):
                    parts = words.split() if tag == "th" else [words]
                    columns[place] = max(columns[place], *(wide(part) for part in parts))
            height += line + 0.3
        columns += 8 * 25.4 / 96
        height += line * max(
            ceil(wide(words) / column) for (_, _, words), column in zip(table[0], columns, strict=True)
        )
        width = max(width, columns.sum())
    return height, width


SAYS_PAGES = re.compile(r"this goes on over about (\d+) pages")


@pytest.mark.parametrize("name", ANATOMIES)
@pytest.mark.parametrize("num_blocks", [1, *(pytest.param(number, marks=pytest.mark.slow) for number in (6, 40))])
def test_what_is_printed_fits_one_sheet_or_says_that_it_does_not(tmp_path, generated, name, num_blocks):
    rows, explained = rows_of(name, tmp_path, generated, num_blocks=num_blocks)
    text = page_of(tmp_path, rows, explained, warnings=["word " * 30] * 3, is_learned=True)
    height, width = printed(text)
    assert width < PAGE_MM[1], "a column beyond the edge of the paper is lost"
    told = SAYS_PAGES.search(text)
    assert told or height < PAGE_MM[0]
    if told:
        assert height > 0.9 * PAGE_MM[0], "fonts differ: what nearly fills a sheet may be said to need two"
        assert 0 <= int(told[1]) - ceil(height / PAGE_MM[0]) <= 1
        assert "table { break-inside: auto; }" in text, "a table that is kept whole leaves the rest of a sheet empty"
    assert num_blocks < 40 or told


@pytest.mark.slow
@pytest.mark.parametrize("name", ANATOMIES)
def test_no_row_of_the_longest_table_is_lost(tmp_path, generated, name):
    rows, explained = rows_of(name, tmp_path, generated, num_blocks=40)
    text = page_of(tmp_path, rows, explained)
    page = Page(text)
    lines = [row for table in page.tables for row in table if row[0][0] == "td"]
    assert lines
    anatomy = anatomy_of(name)
    if anatomy.view == "axial":
        assert len(lines) == len({(row["label_map"], row["structure"]) for row in rows})
    else:
        kinds = [anatomy.series.get(kind, ()) for kind in ("vertebra", "disc")]
        assert len(lines) == 40 * (sum(map(len, kinds)) + 1), "and the lordosis"
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"overflow(-y)?: (hidden|clip)|(?<!max-)(?<!line-)height: \d|line-clamp", style)


def test_cells_too_wide_for_the_paper_break_into_lines(tmp_path, generated):
    """Both scales of grades, each with what every network of an ensemble says."""
    rows, explained = rows_of("starter_axial", tmp_path, generated, num_blocks=2)
    rows = [{**row, "goutallier": row["goutallier_simplified"], "fat_fraction_signal": 0.251} for row in rows]
    shares = {f"goutallier{kind}_probability_{grade}": 0.333 for kind in ("", "_simplified") for grade in "abc"}
    rows = [row | shares for row in rows]
    text = page_of(tmp_path, rows, explained)
    assert printed(text)[1] > PAGE_MM[1]
    style = text[text.index("@media print") : text.index("</style>")]
    assert re.search(r"td:first-child { white-space: normal; }", style)
    narrow, explained = rows_of("vertebrae5", tmp_path, generated, num_blocks=2)
    style = page_of(tmp_path, narrow, explained).partition("@media print")[2]
    assert "white-space: normal" not in style.partition("</style>")[0]
