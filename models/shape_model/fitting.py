"""Shape and interspace models of a spine, fitted to a slice and its key points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.shape_model.contours import outward_normals
from models.shape_model.interspace import Interspace, pushed_out
from models.shape_model.poses import Frame, Poses, frames
from models.shape_model.procrustes import Shapes
from models.shape_model.profiles import Picture, Profiles, best_offsets
from models.shape_model.settings import ShapeModelSettings
from models.shape_model.spine_line import spine_line

LAST_PARTINGS = 3  # ours: moving one pair moves the next


@dataclass(frozen=True, kw_only=True)
class SpineModel:
    """What training spines look like; structures from head to foot. `models.shape_model.learning` makes it.

    Attributes:
        shapes: Of each structure.
        poses: Of each structure.
        profiles: Of all of them.
        spaces: Of each structure to its neighbours, as far as training cases have both.
        settings: What it was learned and is fitted with.
    """

    shapes: Sequence[Shapes]
    poses: Sequence[Poses]
    profiles: Profiles
    spaces: Sequence[Interspace]
    settings: ShapeModelSettings

    def fit(self, picture: Picture, centres: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n p 2"]:
        """Contours of a slice.

        Args:
            picture: The slice.
            centres: Key points (x, y), mm from the centre of its first pixel; NaN where a structure is not there.

        Returns:
            In mm; NaN where there is no key point.
        """
        tangents, steps_mm = spine_line(centres)
        places = frames(centres, tangents, steps_mm)
        there = np.flatnonzero(np.isfinite(centres).all(axis=1))
        contours = np.full((len(centres), self.settings.num_points, 2), np.nan)
        for place in map(int, there):
            contours[place] = self.poses[place].start(places[place])(self.shapes[place].mean)
        settings = self.settings
        for reach_mm in np.linspace(settings.search_mm, settings.last_search_mm, settings.num_iterations):
            contours[there] = self._searched(picture, contours[there], there, float(reach_mm))
            for place in map(int, there):
                contours[place] = self._shaped(contours[place], place, places[place])
            contours = self._parted(contours, tangents)
        for _ in range(LAST_PARTINGS):
            contours = self._parted(contours, tangents)
        return self._apart(contours)

    def _searched(
        self, picture: Picture, contours: Float[np.ndarray, "t p 2"], there: Int[np.ndarray, " t"], reach_mm: float
    ) -> Float[np.ndarray, "t p 2"]:
        """Every point where its profile is most like those of training."""
        normals = outward_normals(contours)
        own = Profiles(mean=self.profiles.mean[there], precision=self.profiles.precision[there])
        lengths = {"reach_mm": reach_mm, "step_mm": self.settings.sample_mm}
        return contours + best_offsets(picture, contours, normals, own, **lengths)[..., None] * normals

    def _shaped(self, points: Float[np.ndarray, "p 2"], place: int, frame: Frame) -> Float[np.ndarray, "p 2"]:
        """The nearest shape that training cases could have, in a pose that they could have."""
        limit_sd = self.settings.shape_limit_sd
        shape, pose = self.shapes[place].nearest(points, limit_sd)
        return self.poses[place].limited(pose, frame, limit_sd)(shape)

    def _parted(
        self, contours: Float[np.ndarray, "n p 2"], tangents: Float[np.ndarray, "n 2"]
    ) -> Float[np.ndarray, "n p 2"]:
        """Contours whose neighbours keep a space that training cases could have."""
        moved = contours.copy()
        limits = {"limit_sd": self.settings.interspace_limit_sd, "reach_mm": self.settings.facing_mm}
        for space in self._spaces_of(contours):
            one, other = space.source, space.target
            along = tangents[one] + tangents[other]
            unit = along / np.linalg.norm(along)
            moved[one], moved[other] = space.parted(moved[one], moved[other], unit, **limits)
        return moved

    def _apart(self, contours: Float[np.ndarray, "n p 2"]) -> Float[np.ndarray, "n p 2"]:
        """Contours without the corners that no facing pair has kept out of the neighbour.

        Of 40 synthetic spines neighbours share 4552 pixels without interspaces, 33 with them, and 18 after this.
        """
        moved = contours.copy()
        for space in self._spaces_of(contours):
            moved[space.source] = pushed_out(moved[space.source], moved[space.target], self.settings.floor_mm)
        return moved

    def _spaces_of(self, contours: Float[np.ndarray, "n p 2"]) -> list[Interspace]:
        """Those between structures that are there."""
        return [space for space in self.spaces if np.isfinite(contours[[space.source, space.target]]).all()]
