"""Vertebrae and discs of the whole column, beyond those that are drawn level by level, and where soft tissue ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int, UInt8

from datamodules.phantom import templates
from datamodules.phantom.patient import Patient
from datamodules.phantom.structures import LABELS, THORACIC_DISCS, THORACIC_VERTEBRAE
from datamodules.phantom.templates import NUM_LEVELS

Array = np.ndarray
Closings = Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
_STREAM = 16
_UNNAMED = 3  # discs above T12/L1 that a picture of the posterior body may show; they have no label there

# The column of a whole body, at a height of 1.69 m; ours, continued from the lumbar numbers: gaps from disc to disc
# above T12/L1 (upper to lower) and below S1/2, heights of those discs, and tilts relative to that of T12/L1.
_GAP_ABOVE_MM = (24.5, 25.0, 26.0, 27.0, 28.5, 30.0)
_GAP_BELOW_MM = (25.0, 21.5, 18.5, 16.0, 12.0, 9.0, 8.0)
_DISC_ABOVE_MM, _DISC_BELOW_MM = (4.0, 4.2, 4.4, 4.7, 5.2, 5.8), (1.8, 1.4, 1.2, 2.4, 1.6, 1.4, 1.0)
_TILT_ABOVE_DEG = (12.0, 9.0, 5.0, 2.0, 0.0, -1.0)
# Below S1/2: part of its tilt, and what is added: the steeper the sacrum begins, the more it is bent.
_TILT_BELOW = ((1.1, 0.85, 0.42, 0.05, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, -8.0, -25.0, -38.0, -45.0))
_SACRAL, _COCCYGEAL, _TIP = 4, 3, 12  # segments below S1, segments of the coccyx, level coordinate of its tip
# How much smaller the outline of the bodies is than at the nearest drawn disc, mm over level coordinates.
_NARROWING = (
    (-6.0, -2.0, 0.0, 5.2, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0),
    (3.0, 1.5, 0.0, 0.0, 4.0, 8.0, 10.0, 11.5, 12.0, 13.0, 14.0),
)


@dataclass(frozen=True, kw_only=True)
class Segments:
    """The column, disc by disc from the first one.

    Attributes:
        first: Level coordinate of the first disc, 0 or negative.
        gap_mm: From each disc to the next one.
        disc_height_mm: Height in the middle of each disc.
        hydration: 1 for a young disc, 0 for a dry one.
        modic: Change of the marrow beside each disc.
        sunk_mm: How far the endplate below each disc has sunk in front.
        disc_ids: Ids of the discs.
        vertebra_ids: Ids of the vertebra above each disc and, last, of what is below all of them.
        closings: By name of a structure, level coordinates and how many mm its surface has receded there.
        arches: Whether sacral arches belong to the sacrum, and end where its canal opens.
    """

    first: int
    gap_mm: Float[Array, " discs"]
    disc_height_mm: Float[Array, " discs"]
    hydration: Float[Array, " discs"]
    modic: Int[Array, " discs"]
    sunk_mm: Float[Array, " discs"]
    disc_ids: UInt8[Array, " discs"]
    vertebra_ids: UInt8[Array, " vertebrae"]
    closings: Closings = field(default_factory=dict)
    arches: bool = False

    def index_of(self, level: Float[Array, "*any"]) -> Int[Array, "*any"]:
        """Index of the disc nearest to a level coordinate."""
        return np.clip(np.rint(level).astype(int) - self.first, 0, len(self.disc_ids) - 1)

    def vertebra_at(self, level: Float[Array, "*any"]) -> UInt8[Array, "*any"]:
        """Id of the vertebra at a level coordinate."""
        return self.vertebra_ids[np.clip(np.floor(level).astype(int) + 1 - self.first, 0, len(self.vertebra_ids) - 1)]

    def closing_mm(self, name: str, level: Float[Array, "*any"]) -> Float[Array, "*any"] | float:
        """How far the surface of a structure has receded toward its end; 0 where it goes on unchanged."""
        if name not in self.closings:
            return 0.0
        return np.interp(level, *self.closings[name]).astype(np.float32)

    def narrowing_mm(self, level: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """How far the outline of the bodies has receded; the sacrum narrows downward."""
        return self.closing_mm("column", level) if self.closings else 5 * np.clip(level - 5.2, 0, 2.5)  # type: ignore[return-value]


@dataclass(frozen=True)
class Ends:
    """The curve of the spine above the first and below the last lumbar disc.

    Attributes:
        gap_above_mm: Gaps from disc to disc above the first, upper to lower.
        tilt_above_deg: Tilts of those discs.
        gap_below_mm: Gaps below the last one.
        tilt_below_deg: Tilts of those discs.
        past: How far level coordinates go on past the outermost discs, above and below.
        top_mm: Height up to which places are looked up.
        before_mm: Level coordinates, and how far in front of the spine planes keep their tilt there; None: alike.
    """

    gap_above_mm: Float[Array, " above"]
    tilt_above_deg: Float[Array, " above"]
    gap_below_mm: Float[Array, " below"]
    tilt_below_deg: Float[Array, " below"]
    past: tuple[float, float]
    top_mm: float
    before_mm: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def posterior_segments(patient: Patient) -> Segments:
    """The lumbar column; discs and vertebrae above it are like its first ones and have no name."""
    skeleton = patient.skeleton
    like = np.maximum(np.arange(-_UNNAMED, NUM_LEVELS), 0)
    below = np.clip(np.arange(-_UNNAMED, NUM_LEVELS) + 1, 0, NUM_LEVELS - 1)
    return Segments(
        first=-_UNNAMED,
        gap_mm=skeleton.gap_mm[np.clip(like, 0, NUM_LEVELS - 2)],
        disc_height_mm=skeleton.disc_height_mm[like],
        hydration=skeleton.hydration[like],
        modic=skeleton.modic[like],
        sunk_mm=(skeleton.compression * skeleton.vertebra_height_mm)[below],
        disc_ids=_ids([None] * _UNNAMED + list(templates.LEVELS)),
        vertebra_ids=_ids([None] * _UNNAMED + [*templates.VERTEBRAE, "sacrum"]),
    )


def whole_column(patient: Patient) -> tuple[Segments, Ends]:
    """The column from T6 to the coccyx, with random numbers of its own."""
    rng, skeleton = patient.rng(_STREAM), patient.skeleton
    scale, tilt, above = skeleton.scale, skeleton.disc_tilt_deg, len(_GAP_ABOVE_MM)
    ends = Ends(
        np.array(_GAP_ABOVE_MM) * scale * np.exp(rng.normal(0, 0.02)),
        tilt[0] + np.array(_TILT_ABOVE_DEG) * rng.normal(1, 0.25),
        np.array(_GAP_BELOW_MM) * scale * np.exp(rng.normal(0, 0.05)),
        tilt[-1] * np.array(_TILT_BELOW[0]) + np.array(_TILT_BELOW[1]) * rng.normal(1, 0.25),
        past=(0.5, 0.5),
        top_mm=341.0,
        before_mm=((6.0, 7.5, 10.5), (55.0, 26.0, 14.0)),  # planes cross in the hollow of the sacrum
    )
    thoracic = np.clip(skeleton.hydration[0] + rng.normal(0.05, 0.12, above), 0, 1)
    ids = [*THORACIC_VERTEBRAE, *templates.VERTEBRAE[:-1], "S1", *["sacrum"] * _SACRAL, *["coccyx"] * _COCCYGEAL]
    sac_end = float(np.clip(rng.normal(6.7, 0.3), 6.0, 7.6))
    below = len(_GAP_BELOW_MM)
    nothing = np.zeros(below)
    segments = Segments(
        first=-above,
        gap_mm=np.concatenate([ends.gap_above_mm, skeleton.gap_mm, ends.gap_below_mm, ends.gap_below_mm[-1:]]),
        disc_height_mm=np.concatenate(
            [
                np.array(_DISC_ABOVE_MM) * scale * (1.22 - 0.3 * (1 - thoracic)),
                skeleton.disc_height_mm,
                np.array(_DISC_BELOW_MM) * scale,
            ]
        ),
        hydration=np.concatenate([thoracic, skeleton.hydration, nothing + 0.15]),
        modic=np.concatenate([np.zeros(above, int), skeleton.modic, nothing.astype(int)]),
        sunk_mm=np.concatenate(
            [np.zeros(above - 1), skeleton.compression * skeleton.vertebra_height_mm, nothing, [0.0]]
        ),
        disc_ids=_ids([*THORACIC_DISCS, *templates.LEVELS, *["sacrum"] * _SACRAL, *["coccyx"] * (below - _SACRAL)]),
        vertebra_ids=_ids([*ids, "coccyx"]),
        closings={
            "column": (_NARROWING[0] + (_TIP + 0.02,), _NARROWING[1] + (40.0,)),
            "canal": ((5.5, 7.0, 9.0, 9.7), (0.0, 2.0, 4.5, 20.0)),
            "arch": ((5.5, 7.0, 9.0), (0.0, 2.0, 4.5)),
            "dural_sac": ((sac_end - 0.5, sac_end, sac_end + 0.3), (0.0, 3.0, 20.0)),
            "ligamentum_flavum": ((5.35, 5.45), (0.0, 9.0)),
            "vessels": ((5.9, 6.6), (0.0, 12.0)),
            "midline": ((5.4, 6.0), (0.0, 9.0)),
            "psoas": ((-0.6, -0.1, 6.6, 8.0), (15.0, 0.0, 0.0, 12.0)),
            "quadratus_lumborum": ((-0.6, -0.2), (12.0, 0.0)),
            "paraspinal": ((5.8, 7.0, 8.6, 9.5), (0.0, 4.0, 16.0, 40.0)),
        },
        arches=True,
    )
    return segments, ends


def _ids(names: Sequence[str | None]) -> UInt8[Array, " n"]:
    return np.array([LABELS[name] if name else 0 for name in names], np.uint8)
