"""The summary of a patient: one page that opens from disk and can be printed."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lightning_modules.prediction.page_tables import Table
from lightning_modules.written import replace_text

TEMPLATES = Path(__file__).parent / "templates"
NOTICE = (
    "For research use only. This is no medical device; no diagnosis and no decision about a patient may rest on it. "
    "Outlines and numbers were computed and nobody has checked them."
)


@dataclass(kw_only=True)
class ScanSummary:
    """What the page says of one scan.

    Attributes:
        name: Of the scan.
        facts: Lines such as "400 x 400 pixels of 1.02 x 1.02 mm".
        warnings: What speaks against the numbers.
        notes: What was taken for granted.
        refused: Why it was not predicted; empty if it was.
    """

    name: str
    facts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str = ""


def write_page(
    path: Path,
    *,
    patient: str,
    scans: Sequence[ScanSummary],
    tables: Sequence[Table],
    sheet: Path | None,
    network: Sequence[str],
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
    text = environment.get_template("summary.html.j2").render(
        patient=patient,
        scans=scans,
        tables=tables,
        notes=notes,
        picture=picture,
        network=network,
        notice=NOTICE,
        explained=explained,
    )
    replace_text(path, text)
