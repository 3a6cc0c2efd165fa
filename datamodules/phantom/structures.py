"""Names and ids of everything that a phantom draws, by how much of the body it has."""

from typing import Literal

from datamodules.phantom import templates

BodyKind = Literal["posterior", "whole"]

_POSTERIOR = (
    *templates.VERTEBRAE,
    *templates.LEVELS,
    *("dural_sac", "epidural_space", "ligamentum_flavum", "lamina", "articular_process", "psoas_left", "psoas_right"),
    *("multifidus_left", "multifidus_right", "erector_spinae_left", "erector_spinae_right"),
    *("multifidus_fat_left", "multifidus_fat_right", "erector_spinae_fat_left", "erector_spinae_fat_right"),
    *("quadratus_lumborum_left", "quadratus_lumborum_right", "aorta", "vena_cava", "subcutaneous_fat", "skin"),
    *("paraspinal_fat", "iliac_bone", "other_muscle", "kidney", "bowel"),
)
THORACIC_VERTEBRAE = ("T6", "T7", "T8", "T9", "T10", "T11")
THORACIC_DISCS = ("T6/7", "T7/8", "T8/9", "T9/10", "T10/11", "T11/12")
# What only the whole body has. There, `sacrum` is what lies below S1, with the arches and wings of S1; every pixel of
# the body has a label, so that 0 is the air around it.
_WHOLE = (
    *("S1", "coccyx"),
    *THORACIC_VERTEBRAE,
    *THORACIC_DISCS,
    *("rib", "pelvic_bone", "abdominal_wall", "gluteal_muscle", "diaphragm"),
    "deep_fat",  # inside the muscle wall, round organs and between muscles
    *("liver", "spleen", "stomach", "pancreas", "bowel_gas", "bladder", "uterus", "lung", "heart"),
    *("arm_muscle", "arm_bone"),
)
# Ids of the label files. Every structure that an anatomy may ask for has its own; several may map to one name. Fat of
# a back muscle: its pixels that are more than half fat.
LABELS = {name: index for index, name in enumerate((*_POSTERIOR, *_WHOLE), start=1)}


def labels_of(body: BodyKind) -> dict[str, int]:
    """Name and id of every structure that a body of this kind draws."""
    return LABELS if body == "whole" else {name: LABELS[name] for name in _POSTERIOR}
