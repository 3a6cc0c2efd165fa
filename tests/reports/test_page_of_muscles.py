"""The page, the claims, and the files of a report of muscle and fat."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from records.runs import load_runs
from reports.chapters.contents import printed_tables, sections
from reports.chapters.headline import unfinished_rows
from reports.chapters.order import order_sentence
from reports.claims.judge import judge
from reports.collect import collect, gather
from reports.endpoint import averaged_names, averaged_words, single_names
from reports.papers import empty_published, load_published
from reports.pictures.album import open_album
from reports.pictures.region_gallery import at_quantile
from reports.readouts.grade_tables import grades
from reports.readouts.grades import build_grade_agreement, grade_scales
from reports.readouts.region_tables import muscle_sentences
from reports.render import text as tables
from reports.render.page import write_page
from reports.task import write_tables
from tests.made.muscle_folders import OF_MUSCLES, STRUCTURES, write_muscles
from tests.made.run_folders import write_run
from tests.reports.test_claims import CLAIMS, VERDICTS
from tests.reports.test_page import Reader

pytestmark = pytest.mark.slow  # whole reports

PRINTED = ("overall", "muscle", "fat")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("muscles")
    for fold in range(2):
        write_muscles(folder / f"f{fold}", fold=fold, num_folds=2, num_patients=14, predictions=True)
    return collect(load_runs([folder]), table="baur_table2", reference=None, margin=0.005)


@pytest.fixture(scope="module")
def reader(evidence, tmp_path_factory):
    return Reader(write_page(evidence, tmp_path_factory.mktemp("report")).read_text(encoding="utf-8"))


def line_of(table, **equals):
    for name, value in equals.items():
        table = table.loc[table[name] == value]
    return table.iloc[0]


def graded(evidence, **columns):
    """The same with other grades of the patients, and their agreement."""
    changed = evidence["grades"].assign(**columns)
    agreement = build_grade_agreement(changed, grade_scales(evidence.runs.runs))
    return evidence.with_tables(grades=changed, grade_agreement=agreement)


def grades_of(evidence):
    return [block for block in grades(evidence) if block.kind == "table"]


def judged(evidence, *names):
    return judge(evidence, tuple(CLAIMS[name] for name in names)).set_index("id")


def test_every_claim_of_the_paper_gets_a_verdict(evidence):
    ledger = evidence["claims"]
    assert list(ledger["id"]) == [name for name, claim in CLAIMS.items() if claim.paper == "baur"]
    assert set(ledger["verdict"]) <= VERDICTS
    assert (ledger.loc[ledger["verdict"] == "not testable", "note"] != "").all()
    tested = ledger.loc[ledger["test"] != "none"].set_index("id")["verdict"]
    assert set(tested[tested == "not testable"].index) == {"baur-lumbosacral-fat"}


def test_a_claim_about_a_region_is_not_about_structures_that_begin_like_it(evidence):
    found = judged(evidence, "baur-dice-muscle", "baur-csa-error-fat", "baur-segmented-fat")
    for name, metric, region, scale in (
        ("baur-dice-muscle", "dice", "muscle", 100),
        ("baur-csa-error-fat", "csa_error_percent", "fat", 1),
        ("baur-segmented-fat", "segmented_percent", "fat", 1),
    ):
        line = line_of(evidence["regions"], region=region, metric=metric)
        assert scale * found.loc[name, "effect"] == pytest.approx(line["patient_mean"])


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "reproduced"), (10.0, "not reached")])
def test_an_error_is_at_most_what_is_stated(evidence, factor, verdict):
    cases = evidence["region_cases"].assign(csa_error_percent=factor * evidence["region_cases"]["csa_error_percent"])
    found = judged(evidence.with_tables(region_cases=cases), "baur-csa-error-overall")
    assert found["verdict"].tolist() == [verdict]


def test_an_order_of_regions_is_a_chain(evidence):
    found = judged(evidence, "baur-dice-falls").iloc[0]
    assert found["verdict"] == "reproduced"
    assert "the smallest difference is overall against muscle" in found["note"]
    upset = evidence["region_cases"].assign(dice=1 - evidence["region_cases"]["dice"])
    assert judged(evidence.with_tables(region_cases=upset), "baur-dice-falls")["verdict"].tolist() == ["contradicted"]


def test_claims_about_grades_are_of_the_grades_that_are_printed(evidence):
    found = judged(evidence, "baur-accuracy", "baur-kappa", "baur-no-true-iii", "baur-underestimates")
    line = evidence["grade_agreement"].iloc[0]
    for name, measure, num_patients in (("baur-accuracy", "accuracy", 14), ("baur-kappa", "kappa", 13)):
        printed = [line[f"{measure}{end}"] for end in ("", "_low", "_high", "_patients")]
        assert found.loc[name, ["effect", "ci95_low", "ci95_high", "num_patients"]].tolist() == printed
        assert printed[2:] == [1.0, num_patients]  # an interval of what cannot exceed 1
    assert (line["num_patients"], line["num_ungraded"]) == (13, 1)
    assert found.loc["baur-no-true-iii", ["effect", "verdict"]].tolist() == [0.0, "reproduced"]
    severe = graded(evidence, truth="III", prediction="II")
    ledger = judged(severe, "baur-accuracy", "baur-no-true-iii", "baur-underestimates", "baur-kappa")
    assert ledger["verdict"].tolist() == ["not reached", "not reached", "reproduced", "not reached"]
    assert "every draw of patients has this value" in ledger.loc["baur-kappa", "note"]
    same = graded(evidence, truth="II", prediction="II")
    ledger = judged(same, "baur-kappa", "baur-accuracy")
    assert "is not defined" in ledger.loc["baur-kappa", "note"]
    assert ledger["verdict"].tolist() == ["not testable", "reproduced"]
    nobody = evidence.with_tables(grade_agreement=evidence["grade_agreement"].iloc[:0])
    assert judged(nobody, "baur-accuracy")["verdict"].tolist() == ["not testable"]
    assert "sweep=baur_table2" in judged(nobody, "baur-accuracy").loc["baur-accuracy", "note"]


def test_draws_without_kappa_are_counted_and_too_many_make_the_claim_untestable(evidence):
    for num_low, testable, note in ((3, True, "draws in which it is not defined"), (1, False, "is not defined")):
        pairs = [("II", "II")] * 40 + [("I", "I")] * num_low + [("I", "II")]
        drawn = pd.concat([evidence["grades"].iloc[:1]] * len(pairs), ignore_index=True)
        drawn = drawn.assign(patient=[f"p{k:03}" for k in range(len(pairs))], truth=[true for true, _ in pairs])
        found = graded(evidence.with_tables(grades=drawn), prediction=[other for _, other in pairs])
        line = judged(found, "baur-kappa").iloc[0]
        assert found["grade_agreement"].loc[0, "kappa_undefined"] > 0
        assert (line["verdict"] != "not testable") == testable
        assert note in line["note"]
        assert any("kappa is not defined in" in text for table in grades_of(found) for text in table.notes)


def test_the_page_has_the_paper_s_table_and_the_grades(evidence, reader):
    keys = reader.attributes("section", "id")
    assert {"table", "muscles", "measurements"} <= set(keys)
    assert reader.crossed == []
    line = line_of(evidence["regions"], region="fat", metric="dice")
    ends = f"[{line['slice_low']:.1f} to {line['slice_high']:.1f}]"
    assert f"{line['slice_mean']:.1f} ± {line['slice_sd']:.1f} {ends}" in reader.text
    assert "(51.0 ± 25.0 [50.0 to 52.0])" in reader.text
    assert f"{line['clustered_low']:.1f} to {line['clustered_high']:.1f}" in reader.text
    agreement = evidence["grade_agreement"].iloc[0]
    assert f"right in {100 * agreement['accuracy']:.1f} % [54.0 to 100.0] of 14 patients" in reader.text
    assert "predicted III" in reader.text
    assert "too few pixels on 3 of " in reader.text
    assert "nan" not in reader.text.lower()
    assert "Fig. 5" not in reader.text
    assert "Split as published" not in reader.text  # by patient, as the paper's own


def test_the_primary_endpoint_is_of_the_regions_that_the_paper_prints(evidence, reader):
    assert evidence.averaged == ("overall", "muscle", "fat")
    cases = evidence["region_cases"].loc[evidence["region_cases"]["structure"].isin(evidence.averaged)]
    of_patients = cases.groupby(["patient", "structure"])["dice"].mean().groupby("patient").mean()
    line = line_of(evidence["statistics"], stratum="", structure="mean", metric="dice")
    assert (line["mean"], line["num_patients"]) == (pytest.approx(of_patients.mean()), 14)
    entry = line_of(evidence["table"], structure="mean")
    assert (entry["patient_mean"], entry["published_mean"]) == (pytest.approx(100 * line["mean"]), 75.0)
    assert entry["missed"] == (cases["status"] == "missed").sum() == 2
    of_slices = 100 * cases.groupby(["case", "slice"])["dice"].mean()
    assert (entry["slice_mean"], entry["slice_sd"]) == pytest.approx((of_slices.mean(), of_slices.std()))
    assert f"reaches a Dice of {100 * line['mean']:.1f} %" in reader.text
    assert "patient mean over the regions overall, muscle and fat, n = 14 patients" in reader.text
    assert "The paper's 3 regions, by mean Dice: same order: overall > muscle > fat." in reader.text
    assert "muscle: muscle left + muscle right" in reader.text
    assert "patient mean over structures" not in reader.text
    assert "then over the regions overall, muscle and fat, then over patients" in reader.text
    assert any("mean over the regions" in note for note in evidence.notes)


def test_single_structures_stay_in_the_table_and_out_of_the_mean(evidence, reader):
    names = set(evidence["table"]["structure"])
    assert names == {"overall", "muscle", "fat", *STRUCTURES, "mean"}
    left = line_of(evidence["table"], structure="fat_left")
    assert f"{left['patient_mean']:.1f} [{left['ci95_low']:.1f} to {left['ci95_high']:.1f}]" in reader.text
    assert f"HD95 {left['hd95_mm']:.1f} mm" in reader.text


@pytest.mark.parametrize("published", [empty_published(), load_published("bs_esnet_table1")], ids=["none", "other"])
def test_a_table_that_prints_no_region_leaves_the_mean_over_structures(evidence, published):
    assert averaged_names(STRUCTURES, evidence["region_cases"], published) == STRUCTURES
    assert averaged_names(STRUCTURES, evidence["region_cases"].iloc[:0], evidence.published) == STRUCTURES
    changed = replace(evidence, averaged=STRUCTURES)
    assert (averaged_words(changed), single_names(changed)) == ("structures", ())


def test_a_fusion_is_compared_in_the_mean_over_regions(tmp_path):
    write_muscles(tmp_path / "a", num_patients=3)
    fused = {"task": "fuse", "row": "baur_unet_fused"}
    write_muscles(tmp_path / "f", num_patients=3, noise=0.05, settings=fused)
    found = gather(load_runs([tmp_path]), table="baur_table2", reference=None, margin=0.005)
    line, single = found["fusion"].iloc[0], line_of(found["table"], structure="mean")
    assert (line["row"], line["num_pairs"]) == ("baur_unet_fused", 3)
    assert 100 * line["single_dice"] == pytest.approx(single["patient_mean"])
    scores = found["region_cases"].loc[found["region_cases"]["structure"].isin(found.averaged)]
    own = scores.loc[scores["row"] == "baur_unet_fused"].groupby(["patient", "structure"])["dice"].mean()
    assert line["dice"] == pytest.approx(own.groupby("patient").mean().mean())
    assert line["dice"] > line["single_dice"]


def test_outputs_that_overlap_have_a_table_of_their_own(evidence, reader):
    assert "as the network judges each on its own, before they are one mask" in reader.text
    area = {name: line_of(evidence["region_outputs"], region=name, metric="area_pred_mm2") for name in PRINTED}
    share = (area["muscle"]["slice_mean"] + area["fat"]["slice_mean"]) / area["overall"]["slice_mean"]
    assert share > 1.001
    assert f"The areas of muscle and fat add up to {100 * share:.1f} % of that of overall." in reader.text
    assert line_of(evidence["region_outputs"], region="fat", metric="dice")["published_mean"] == 51


def test_grades_come_after_what_the_endpoint_is_of(evidence):
    titles = [section.title for section in printed_tables(evidence)]
    grades = [place for place, title in enumerate(titles) if "rade" in title]
    dice = [place for place, title in enumerate(titles) if "Dice" in title and "Claims" not in title]
    assert grades
    assert dice[0] < grades[0], titles


def test_an_order_of_regions_that_differs_is_said(evidence):
    scores = evidence["scores"].assign(value=1 - evidence["scores"]["value"])
    said = order_sentence(evidence.with_tables(scores=scores))
    assert "other order. Paper: overall > muscle > fat. Shown here the other way round: overall minus" in said


def test_folds_that_are_missing_are_said_before_any_number(tmp_path, reader):
    write_muscles(tmp_path / "f0", num_folds=2, num_patients=4)
    found = gather(load_runs([tmp_path]), table="baur_table2", reference=None, margin=0.005)
    assert "numbers of U-Net are of a part of the cohort" in unfinished_rows(found)
    assert "of a part of the cohort" not in reader.text


def test_pictures_are_chosen_by_the_mean_over_regions(evidence, reader):
    album = open_album(evidence)
    cases = evidence["region_cases"].loc[evidence["region_cases"]["structure"].isin(evidence.averaged)]
    expected = cases.groupby(["case", "slice"])["dice"].mean()
    assert len(album.slices)
    for line in album.slices.to_dict("records"):
        assert line["dice"] == pytest.approx(expected[line["case"], line["slice"]])
    assert "highest Dice (mean over regions)" in reader.text


def test_the_gallery_shows_a_good_and_a_poor_slice_of_each_region(reader):
    for region in ("overall", "muscle", "fat"):
        assert f"{region}, 95th percentile" in reader.text
        assert f"{region}, 5th percentile" in reader.text


def test_a_slice_at_a_quantile_is_the_nearest_one():
    slices = pd.DataFrame({"case": list("abcde"), "slice": 0, "dice": [0.5, np.nan, 0.1, 0.9, 0.5]})
    assert [at_quantile(slices, share)["case"] for share in (0.05, 0.5, 0.95)] == ["c", "e", "d"]
    assert at_quantile(slices.iloc[:0], 0.5) == {}


def test_grades_lead_beside_regions_alone_and_one_grade_is_no_agreement(evidence):
    assert any(text.startswith("Grades of") for text in muscle_sentences(evidence))
    assert muscle_sentences(evidence.with_tables(regions=evidence["regions"].iloc[:0])) == []
    alike = graded(evidence, truth="I", prediction="I")
    assert any("but all of them have one grade" in text for text in muscle_sentences(alike))


def test_a_report_without_regions_or_grades_says_nothing_of_them(tmp_path):
    write_run(tmp_path / "a", "unet", num_patients=3, num_folds=1)
    found = collect(load_runs([tmp_path]), table="bs_esnet_table1", reference=None, margin=0.005)
    assert "muscles" not in {section.key for section in sections(found)}
    assert all(found[name].empty for name in OF_MUSCLES)


def test_the_tables_are_written_and_read_back(evidence, tmp_path):
    write_tables(evidence, tmp_path)
    for name in OF_MUSCLES:
        read = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False)
        assert len(read) == len(evidence[name]) > 0


def test_every_printed_section_is_a_rectangle(evidence):
    found = {table.title: table for table in printed_tables(evidence)}
    for table in found.values():
        assert {len(line) for line in table.rows} == {len(table.header)}, table.title
    titles = (
        "U-Net: regions, mean",
        "U-Net: regions, 95 %",
        "Grades of patients",
        "U-Net: patients by grade",
        "Measurements",
    )
    assert all(any(title.startswith(word) for title in found) for word in titles)
    assert tables.latex(evidence).isascii()
