"""The report as one HTML file that opens from disk: no network, no other file."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.evidence import Evidence
from reports.mechanism import mechanism_tables
from reports.page.blocks import Block, Heading, Section
from reports.page.findings import claims, costs, detection
from reports.page.grades import grades
from reports.page.headline import headline
from reports.page.keypoints import keypoints, keypoints_title
from reports.page.labels import fusion, labels
from reports.page.measurements import measurements
from reports.page.mechanism import mechanism, training
from reports.page.protocol import protocol
from reports.page.regions import region_errors, region_strata, region_tables
from reports.page.robustness import robustness
from reports.page.setting import is_sagittal, prints_boxes
from reports.page.statistics import statistics
from reports.page.table import paper_table, single_structures
from reports.page.thresholds import thresholds
from reports.page.varied import varied
from reports.pictures.album import open_album
from reports.pictures.augmentations import augmentations
from reports.pictures.gallery import features, gallery

TEMPLATES = Path(__file__).parent / "templates"


def write_page(evidence: Evidence, folder: Path) -> Path:
    """Writes `folder`/report.html, pictures inside, and returns its path.

    What is missing from the evidence (pictures, arms, a published table, folds) is said in its place, with the command
    that provides it. Text is escaped: a row may be called anything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    path = folder / "report.html"
    title = f"{evidence.runs.cohort or 'no cohort'}: {_subject(evidence)}"
    path.write_text(template.render(title=title, sections=sections(evidence)), encoding="utf-8")
    return path


def _subject(evidence: Evidence) -> str:
    """What the page is about, in its title."""
    if not evidence.rows and evidence.runs.everything:
        return "labels against accuracy" if len(evidence["curve"]) else "runs beside a table"
    return f"{len(evidence.rows)} systems compared" if len(evidence.rows) != 1 else evidence.labels[evidence.rows[0]]


def sections(evidence: Evidence) -> list[Section]:
    """The chapters of the page in order."""
    album = open_album(evidence)
    tables = mechanism_tables(evidence)
    spine = is_sagittal(evidence)
    found = [
        Section(key="headline", title="Result", blocks=headline(evidence)),
        Section(key="table", title="The paper's table", blocks=_table(evidence)),
        Section(key="statistics", title="Statistics", blocks=statistics(evidence)),
        Section(key="setting", title="A setting that the paper varies", blocks=varied(evidence)),
        Section(key="labels", title="Labels against accuracy", blocks=labels(evidence)),
        Section(key="keypoints", title=keypoints_title(evidence), blocks=keypoints(evidence)),
        Section(key="robustness", title="Orientation and position", blocks=robustness(evidence)),
        Section(key="muscles", title="Muscle and fat", blocks=_muscles(evidence)),
        Section(key="measurements", title="Measurements", blocks=measurements(evidence)),
        Section(key="thresholds", title="Areas below a threshold", blocks=thresholds(evidence)),
        Section(key="detection", title="Detection and boxes", blocks=detection(evidence)),
        Section(key="claims", title="Claims of the paper", blocks=claims(evidence)),
        Section(key="mechanism", title="Mechanism", blocks=mechanism(evidence, tables, features(evidence, album))),
        Section(key="training", title="Training", blocks=training(evidence)),
        Section(key="augmentation", title="Augmentation", blocks=augmentations(evidence)),
        Section(key="pictures", title="Pictures", blocks=gallery(evidence, album)),
        Section(key="cost", title="Cost", blocks=costs(evidence)),
        Section(key="protocol", title="Protocol, folds, commands", blocks=protocol(evidence)),
    ]
    foreign = ("muscles",) if spine else ("labels", "keypoints", "robustness", "muscles", "measurements")
    foreign += () if prints_boxes(evidence) else ("mechanism",)
    # Without a table of rows, what would be said of them is no gap that a command fills.
    foreign += () if evidence.rows or not evidence.runs.everything else tuple(section.key for section in found)
    found = [section for section in found if section.blocks]
    return [section for section in found if section.key not in foreign or _says_something(section)]


def _muscles(evidence: Evidence) -> list[Block]:
    """Regions and grades; nothing where the runs have neither."""
    return [*region_errors(evidence), *grades(evidence), *region_strata(evidence)]


def _table(evidence: Evidence) -> list[Block]:
    """What the primary endpoint averages; then every measure of regions, single structures, and fusions."""
    regions = region_tables(evidence)
    measures: list[Block] = [Heading("Every measure of the regions"), *regions] if regions else []
    return [*paper_table(evidence), *measures, *single_structures(evidence), *_fusion(evidence)]


def _fusion(evidence: Evidence) -> list[Block]:
    """Where models can be fused, or were."""
    return fusion(evidence) if len(evidence["fusion"]) or is_sagittal(evidence) else []


def _says_something(section: Section) -> bool:
    """Whether a section that another kind of slices is for has more than gaps."""
    return any(block.kind not in ("gap", "heading") for block in section.blocks)
