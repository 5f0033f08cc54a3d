"""Splitting rows by a column: by its values, or by intervals of numbers such as the severity gap of a pair."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earwitness.errors import UserError

MOST_VALUES = 12
"""A column of numbers with more distinct values than this is cut at its quartiles."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Breakdown:
    """A column and, for numbers, where to cut.

    Attributes:
        name: of the column.
        edges: ascending; value v belongs to the interval [edge, next edge). Empty: every value, or quartiles.
    """

    name: str
    edges: tuple[float, ...] = ()

    @property
    def title(self) -> str:
        """The text that ``parse`` reads."""
        return f"{self.name}:{','.join(f'{edge:g}' for edge in self.edges)}" if self.edges else self.name

    @classmethod
    def parse(cls, text: str) -> Breakdown:
        """Read ``NAME`` or ``NAME:EDGE,EDGE,...``.

        Raises:
            UserError: no name, or edges that are not ascending numbers.
        """
        name, _, cuts = text.partition(":")
        try:
            edges = tuple(float(cut) for cut in cuts.split(",")) if cuts else ()
        except ValueError:
            edges = (math.nan,)
        if not name or list(edges) != sorted(set(edges)) or not all(map(math.isfinite, edges)):
            raise UserError(f"--by {text!r}: give COLUMN, or COLUMN:EDGE,EDGE,... with ascending numbers")
        return cls(name, edges)

    def groups(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
        """Row indices by group name, groups in ascending order; rows without a value are in the group "unknown".

        Raises:
            UserError: no row has the column, or edges are given and a value is no number.
        """
        values = [row.get(self.name) for row in rows]
        check_column("--by", self.name, rows)
        known = [value for value in values if value is not None]
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
        if self.edges and not numeric:
            raise UserError(f"--by {self.name!r}: edges need numbers, but a reference holds {known[0]!r}")
        edges = self.edges
        if not edges and numeric and len(set(known)) > MOST_VALUES:
            edges = _quartiles(known)
        named: dict[tuple[Any, ...], list[int]] = {}
        for row, value in enumerate(values):
            if value is None:
                key: tuple[Any, ...] = (2, UNKNOWN)
            elif edges:
                key = (0, bisect_right(edges, value))
            else:
                key = (0, value) if numeric else (1, str(value))
            named.setdefault(key, []).append(row)
        return {self._name(key, edges): named[key] for key in sorted(named)}

    def _name(self, key: tuple[Any, ...], edges: tuple[float, ...]) -> str:
        if key[0] != 0:
            return str(key[1])
        if not edges:
            return f"{key[1]:g}"
        low = f"{edges[key[1] - 1]:g}" if key[1] else None
        high = f"{edges[key[1]]:g}" if key[1] < len(edges) else None
        if low is None:
            return f"< {high}"
        return f">= {low}" if high is None else f"{low} to {high}"


def check_column(option: str, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Check that some row has a value in a column.

    Raises:
        UserError: none has; lists the columns there are.
    """
    if all(row.get(name) is None for row in rows):
        names = ", ".join(sorted({str(key) for row in rows for key in row})) or "none"
        raise UserError(f"{option} {name!r}: no reference has a value in this column; their columns: {names}")


def _quartiles(values: Sequence[float]) -> tuple[float, ...]:
    ordered = sorted(values)
    return tuple(sorted({ordered[len(ordered) * quarter // 4] for quarter in (1, 2, 3)}))
