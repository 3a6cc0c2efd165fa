"""The fat benchmark: what it compares, and that our areas and shares are those the phantom states of itself."""

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate

from benchmarks.fat import bias_and_spread, compared, graded
from benchmarks.fat_slices import PHANTOMS, VOLUNTEERS, composed, known_slices, pictures, z_scored
from tests.conftest import TINY_PHANTOM
from tests.made.muscle_slices import SIMPLIFIED


@pytest.fixture(scope="module")
def phantom(generated):
    """The tiny cohort that other tests use as well, its known slices, and what it says of itself."""
    cohort = instantiate(composed(*TINY_PHANTOM, f"paths.data='{generated}'").cohort)
    return list(known_slices(cohort)), pd.read_csv(cohort.root / "measurements.csv", dtype={"level": str})


def test_areas_and_both_shares_are_those_that_the_phantom_states(phantom):
    slices, stated = phantom
    settings = instantiate(composed("morphometry/fat=measured").morphometry)
    samples = [settings.sample(image=item["channels"][0], **_without(item, "channels")) for item in slices]
    rows = pd.DataFrame(settings.measure(samples)).query(
        "fat_state == 'measured' and side != 'both' and structure != 'back_muscles'"
    )
    rows["structure"] = rows["structure"] + "_" + rows["side"]
    columns = {"area": "csa_mm2", "fat_fraction_signal": "fat_fraction_signal", "fat_pixel_share": "fat_pixel_share"}
    assert len(rows) > 100
    for quantity, column in columns.items():
        truth = stated[stated["quantity"] == quantity].set_index(["case", "structure"])["value"]
        joined = rows.set_index(["case", "structure"])[column].to_frame("ours").join(truth, how="inner")
        assert len(joined) == len(rows)
        # The file of the fat map is rounded.
        np.testing.assert_allclose(joined["ours"], joined["value"], atol=1e-2 if "pixel" in quantity else 2e-3)


def test_every_source_has_pictures(phantom):
    channels = np.stack([np.full((2, 2), 3.0), np.full((2, 2), 1.0)])
    for name in (*PHANTOMS, VOLUNTEERS):
        for picture in pictures(name).values():
            assert picture(channels).shape == (2, 2)
    assert pictures(VOLUNTEERS)["water + fat"](channels)[0, 0] == 4
    assert z_scored(np.array([[0.0, 2.0]])).tolist() == [[-1, 1]]


def table(*shares: float, state: str = "measured") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case": "c",
            "patient": [f"p{number}" for number in range(len(shares))],
            "slice": range(len(shares)),
            "structure": "back_muscles",
            "side": "left",
            "fat_state": [state if share == share else "unclear" for share in shares],
            "fat_pixel_share": shares,
        }
    )


def test_bias_and_spread_by_hand():
    truth = table(0.1, 0.2, 0.3)
    found = compared(truth, table(0.2, 0.4, 0.6), table(0.2, 0.4, float("nan")))
    assert found.pop("unguarded") == "+20.0 ± 10.0"
    assert found == {"n": "3", "true %": "20.0", "bias ± SD": "+15.0 ± 7.1", "called lean": "0", "no number": "1"}
    lean = compared(truth, truth, table(0.0, 0.0, 0.0, state="lean"))
    assert (lean["called lean"], lean["unguarded"]) == ("3", "+0.0 ± 0.0")
    assert bias_and_spread(np.array([np.nan]), np.array([0.1])) == "-"


def test_patients_without_a_share_have_no_grade():
    truth, found = (table(*shares).assign(side="both") for shares in ((0.05, 0.2, 0.6), (0.2, 0.3, float("nan"))))
    assert graded(found, truth, SIMPLIFIED, "back muscles") == {"grades right": "1 of 3, 1 none"}
    assert graded(found, truth, SIMPLIFIED, "psoas") == {"grades right": ""}


def _without(item: dict, name: str) -> dict:
    return {key: value for key, value in item.items() if key != name}
