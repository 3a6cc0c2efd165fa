"""What the tests compose once is what Hydra composes."""

import pytest
from omegaconf import OmegaConf

from tests.made.compositions import composed_by_hydra

LINES = [
    ("experiment=bs_esnet", "trainer=smoke", "model.sag.cascade=union"),
    ("experiment=scarnet", "cohort=sagittal_vertebrae", "cohort.root=here", "~callbacks.cost", "+more.of=3"),
    ("ablation=no_sag", "phantom={num_patients: 3}"),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_a_composition_is_hydras_own(composed, line):
    composed(line[0])
    found, again = composed(*line), composed(*line)
    found.seed = 7
    with composed_by_hydra():
        expected = composed(*line)
    assert again == expected
    assert OmegaConf.to_yaml(again) == OmegaConf.to_yaml(expected)
    assert OmegaConf.is_struct(again) == OmegaConf.is_struct(expected)
