"""A trained network as ONNX, for programs that know neither Python nor torch."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from lightning_modules.tasks.trained_network import TrainedNetwork
from records.whole_files import naming, partial_of

for name in ("onnxscript", "onnx_ir"):
    logging.getLogger(name).setLevel(logging.WARNING)  # they tell every constant that they merge

SUFFIX = ".onnx"
IMAGE, PROBABILITIES = "image", "probabilities"
NUM_CHECKED = 10  # slices
LARGEST_DIFFERENCE = 1e-4  # of a probability
ORIENTATION = {
    "axial": "rows from anterior to posterior, columns from the patient's right to left",
    "sagittal": "rows from superior to inferior, columns from anterior to posterior",
}


class Probabilities(nn.Module):
    """From slices on the network's grid to class probabilities, as `task=predict` decides on them.

    Args:
        trained: The network.
        undo_class_weights: See `lightning_modules.losses.objective.Objective`.
    """

    shift: Tensor
    taught: Tensor

    def __init__(self, trained: TrainedNetwork, *, undo_class_weights: bool = True) -> None:
        super().__init__()
        structures = trained.anatomy.structures
        drawn = structures if trained.seen is None else trained.seen.structures
        weights = trained.class_weights if undo_class_weights else torch.ones_like(trained.class_weights)
        self.network = trained.network().eval()
        # What `without_class_weights` and `merge_unlabelled` do, without their questions: a graph has no branches.
        self.register_buffer("shift", weights.log()[:, None, None])
        taught = torch.tensor([True, *(name in drawn for name in structures)])
        self.register_buffer("taught", taught.float()[:, None, None])

    def forward(self, image: Float[Tensor, "b m h w"]) -> Float[Tensor, "b c h w"]:
        """Returns probabilities, background first; what it was not taught is background."""
        chances = (self.network(image, None).logits - self.shift).softmax(dim=1)
        taught = chances * self.taught
        background = taught[:, :1] + (chances - taught).sum(dim=1, keepdim=True)
        return torch.cat([background, taught[:, 1:]], dim=1)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """How an ONNX file compares with torch on the same slices.

    Attributes:
        difference: Largest difference of a probability.
        torch_ms: Time of a slice in torch, the median; likewise the next.
        onnx_ms: In ONNX Runtime.
    """

    difference: float
    torch_ms: float
    onnx_ms: float


def write_onnx(trained: TrainedNetwork, path: Path, *, undo_class_weights: bool = True) -> Exported:
    """Writes a network, what has to be done to a slice before it in its metadata, and compares it with torch.

    Args:
        trained: The network.
        path: Ends in .onnx; any number of slices go through it at once.
        undo_class_weights: See `lightning_modules.losses.objective.Objective`.

    Raises:
        ValueError: If onnx, onnxscript or onnxruntime is not installed, or the file's probabilities are not torch's.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  what torch exports with
    except ImportError as error:
        raise ValueError(f'output={path} needs {error.name}: pip install -e ".[onnx]"') from None
    module, data = Probabilities(trained, undo_class_weights=undo_class_weights).eval(), trained.config.data
    size = (trained.num_channels, *(int(side) for side in data.size))
    slices = torch.randn(NUM_CHECKED, *size, generator=torch.Generator().manual_seed(0))
    partial = partial_of(path)
    with torch.inference_mode():
        program = torch.onnx.export(
            module,
            (slices[:2],),
            input_names=[IMAGE],
            output_names=[PROBABILITIES],
            dynamic_shapes=({0: torch.export.Dim("slices")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in described(trained).items()})
    with naming(path):
        onnx.save(model, str(partial))
    session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
    found = compared(module, lambda image: np.asarray(session.run([PROBABILITIES], {IMAGE: image})[0]), slices)
    if not found.difference <= LARGEST_DIFFERENCE:
        partial.unlink()
        raise ValueError(
            f"output={path}: probabilities of ONNX Runtime differ from torch's by up to {found.difference:.2g} (at "
            f"most {LARGEST_DIFFERENCE:g} is expected), so nothing was written; update onnxruntime or torch"
        )
    partial.replace(path)
    return found


def described(trained: TrainedNetwork) -> dict[str, Any]:
    """What a program has to know: the slices that go in, in which state, and what comes out."""
    data, anatomy = trained.config.data, trained.anatomy
    return {
        "structures": ["background", *anatomy.structures],
        "channels": list(trained.channels) or trained.num_channels,
        "view": anatomy.view,
        "orientation": ORIENTATION[anatomy.view],
        "size_px": [int(side) for side in data.size],
        "spacing_mm": float(data.spacing_mm),
        "offset_mm": [float(each) for each in data.offset_mm],
        "preparation": (
            "1. every slice and channel to mean 0 and standard deviation 1, over all of its pixels; 2. to pixels of "
            "spacing_mm around the centre of the image plus offset_mm (row, column): Gaussian filter where pixels "
            "grow, linear interpolation, the slice's minimum outside of the image; 3. float32, slices x channels x "
            "rows x columns"
        ),
    }


def compared(
    module: nn.Module,
    other: Callable[[Float32[np.ndarray, "b m h w"]], Float32[np.ndarray, "b c h w"]],
    slices: Float[Tensor, "b m h w"],
) -> Exported:
    """Runs the same slices through both, one by one, in turns."""
    differences, times = [], {"torch": [], "onnx": []}
    with torch.inference_mode():
        for image in slices:
            start = time.perf_counter()
            ours = module(image[None]).numpy()
            middle = time.perf_counter()
            theirs = other(image[None].numpy())
            times["torch"].append(middle - start)
            times["onnx"].append(time.perf_counter() - middle)
            differences.append(np.abs(ours - theirs).max())
    torch_ms, onnx_ms = (1000 * float(np.median(each)) for each in times.values())
    return Exported(difference=float(np.max(differences)), torch_ms=torch_ms, onnx_ms=onnx_ms)
