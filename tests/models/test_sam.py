"""SAM with prompts: where they land, which mask counts, and what permutations and absent structures change."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from datamodules.batch import boxes_of_masks
from models.sam.frame import CENTRE, COLOUR_MEAN, COLOUR_SD, Frame
from models.sam.network import PromptedSam, Prompts, best_masks
from models.strides import Strides
from tests.made.sams import write_sam

SIZES = [(160, 96), (96, 160), (101, 67), (67, 101), (33, 1024), (64, 64), (1500, 700)]


@pytest.mark.parametrize("size", SIZES)
def test_a_prompt_lands_on_the_pixel_that_it_is_of(size):
    """A bright pixel of the slice is brightest, in SAM's square, where the point of its centre is said to be."""
    frame, (height, width) = Frame(size=size), size
    pixels = [(height // 3, width // 4), (height - 2, width - 2), (1, 1)]
    points = torch.tensor([(column, row) for row, column in pixels], dtype=torch.float32)
    for (row, column), (x, y) in zip(pixels, frame.points(points).tolist(), strict=True):
        image = torch.zeros(1, height, width)
        image[0, row, column] = 1
        seen = frame.picture(image)[0]
        assert seen.shape == (1024, 1024)
        light = (seen[: frame.inner[0], : frame.inner[1]] + COLOUR_MEAN[0] / COLOUR_SD[0]).clamp(min=0).double()
        centre_y = (light.sum(dim=1) * torch.arange(len(light))).sum() / light.sum()
        centre_x = (light.sum(dim=0) * torch.arange(light.shape[1])).sum() / light.sum()
        assert centre_x.item() == pytest.approx(x, abs=0.5)
        assert centre_y.item() == pytest.approx(y, abs=0.5)


@pytest.mark.parametrize("size", SIZES[:5])
def test_a_mask_comes_back_to_where_its_box_was_told(size):
    """To half a pixel of the slice: a box drawn in SAM's square is, back on the slice, that of the structure."""
    frame, (height, width) = Frame(size=size), size
    mask = torch.zeros(1, height, width, dtype=torch.long)
    mask[0, height // 5 : height // 2, width // 3 : 2 * width // 3] = 1
    box = boxes_of_masks(mask, 1)[0]
    left, top, right, bottom = (frame.corners(box)[0] + CENTRE).tolist()  # edges, counted from the corner
    edges = torch.arange(1024) + 0.5
    rows, columns = ((edges > low) & (edges < high) for low, high in ((top, bottom), (left, right)))
    drawn = 10 * (rows[:, None] & columns[None, :]).float()[None, None] - 5
    back = frame.masks(drawn)[0] > 0
    pixels = torch.tensor([width, height, width, height])
    found = boxes_of_masks(back.long(), 1)[0]
    edge_error = (found - box).abs() * pixels
    assert edge_error.max() <= 0.5 + 1e-3


def test_the_corners_of_a_whole_slice_are_those_of_its_picture():
    frame = Frame(size=(50, 100), side=200)
    assert frame.inner == (100, 200)
    assert (frame.corners(torch.tensor([[0.5, 0.5, 1.0, 1.0]])) + CENTRE).tolist() == [[0, 0, 200, 100]]
    assert frame.points(torch.tensor([[0.0, 0.0]])).tolist() == [[0.5, 0.5]]  # a pixel covers two by two


def test_a_picture_is_grey_from_its_darkest_to_its_brightest_and_empty_beside_it():
    frame = Frame(size=(4, 2), side=8)
    image = torch.tensor([[[-3.0, 1.0]] * 4])
    seen = frame.picture(image)
    back = seen * torch.tensor(COLOUR_SD)[:, None, None] + torch.tensor(COLOUR_MEAN)[:, None, None]
    assert back[:, 0, [0, 3]].round().tolist() == [[0, 255]] * 3
    assert not seen[:, :, 4:].any()
    torch.testing.assert_close(frame.picture(7 * image - 100), seen)  # z-scores, scanner units: the same picture
    both = frame.picture(torch.cat([image, image.flip(2)]))  # two contrasts: their mean
    assert both[0, :, :4].std() < 1e-5
    assert torch.isfinite(frame.picture(torch.full((1, 4, 2), 2.0))).all()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """What makes a network of tiny random weights."""
    path = write_sam(tmp_path_factory.mktemp("sam") / "tiny.safetensors")
    shown = {"in_channels": 1, "weights": str(path), "stand_in": True, "size": (40, 24)}
    return lambda **settings: PromptedSam(**{"num_classes": 5, **shown, **settings}).eval()


BOXES = torch.tensor([[0.3, 0.2, 0.4, 0.2], [0.6, 0.5, 0.5, 0.3], [0.4, 0.8, 0.3, 0.3], [0.7, 0.7, 0.2, 0.5]])
POINTS = torch.tensor([[5.0, 6.0], [15.0, 20.0], [9.5, 33.0], [20.0, 30.0]])


@pytest.mark.parametrize(("prompt", "where"), [("box", BOXES), ("point", POINTS)])
def test_shapes_and_probabilities(tiny, prompt, where):
    network = tiny(prompt=prompt)
    image = torch.randn(2, 1, 40, 24)
    with torch.no_grad():
        prediction = network(image, Prompts(torch.stack([where, where.flip(0)])))
    assert prediction.logits.shape == (2, 5, 40, 24)
    torch.testing.assert_close(prediction.logits.exp().sum(dim=1), torch.ones(2, 40, 24))
    assert prediction.boxes is None, "prompts are told, not found"
    assert network.strides == Strides(5.0, 5.0)  # 16 of 128 pixels, 40 of which stand for 128


@pytest.mark.parametrize(("prompt", "where"), [("box", BOXES), ("point", POINTS)])
def test_another_order_of_structures_is_another_order_of_masks_alone(tiny, prompt, where):
    network, order = tiny(prompt=prompt), torch.tensor([2, 0, 3, 1])
    image = torch.randn(1, 1, 40, 24)
    with torch.no_grad():
        logits, permuted = (network(image, Prompts(each[None])).logits for each in (where, where[order]))
    classes = torch.cat([torch.zeros(1, dtype=torch.long), order + 1])
    torch.testing.assert_close(permuted, logits[:, classes], atol=1e-4, rtol=1e-4)
    assert len(logits.argmax(dim=1).unique()) > 1, "something is segmented"


@pytest.mark.parametrize(("prompt", "where"), [("box", BOXES), ("point", POINTS)])
def test_a_structure_without_a_prompt_has_no_mask_and_leaves_the_others_alone(tiny, prompt, where):
    network = tiny(prompt=prompt)
    image = torch.randn(1, 1, 40, 24)
    without = where.clone()
    without[1] = torch.nan
    with torch.no_grad():
        logits = network(image, Prompts(without[None])).logits
        fewer = network_of(network, 4)(image, Prompts(where[[0, 2, 3]][None])).logits
        nothing = network(image, Prompts(torch.full_like(where, torch.nan)[None])).logits
    assert (logits[0, 2].exp() < 1e-9).all()
    torch.testing.assert_close(logits[:, [0, 1, 3, 4]], fewer, atol=1e-4, rtol=1e-4)
    assert (nothing.argmax(dim=1) == 0).all()


def network_of(network: PromptedSam, num_classes: int) -> PromptedSam:
    """The same SAM for fewer structures."""
    other = PromptedSam(in_channels=1, num_classes=num_classes, prompt=network.prompt).eval()
    other.sam, other.side = network.sam, network.side
    return other


class Stub(nn.Module):
    """Decodes what it was given: of every prompt three masks of a square of 128 pixels, and what IoU it expects."""

    def __init__(self, masks, expected):
        super().__init__()
        self.masks, self.expected, self.encoded, self.decoded = masks, expected, 0, []

    def get_image_embeddings(self, pictures):
        self.encoded += 1
        return pictures[:, :1]

    def forward(self, image_embeddings, multimask_output, **told):
        assert multimask_output
        self.decoded.append(told)
        return SimpleNamespace(pred_masks=self.masks[None], iou_scores=self.expected[None])


def stubbed(masks, expected, **settings):
    """A network of two structures whose decoder is a stub."""
    network = PromptedSam(in_channels=1, num_classes=3, size=(128, 128), **settings).eval()
    network.sam, network.side = Stub(masks, expected), 128
    return network


def squares(*spans):
    """Scores of masks that are full squares from row and column `low` to `high`."""
    scores = torch.full((len(spans), 128, 128), -9.0)
    for scored, (low, high) in zip(scores, spans, strict=True):
        scored[low:high, low:high] = 9.0
    return scores


SPREAD = torch.stack([squares((0, 60), (0, 10), (0, 30)), squares((40, 128), (90, 128), (60, 128))])


def test_the_first_of_three_masks_counts_whatever_is_expected_of_the_others():
    network = stubbed(SPREAD, torch.tensor([[0.2, 0.9, 0.9], [0.3, 0.9, 0.9]]))
    found = network(torch.randn(1, 1, 128, 128), Prompts(BOXES[None, :2])).logits.argmax(dim=1)[0]
    assert (found[70:, 70:] == 2).all()
    assert (found[:40, :40] == 1).all()
    assert (found[:40, 70:] == 0).all()
    assert (found[40:60, 40:60] == 2).all(), "where both are, the one with the higher expected IoU"
    assert network.sam.encoded == 1, "a slice is encoded once"
    assert [told["input_boxes"].shape for told in network.sam.decoded] == [(1, 2, 4)], "all prompts at once"


def test_the_other_structure_is_on_top_where_more_is_expected_of_it():
    network = stubbed(SPREAD, torch.tensor([[0.4, 0.0, 0.0], [0.3, 0.9, 0.9]]))
    found = network(torch.randn(1, 1, 128, 128), Prompts(BOXES[None, :2])).logits.argmax(dim=1)[0]
    assert (found[40:60, 40:60] == 1).all()


def test_the_oracle_takes_the_mask_that_is_most_like_the_true_one():
    truth = torch.zeros(1, 128, 128, dtype=torch.long)
    truth[0, :30, :30], truth[0, 88:, 88:] = 1, 2
    network = stubbed(SPREAD, torch.rand(2, 3), mask="best")
    found = network(torch.randn(1, 1, 128, 128), Prompts(BOXES[None, :2], truth)).logits.argmax(dim=1)[0]
    assert torch.equal(found == 1, truth[0] == 1)
    assert int((found == 2).sum()) == 38**2
    masks = torch.zeros(1, 3, 4, 4, dtype=torch.bool)
    assert best_masks(masks, torch.zeros(1, 4, 4, dtype=torch.bool)).tolist() == [0]


def test_points_are_told_one_a_mask():
    network = stubbed(SPREAD, torch.rand(2, 3), prompt="point")
    network(torch.randn(2, 1, 128, 128), Prompts(POINTS[:2].expand(2, 2, 2)))
    assert [told["input_points"].shape for told in network.sam.decoded] == [(1, 2, 1, 2)] * 2
    told = network.sam.decoded[0]["input_points"][0, :, 0]
    torch.testing.assert_close(told, POINTS[:2])  # 128 pixels stay as they are


def test_images_without_prompts_are_refused():
    with pytest.raises(ValueError, match="without prompts"):
        stubbed(SPREAD, torch.rand(2, 3))(torch.zeros(1, 1, 128, 128))
