"""Who is imaged: age, sex and how fatty the muscles are."""

from dataclasses import dataclass
from typing import Literal, no_type_check

from datamodules.phantom import setting_checks as check

_OLDEST, _LARGEST_AGE_SD = 110.0, 50.0


@no_type_check  # values come from users: __post_init__ refuses them by name
@dataclass(frozen=True, kw_only=True)
class Population:
    """Who is imaged.

    Attributes:
        sex: "any" (either with equal chance), "F" or "M".
        age_mean: Mean of the normal distribution of ages, years.
        age_sd: Its standard deviation.
        age_min: Youngest patient.
        age_max: Oldest patient.
        muscle_fat: Range (0..1) that a patient's mean fat fraction of multifidus and erector spinae is drawn from
            uniformly; None: by age, sex and level as published.

    Raises:
        ValueError: If a value is impossible.
    """

    sex: Literal["any", "F", "M"] = "any"
    age_mean: float = 52.0
    age_sd: float = 16.0
    age_min: float = 19.0
    age_max: float = 88.0
    muscle_fat: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check.one_of("population.sex", self.sex, ("any", "F", "M"))
        for name in ("age_mean", "age_min", "age_max"):
            check.replace(self, name, check.number(f"population.{name}", getattr(self, name), 0.0, _OLDEST, above=True))
        check.replace(self, "age_sd", check.number("population.age_sd", self.age_sd, 0.0, _LARGEST_AGE_SD))
        if not self.age_min <= self.age_mean <= self.age_max:
            raise ValueError(
                f"phantom: population has age_min {self.age_min:g}, age_mean {self.age_mean:g}, age_max"
                f" {self.age_max:g}, expected in ascending order"
            )
        if self.muscle_fat is not None:
            check.replace(self, "muscle_fat", check.ascending("population.muscle_fat", self.muscle_fat, 0.0, 1.0))
