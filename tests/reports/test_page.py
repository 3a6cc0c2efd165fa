import base64
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from records.runs import load_runs
from reports.chapters.contents import sections
from reports.chapters.order import compared, order_sentence
from reports.collect import gather
from reports.render.blocks import grids
from reports.render.page import write_page
from tests.made.run_folders import write_grid, write_run

pytestmark = pytest.mark.slow  # whole reports

KEYS = ["headline", "table", "statistics", "detection", "claims"]
KEYS += ["mechanism", "training", "pictures", "cost", "protocol"]
VOID = {"meta", "link", "img", "br", "hr", "input"}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CLAIM = {
    "id": "c1",
    "paper": "bs_esnet",
    "section": "3",
    "claim": "The gate helps.",
    "test": "superior",
    "metric": "dice",
    "margin": 0.005,
}
CLAIM |= {"effect": 0.012, "ci95_low": 0.001, "ci95_high": 0.02, "num_patients": 30, "cost": "8 runs", "note": "n"}


class Reader(HTMLParser):
    """Elements of a page, and whether every one is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.crossed, self.texts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.crossed.append((tag, self.getpos()))

    def handle_data(self, data):
        self.texts.append(data)

    def attributes(self, tag, name):
        return [attributes.get(name) for found, attributes in self.elements if found == tag]

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    write_grid(folder, num_patients=12, predictions=True, arms={"annotated": 0.0, "shuffled": 0.02})
    write_grid(folder / "published", ["unet", "bs_esnet"], num_patients=12, split="as published")
    (folder / "grid_bs_esnet_table1.csv").write_text("cell,experiment,ablation,split,fold,seed,overrides,status\n")
    found = gather(load_runs([folder]), table="bs_esnet_table1", reference=None, margin=0.005)
    verdicts = ("reproduced", "within noise", "not reached", "contradicted", "not testable")
    return found.with_tables(claims=pd.DataFrame([CLAIM | {"verdict": verdict} for verdict in verdicts]))


@pytest.fixture(scope="module")
def built(evidence):
    return sections(evidence)


@pytest.fixture(scope="module")
def page(evidence, built, tmp_path_factory):
    return page_of(evidence, built, tmp_path_factory.mktemp("report"))


def page_of(evidence, built, folder):
    """The page of sections that are there already, as drawing them is what takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.render.page.sections", lambda _: built)
        return write_page(evidence, folder)


@pytest.fixture(scope="module")
def reader(page):
    return Reader(page.read_text(encoding="utf-8"))


def emptied(evidence):
    """The same with nothing in it but a name."""
    tables = {name: value.iloc[:0] for name, value in evidence.tables.items()}
    runs = replace(evidence.runs, runs=(), problems=(), expected=pd.DataFrame())
    return replace(evidence.with_tables(**tables), runs=runs, rows=(), notes=())


def kinds(found):
    """Kinds of the blocks of each section."""
    return {section.key: {block.kind for block in section.blocks} for section in found}


def test_a_dice_has_one_decimal_in_every_table(built):
    shown = {
        (table.title, name): [row[place] for row in table.rows]
        for section in built
        for table in grids(section.blocks)
        for place, name in enumerate(table.header)
        if "Dice, %" in name or (place and table.title.startswith("Dice by structure in percent"))
    }
    assert len(shown) >= 4
    texts = {key: " ".join(cell.text for cell in cells) for key, cells in shown.items()}
    found = {key: {len(digits) for digits in re.findall(r"\d\.(\d+)", text)} for key, text in texts.items()}
    assert {key: digits for key, digits in found.items() if not digits <= {1}} == {}
    assert {1} in found.values()


def test_every_section_is_there_once_and_nothing_is_missing(reader, built):
    assert [key for key in reader.attributes("section", "id") if key] == KEYS
    assert reader.attributes("a", "href") == [f"#{key}" for key in KEYS]
    missing = "fattest, L5/S1: no slice with a picture at level L5/S1 has fat_fraction."  # the cohort has no such level
    assert reader.text.count("Missing.") == reader.text.count(f"Missing. {missing}") == 1
    assert {"table", "figures"} <= kinds(built)["statistics"]


def test_elements_are_closed_in_order(reader):
    assert reader.crossed == []
    assert reader.open == []


def test_pictures_hold_data_and_say_what_they_show(reader):
    sources = reader.attributes("img", "src")
    assert len(sources) > 30
    assert all(reader.attributes("img", "alt"))
    for source in sources:
        kind, data = source.split(";base64,")
        raw = base64.b64decode(data, validate=True)
        if kind == "data:image/jpeg":
            with Image.open(io.BytesIO(raw)) as picture:
                assert np.asarray(picture).std() > 5
        else:
            assert kind == "data:image/svg+xml"
            assert len(list(ElementTree.fromstring(raw).iter())) > 20


def test_nothing_is_loaded_from_elsewhere(page, reader):
    loaded = [
        value
        for _, attributes in reader.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action", "poster")
    ]
    assert [value for value in loaded if not value.startswith(("data:", "#"))] == []
    styles = re.sub(r'src="data:[^"]*"', "", page.read_text(encoding="utf-8"))
    assert re.findall(r"url\(|@import|https?://", styles) == []
    for source in reader.attributes("img", "src"):
        if source.startswith("data:image/svg"):
            drawing = base64.b64decode(source.split(",")[1]).decode()
            links = re.findall(r'href="([^"]{0,30})', drawing)
            assert [link for link in links if not link.startswith(("#", "data:image/png"))] == []


def test_names_are_escaped(evidence, tmp_path):
    labels = dict.fromkeys(evidence.labels, "") | {row: f"<b>{row} & $x_1$</i>" for row in evidence.rows}
    text = write_page(replace(evidence, labels=labels), tmp_path).read_text(encoding="utf-8")
    reader = Reader(text)
    assert reader.crossed == []
    assert "<b>bs_esnet &" not in text
    assert "<b>bs_esnet & $x_1$</i>" in reader.text


def test_published_and_own_numbers_stand_in_one_cell(evidence, reader):
    entry = evidence["table"].query("row == 'bs_esnet' and structure == 'disc' and split == 'by patient'").iloc[0]
    assert f"{entry['slice_mean']:.1f} ± {entry['slice_sd']:.1f} (97.5 ± 1.8)" in reader.text
    assert "Mask R-CNN no finished run" in reader.text


def test_headline_says_what_a_sceptic_asks(reader):
    for part in ("Synthetic data", "Not the paper's size", "12 patients", "2 folds (0, 1)", "CC0-1.0", "0000000000"):
        assert part in reader.text
    assert re.search(r"BS-ESNet reaches a Dice of 8\d\.\d % \(95 % t interval 8", reader.text)
    assert "python run.py sweep=bs_esnet_table1" in reader.text
    assert reader.text.count("python run.py experiment=unet fold=1 phantom=bs_esnet") == 1


@pytest.mark.parametrize(
    ("gap", "spread", "number", "expected"),
    [
        (0.02, 0.004, 12, "same order: A > B."),
        (-0.0013, 0.006, 12, "not distinguishable: A minus B"),
        (-0.02, 0.004, 12, "other order. Paper: A > B. Shown here the other way round: A minus B −2."),
        (0.02, 0.004, 5, "not distinguishable, as pairs share 5 patients and a test takes 6"),
    ],
)
def test_an_order_is_the_same_another_or_not_to_be_told(gap, spread, number, expected):
    noise = np.linspace(-spread, spread, number)
    values = pd.DataFrame({"a": 0.9 + gap + noise, "b": np.full(number, 0.9)})
    assert compared(values, {"a": "A", "b": "B"}).startswith(expected)


def test_order_of_rows_is_compared_with_the_papers(evidence):
    assert "by mean over structures: same order: BS-ESNet > " in order_sentence(evidence)
    two = replace(evidence, rows=("unet", "bs_esnet"))
    assert order_sentence(two).endswith("same order: BS-ESNet > U-Net (baseline).")
    swapped = evidence["scores"]["row"].map({"unet": "bs_esnet", "bs_esnet": "unet"}).fillna("other")
    assert "other order" in order_sentence(two.with_tables(scores=evidence["scores"].assign(row=swapped)))


def test_verdicts_are_words_and_effects_of_dice_are_points(reader):
    assert "+1.20 [+0.10 to +2.00]" in reader.text
    for verdict in ("✓ reproduced", "≈ within noise", "○ not reached", "✗ contradicted", "? not testable"):
        assert verdict in reader.text


def test_without_any_run_every_section_says_what_is_missing(evidence, tmp_path):
    empty = emptied(evidence)
    found = kinds(sections(empty))
    assert list(found) == KEYS
    assert [key for key, blocks in found.items() if "gap" not in blocks] == []
    assert [key for key, blocks in found.items() if {"table", "figures", "gallery"} & blocks] == []
    assert Reader(write_page(empty, tmp_path).read_text(encoding="utf-8")).crossed == []


def test_undefined_values_are_dashes(evidence, tmp_path):
    numbers = {
        name: value.assign(**dict.fromkeys(value.select_dtypes("float").columns, np.nan))
        for name, value in evidence.tables.items()
        if name != "cases"
    }
    reader = Reader(write_page(evidence.with_tables(**numbers), tmp_path).read_text(encoding="utf-8"))
    assert reader.crossed == []
    assert "nan" not in reader.text.lower().replace("nanc", "")
    assert "no value for BS-ESNet" in reader.text


def test_one_patient_one_fold_and_no_published_table(tmp_path):
    write_run(tmp_path / "runs" / "one", num_patients=1, num_folds=1)
    found = gather(load_runs([tmp_path / "runs"]), table=None, reference=None, margin=0.005)
    reader = Reader(write_page(found, tmp_path).read_text(encoding="utf-8"))
    assert reader.crossed == []
    assert "No published table" in reader.text
    assert "is the only row with a finished run, so no rows are compared" in reader.text
    assert "No run folder has a folder predictions/" in reader.text


def browse(page, folder, script=""):
    """DOM and errors of a page in a headless browser, 390 pixels wide."""
    (folder / "probed.html").write_text(page.read_text(encoding="utf-8") + script, encoding="utf-8")
    (folder / "phone.html").write_text('<iframe src="probed.html" style="width:390px;height:844px;border:0"></iframe>')
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    flags += [f"--user-data-dir={folder / 'browser'}", "--allow-file-access-from-files", "--enable-logging=stderr"]
    command = [str(CHROMIUM), *flags, "--virtual-time-budget=5000", "--dump-dom", (folder / "phone.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


PROBE = """<script>
addEventListener("load", () => {
  const root = document.documentElement;
  const broken = [...document.images].filter((image) => !image.complete || !image.naturalWidth).length;
  const texts = [...document.querySelectorAll("p, td, th, dd, li")];
  const sizes = texts.map((element) => parseFloat(getComputedStyle(element).fontSize));
  const counts = {images: document.images.length, broken, least: Math.min(...sizes)};
  const found = {width: innerWidth, scroll: root.scrollWidth, ...counts};
  parent.document.body.dataset.found = Object.entries(found).map((pair) => pair.join("=")).join(" ");
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="neither chromium nor google-chrome is on PATH")
def test_in_a_browser_at_the_width_of_a_phone(page, reader, tmp_path):
    seen = browse(page, tmp_path, PROBE)
    found = dict(pair.split("=") for pair in re.search(r'data-found="([^"]*)"', seen.stdout).group(1).split())
    assert int(found["width"]) == 390
    assert int(found["scroll"]) <= 390
    assert int(found["images"]) == len(reader.attributes("img", "src"))
    assert int(found["broken"]) == 0
    assert float(found["least"]) >= 12
    assert [line for line in seen.stderr.splitlines() if "CONSOLE" in line] == []
