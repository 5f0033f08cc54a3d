"""How answers are decoded and combined; recorded in every row and in the manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from earwitness.errors import UserError

ORDERS = {"ab": ("ab",), "ba": ("ba",), "both": ("ab", "ba")}
"""Value of ``--orders`` to the orders in which each pair is shown."""


@dataclass(frozen=True)
class Decoding:
    """Decoding parameters. The defaults are greedy: a verdict is no place for dice.

    Attributes:
        verdict_only: score the labels at the first token of the answer and take the likeliest, without a text.
        max_new_tokens: the most tokens of one answer.
        samples: answers drawn for each row; they vote. 1 with temperature 0 is greedy.
        temperature: 0 is greedy; above it, softmax temperature of the draws.
        top_p: smallest set of likeliest tokens with this mass is drawn from; 1 is the whole vocabulary.
        seed: of the draws; every row and sample has its own stream.
        abstain: rows whose likeliest label has less probability stay unscored, with the reason; 0 never abstains.
        tie_band: where first and second differ by less than this in probability, the verdict is a tie; 0 is off.
    """

    verdict_only: bool = False
    max_new_tokens: int = 256
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    abstain: float = 0.0
    tie_band: float = 0.0

    def __post_init__(self) -> None:
        ranges = {
            "max_new_tokens": (1, 1 << 20),
            "samples": (1, 1 << 10),
            "temperature": (0.0, 100.0),
            "abstain": (0.0, 1.0),
            "tie_band": (0.0, 1.0),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{_flag(name)} is {getattr(self, name)}; allowed: {low} to {high}")
        if not 0.0 < self.top_p <= 1.0:
            raise UserError(f"--top-p is {self.top_p}; allowed: above 0, up to 1")
        if self.samples > 1 and self.temperature == 0.0:
            raise UserError(
                f"--samples {self.samples} at temperature 0 gives equal answers; set --temperature, e.g. 1.0"
            )
        if self.verdict_only and self.temperature > 0.0:
            raise UserError("--verdict-only draws nothing; leave --temperature and --samples out")

    def to_json(self) -> dict[str, Any]:
        """Every parameter by name."""
        return asdict(self)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
