"""Every file in conf/ composes, and what is promised of options and their order holds."""

import dataclasses
import itertools
import re
from functools import cache
from pathlib import Path

import pytest
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from datamodules.phantom import PhantomSettings
from datamodules.phantom.canvas import LABELS
from datamodules.phantom.settings import YOUNGER
from models.strides import check_cells
from tests.conftest import ROOT, compose_line
from tests.made.networks import network_experiments, on_meta

CONF = Path(__file__).parents[2] / "conf"
GROUPS = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml") if path.parent != CONF)
ROOTLESS = ("cohort.root=somewhere",)
# Interpolations that only a running Hydra application can resolve.
OF_A_RUN = ("logger",)


def choice(path: Path) -> str:
    added = "+" if path.parent.name == "paper" else ""  # included by experiments, and no choice of its own
    if path.parent.as_posix() == "model/monai":  # a folder of choices of `model`, and no part of a network
        return f"model=monai/{path.stem}"
    return f"{added}{path.parent.as_posix()}={path.stem}"


# Files that only make sense with a network that has such a part, and the experiment of that network.
HOSTS = {
    "model/adapter": "scarnet",
    "model/fusion": "scarnet",
    "model/bottleneck": "msff",
    "model=region_unet": "baur_unet",
    "objective=region_dice_focal": "baur_unet",
    "callbacks=regions": "baur_unet",
    "start": "fine_tuned_axial",
    "+paper=baur2021": "baur_unet",
}


def host_of(path: Path) -> tuple[str, ...]:
    """The experiment whose network has what an ablation or a part of a network replaces; the default one mostly."""
    replaced = re.findall(r"override /(model/\w+)", (CONF / path).read_text()) if path.parent.name == "ablation" else []
    names = {*replaced, path.parent.as_posix(), choice(path)}
    return tuple(f"experiment={host}" for name, host in HOSTS.items() if name in names)[:1]


@pytest.fixture(scope="module")
def chosen(generated, tmp_path_factory):
    """The configuration with the choice of a file, composed once for all tests that only read it.

    Of an experiment that with the preset that reads the paper's facts; the networks are tested with the small ones.
    """
    folder = tmp_path_factory.mktemp("run")

    @cache
    def compose(path):
        overrides = [choice(path), *ROOTLESS]
        if path.parent.as_posix() == "split" and path.stem == "from_file":
            overrides.append("split.path=folds.csv")
        if path.parent.name == "weak_cohort":
            overrides.append("supervision.weak_cohort.root=somewhere")
        if path.parent.name == "experiment":
            overrides.append("trainer=paper")
        return compose_line(folder, generated, *host_of(path), *overrides)

    return compose


@pytest.mark.parametrize("path", GROUPS, ids=choice)
def test_every_file_composes_and_resolves(chosen, path):
    config = chosen(path)
    for name in config:
        if name not in OF_A_RUN and OmegaConf.is_config(config[name]):
            OmegaConf.to_container(config[name], resolve=True, throw_on_missing=True)


@pytest.mark.parametrize("path", [path for path in GROUPS if path.parent.name == "anatomy"], ids=choice)
def test_every_anatomy_is_valid(chosen, path):
    anatomy = instantiate(chosen(path).anatomy)
    assert anatomy.name == path.stem
    assert anatomy.num_classes == len(anatomy.structures) + 1
    labels = anatomy.labels_from(LABELS)
    assert {name for name in labels.values() if name} == set(anatomy.structures)
    assert len(set(anatomy.colours.values())) == len(anatomy.structures)


PRESETS = [path for path in GROUPS if path.parent.name == "phantom"]


@pytest.mark.parametrize("path", PRESETS, ids=choice)
def test_every_phantom_preset_is_possible_and_fits_the_anatomy(chosen, path):
    config = chosen(path)
    settings = PhantomSettings.from_mapping(config.phantom)
    assert settings.anatomy_view == config.anatomy.view
    assert {item.name for item in dataclasses.fields(settings)} == {*config.phantom, *YOUNGER, "seed"}


@pytest.mark.parametrize("path", [path for path in GROUPS if path.parent.name == "callbacks"], ids=choice)
def test_every_callback_has_a_target(chosen, path):
    for name, node in chosen(path).callbacks.items():
        assert "_target_" in node, name


def test_an_ablation_wins_over_the_experiment_it_departs_from(composed):
    gate = composed("experiment=bs_esnet").model.sag
    assert gate._target_.endswith("SpatialAttentionGate")
    without = composed("ablation=no_sag", "experiment=bs_esnet")
    assert without.model.sag._target_.endswith("NoGate")
    assert without.objective.terms.key is None


def test_the_command_line_wins_over_experiment_and_preset(composed):
    config = composed("experiment=bs_esnet", "trainer=smoke", "model=unet", "trainer.max_epochs=7", "optimizer.lr=1")
    assert config.model._target_ == "models.unet.UNet"
    assert config.trainer.max_epochs == 7
    assert config.optimizer.lr == 1


@pytest.mark.parametrize("path", [path for path in GROUPS if path.parent.name == "experiment"], ids=choice)
def test_an_experiment_states_the_papers_facts_and_leaves_the_trainer_alone(chosen, path):
    assert not re.search(r"^(trainer|scale|machine):", (CONF / path).read_text(), re.MULTILINE)
    config = chosen(path)
    assert {"max_epochs", "limit_train_batches", "limit_val_batches"} <= set(config.trainer)
    assert config.trainer.max_epochs == config.paper.epochs
    assert config.model.get("width") == config.paper.width, "null where a network has a width of its own"
    assert config.objective.class_weighting == "none"


READ = ("conf/**/*.yaml", "README.md", "CHANGELOG.md", "models/**/*.md", "docs/**/*.md", "benchmarks/README.md")
DICE = re.compile(r"Dice(?:\s+(?:of|is|reaches|at)|[,:])?\s+\(?(?:0\.\d+|\d\d\.\d\d)\b(?! points)")


@pytest.mark.parametrize("pattern", READ)
def test_people_read_percent_with_one_decimal(pattern):
    """A Dice in a header or in prose is neither a share nor given to two decimals."""
    paths = list(ROOT.glob(pattern))
    assert paths
    found = {str(path.relative_to(ROOT)): DICE.findall(path.read_text()) for path in paths}
    assert not {name: numbers for name, numbers in found.items() if numbers}


def test_a_table_of_dice_in_the_benchmarks_is_in_percent():
    """A column or a line that says it is a Dice, and what is between 0 and 1 in it."""
    lines = (ROOT / "benchmarks" / "README.md").read_text().splitlines()
    heads = [number for number, line in enumerate(lines) if re.search(r"^\|.*\bDice\b", line)]
    assert heads
    for head in heads:
        own = [lines[head]]
        if lines[head + 1].startswith("| ---"):  # the head of a table: all that is in it
            own += list(itertools.takewhile(lambda line: line.startswith("|"), lines[head + 2 :]))
        shares = [line for line in own if re.search(r"\| 0?\.\d+ ", line) and "correlation" not in line]
        assert not shares


@pytest.mark.parametrize("path", [Path(f"experiment/{name}.yaml") for name in network_experiments()], ids=choice)
def test_the_header_of_an_experiment_states_its_cells(composed, path):
    """Side of the low-level and of the deepest features, in mm; the preset refuses what is far from the paper's."""
    config = composed(choice(path), "trainer=small")
    with on_meta():
        network = instantiate(config.model)(in_channels=1, num_classes=len(config.anatomy.structures) + 1)
    cells, given = network.strides.cells_mm(config.data.spacing_mm), config.paper.cell_mm
    paper = "not given" if given is None else f"{given.low:g} and {given.bottleneck:g}"
    expected = f"# Cells: trainer=small: {cells['low']:.3g} and {cells['bottleneck']:.3g} mm; the paper's: {paper}"
    assert expected in (CONF / path).read_text().splitlines()
    check_cells(path.stem, network.strides, config.data.spacing_mm, paper_mm=given, factor=config.scale.cell_factor)


@pytest.mark.parametrize(
    "typo", ["optimiser.lr=1", "model.sag.cascde=union", "trainer.max_epoch=1", "experiment=unett"]
)
def test_an_unknown_key_is_refused(composed, typo):
    with pytest.raises(HydraException, match=r"unett|[Cc]ould not override"):
        composed(typo)


def test_the_cell_of_every_choice_can_be_named_without_its_root(composed):
    from records.identity import cell_name

    names = {cell_name(_root_=composed(f"cohort={name}")) for name in ("axial_muscle", "sagittal_vertebrae", "phantom")}
    assert len(names) == 3


def test_nesting_is_shallow():
    def depth(node) -> int:
        return 1 + max(map(depth, node.values()), default=0) if isinstance(node, dict) else 0

    for path in GROUPS:
        config = OmegaConf.to_container(OmegaConf.load(CONF / path), resolve=False)
        assert depth(config) <= 4, f"{path}: a group file nests at most three levels below its own name"
