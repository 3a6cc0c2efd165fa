"""Training pictures that are made, step by step, of tissue maps: `data/augmentation=synthesis`."""

from datamodules.synthesis.augmentation import Synthesis

__all__ = ["Synthesis"]
