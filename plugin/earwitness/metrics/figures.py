"""The one result type of every metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured number, and what is needed to believe it.

    Attributes:
        value: the number as a fraction or in the unit of the metric (never a percentage); ``None`` where undefined.
        n: rows in the denominator. Headline figures keep unscored rows in it, figures over scored rows do not.
        unscored: rows without a readable verdict or score, whether inside ``n`` (headline) or left out of it.
        ci: lower and upper bound of the interval that ``params`` describes; ``None`` where there is none.
        reason: why ``value`` is ``None``; ``None`` otherwise.
        params: method, resamples, seed, level and whatever else changes the number.

    Raises:
        ValueError: a NaN or infinite value or bound, an undefined value without a reason, or a negative count: a
            fault of the metric, never of the user.
    """

    value: float | None
    n: int
    unscored: int = 0
    ci: tuple[float, float] | None = None
    reason: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bounds = () if self.ci is None else self.ci
        numbers = [*bounds, *([] if self.value is None else [self.value])]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"a figure must be finite or undefined with a reason, not {self.value} with ci {self.ci}")
        if (self.value is None) != (self.reason is not None):
            raise ValueError(
                f"an undefined value needs a reason and a defined one has none: {self.value}, {self.reason}"
            )
        if self.n < 0 or self.unscored < 0:
            raise ValueError(f"counts cannot be negative: n {self.n}, unscored {self.unscored}")

    @classmethod
    def undefined(cls, reason: str, n: int, unscored: int = 0) -> Figure:
        """A figure that has no value, and says why."""
        return cls(value=None, n=n, unscored=unscored, reason=reason)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Figure:
        """The figure that ``to_json`` wrote."""
        ci = value.get("ci")
        return cls(
            value["value"],
            value.get("n", 0),
            value.get("unscored", 0),
            None if ci is None else (ci[0], ci[1]),
            value.get("reason"),
            value.get("params", {}),
        )

    def with_params(self, **params: Any) -> Figure:
        """The same figure with further parameters recorded."""
        return replace(self, params={**self.params, **params})

    def to_json(self) -> dict[str, Any]:
        """``{"value", "n", "unscored", "ci"}``, plus ``reason`` where undefined and ``params`` where there are any."""
        result: dict[str, Any] = {
            "value": self.value,
            "n": self.n,
            "unscored": self.unscored,
            "ci": None if self.ci is None else list(self.ci),
        }
        if self.reason is not None:
            result["reason"] = self.reason
        if self.params:
            result["params"] = dict(self.params)
        return result


def to_json(value: Any) -> Any:
    """A copy of nested dicts and lists in which everything that has a ``to_json`` has become its JSON object."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value
