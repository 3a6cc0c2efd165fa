"""What `task=export` runs: a trained network as one file that can be handed on."""

import logging
import shlex
from pathlib import Path

from omegaconf import DictConfig

from lightning_modules.tasks.named_checkpoints import one_checkpoint
from lightning_modules.tasks.onnx_export import NUM_CHECKED, SUFFIX, write_onnx
from lightning_modules.tasks.phantom_task import given_output, leave_no_run_folder
from lightning_modules.tasks.provenance import code_card
from lightning_modules.tasks.trained_network import TrainedNetwork, read_trained, write_weights
from records.starters import WEIGHTS, write_card
from records.whole_files import read_json

logger = logging.getLogger(__name__)

WORDS = "# {name}\n\nWhom it was tested on, and what it does badly, is for you to say here.\n"


def export(config: DictConfig) -> None:
    """Writes the network of `checkpoint` into the file `output`: weights (.safetensors) with a card, or ONNX (.onnx).

    A file of weights, in half precision, says by itself how it is used: task=predict and task=test take it as a
    checkpoint, model.init starts from it.
    The head of the card (.md) has its hash, what it learned from and how; words below the head stay as they are.

    Raises:
        ValueError: If no such file is given, or the checkpoint cannot be read.
    """
    leave_no_run_folder()
    output = given_output(config)
    if output is None or output.suffix not in (WEIGHTS, SUFFIX):
        raise ValueError(f"task=export needs output=FILE{WEIGHTS} or FILE{SUFFIX}, the file to write; given: {output}")
    trained = read_trained(one_checkpoint(config.checkpoint, config.anatomy.view, "task=export checkpoint=FILE"))
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix == SUFFIX:
        found = write_onnx(trained, output, undo_class_weights=bool(config.objective.undo_class_weights))
        logger.info(
            "%s: %.1f MiB; on %d slices probabilities differ from torch's by up to %.1g; %.0f ms a slice, torch %.0f",
            *(output, output.stat().st_size / 2**20, NUM_CHECKED, found.difference, found.onnx_ms, found.torch_ms),
        )
        return
    digest = write_weights(trained, output)
    write_card(output.with_suffix(".md"), facts_of(trained, digest), WORDS.format(name=output.stem))
    size = output.stat().st_size / 2**20
    logger.info("%s: %.1f MiB, SHA-256 %s; its card: %s", output, size, digest, output.with_suffix(".md"))


def facts_of(trained: TrainedNetwork, digest: str) -> dict[str, str]:
    """What the head of a card says: hash, training, patients, size; of a run folder its command and commit."""
    card = trained.path.resolve().parent.parent / "run_card.json"
    ran = read_json(card, "put it back; it says how the network was trained") if card.is_file() else code_card()
    cohort, data = trained.config.cohort, trained.config.data
    parameters = sum(weight.numel() for weight in trained.weights.values())
    return {
        "sha256": digest,
        "command": shlex.join(word for word in shlex.split(str(ran["command"])) if not _names_a_place(word)),
        "commit": str(ran["commit"]),
        "cohort": f"{cohort.get('name', '')} ({cohort.get('licence', 'no licence stated')})",
        "patients": str(trained.seen.num_patients if trained.seen else "unknown"),
        "structures": ", ".join(trained.anatomy.structures),
        "view": trained.anatomy.view,
        "grid": f"{data.size[0]} x {data.size[1]} pixels of {data.spacing_mm:g} mm",
        "parameters": f"{parameters / 1e6:.2f} M",
    }


def _names_a_place(word: str) -> bool:
    """Whether a word of a command line says where something lies on the machine that it was typed on."""
    value = word.partition("=")[2]
    return Path(value).is_absolute() or value.startswith("~")
