"""How much of a real network's time and misfortune a local network has."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import BadSetting


@dataclass(frozen=True, slots=True)
class AsReal:
    """Gives a local network the time and the misfortune of a real one, the same for the same seed.

    Offers come within minutes, images are downloaded and boot, each answer takes 30 to 200 milliseconds, and
    providers now and then reject or vanish.

    Args:
        seed: which fortune it is.
        pace: by what all these times are multiplied; 1 is a real network's pace.

    Raises:
        BadSetting: the seed is no whole number, or the pace is not positive.
    """

    seed: int = 1
    pace: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise BadSetting(f"seed is {self.seed!r}: give a whole number")
        is_number = isinstance(self.pace, (int, float)) and not isinstance(self.pace, bool)
        if not is_number or not 0 < self.pace <= 100:
            raise BadSetting(f"pace is {self.pace!r}: give a number above 0, at most 100; 1 is a real pace")
