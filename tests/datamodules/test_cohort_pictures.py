"""Cohorts of PNG files, which say neither how large a pixel is nor where the patient's left is."""

import numpy as np
import pytest
import SimpleITK as sitk

from tests.made.scans import SHAPE, random_image, read_all, small_anatomy, two_muscles


def write_pictures(root, columns="spacing,orientation", cells="0.7;0.6,LP"):
    for folder, pixels in (("images", random_image(0)[0] % 256), ("labels", two_muscles()[0])):
        (root / folder).mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(pixels.astype(np.uint8)), str(root / folder / "anna.png"))
    (root / "cohort.csv").write_text(
        f"case,patient,image,label,{columns}\nanna,anna,images/anna.png,labels/anna.png,{cells}\n"
    )
    return root


def test_pictures_need_spacing_and_orientation(tmp_path):
    ((record,),) = read_all(write_pictures(tmp_path))
    pixels = (random_image(0)[0] % 256).astype(np.float32)
    np.testing.assert_array_equal(record.image[0, 0], pixels)
    assert record.spacing_mm == (0.7, 0.6)
    ((record,),) = read_all(write_pictures(tmp_path, cells="0.7;0.6,RP"))
    np.testing.assert_array_equal(record.image[0, 0], pixels[:, ::-1])
    np.testing.assert_array_equal(record.mask[0], two_muscles()[0][:, ::-1])
    ((record,),) = read_all(write_pictures(tmp_path, cells="0.7;0.6,PR"))
    np.testing.assert_array_equal(record.image[0, 0], pixels.T[:, ::-1])
    assert record.spacing_mm == (0.6, 0.7), "spacing is that of the picture's rows and columns"
    picture = r"case 'anna': \S*images/anna\.png: "
    for columns, cells, words in [
        ("orientation", "LP", picture + r"a \.png file does not say how large a pixel is; add the column spacing"),
        ("spacing", "0.6875", picture + r"does not say where the patient's left is; add the column orientation"),
        ("spacing,orientation", "0.7,LX", picture + r"orientation is 'LX', expected two letters"),
        ("spacing,orientation", "0.7,LR", picture + r"orientation is 'LR', expected two letters"),
        ("spacing,orientation", "0.7,LS", picture + r"its slices are not axial"),
        ("spacing,orientation", "wide,LP", r"case 'anna': spacing is 'wide', expected mm of a pixel"),
        ("spacing,orientation", "-1,LP", r"case 'anna': spacing is '-1', expected mm of a pixel"),
    ]:
        with pytest.raises(ValueError, match=words):
            read_all(write_pictures(tmp_path, columns, cells))
    one_sided = small_anatomy(mirror=[])
    ((record,),) = read_all(write_pictures(tmp_path, "spacing", "0.6875"), anatomy=one_sided)
    np.testing.assert_array_equal(record.image[0, 0], pixels)


def test_colour_pictures_are_refused(tmp_path):
    root = write_pictures(tmp_path)
    colours = sitk.GetImageFromArray(np.zeros((*SHAPE[1:], 3), np.uint8), isVector=True)
    sitk.WriteImage(colours, str(root / "labels/anna.png"))
    with pytest.raises(
        ValueError, match=r"case 'anna': \S*labels/anna\.png: has 3 numbers per pixel .*save it as a grey"
    ):
        read_all(root)
