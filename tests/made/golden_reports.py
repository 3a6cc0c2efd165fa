"""Three small reports with fixed numbers, an axial, a spine and a muscle one, for the golden tables of the tests.

`python -m tests.made.golden_reports` writes the golden tables anew: only where their numbers are meant to change.
"""

import shutil
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from records.runs import load_runs
from reports.collect import collect
from reports.evidence import Evidence
from reports.papers import load_published, varied_settings
from reports.task import write_tables
from tests.made.muscle_folders import write_muscles
from tests.made.run_folders import write_grid, write_run
from tests.made.spine_folders import write_curve, write_spine, write_spines

GOLDEN = Path(__file__).parents[1] / "reports" / "golden"
ALPHA = "objective.terms.segmentation.alpha"
LONG = 100  # lines: of a longer table only a digest of every column is kept
DIGITS = 9  # significant ones of a number: sums in another order, as of another processor, differ behind these


def write_axial(folder: Path) -> None:
    """Two systems in both splits with boxes of other kinds, a turned image, and a rater's masks."""
    few: Any = {"num_patients": 7, "structures": ("disc", "canal")}
    arms = {"annotated": 0.0, "shuffled": 0.02, "rotated_15": 0.03}
    write_grid(folder / "a", {"unet": 0.80, "bs_esnet": 0.90}, arms=arms, predictions=True, **few)
    write_grid(folder / "b", {"unet": 0.87, "bs_esnet": 0.93}, split="as published", num_folds=1, **few)
    write_run(folder / "rater", "second_rater", scored=True, **few)


def write_spine_runs(folder: Path) -> None:
    """Two systems, a curve of two points, a fusion, and a network that saw no mask."""
    few: Any = {"num_patients": 6, "num_folds": 1}
    write_spines(
        folder, {"scarnet_baseline": 0.93, "scarnet": 0.95}, renumbered=("p003",), arms={"rotated_15": 0.02}, **few
    )
    write_curve(folder / "curve", {3: 0.04, 6: 0.01}, draws=(0, 1), **few)
    write_spine(folder / "k", supervision="keypoint", sources=("heatmap",), **few)
    write_spine(folder / "f", "scarnet_fused", settings={"task": "fuse", "row": "scarnet_fused"}, **few)


def write_muscle_runs(folder: Path) -> None:
    """One system of regions and grades."""
    for fold in range(2):
        write_muscles(folder / f"f{fold}", fold=fold, num_folds=2, num_patients=7, predictions=True)


def write_values(folder: Path) -> None:
    """Two values of a setting that the paper varies, two seeds each, three structures."""
    for value in (0.0, 1.0):
        for seed in (0, 1):
            few: Any = {"num_patients": 6, "num_folds": 1, "structures": ("disc", "canal", "lamina")}
            settings = {ALPHA: value, "model.weights": None}
            write_run(
                folder / f"{value}-{seed}", "msff", seed=seed, quality=0.88 + 0.01 * value, settings=settings, **few
            )


REPORTS = {
    "axial": (write_axial, "bs_esnet_table1"),
    "spine": (write_spine_runs, "scarnet_table1"),
    "muscle": (write_muscle_runs, "baur_table2"),
    "values": (write_values, "msff_table2_alpha"),
}


def golden_evidence(name: str, folder: Path) -> Evidence:
    """The evidence of one of REPORTS, its run folders written into `folder`."""
    write, table = REPORTS[name]
    write(folder)
    runs = load_runs([folder], varied_settings(load_published(table)))
    return collect(runs, table=table, reference=None, margin=0.005)


def golden_tables(evidence: Evidence, folder: Path) -> dict[str, str]:
    """Every CSV file that a report writes into `folder`, by name, its numbers rounded to DIGITS, LONG ones digested."""
    write_tables(evidence, folder)
    evidence["claims"].to_csv(folder / "claims.csv", index=False)
    return {path.name: _rounded(path) for path in sorted(folder.glob("*.csv"))}


def _rounded(path: Path) -> str:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table.map(_cell)
    if len(table) > LONG:
        digests = {name: sha256("\n".join(table[name]).encode()).hexdigest()[:16] for name in table}
        table = pd.DataFrame({"column": list(digests), "lines": len(table), "sha256": list(digests.values())})
    return table.to_csv(index=False)


def _cell(text: str) -> str:
    try:
        return f"{float(text):.{DIGITS}g}" if "." in text or "e" in text else text
    except ValueError:
        return text


def main() -> None:
    """Writes all of them."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for name in REPORTS:
        with TemporaryDirectory() as made:
            (GOLDEN / name).mkdir(parents=True)
            evidence = golden_evidence(name, Path(made) / "runs")
            (Path(made) / "report").mkdir()
            for file, text in golden_tables(evidence, Path(made) / "report").items():
                (GOLDEN / name / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
