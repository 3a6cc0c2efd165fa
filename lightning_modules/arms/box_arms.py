"""Arms of boxes: a trained BS-ESNet is shown other boxes than its own, to see what its gate makes of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from datamodules.anatomy import Anatomy
from datamodules.batch import SpineBatch
from datamodules.slices import SliceDataModule
from lightning_modules.segmentation import SegmentationModule
from models.bs_esnet.network import BSESNet

TEST_QUERIES = ("annotated", "annotated_jittered", "shuffled", "none")


def check_box_arm(
    name: str, settings: Mapping[str, Any], network: str, module: lightning.LightningModule, anatomy: Anatomy
) -> None:
    """Refuses an arm that cannot be tested.

    Args:
        name: Of the arm.
        settings: `test_query` and, for annotated_jittered, `jitter`.
        network: What a message calls the network.
        module: Holds it.
        anatomy: Structures that have boxes.

    Raises:
        ValueError: If the network has no box query, the settings are unknown, or shuffling is impossible.
    """
    if not isinstance(module, SegmentationModule) or not isinstance(module.network, BSESNet):
        raise ValueError(
            f"arms={name}: {network} has no gate that boxes could be shown to; arms of boxes are for "
            "experiment=bs_esnet, leave them out here (arms=none)"
        )
    query, jitter = settings.get("test_query"), settings.get("jitter")
    if query not in TEST_QUERIES or set(settings) - {"test_query", "jitter"}:
        raise ValueError(
            f"arms.{name} is {dict(settings)}, expected test_query ({', '.join(TEST_QUERIES)}) and, for "
            "annotated_jittered, jitter"
        )
    if (query == "annotated_jittered") != (jitter is not None) or (jitter is not None and jitter <= 0):
        raise ValueError(
            f"arms.{name} is {dict(settings)}: annotated_jittered, and it alone, needs jitter, the SD of centre "
            "and size as a share of the size, above 0"
        )
    if query == "shuffled":
        deal_of_boxes(anatomy)


@contextmanager
def shown_boxes(module: SegmentationModule, data: SliceDataModule, settings: Mapping[str, Any]) -> Iterator[None]:
    """Shows the gate the boxes of an arm, and its own again afterwards."""
    assert isinstance(module.network, BSESNet)
    query = settings["test_query"]
    try:
        if query == "shuffled":
            module.network.ask_at_test("dealt", deal_of_boxes(data.anatomy))
        elif query == "none":
            module.network.ask_at_test("none")
        else:
            numbers = data.store.table["slice"].to_numpy(np.int64)
            module.offer_prompts = annotated_boxes(numbers, float(settings.get("jitter", 0)))
            module.network.ask_at_test("offered")
        yield
    finally:
        module.offer_prompts = None
        module.network.ask_at_test()


def annotated_boxes(slice_numbers: Int[np.ndarray, " s"], jitter: float) -> Callable[[SpineBatch], Tensor]:
    """The annotated boxes of a batch, off by `jitter` of their size (SD of centre and size).

    A slice is always displaced the same way, whatever the batch it is in, the seed of the run or the size of the
    jitter: arms and rows differ in nothing else. Boxes of absent organs stay NaN.

    Args:
        slice_numbers: Index in its image of every row of the store.
        jitter: 0 for the annotated boxes themselves.
    """

    def boxes(batch: SpineBatch) -> Float[Tensor, "b n 4"]:
        names = [f"{case}/{slice_numbers[int(row)]}" for case, row in zip(batch.case, batch.index, strict=True)]
        drawn = np.stack([_draw(name, batch.boxes.shape[1]) for name in names])
        noise = jitter * torch.from_numpy(drawn).to(batch.boxes)
        centre, size = batch.boxes[..., :2], batch.boxes[..., 2:]
        return torch.cat([centre + noise[..., :2] * size, size * (1 + noise[..., 2:]).clamp(min=0.1)], dim=-1)

    return boxes


def _draw(name: str, num_structures: int) -> Float[np.ndarray, "n 4"]:
    seed = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal((num_structures, 4))


def deal_of_boxes(anatomy: Anatomy) -> Sequence[int]:
    """Whose box each structure gets: nobody's own, nor that of its own mirror side.

    The list of structures is shifted, by half its length or else by the next number that will do; neighbours in the
    list, as a rule neighbours in the body, would have boxes that overlap.

    Raises:
        ValueError: If no shift will do.
    """
    n = anatomy.num_structures
    partners = [index - 1 for index in anatomy.mirrored_classes[1:]]
    for shift in (*range(n // 2, n), *range(1, n // 2)):
        deal = [(index + shift) % n for index in range(n)]
        if all(given not in (index, partners[index]) for index, given in enumerate(deal)):
            return deal
    raise ValueError(
        f"arms: the boxes of anatomy {anatomy.name} ({', '.join(anatomy.structures)}) cannot be dealt so that nobody "
        "gets its own or its mirror side's; leave the arm out (~arms.shuffled)"
    )
