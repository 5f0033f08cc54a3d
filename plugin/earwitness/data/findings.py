"""What a check finds wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        level: an error makes the data unfit; a warning is for a person to look at.
        kind: a few words, the same for findings alike.
        message: complete by itself; begins with file and row where it is about one.
        row: which row, counted from 1; None where it is about the whole dataset.
    """

    level: Level
    kind: str
    message: str
    row: int | None = None
