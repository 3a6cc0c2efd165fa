"""Learning rates: where they end, and that every part of a network has its schedule over its own epochs."""

from itertools import pairwise

import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lightning_modules.learning_rate import over_own_epochs, polynomial, steps
from lightning_modules.tasks import training
from tests.conftest import TINY_PHANTOM


def test_a_polynomial_that_ends_as_itself_is_torchs():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    torchs = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=30, power=0.9)
    for epoch in range(30):
        ours = [polynomial(epoch, 30, power=0.9, ends_as=ends_as) for ends_as in (None, 30)]
        assert ours == pytest.approx([optimizer.param_groups[0]["lr"]] * 2, rel=1e-6)
        optimizer.step()
        torchs.step()


@given(num_epochs=st.integers(2, 300), ends_as=st.integers(2, 600))
def test_a_short_training_starts_and_ends_as_the_long_one_and_only_falls(num_epochs, ends_as):
    rates = [polynomial(epoch, num_epochs, power=0.9, ends_as=ends_as) for epoch in range(num_epochs)]
    assert rates[0] == 1
    assert rates[-1] == pytest.approx((1 / ends_as) ** 0.9)
    assert all(before > after for before, after in pairwise(rates))


def test_a_single_epoch_is_trained_at_the_full_rate():
    assert polynomial(0, 1, power=0.9, ends_as=200) == 1


def test_steps_fall_once_more_at_each_share():
    rates = [steps(epoch, 9, at=(1 / 3, 2 / 3), factor=0.2) for epoch in range(9)]
    assert rates == pytest.approx([1.0] * 3 + [0.2] * 3 + [0.04] * 3)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=r"scheduler\.at is .*between 0 and 1"):
        steps(0, 9, at=(share,), factor=0.2)


@pytest.mark.parametrize("name", ["polynomial", "thirds"])
@pytest.mark.parametrize("preset", ["small", "paper"])
def test_every_preset_ends_at_the_papers_last_rate(composed, name, preset):
    config = composed("experiment=scarnet", f"scheduler={name}", f"trainer={preset}")
    schedule, epochs = instantiate(config.scheduler), config.scale.epochs
    rates = [schedule(epoch, epochs) for epoch in range(epochs)]
    assert rates[-1] == pytest.approx({"polynomial": (1 / 600) ** 0.9, "thirds": 0.04}[name])
    if name == "thirds":
        at_the_end = sum(rate < 0.05 for rate in rates) / epochs
        assert at_the_end == pytest.approx({"small": 0.15, "paper": 1 / 3}[preset], abs=0.01)


@given(own=st.sets(st.integers(0, 40), min_size=1))
def test_a_part_has_the_schedule_of_its_own_epochs_in_order(own):
    own = sorted(own)
    share = over_own_epochs(lambda epoch, number: epoch / number, own)
    assert [share(epoch) for epoch in own] == [number / len(own) for number in range(len(own))]
    assert all(0 <= share(epoch) < 1 for epoch in range(50)), "also where it rests"


def test_each_part_of_bs_esnet_ends_at_the_same_rate(composed):
    """The rates of the optimizer itself, epoch by epoch: ESNet and BSN fall over the epochs in which they learn."""
    config = composed(*TINY_PHANTOM, "experiment=bs_esnet", "trainer=smoke", "scale.epochs=16", "scale.joint_epochs=2")
    data, module, trainer = training.build(config)
    trainer.fit_loop.max_epochs = 16
    module.trainer, trainer.datamodule = trainer, data
    (schedule,) = [one for one in trainer.callbacks if type(one).__name__ == "AsynchronousTraining"]
    schedule.setup(trainer, module, "fit")
    built = module.configure_optimizers()
    optimizer, scheduler = built["optimizer"], built["lr_scheduler"]["scheduler"]
    rates = {"encoder": [], "esnet": [], "bsn": []}
    for _ in range(16):
        for group in optimizer.param_groups:
            rates[group["name"]].append(group["lr"] / config.optimizer.lr)
        optimizer.step()
        scheduler.step()
    active = [schedule.active_parts(epoch, 16) for epoch in range(16)]
    for part, modules in schedule.parts.items():
        own = [epoch for epoch in range(16) if part in active[epoch]]
        for name in modules:
            assert rates[name][own[0]] == pytest.approx(1)
            assert rates[name][own[-1]] == pytest.approx((1 / 200) ** 0.9)
