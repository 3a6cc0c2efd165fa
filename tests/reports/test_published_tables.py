"""The papers' tables in `reports/published`: what they hold, and what a wrong one is told."""

import pytest

from reports.papers import COLUMNS, load_published, proposed_row, published_tables, read_published, row_label


@pytest.mark.parametrize("name", published_tables())
def test_every_published_table_is_valid(name):
    table = load_published(name)
    assert len(table)
    assert (table.loc[table["unit"] == "percent", "mean"] > 1).all()


def test_the_published_table_is_the_papers():
    table = load_published("bs_esnet_table1")
    assert proposed_row(table) == "bs_esnet"
    dice = table.loc[table["metric"] == "dice"]
    assert (len(dice), len(table)) == (63, 72)
    means = dice.groupby("row", sort=False)["mean"].mean()
    assert list(means.index) == [
        *("unet", "bs_esnet_no_sag", "bs_esnet_no_deep_supervision", "bs_esnet", "mask_rcnn", "nonlocal_unet"),
        "attention_unet",
    ]
    # Means over nine structures, as the experiments' headers state them.
    stated = {"unet": 93.38, "bs_esnet_no_sag": 93.52, "bs_esnet_no_deep_supervision": 93.98, "bs_esnet": 94.42}
    assert {row: round(float(means[row]), 2) for row in stated} == stated


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ("scarnet", "SCAR-Net"),
        ("dgmsnet", "dgmsnet"),
        ("scarnet objective.terms.keypoints.weight=40 lr=0.1", "SCAR-Net keypoints.weight=40 lr=0.1"),
        ("unet optimizer.lr=0.001", "unet optimizer.lr=0.001"),
    ],
)
def test_variants_are_called_by_the_end_of_what_differs(row, label):
    assert row_label(row, {"scarnet": "SCAR-Net"}) == label


GOOD = "unet,U-Net,no,,disc,dice,percent,96.7,4.8,,,"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([GOOD.replace("96.7", "many")], "mean must be a number"),
        ([GOOD.replace("96.7", "")], "there is no mean"),
        ([GOOD.replace("96.7", "196.7")], "above 100 %"),
        ([GOOD.replace("percent", "fraction")], "above 1"),
        ([GOOD.replace("4.8", "-4.8")], "SD is negative"),
        ([GOOD.replace("percent", "furlong")], "unit is not one of"),
        ([GOOD.replace(",no,", ",maybe,")], "neither yes nor no"),
        ([GOOD, GOOD], "given twice"),
        ([GOOD.replace("4.8,,", "4.8,97,98")], "outside its interval"),
        (
            [GOOD.replace(",no,", ",yes,"), GOOD.replace(",no,", ",yes,").replace("unet,U-Net", "x,X")],
            "more than one row",
        ),
    ],
)
def test_a_published_table_that_cannot_be_true_is_refused(tmp_path, lines, message):
    path = tmp_path / "x_table1.csv"
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
    with pytest.raises(ValueError, match=message):
        read_published(path)


def test_an_unknown_table_names_the_known_ones():
    with pytest.raises(ValueError, match=r"no published table 'yolo'; expected one of .*bs_esnet_table1"):
        load_published("yolo")
