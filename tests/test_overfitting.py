"""Every network learns four slices by heart: one that cannot has a bug, or starts where nothing is learned."""

import pytest
import torch
from hydra.utils import instantiate

from datamodules.slice_batches import SliceBatches
from lightning_modules import tasks
from tests.conftest import ROOT, TINY_PHANTOM, compose_line

FILES = {kind: {path.stem for path in (ROOT / "conf" / kind).glob("*.yaml")} for kind in ("model", "experiment")}
# An experiment of each network; the others are the same networks with other parts, losses or cohorts.
NETWORKS = [*sorted(FILES["model"] & FILES["experiment"]), "baur_unet"]
SAGITTAL = ("phantom.size=72", "phantom.masked_patients=8", "data.size=[96,64]")
OWN = {
    "baur_unet": ("split.num_folds=4",),
    "dgmsnet": SAGITTAL,
    "fcn8s": ("model.head_channels=512",),  # 4096 take ten times as long
    "scarnet": SAGITTAL,
}
NUM_STEPS = 150
LEAST_DICE = 0.5  # mean over structures; a network that has not begun is below 0.1


@pytest.mark.slow
@pytest.mark.parametrize("experiment", NETWORKS)
def test_every_network_overfits_four_slices(tmp_path, generated, experiment):
    line = (*TINY_PHANTOM, "trainer=small", "data/augmentation=none", "data.size=[64,64]", "data.spacing_mm=3.0")
    config = compose_line(tmp_path, generated, *line, f"experiment={experiment}", *OWN.get(experiment, ()))
    data, module, _ = tasks.build(config)
    batch = SliceBatches(data.store)[[(int(row), 0) for row in data.teaching.masked[:4]]]
    module.objective.count_classes(data.class_pixel_counts())
    optimizer = instantiate(config.optimizer)(list(module.parameters()))
    module.train()
    for _ in range(NUM_STEPS):
        total, _ = module.losses(batch)
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    module.eval()
    with torch.no_grad():
        found = module(batch).logits.argmax(dim=1)
    dice = [
        2 * ((found == structure) & (batch.mask == structure)).sum() / number
        for structure in range(1, data.anatomy.num_classes)
        if (number := (found == structure).sum() + (batch.mask == structure).sum()) > 0
    ]
    assert torch.stack(dice).mean() > LEAST_DICE, dice
