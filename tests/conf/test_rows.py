"""The rows of the table: ablation rows are what their names say, and every new system runs, stops and goes on."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from lightning_modules.tasks import training
from metrics.cases import CASE_COLUMNS
from records.identity import cell_name
from tests.conftest import TINY_PHANTOM, compose_line
from tests.made.stopped_runs import assert_same_run, stop_at

CONF = Path(__file__).parents[2] / "conf"
ABLATIONS = sorted(path.stem for path in (CONF / "ablation").glob("*.yaml") if path.stem != "none")
HOSTS = ("bs_esnet", "scarnet", "msff")  # systems that parts are taken out of
ROWS = [(host, name) for host in HOSTS for name in ABLATIONS if (CONF / "experiment" / f"{host}_{name}.yaml").exists()]
SYSTEMS = {
    "attention_unet": (),
    "nonlocal_unet": (),
    "mask_rcnn": (),
    **dict.fromkeys(("scarnet", "sshs", "cdan"), ("phantom.masked_patients=6", "phantom.spacing_mm=4.4")),
}
SMOKE = (*TINY_PHANTOM, "trainer=smoke", "scale.epochs=2", "trainer.limit_test_batches=1")


@pytest.mark.parametrize(
    ("host", "ablation"), [*ROWS[:3], *(pytest.param(*row, marks=pytest.mark.slow) for row in ROWS[3:])]
)
def test_an_ablation_row_is_the_ablation_of_its_experiment(composed, host, ablation):
    row = composed(f"experiment={host}_{ablation}")
    assert cell_name(_root_=row) == cell_name(_root_=composed(f"experiment={host}", f"ablation={ablation}"))
    assert cell_name(_root_=row) != cell_name(_root_=composed(f"experiment={host}"))


def test_a_value_of_the_preset_counts_where_it_is_used(composed):
    """The rate of SGD names the rows that SGD trains, and no other."""
    names = {
        row: {cell_name(_root_=composed(f"experiment={row}", f"scale.sgd_learning_rate={rate}")) for rate in (0.1, 0.2)}
        for row in ("bs_esnet", "msff")
    }
    assert {row: len(found) for row, found in names.items()} == {"bs_esnet": 1, "msff": 2}


def test_every_ablation_is_a_row_of_some_table():
    """All but the one that leaves nothing out."""
    assert {ablation for _, ablation in ROWS} == set(ABLATIONS) - {"mcca_at"}


def test_scarnet_with_both_parts_named_is_scarnet(composed):
    both = composed("experiment=scarnet", "ablation=mcca_at")
    assert cell_name(_root_=both) == cell_name(_root_=composed("experiment=scarnet"))


def test_the_rows_of_scarnet_differ_in_two_parts_alone(composed):
    """Baseline, one part, the other, both: a factorial design, and nothing else changes."""
    parts = {}
    for row in ("scarnet_baseline", "scarnet_mcca", "scarnet_at", "scarnet"):
        tree = OmegaConf.to_container(composed(f"experiment={row}"), resolve=False)
        parts[row] = tuple(tree["model"].pop(part)["_target_"].split(".")[-1] for part in ("adapter", "fusion"))
        tree.pop("output")
        assert tree == parts.setdefault("rest", tree), row
    direct, kernel, plain, cross = "DirectAdapter", "DynamicKernelAdapter", "SumFusion", "MultiChannelCrossAttention"
    assert [parts[row] for row in list(parts) if row != "rest"] == [
        *[(direct, plain), (direct, cross), (kernel, plain), (kernel, cross)]
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment", [name if name == "scarnet" else pytest.param(name, marks=pytest.mark.slow) for name in SYSTEMS]
)
def test_a_system_runs_and_a_stopped_run_ends_as_an_undisturbed_one(generated, tmp_path, experiment):
    line = (*SMOKE, f"experiment={experiment}", *SYSTEMS[experiment])
    training.train(compose_line(tmp_path / "whole", generated, *line))
    cases = pd.read_csv(tmp_path / "whole" / "cases.csv")
    assert set(CASE_COLUMNS) <= set(cases.columns)
    assert cases["dice"].notna().any()
    stop_at(3, compose_line(tmp_path / "parts", generated, *line))
    training.train(compose_line(tmp_path / "parts", generated, *line))
    assert_same_run(tmp_path / "whole", tmp_path / "parts", ["best"])
    assert pd.read_csv(tmp_path / "whole" / "metrics.csv").filter(like="loss/").notna().all(axis=None)
    for run in ("whole", "parts"):  # the weights of a ResNet-50 are a fifth of a gigabyte
        shutil.rmtree(tmp_path / run / "checkpoints")
