"""Split files: what is written is read, and a file that puts somebody in two parts is refused, naming the patient."""

import pandas as pd
import pytest

from datamodules.folds import AllTest, ExplicitFolds, ImageFolds, PatientFolds
from datamodules.splits.split import PARTS, Split


def simple_table(num_patients, num_weak=0):
    """Store rows p00, p01, ... of two slices with masks and one without; the last num_weak have one without alone."""
    records = [
        {"case": "t2", "patient": f"p{index:02}", "slice": number, "level": "L4/5", "site": "", "has_mask": number > 0}
        for index in range(num_patients + num_weak)
        for number in range(3 if index < num_patients else 1)
    ]
    return pd.DataFrame(records)


def members(split, table, fold, part):
    return set(table.iloc[split.indices(fold, part, table)]["patient"])


@pytest.mark.parametrize("folds", [PatientFolds(num_folds=3), ImageFolds(num_folds=3), AllTest()], ids=str)
def test_a_split_survives_its_file(folds, tmp_path):
    table = simple_table(7, num_weak=1).replace({"patient": {"p01": "001", "p02": "NA"}})
    split = folds(table)
    split.write(tmp_path / "folder" / "split.csv")
    assert Split.read(tmp_path / "folder" / "split.csv") == split
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["split.csv"]


def test_an_edited_file_is_noticed(tmp_path):
    path = tmp_path / "split.csv"
    PatientFolds(num_folds=2)(simple_table(2)).write(path)
    swap = str.maketrans({"0": "1", "1": "0"})
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, lines[0], *(line[0].translate(swap) + line[1:] for line in lines[1:])]))
    with pytest.raises(ValueError, match=r"split\.csv was edited .* delete its first line"):
        Split.read(path)
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    assert Split.read(path).num_folds == 2


def explicit(tmp_path, text, table):
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return ExplicitFolds(path)(table)


GOOD = "fold,part,patient\n0,train,p00\n0,validation,p01\n0,test,p02\n1,test,p00\n1,train,p01\n1,train,p02\n"


def test_an_explicit_file_is_taken_as_it_is(tmp_path):
    table = simple_table(3, num_weak=1)
    split = explicit(tmp_path, GOOD, table)
    assert split.num_folds == 2
    assert [members(split, table, 0, part) for part in PARTS] == [{"p00", "p03"}, {"p01"}, {"p02"}]
    assert [members(split, table, 1, part) for part in PARTS] == [{"p01", "p02", "p03"}, set(), {"p00"}]


def test_what_patient_folds_wrote_is_an_explicit_file(tmp_path):
    table = simple_table(6, num_weak=2)
    split = PatientFolds(num_folds=3)(table)
    split.write(tmp_path / "split.csv")
    assert ExplicitFolds(tmp_path / "split.csv")(table) == split


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "0,test,p00\n", r"patient p00 is in two parts of fold 0: train and test"),
        (GOOD.replace("1,train,p02", "1,test,p02"), r"patient p02 is tested in folds 0 and 1"),
        (GOOD.replace("1,train,p02\n", ""), r"patient p02 is in no part of fold 1"),
        (GOOD + "0,train,p9\n1,train,p9\n", r"p9: not in this cohort"),
        (
            GOOD.replace("0,train,p00\n", "").replace("1,test,p00\n", "1,test,p01\n").replace("1,train,p01\n", ""),
            "p00: left",
        ),
        (GOOD + "0,validation,p03\n1,train,p03\n", r"p03: to be validated or tested, but have no masks"),
        (GOOD.replace("1,", "2,"), r"the folds are 0, 2; expected 0, 1, 2"),
        (GOOD.replace("test", "train"), r"fold 0 has no patient in part test"),
        (GOOD + "1,Test,p01\n", r"row 7 is .*'Test'.* expected a fold 0, 1, ..., a part of train, validation, test"),
        (GOOD + "-1,test,p01\n", r"row 7 is .*'-1'"),
        (GOOD + "0,train\n", r"row 7 is .*'patient': ''"),
        ("fold,patient\n0,p00\n", r"lacks the columns part; it has fold, patient"),
        ("", r"lacks the columns fold, part, patient"),
        ("fold,part,patient\n", r"the folds are none"),
    ],
)
def test_a_wrong_explicit_file_is_refused_naming_the_patient_and_the_file(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        explicit(tmp_path, text, simple_table(3, num_weak=1))
    assert "mine.csv" in str(caught.value)


def test_a_file_by_slice_may_not_put_a_patient_in_two_parts_either(tmp_path):
    table = simple_table(3)
    ImageFolds(num_folds=2)(table).write(tmp_path / "split.csv")
    with pytest.raises(ValueError, match=r"split\.csv: patient p0\d is in two parts of fold 0"):
        ExplicitFolds(tmp_path / "split.csv")(table)


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no split file .*none\.csv; expected a CSV"):
        ExplicitFolds(tmp_path / "none.csv")(simple_table(2))
    (tmp_path / "binary.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ValueError, match=r"binary\.csv lacks the columns"):
        ExplicitFolds(tmp_path / "binary.csv")(simple_table(2))
