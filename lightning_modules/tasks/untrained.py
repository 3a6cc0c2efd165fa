"""Networks that come with all that they know: nothing is fitted, and their run is a test of them as they are."""

from hydra.utils import get_object
from omegaconf import DictConfig


def learns(config: DictConfig) -> bool:
    """Whether the network of a configuration is trained; one that is not says `learns = False` in its class."""
    return bool(getattr(get_object(str(config.model._target_)), "learns", True))


def check_ready(config: DictConfig) -> None:
    """Refuses, before anything is prepared or written, a network that is not trained and lacks what it needs.

    Raises:
        ValueError: Naming the setting; if a checkpoint or arms are given, which are of trained networks.
    """
    if learns(config):
        return
    for name, remedy in get_object(str(config.model._target_)).needs.items():
        if config.model.get(name) is None:
            raise ValueError(f"model.{name} is missing: {remedy}")
    network = str(config.model._target_).rpartition(".")[2]
    if config.checkpoint is not None:
        raise ValueError(
            f"checkpoint={config.checkpoint}: {network} is not trained here and has no checkpoint; leave it out, the "
            "weights are those of model.weights"
        )
    if config.arms:
        raise ValueError(
            f"arms={','.join(map(str, config.arms))}: {network} follows its prompts, and arms are for trained networks;"
            " leave them out (arms=none)"
        )
