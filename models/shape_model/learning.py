"""Shape and interspace models of a spine, learned from annotated slices."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from models.shape_model.contours import outward_normals
from models.shape_model.fitting import SpineModel
from models.shape_model.interspace import Interspace, interspace_of
from models.shape_model.poses import frames, poses_of
from models.shape_model.procrustes import shapes_of
from models.shape_model.profiles import Profiles, gradients, normed, profiles_of
from models.shape_model.settings import ShapeModelSettings
from models.shape_model.spine_line import spine_line
from models.shape_model.spines import Spine

FEWEST = 2  # training cases of which something can vary


def learn(spines: Sequence[Spine], names: Sequence[str], settings: ShapeModelSettings) -> SpineModel:
    """The models of training spines.

    Args:
        spines: With the same structures from head to foot; at least one.
        names: What these are called, for errors.
        settings: How they are learned.

    Raises:
        ValueError: If a structure is whole in fewer than two of them, naming it.
    """
    contours = np.stack([spine.contours for spine in spines])
    whole = _whole(contours)
    rare = [name for name, count in zip(names, whole.sum(axis=0), strict=True) if count < FEWEST]
    if rare:
        raise ValueError(
            f"{', '.join(rare)}: whole in fewer than {FEWEST} of {len(spines)} training masks, and a shape model "
            "learns how shapes differ; give more training masks, or an anatomy without what nobody drew"
        )
    lines = [spine_line(spine.centres) for spine in spines]
    places = [frames(spine.centres, *line) for spine, line in zip(spines, lines, strict=True)]
    shapes, poses = [], []
    for number in range(len(names)):
        cases = [int(case) for case in np.flatnonzero(whole[:, number])]
        shapes.append(shapes_of(contours[cases, number], settings.variance_share))
        poses.append(poses_of(shapes[-1].mean, contours[cases, number], [places[case][number] for case in cases]))
    return SpineModel(
        shapes=shapes,
        poses=poses,
        profiles=_profiles(spines, settings),
        spaces=_spaces(contours, whole, np.stack([tangents for tangents, _ in lines]), settings),
        settings=settings,
    )


def _whole(contours: Float[np.ndarray, "s n p 2"]) -> Bool[np.ndarray, "s n"]:
    """Which structures are there, and not cut by the edge of the picture."""
    return np.asarray(np.isfinite(contours[:, :, 0, 0]))


def _profiles(spines: Sequence[Spine], settings: ShapeModelSettings) -> Profiles:
    how = {"num_samples": settings.num_samples, "step_mm": settings.sample_mm}
    found = []
    for spine in spines:
        missing = ~_whole(spine.contours[None])[0]
        contours = spine.contours.copy()
        contours[missing] = 0.0
        seen = normed(gradients(spine.picture, contours, outward_normals(contours), **how))
        seen[missing] = np.nan
        found.append(seen)
    return profiles_of(np.stack(found))


def _spaces(
    contours: Float[np.ndarray, "s n p 2"],
    whole: Bool[np.ndarray, "s n"],
    tangents: Float[np.ndarray, "s n 2"],
    settings: ShapeModelSettings,
) -> list[Interspace]:
    """Spaces of every structure to the next and back, of those that a training case has together."""
    lengths, spaces = {"reach_mm": settings.facing_mm, "floor_mm": settings.floor_mm}, []
    for upper in range(contours.shape[1] - 1):
        both = np.flatnonzero(whole[:, upper] & whole[:, upper + 1])
        along = tangents[both, upper] + tangents[both, upper + 1]
        units = list(along / np.linalg.norm(along, axis=1, keepdims=True))
        for source, target in ((upper, upper + 1), (upper + 1, upper)) if len(both) else ():
            pairs = [(contours[case, source], contours[case, target]) for case in both]
            spaces.append(interspace_of((source, target), pairs, units, **lengths))
    return spaces
