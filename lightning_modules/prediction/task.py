"""`task=predict`: label maps, numbers and a page per patient from scans that nobody has annotated."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from datamodules.case_list import Case
from datamodules.file_hashes import FileHashes
from datamodules.image_file import write_image_file
from datamodules.scan_list import ScanList, find_scans
from datamodules.volume import OtherViewError
from lightning_modules.measurement import morphometry_settings
from lightning_modules.phantom_task import leave_no_run_folder
from lightning_modules.prediction.familiarity import UNKNOWN, compare
from lightning_modules.prediction.findings import describe_findings
from lightning_modules.prediction.measuring import measure_scan
from lightning_modules.prediction.members import Member, checkpoint_files, load_members
from lightning_modules.prediction.outlines import Block, outline
from lightning_modules.prediction.output_folder import OutputFolder
from lightning_modules.prediction.page import NOTICE, ScanSummary, write_page
from lightning_modules.prediction.page_tables import tables_of
from lightning_modules.prediction.page_words import describe_geometry, describe_members, explain, whom_it_learned_from
from lightning_modules.prediction.sheet import draw_sheet
from lightning_modules.provenance import code_card
from metrics.morphometry import Morphometry

logger = logging.getLogger(__name__)

FORMATS = {".nii": ".nii", ".nii.gz": ".nii.gz", ".mha": ".mha", ".mhd": ".mha", ".nrrd": ".nrrd", ".nhdr": ".nrrd"}


SHOWN = 3  # of the paths that were left aside for one reason; left_aside.csv has all


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


def predict(config: DictConfig) -> None:
    """Predicts every scan of `input` by `checkpoint` into the folder `output`; a refused scan does not stop the others.

    Raises:
        ValueError: If a setting or a run folder is wrong, or, when all others are done, a scan was refused (other than
            for its view, beside a scan of the right view).
    """
    leave_no_run_folder()
    if not config.input:
        raise ValueError("task=predict needs input=FILE-or-FOLDER: a scan, a DICOM series, or a folder of patients")
    given = Path(config.input).expanduser()
    device = torch.device("cuda" if config.machine.accelerator == "gpu" else "cpu")
    members = load_members(
        checkpoint_files(config.checkpoint), device, undo_class_weights=config.objective.undo_class_weights
    )
    anatomy, settings = members[0].anatomy, settings_of_scans(config, members[0])
    found = find_scans(given, anatomy.view, members[0].channels)
    folder = OutputFolder(_output(config, given))
    refused = [f"{name}: {reason}" for name, reason in found.refused.items()]
    tables, scans = [], [{"case": name, "refused": reason} for name, reason in found.refused.items()]
    for patient in dict.fromkeys(case.patient for case in found.cases):
        done = [predict_scan(case, members, settings, found) for case in found.cases if case.patient == patient]
        write_patient(folder, patient, done, members, settings)
        tables += [item.table for item in done if item.table is not None]
        scans += [_scan_row(item) for item in done]
        has_scan = any(item.table is not None for item in done)
        failed = [item for item in done if item.summary.refused and not (item.is_other_view and has_scan)]
        refused += [f"{item.case.case}: {item.summary.refused}" for item in failed]
    write_tables(folder, tables, scans, found, members)
    hashes = FileHashes()
    checkpoints = {str(member.path): hashes.of_path(member.path) for member in members}
    folder.finish({**code_card(), "checkpoints": checkpoints})
    num_scans = len(found.cases) + len(found.refused)
    logger.info("%d of %d scans predicted: %s\n%s", len(tables), num_scans, folder.path, NOTICE)
    for reason, paths in _by_reason(found).items():
        logger.warning("left aside, %s: %s", reason, paths)
    if refused:
        raise ValueError(f"{len(refused)} scan(s) could not be predicted:\n" + "\n".join(refused))


def settings_of_scans(config: DictConfig, member: Member) -> Morphometry | None:
    """How muscles are measured: as on the command line where its anatomy is the network's, else as in its own run.

    So a network's run need not be repeated to try another fat method: anatomy=NAME morphometry/fat=METHOD.
    """
    same = list(config.anatomy.structures) == list(member.anatomy.structures)
    chosen = config if same else member.config
    settings = morphometry_settings(chosen)
    if settings is None and member.anatomy.view == "axial":
        logger.warning(
            "No morphometry is configured for anatomy %s: areas alone are measured. With anatomy=%s on the command "
            "line, its own is taken, where there is one.",
            *(member.anatomy.name, member.anatomy.name),
        )
    return settings


def predict_scan(case: Case, members: Sequence[Member], settings: Morphometry | None, found: ScanList) -> Predicted:
    """Outlines, measures and judges one scan; what is wrong with it becomes its reason to be refused."""
    try:
        blocks = outline(members, case, found.series.get(case.case))
        anatomy, taught = members[0].anatomy, members[0].taught.numpy()
        familiar = [compare(block, members) for block in blocks]
        # Blocks of a scan are of one sequence; one that is unlike those trained on puts all in doubt.
        contrast = next((told.contrast for told in familiar if told.contrast == UNKNOWN), familiar[0].contrast)
        table = measure_scan(blocks, anatomy, taught, settings, contrast)
    except (ValueError, OSError) as error:  # a file may also be locked, or lie on a server that is gone
        logger.warning("%s is not predicted: %s", case.case, error)
        return Predicted(case, ScanSummary(name=case.case, refused=str(error)), isinstance(error, OtherViewError))
    is_learned = any(member.seen.holds(block.image) for member in members if member.seen for block in blocks)
    summary = ScanSummary(name=case.case, notes=list(found.notes.get(case.case, ())), is_learned=is_learned)
    if is_learned:
        logger.warning("%s: the network learned from this very scan.", case.case)
    for block, told in zip(blocks, familiar, strict=True):
        prefix = f"block {block.number}: " if block.number else ""
        summary.facts.append(prefix + describe_geometry(block))
        summary.warnings += [prefix + text for text in (*told.warnings, *describe_findings(block, anatomy))]
        summary.notes += [text for text in told.notes if text not in summary.notes]
        if not block.chosen.all():
            summary.notes.append(
                f"{prefix}the network was trained on the middle slices of a volume: {int((~block.chosen).sum())} of "
                f"{len(block.chosen)} slices were not looked at"
            )
    if case.contrast:
        summary.facts.append(case.contrast)
    for text in summary.warnings:
        logger.warning("%s: %s", case.case, text)
    return Predicted(case, summary, table=table, blocks=blocks)


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
    pd.DataFrame(ids, columns=["id", "structure", "colour"]).to_csv(folder.file("", "labels", ".csv"), index=False)
    columns = ["case", "patient", "source", "refused", "warnings", "notes"]
    pd.DataFrame(scans, columns=columns).to_csv(folder.file("", "scans", ".csv"), index=False)
    if found.left_aside:
        rows = [(str(path), reason) for path, reason in found.left_aside.items()]
        pd.DataFrame(rows, columns=["path", "reason"]).to_csv(folder.file("", "left_aside", ".csv"), index=False)
    if tables:
        pd.concat(tables, ignore_index=True).to_csv(
            folder.file("", "morphometry", ".csv"), index=False, float_format="%.6g"
        )


def _scan_row(item: Predicted) -> dict[str, str]:
    told, case = item.summary, item.case
    source = ";".join(str(path) for path in case.images) + (f" series {case.series}" if case.series else "")
    texts = {"refused": told.refused, "warnings": " | ".join(told.warnings), "notes": " | ".join(told.notes)}
    return {"case": case.case, "patient": case.patient, "source": source, **texts}


def _by_reason(found: ScanList) -> dict[str, str]:
    """What was left aside, in a line for each reason."""
    paths: dict[str, list[str]] = {}
    for path, reason in found.left_aside.items():
        paths.setdefault(reason, []).append(str(path))
    return {
        reason: ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
        for reason, listed in paths.items()
    }


def _suffix(block: Block) -> str:
    """The format of the input, NIfTI where that holds no label map (DICOM, pictures)."""
    name = block.volumes[0].path.name.lower()
    return next((form for suffix, form in sorted(FORMATS.items(), reverse=True) if name.endswith(suffix)), ".nii.gz")


def _output(config: DictConfig, given: Path) -> Path:
    raw: Any = OmegaConf.to_container(config, resolve=False)
    if "${hydra:" not in str(raw["output"]):
        return Path(config.output).expanduser()
    return Path("predictions") / re.sub(r"\.(nii|nii\.gz|mha|mhd|nrrd|nhdr)$", "", given.resolve().name)
