"""Networks learn ten slices by heart at the preset that their row is trained with: one that cannot has a bug."""

import pytest
import torch
from hydra.utils import instantiate
from torch.optim.lr_scheduler import LambdaLR

from datamodules.slice_batches import SliceBatches
from lightning_modules.tasks import training
from tests.conftest import ROOT, compose_line

FILES = {kind: {path.stem for path in (ROOT / "conf" / kind).rglob("*.yaml")} for kind in ("model", "experiment")}
# An experiment of each network; the others are the same networks with other parts, losses or cohorts.
NETWORKS = [*sorted(FILES["model"] & FILES["experiment"]), "baur_unet"]
COHORT = ("phantom.num_patients=13", "cohort.num_workers=2")  # of whom at least ten train
AXIAL, SAGITTAL = ("phantom.levels=[L3/4]",), ("phantom.masked_patients=13",)
SPINES = ("cdan", "deeplab", "dgmsnet", "gcsn", "mrln", "scarnet", "sshs", "swdn")
OWN = {"baur_unet": (*AXIAL, "split.num_folds=5"), **dict.fromkeys(SPINES, SAGITTAL)}
NUM_SLICES, NUM_STEPS, CHECK_EVERY = 10, 400, 25
LEAST_DICE = 0.95  # mean over structures, on the network's grid
# Two reach it in the last fifty steps, on another processor perhaps a little later. Baur's network finds all but the
# thinnest streaks of fat; Mask R-CNN was not looked at for as long (docs/fair_presets.md).
LEAST_OF = {"ce_net": 0.93, "msff": 0.93, "baur_unet": 0.85, "mask_rcnn": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", NETWORKS)
def test_every_network_learns_ten_slices_at_its_preset(tmp_path, generated, experiment):
    line = (*COHORT, "trainer=small", "data/augmentation=none", "split.validation_fraction=0.0")
    config = compose_line(tmp_path, generated, *line, f"experiment={experiment}", *OWN.get(experiment, AXIAL))
    data, module, _ = training.build(config)
    slices = SliceBatches(data.store)
    rows = [(int(row), 0) for row in data.teaching.masked[:NUM_SLICES]]
    module.objective.count_classes(data.class_pixel_counts())
    module.objective.see_masks(*data.training_masks())
    optimizer, schedule = instantiate(config.optimizer)(list(module.parameters())), instantiate(config.scheduler)
    scheduler = LambdaLR(optimizer, lambda step: schedule(step, NUM_STEPS))
    generator, found = torch.Generator().manual_seed(0), []
    least = LEAST_OF.get(experiment, LEAST_DICE)
    for step in range(1, NUM_STEPS + 1):
        chosen = torch.randperm(len(rows), generator=generator)[: config.scale.batch_size]
        total, _ = module.train().losses(slices[[rows[place] for place in chosen.tolist()]])
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), config.scale.gradient_clip)
        optimizer.step()
        scheduler.step()
        if step % CHECK_EVERY == 0:
            found.append(dice_of(module, slices[rows]))
            if found[-1] >= least:
                return
    pytest.fail(f"Dice after every {CHECK_EVERY} steps: {', '.join(f'{dice:.3f}' for dice in found)}")


def dice_of(module, batch) -> float:
    """Mean over the structures, of all slices together."""
    with torch.no_grad():
        found = module.eval().decided(batch).logits.argmax(dim=1)
    dice = [
        2 * ((found == structure) & (batch.mask == structure)).sum() / number
        for structure in range(1, batch.labelled.shape[1])
        if (number := (found == structure).sum() + (batch.mask == structure).sum()) > 0
    ]
    return float(torch.stack(dice).mean())
