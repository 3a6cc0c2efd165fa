"""A cohort: a folder of scans, and how its files and label ids relate to an anatomy."""

import copy
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path

from datamodules.anatomy import Anatomy
from datamodules.cohort_options import reader_of, unknown_structures
from datamodules.reading.case_list import Case, read_cases
from datamodules.reading.case_reader import CaseSlices
from datamodules.reading.channels import join_channels
from datamodules.reading.keypoint_table import with_keypoints
from datamodules.store.file_hashes import FileHashes
from datamodules.store.tissue_maps import TissueMaps

log = logging.getLogger(__name__)


class Cohort:
    """Cases of a folder, checked against the anatomy that they are to serve.

    Args:
        name: Name of the cohort, as in `conf/cohort`.
        root: Folder with cohort.csv (or with images/ and labels/).
        anatomy: Structures to be segmented.
        labels: Structure of each label id in the files; None for what was drawn but is background in this anatomy.
            Several ids may become one structure. 0 is background unless it is listed.
        labelled: Structures that the annotators drew; by default those that occur in `labels`. A case may say otherwise
            in the column labelled of cohort.csv ("a;b").
        channels: Contrasts that become the channels of one case, in this order; by default each row is a case.
        contrasts: Keep only rows of these contrasts.
        slices: "all", "labelled" (with a drawn structure or a key point), "middle" (of each volume one: that with key
            points in keypoints.csv, else the middle one of the drawn slices, else the central one), or the number of
            central slices of each volume; in volumes without a mask, those with key points come to them.
        other_keypoints: Structures in keypoints.csv that this anatomy has no key point for.
        same_patient: Groups of patient names that are one person; they become the first of them that is there. Names
            that are not in this folder are ignored: another copy of the data may hold fewer patients.
        prefix: Goes before the names of cases and patients, where another cohort has the same for other persons.
        nominal_spacing: Whether the spacing was stated without having been measured (pictures without a header). It
            places the network's grid, and what is in millimetres is undefined in every table.
        sides: "checked", or "as_named" to insist on label files whose left and right look swapped.
        licence: Licence of the data.
        citation: What to cite.

    Raises:
        ValueError: If the folder, cohort.csv, a file or an option is wrong; says what was given, what was expected, and
            the remedy.
    """

    def __init__(
        self,
        *,
        name: str,
        root: str | Path,
        anatomy: Anatomy,
        labels: Mapping[int, str | None] | Mapping[str, str | None],
        labelled: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        contrasts: Sequence[str] | None = None,
        slices: str | int = "all",
        other_keypoints: Sequence[str] = (),
        same_patient: Sequence[Sequence[str]] = (),
        prefix: str = "",
        nominal_spacing: bool = False,
        sides: str = "checked",
        licence: str = "",
        citation: str = "",
    ) -> None:
        self.name = name
        self.root = Path(root).expanduser()
        self.anatomy = anatomy
        self.channels = tuple(channels or ())
        self.contrasts = tuple(contrasts or ())
        self.other_keypoints = tuple(other_keypoints)
        self.same_patient = tuple(tuple(str(patient) for patient in group) for group in same_patient or ())
        self.prefix = prefix
        self.nominal_spacing = nominal_spacing
        self.sides = sides
        self.licence = licence
        self.citation = citation
        try:
            if sides not in ("checked", "as_named"):
                raise ValueError(f"sides is {sides!r}, expected 'checked' or 'as_named'")
            self.reader = reader_of(name, anatomy, labels, labelled, slices)
            self.cases = self._read_cases()
        except ValueError as error:
            raise ValueError(f"cohort {name}: {error}") from error
        self._case_of_name = {case.case: case for case in self.cases}
        self._hashes = FileHashes()
        self.tissue_maps: TissueMaps | None = None

    @property
    def num_channels(self) -> int:
        """Number of input channels of every case."""
        return len(self.cases[0].images)

    def read(self, case: Case) -> list[CaseSlices]:
        """Reads the slices of a case, one record per volume.

        Raises:
            ValueError: If something is wrong with its files, naming the case, the file and the remedy.
        """
        return self.reader.read(case)

    def factors(self, case: str, names: Sequence[str]) -> dict[str, str]:
        """Cells of a case's row in cohort.csv by column, as written there; blank where there is no such column."""
        known = self._case_of_name[case]
        return {name: known.site if name == "site" else known.row.get(name, "") for name in names}

    def in_folder(self, root: Path) -> "Cohort":
        """The cohort of another folder, named after it, whose files are read as those of this one.

        Raises:
            ValueError: As the constructor.
        """
        return Cohort(
            name=root.name,
            root=root,
            anatomy=self.anatomy,
            labels=self.reader.labels,
            labelled=self.reader.labelled,
            channels=self.channels,
            slices=self.reader.slices,
            other_keypoints=self.other_keypoints,
        )

    def with_tissue_maps(self) -> "Cohort":
        """The same cohort, of which the maps are read, too, that `data/augmentation=synthesis` makes pictures of.

        Raises:
            ValueError: If a case has none, or tissues.csv is missing or wrong.
        """
        cohort = copy.copy(self)
        try:
            cohort.tissue_maps = TissueMaps.open(
                self.root, self.cases, view=self.anatomy.view, has_sides=self.reader.has_sides
            )
        except ValueError as error:
            raise ValueError(f"cohort {self.name}: {error}") from error
        return cohort

    def fingerprint(self, memory: Path | None = None) -> str:
        """Hash of the content of every file and of every setting that slices depend on, not of where the folder lies.

        Args:
            memory: JSON file that remembers the hashes of unchanged files between runs.
        """
        if memory is not None:
            self._hashes.load(memory)
        described = []
        for case in self.cases:
            files = {str(path): self._hashes.of_path(path) for path in (*case.images, *case.labels)}
            if self.tissue_maps is not None:
                maps = [self._hashes.of_path(path) for path in self.tissue_maps.files(case)]
                described.append([self.tissue_maps.ids, self.tissue_maps.names, maps])
            parts = {
                **asdict(case),
                "images": [files[str(p)] for p in case.images],
                "labels": [files[str(p)] for p in case.labels],
            }
            described.append({**parts, "row": dict(case.row)})
        if memory is not None:
            self._hashes.save(memory)
        content = json.dumps([asdict(self.reader), described], sort_keys=True)
        return blake2b(content.encode(), digest_size=16).hexdigest()

    def _read_cases(self) -> tuple[Case, ...]:
        cases = read_cases(self.root, self.anatomy.view)
        cases = self._merge_patients(cases)
        cases = with_keypoints(self.root, cases, self.anatomy.keypoints, self.other_keypoints)
        if self.contrasts:
            found = sorted({case.contrast for case in cases})
            unknown = [contrast for contrast in self.contrasts if contrast not in found]
            if unknown:
                raise ValueError(
                    f"no row of cohort.csv has the contrast {', '.join(unknown)}; there are {', '.join(found)}"
                )
            cases = [case for case in cases if case.contrast in self.contrasts]
        if self.channels:
            cases = join_channels(cases, self.channels)
        for case in cases:
            unknown = [name for name in case.labelled or () if name not in self.anatomy.structures]
            if unknown:
                raise ValueError(
                    f"case {case.case!r}: column labelled of cohort.csv: {unknown_structures(unknown, self.anatomy)}"
                )
            if len(case.images) != len(cases[0].images):
                raise ValueError(
                    f"case {case.case!r} has {len(case.images)} image files (channels), case {cases[0].case!r} has "
                    f"{len(cases[0].images)}; every row of cohort.csv needs the same number, separated by ';'"
                )
        prefix = self.prefix
        return tuple(replace(case, case=prefix + case.case, patient=prefix + case.patient) for case in cases)

    def _merge_patients(self, cases: list[Case]) -> list[Case]:
        known = {case.patient for case in cases}
        first_name: dict[str, str] = {}
        for group in self.same_patient:
            present = [patient for patient in group if patient in known]
            if present and len(present) < len(group):  # a part of the data, or a misspelt name
                log.warning(
                    "cohort %s: same_patient names %s, of whom only %s is a patient of this folder; if a name is "
                    "misspelt, correct it, or folds will leak",
                    *(self.name, ", ".join(group), ", ".join(present)),
                )
            for patient in present:
                if patient in first_name:
                    raise ValueError(f"same_patient names {patient!r} in two groups; join the groups")
                first_name[patient] = present[0]
        return [replace(case, patient=first_name.get(case.patient, case.patient)) for case in cases]
