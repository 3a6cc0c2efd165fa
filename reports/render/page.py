"""The report as one HTML file that opens from disk: no network, no other file."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from records.whole_files import replace_text
from reports.chapters.contents import sections
from reports.evidence import Evidence

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
    replace_text(path, template.render(title=title, sections=sections(evidence)))
    return path


def _subject(evidence: Evidence) -> str:
    """What the page is about, in its title."""
    if not evidence.rows and evidence.runs.everything:
        return "labels against accuracy" if len(evidence["curve"]) else "runs beside a table"
    return f"{len(evidence.rows)} systems compared" if len(evidence.rows) != 1 else evidence.labels[evidence.rows[0]]
