"""Every number of the shape and interspace models; conf/model/shape_model.yaml says where each comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ShapeModelSettings:
    """How shape and interspace models are learned and fitted; lengths in mm.

    Attributes:
        num_points: Points of a contour, a multiple of four.
        variance_share: Of the shapes' variance that the kept modes make up, above 0 and up to 1.
        facing_mm: How far a point looks for the neighbour's contour.
        floor_mm: Least distance of facing points, which has a logarithm.
        num_iterations: Of search, shape, interspace and pose.
        search_mm: How far along its normal a point looks at first, to either side.
        last_search_mm: How far in the last iteration; in between it falls in equal steps.
        sample_mm: From one sample of a profile to the next.
        num_samples: Gradients in a profile.
        shape_limit_sd: How far a shape, its size and its turn may be from the mean, in standard deviations.
        interspace_limit_sd: How far a space between neighbours may be.

    Raises:
        ValueError: If a number is out of range.
    """

    num_points: int
    variance_share: float
    facing_mm: float
    floor_mm: float
    num_iterations: int
    search_mm: float
    last_search_mm: float
    sample_mm: float
    num_samples: int
    shape_limit_sd: float
    interspace_limit_sd: float

    def __post_init__(self) -> None:
        if self.num_points < 8 or self.num_points % 4:
            raise ValueError(f"model.num_points is {self.num_points}, expected a multiple of four from 8 on")
        if not 0 < self.variance_share <= 1:
            raise ValueError(f"model.variance_share is {self.variance_share}, expected a number above 0 and up to 1")
        if self.num_iterations < 0 or self.num_samples < 1:
            raise ValueError(
                f"model.num_iterations and model.num_samples are {self.num_iterations} and {self.num_samples}, "
                "expected whole numbers from 0 and from 1"
            )
        lengths = ("facing_mm", "floor_mm", "search_mm", "last_search_mm", "sample_mm")
        limits = ("shape_limit_sd", "interspace_limit_sd")
        wrong = [name for name in (*lengths, *limits) if not getattr(self, name) > 0]
        if wrong:
            raise ValueError(f"model.{wrong[0]} is {getattr(self, wrong[0])}, expected a number above 0")
