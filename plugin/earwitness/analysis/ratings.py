"""What every engine returns for a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = ("mos", "noi", "col", "dis", "loud")
"""ALLD's names: overall quality, and freedom from noise, coloration, discontinuity and wrong loudness."""
LOWEST, HIGHEST = 1.0, 5.0


@dataclass(frozen=True)
class Analysis:
    """One clip.

    Attributes:
        ratings: of each of ``DIMENSIONS``, 1 to 5, higher is better.
        measurements: what an engine measured, by name, in the unit that the name ends in.
        note: what a reader of the ratings must know; None otherwise.
    """

    ratings: Mapping[str, float]
    measurements: Mapping[str, float | int | None]
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The ratings side by side, as manifests of ``earwitness caption`` hold them, then the rest."""
        return {**self.ratings, "measurements": dict(self.measurements), "note": self.note}


class Engine(Protocol):
    """Rates clips."""

    name: str

    def analyse(self, samples: NDArray[np.float32], sampling_rate: int) -> Analysis:
        """Rate one clip.

        Args:
            samples: (n,), mono, full scale 1.0, at the clip's own rate.
            sampling_rate: in Hz.

        Raises:
            UserError: the engine cannot rate it; says why.
        """
        ...


def on_scale(value: float) -> float:
    """A rating within its scale, two decimals."""
    return round(min(HIGHEST, max(LOWEST, value)), 2)
