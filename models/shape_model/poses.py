"""Where a shape lies in its spine: size by the distance of neighbours, turn by the spine, place by a point."""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.shape_model.procrustes import Similarity, as_complex, similarity

HEAD_TO_FOOT = 1j  # direction of a spine that hangs straight down: x + iy, y to the feet


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The spine at a structure.

    Attributes:
        centre: Its key point, x + iy in mm.
        direction: Of the spine to the feet, of length 1.
        step_mm: Distance of neighbours; NaN where there is no other key point.
    """

    centre: complex
    direction: complex
    step_mm: float

    @property
    def turn(self) -> complex:
        """From a spine that hangs straight down to this one."""
        return self.direction / HEAD_TO_FOOT


@dataclass(frozen=True, kw_only=True)
class Poses:
    """How the shapes of one structure lie in training spines.

    Attributes:
        log_size: Mean and standard deviation of the logarithm of size by the distance of neighbours.
        turn: The same of the angle to the spine's direction, radians.
        offset: Mean place by the key point, in the spine's direction and distances of neighbours.
        step_mm: Mean distance of neighbours, for spines with a single key point.
    """

    log_size: tuple[float, float]
    turn: tuple[float, float]
    offset: complex
    step_mm: float

    def start(self, frame: Frame) -> Similarity:
        """The mean pose at a key point."""
        shift = frame.centre + self.offset * self._step_mm(frame) * frame.turn
        return Similarity(factor=self._factor(frame, self.log_size[0], self.turn[0]), shift=shift)

    def limited(self, pose: Similarity, frame: Frame, limit_sd: float) -> Similarity:
        """The pose with its size and turn within so many standard deviations of the mean; its place stays."""
        size, angle = cmath.polar(pose.factor / frame.turn)
        off = cmath.phase(cmath.rect(1.0, angle - self.turn[0]))  # -pi to pi
        turn = self.turn[0] + _limited(off, limit_sd * self.turn[1])
        log_size = math.log(max(size, 1e-9) / self._step_mm(frame))
        log_size = self.log_size[0] + _limited(log_size - self.log_size[0], limit_sd * self.log_size[1])
        return Similarity(factor=self._factor(frame, log_size, turn), shift=pose.shift)

    def _factor(self, frame: Frame, log_size: float, turn: float) -> complex:
        return cmath.rect(self._step_mm(frame) * math.exp(log_size), turn) * frame.turn

    def _step_mm(self, frame: Frame) -> float:
        return self.step_mm if math.isnan(frame.step_mm) else frame.step_mm


def frames(
    centres: Float[np.ndarray, "n 2"], tangents: Float[np.ndarray, "n 2"], steps_mm: Float[np.ndarray, " n"]
) -> list[Frame]:
    """A frame of every structure, from its key point (mm) and what `spine_line` says."""
    numbers = zip(as_complex(centres), as_complex(tangents), steps_mm, strict=True)
    return [Frame(centre=complex(at), direction=complex(way), step_mm=float(step)) for at, way, step in numbers]


def poses_of(mean: Float[np.ndarray, "p 2"], contours: Float[np.ndarray, "s p 2"], places: Sequence[Frame]) -> Poses:
    """The poses of a mean shape in training spines.

    Args:
        mean: Of centre 0 and size 1.
        contours: In mm, of every case.
        places: Of every case; of one without neighbours the size says nothing.
    """
    found = [similarity(mean, contour) for contour in contours]
    relative = np.array([pose.factor / at.turn for pose, at in zip(found, places, strict=True)])
    steps = np.array([at.step_mm for at in places])
    steps_mm = np.where(np.isfinite(steps), steps, np.nanmean(steps) if np.isfinite(steps).any() else 1.0)
    log_sizes = np.log(np.abs(relative) / steps_mm)
    turn = cmath.phase(complex((relative / np.abs(relative)).mean()))
    offsets = np.array([(pose.shift - at.centre) / at.turn for pose, at in zip(found, places, strict=True)]) / steps_mm
    return Poses(
        log_size=(float(log_sizes.mean()), float(log_sizes.std())),
        turn=(turn, float(np.angle(relative * np.exp(-1j * turn)).std())),
        offset=complex(offsets.mean()),
        step_mm=float(steps_mm.mean()),
    )


def _limited(value: float, most: float) -> float:
    return min(max(value, -most), most)
