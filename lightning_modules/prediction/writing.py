"""What a prediction leaves: label maps, sheet and page of every patient, and the tables of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from datamodules.reading.case_list import Case
from datamodules.reading.image_file import write_image_file
from datamodules.reading.scan_list import ScanList
from lightning_modules.prediction.members import Member
from lightning_modules.prediction.outlines import Block
from lightning_modules.prediction.output_folder import OutputFolder
from lightning_modules.prediction.page import NOTICE, ScanSummary, write_page
from lightning_modules.prediction.page_tables import tables_of
from lightning_modules.prediction.page_words import describe_members, explain, whom_it_learned_from
from lightning_modules.prediction.sheet import draw_sheet
from metrics.morphometry import Morphometry
from records.whole_files import replace_text

FORMATS = {".nii": ".nii", ".nii.gz": ".nii.gz", ".mha": ".mha", ".mhd": ".mha", ".nrrd": ".nrrd", ".nhdr": ".nrrd"}


@dataclass
class Predicted:
    """A scan that was looked at: its page, its rows, and its outlines where it was not refused.

    A scan of another view is no failure where the patient has one of the right view: exports hold both.
    """

    case: Case
    summary: ScanSummary
    is_other_view: bool = False
    table: pd.DataFrame | None = None
    blocks: Sequence[Block] = ()


def write_patient(
    folder: OutputFolder,
    patient: str,
    done: Sequence[Predicted],
    members: Sequence[Member],
    settings: Morphometry | None,
) -> None:
    """Writes label maps, sheet and page of one patient, and the names of the label maps into the tables."""
    blocks = [block for item in done for block in item.blocks]
    anatomy = members[0].anatomy
    records = [row for item in done if item.table is not None for row in item.table.to_dict("records")]
    rows = [{str(name): value for name, value in row.items()} for row in records]
    for item in done:
        files = {block.name: folder.file(patient, block.name, _suffix(block)) for block in item.blocks}
        for block in item.blocks:
            write_image_file(files[block.name], block.volumes[0].as_stored(block.mask))
        if item.table is not None:
            names = {name: folder.name_of(path) for name, path in files.items()}
            item.table["label_map"] = [names[name] for name in item.table["label_map"]]
    sheet = None
    if blocks:
        sheet = folder.file(patient, "overlay", ".png")
        draw_sheet(blocks, anatomy, sheet, title=patient, notice=NOTICE)
    write_page(
        folder.file(patient, "summary", ".html"),
        patient=patient,
        scans=[item.summary for item in done],
        tables=tables_of(rows),
        sheet=sheet,
        network=describe_members(members),
        learned=whom_it_learned_from(members),
        explained=explain(anatomy.view, settings),
    )


def write_tables(
    folder: OutputFolder,
    tables: Sequence[pd.DataFrame],
    scans: Sequence[dict[str, Any]],
    found: ScanList,
    members: Sequence[Member],
) -> None:
    """Writes the tables of all patients, what was not read, and what the numbers in the label maps mean."""
    anatomy = members[0].anatomy
    ids = [(number, name, anatomy.colours[name]) for number, name in enumerate(anatomy.structures, start=1)]
    _write(pd.DataFrame(ids, columns=["id", "structure", "colour"]), folder, "labels")
    columns = ["case", "patient", "source", "refused", "warnings", "notes"]
    _write(pd.DataFrame(scans, columns=columns), folder, "scans")
    if found.left_aside:
        rows = [(str(path), reason) for path, reason in found.left_aside.items()]
        _write(pd.DataFrame(rows, columns=["path", "reason"]), folder, "left_aside")
    if tables:
        _write(pd.concat(tables, ignore_index=True), folder, "morphometry")


def _write(table: pd.DataFrame, folder: OutputFolder, name: str) -> None:
    replace_text(folder.file("", name, ".csv"), table.to_csv(index=False, float_format="%.6g"))


def scan_row(item: Predicted) -> dict[str, str]:
    """The row of a scan in scans.csv."""
    told, case = item.summary, item.case
    source = ";".join(str(path) for path in case.images) + (f" series {case.series}" if case.series else "")
    texts = {"refused": told.refused, "warnings": " | ".join(told.warnings), "notes": " | ".join(told.notes)}
    return {"case": case.case, "patient": case.patient, "source": source, **texts}


def _suffix(block: Block) -> str:
    """The format of the input, NIfTI where that holds no label map (DICOM, pictures)."""
    name = block.volumes[0].path.name.lower()
    return next((form for suffix, form in sorted(FORMATS.items(), reverse=True) if name.endswith(suffix)), ".nii.gz")
