"""`task=predict`: label maps, numbers and a page per patient from scans that nobody has annotated."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from omegaconf import DictConfig

from datamodules.reading.case_list import Case
from datamodules.reading.scan_list import ScanList, find_scans
from datamodules.reading.volume import OtherViewError
from datamodules.store.file_hashes import FileHashes
from lightning_modules.evaluation.clean_up import CleanUp
from lightning_modules.evaluation.measurement import morphometry_settings
from lightning_modules.prediction.familiarity import UNKNOWN, compare
from lightning_modules.prediction.findings import describe_findings
from lightning_modules.prediction.measuring import measure_scan
from lightning_modules.prediction.members import Member, load_members
from lightning_modules.prediction.outlines import outline
from lightning_modules.prediction.output_folder import OutputFolder
from lightning_modules.prediction.page import NOTICE, ScanSummary
from lightning_modules.prediction.page_words import describe_geometry
from lightning_modules.prediction.writing import Predicted, scan_row, write_patient, write_tables
from lightning_modules.tasks.named_checkpoints import checkpoint_files
from lightning_modules.tasks.phantom_task import given_output, leave_no_run_folder
from lightning_modules.tasks.provenance import code_card
from metrics.morphometry import Morphometry
from records.starters import STARTER, shipped_starters

logger = logging.getLogger(__name__)

NEEDED = "task=predict needs checkpoint=FILE, as RUN/checkpoints/best.ckpt; several make an ensemble"

SHOWN = 3  # of the paths that were left aside for one reason; left_aside.csv has all


def predict(config: DictConfig) -> None:
    """Predicts every scan of `input` by `checkpoint` into the folder `output`; a refused scan does not stop the others.

    Without a checkpoint the starters predict, each the scans of its own view, into a folder of that name in `output`.

    Raises:
        ValueError: If a setting or a run folder is wrong, or, when all others are done, a scan was refused (other than
            for its view, where it was predicted in its own or the patient has one of the right view).
    """
    leave_no_run_folder()
    if not config.input:
        raise ValueError("task=predict needs input=FILE-or-FOLDER: a scan, a DICOM series, or a folder of patients")
    given = Path(config.input).expanduser()
    output, teams = _output(config, given), _teams(config)
    ends = []
    for members in teams:
        view = members[0].anatomy.view
        place = output if len(teams) == 1 else output / view
        found = find_scans(given, view, members[0].channels)
        ends.append(predict_scans(config, members, found, place, is_only_view=len(teams) == 1))
    of_no_view = [name for name in ends[0].other_view if all(name in end.other_view for end in ends)]
    refused = [reason for end in ends for reason in end.refused] + [ends[0].other_view[name] for name in of_no_view]
    if refused:
        told = list(dict.fromkeys(refused))
        raise ValueError(f"{len(told)} scan(s) could not be predicted:\n" + "\n".join(told))


@dataclass
class Ended:
    """Why scans were refused by the networks of one view, and by name those that are of another view."""

    refused: list[str] = field(default_factory=list)
    other_view: dict[str, str] = field(default_factory=dict)


def _teams(config: DictConfig) -> list[list[Member]]:
    """The networks of the checkpoints that are named; the starter of each view where none is."""
    device = torch.device("cuda" if config.machine.accelerator == "gpu" else "cpu")
    options = {"undo_class_weights": bool(config.objective.undo_class_weights), "mirror": bool(config.predict.mirror)}
    if config.checkpoint not in (None, STARTER):
        return [load_members(checkpoint_files(config.checkpoint, NEEDED), device, **options)]
    starters = shipped_starters()
    if not starters and config.checkpoint == STARTER:
        raise ValueError("checkpoint=starter: no starter is part of this version; give a checkpoint of your own")
    if not starters:
        raise ValueError(NEEDED)
    return [load_members([path], device, **options) for path in starters]


def predict_scans(
    config: DictConfig, members: Sequence[Member], found: ScanList, output: Path, *, is_only_view: bool = True
) -> Ended:
    """Predicts scans by the networks of one view into a folder.

    Args:
        config: Of the command line.
        members: The networks.
        found: The scans.
        output: The folder; where scans of another view have a network of their own, it is made for scans of this view
            alone.
        is_only_view: Whether no other networks look at these scans.
    """
    settings, ended = settings_of_scans(config, members[0]), Ended()
    asked = {**config.predict, "level_order": config.predict.level_order and members[0].anatomy.view == "sagittal"}
    clean_up = CleanUp.of(asked, members[0].anatomy, "predict")
    set_aside = set() if is_only_view else set(found.of_other_view)
    refused = {name: reason for name, reason in found.refused.items() if name not in set_aside}
    folder = OutputFolder(output) if is_only_view or refused else None
    ended.other_view |= {name: f"{name}: {found.refused[name]}" for name in set_aside}
    ended.refused += [f"{name}: {reason}" for name, reason in refused.items()]
    tables, scans = [], [{"case": name, "refused": reason} for name, reason in refused.items()]
    for patient in dict.fromkeys(case.patient for case in found.cases):
        cases = [case for case in found.cases if case.patient == patient]
        done = [predict_scan(case, members, settings, found, clean_up) for case in cases]
        has_scan = any(item.table is not None for item in done)
        for item in done:
            reason = f"{item.case.case}: {item.summary.refused}"
            if item.is_other_view and not is_only_view:
                ended.other_view[item.case.case] = reason
                continue
            if item.summary.refused:
                logger.warning("%s is not predicted: %s", item.case.case, item.summary.refused)
            if item.summary.refused and not (item.is_other_view and has_scan):
                ended.refused.append(reason)
        shown = [item for item in done if is_only_view or not item.is_other_view]
        if shown:
            folder = folder or OutputFolder(output)
            write_patient(folder, patient, shown, members, settings)
        tables += [item.table for item in done if item.table is not None]
        scans += [scan_row(item) for item in done]
    if folder is not None:
        write_tables(folder, tables, scans, found, members)
        hashes = FileHashes()
        checkpoints = {str(member.path): hashes.of_path(member.path) for member in members}
        folder.finish({**code_card(), "checkpoints": checkpoints})
        num_scans = len(found.cases) + len(found.refused) - len(ended.other_view)
        logger.info("%d of %d scans predicted: %s\n%s", len(tables), num_scans, folder.path, NOTICE)
    for reason, paths in _by_reason(found).items():
        logger.warning("left aside, %s: %s", reason, paths)
    return ended


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


def predict_scan(
    case: Case, members: Sequence[Member], settings: Morphometry | None, found: ScanList, clean_up: CleanUp
) -> Predicted:
    """Outlines, measures and judges one scan; what is wrong with it becomes its reason to be refused."""
    try:
        blocks = outline(members, case, found.series.get(case.case), clean_up)
        anatomy, taught = members[0].anatomy, members[0].taught.numpy()
        familiar = [compare(block, members) for block in blocks]
        # Blocks of a scan are of one sequence; one that is unlike those trained on puts all in doubt.
        contrast = next((told.contrast for told in familiar if told.contrast == UNKNOWN), familiar[0].contrast)
        table = measure_scan(blocks, anatomy, taught, settings, contrast)
    except (ValueError, OSError) as error:  # a file may also be locked, or lie on a server that is gone
        return Predicted(case, ScanSummary(name=case.case, refused=str(error)), isinstance(error, OtherViewError))
    is_learned = any(member.seen.holds(block.image) for member in members if member.seen for block in blocks)
    notes = [*found.notes.get(case.case, ()), *([clean_up.words] if clean_up.words else [])]
    summary = ScanSummary(name=case.case, notes=notes, is_learned=is_learned)
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


def _by_reason(found: ScanList) -> dict[str, str]:
    """What was left aside, in a line for each reason."""
    paths: dict[str, list[str]] = {}
    for path, reason in found.left_aside.items():
        paths.setdefault(reason, []).append(str(path))
    return {
        reason: ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
        for reason, listed in paths.items()
    }


def _output(config: DictConfig, given: Path) -> Path:
    named = re.sub(r"\.(nii|nii\.gz|mha|mhd|nrrd|nhdr)$", "", given.resolve().name)
    return given_output(config) or Path("predictions") / named
