import lightning
import pytest
import torch
from hydra.utils import instantiate

from callbacks.asynchronous_training import AsynchronousTraining
from lightning_modules.tasks.training import build
from tests.conftest import TINY_PHANTOM, compose_line

PARTS = {"esnet": ["encoder", "esnet"], "bsn": ["bsn"]}


def paper_schedule(**changes) -> AsynchronousTraining:
    settings = {"parts": PARTS, "joint_epochs": 10, "cycle": {"esnet": 9, "bsn": 1}, "tail": {"bsn": 10}}
    return AsynchronousTraining(**{**settings, **changes})


def test_the_phase_of_every_one_of_the_200_epochs(composed):
    """10 joint, 18 cycles of 9 ESNet and 1 BSN, 10 BSN alone: section 2.2, and ours for the lengths."""
    config = composed("experiment=bs_esnet", "trainer=paper")
    schedule = instantiate(config.callbacks.asynchronous_training)
    both, esnet, bsn = frozenset({"esnet", "bsn"}), frozenset({"esnet"}), frozenset({"bsn"})
    expected = [both] * 10 + ([esnet] * 9 + [bsn]) * 18 + [bsn] * 10
    assert config.trainer.max_epochs == len(expected) == 200
    assert [schedule.active_parts(epoch, 200) for epoch in range(200)] == expected


@pytest.mark.parametrize("preset", ["small", "smoke"])
def test_short_presets_scale_start_and_end_but_never_the_cycle(composed, preset):
    config = composed("experiment=bs_esnet", f"trainer={preset}").callbacks.asynchronous_training
    assert dict(config.cycle) == {"esnet": 9, "bsn": 1}
    assert config.joint_epochs + config.tail.bsn < 10


def test_bsn_has_its_share_of_the_epochs_in_a_short_preset_too(composed):
    """19 % of 200 epochs."""
    shares = {}
    for preset in ("small", "paper"):
        config = composed("experiment=bs_esnet", f"trainer={preset}")
        schedule, epochs = instantiate(config.callbacks.asynchronous_training), config.scale.epochs
        shares[preset] = sum("bsn" in schedule.active_parts(epoch, epochs) for epoch in range(epochs)) / epochs
    assert shares["paper"] == pytest.approx(0.19)
    assert shares["small"] == pytest.approx(shares["paper"], abs=0.02)


@pytest.mark.slow
def test_a_part_that_never_learns_is_refused(composed, tmp_path):
    (tmp_path / "run").mkdir()
    line = ("callbacks.asynchronous_training.joint_epochs=0", "callbacks.asynchronous_training.tail.bsn=0")
    data, module, trainer = build(composed(*TINY_PHANTOM, "experiment=bs_esnet", "trainer=smoke", *line))
    with pytest.raises(ValueError, match="bsn learns in none of the 3 epochs"):
        trainer.fit(module, data)


def test_joint_throughout(composed):
    config = composed("experiment=bs_esnet", "ablation=no_async")
    schedule = instantiate(config.callbacks.asynchronous_training)
    epochs = config.trainer.max_epochs
    assert {schedule.active_parts(epoch, epochs) for epoch in range(epochs)} == {frozenset({"esnet", "bsn"})}


def test_the_last_cycle_may_be_cut_short():
    schedule = paper_schedule(joint_epochs=1, tail={"bsn": 1})
    active = [schedule.active_parts(epoch, 5) for epoch in range(5)]
    assert active == [frozenset({"esnet", "bsn"}), *[frozenset({"esnet"})] * 3, frozenset({"bsn"})]


@pytest.mark.parametrize("changes", [{"joint_epochs": -1}, {"cycle": {"esnet": 0}}, {"tail": {"other": 1}}])
def test_impossible_schedules_are_refused(changes):
    with pytest.raises(ValueError, match="asynchronous_training"):
        paper_schedule(**changes)


class Recorder:
    """Keeps the state of the network before and after each epoch, and who got gradient."""

    def __init__(self, module):
        self.module = module
        self.before, self.changed, self.touched = {}, [], []

    def on_epoch_start(self):
        self.before = {name: value.clone() for name, value in self.module.network.state_dict().items()}
        self.touched.append(set())

    def on_step(self):
        named = self.module.network.named_parameters()
        self.touched[-1] |= {name for name, parameter in named if parameter.grad is not None and parameter.grad.any()}

    def on_epoch_end(self):
        after = self.module.network.state_dict()
        self.changed.append({name for name, value in after.items() if not torch.equal(value, self.before[name])})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, generated):
    """Four epochs: joint, ESNet, BSN (a cycle of 1 : 1), BSN tail."""
    config = compose_line(
        tmp_path_factory.mktemp("run"),
        generated,
        *TINY_PHANTOM,
        "experiment=bs_esnet",
        "trainer=smoke",
        "trainer.max_epochs=4",
        "data/augmentation=batched",
        "callbacks.asynchronous_training.cycle={esnet: 1, bsn: 1}",
        "optimizer._target_=torch.optim.AdamW",
    )
    data, module, trainer = build(config)
    recorder = Recorder(module)

    class Hooks(lightning.Callback):
        def on_train_epoch_start(self, *_):
            recorder.on_epoch_start()

        def on_before_optimizer_step(self, *_):
            recorder.on_step()

        def on_train_epoch_end(self, *_):
            recorder.on_epoch_end()

    trainer.callbacks.append(Hooks())
    trainer.fit(module, data)
    return recorder


def part_of(name: str) -> str:
    return "bsn" if name.startswith("bsn.") else "esnet"


@pytest.mark.parametrize(("epoch", "active"), [(1, "esnet"), (2, "bsn"), (3, "bsn")])
def test_a_resting_part_keeps_its_whole_state_bit_for_bit(recorded, epoch, active):
    changed = {part_of(name) for name in recorded.changed[epoch]}
    assert changed == {active}
    assert any("running_mean" in name for name in recorded.changed[epoch]), "batch norm of the active part goes on"


@pytest.mark.parametrize(("epoch", "active"), [(0, {"esnet", "bsn"}), (1, {"esnet"}), (2, {"bsn"}), (3, {"bsn"})])
def test_every_parameter_gets_gradient_in_its_own_phase_and_in_no_other(recorded, epoch, active):
    expected = {name for name, _ in recorded.module.network.named_parameters() if part_of(name) in active}
    assert recorded.touched[epoch] == expected
