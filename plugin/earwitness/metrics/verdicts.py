"""Accuracy and Agreement of pairwise verdicts, over all rows and over scored rows only.

Source: SageLM README, section Evaluation. Agreement gives 1 for equal verdicts, 0.5 if exactly one of the two is a tie,
and 0 for opposite ones; an unscored row gives 0 in both figures and stays in the denominator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap, Floats
from earwitness.metrics.means import mean_figures

Verdict = Literal["first", "second", "tie"]
VERDICTS: tuple[Verdict, ...] = ("first", "second", "tie")
UNSCORED = "unscored"

MIRRORED: Mapping[str, Verdict] = {"first": "second", "second": "first", "tie": "tie"}
"""What a verdict becomes when the two clips change places."""
POSITION: Mapping[str, int] = {"first": 1, "tie": 0, "second": -1}
"""Verdicts as numbers: +1 for the first clip, -1 for the second."""


def row_gains(references: Sequence[str], verdicts: Sequence[str | None]) -> tuple[Floats, Floats]:
    """Per row the accuracy (0 or 1) and the agreement (0, 0.5 or 1).

    Raises:
        ValueError: different lengths, or a value outside ``VERDICTS`` (``None`` is allowed for an unscored verdict).
    """
    if len(references) != len(verdicts):
        raise ValueError(f"{len(references)} references but {len(verdicts)} verdicts")
    for value in {*references, *(verdict for verdict in verdicts if verdict is not None)}:
        if value not in VERDICTS:
            raise ValueError(f"a verdict must be one of {', '.join(VERDICTS)}, not {value!r}")
    matches = np.zeros(len(references))
    agreements = np.zeros(len(references))
    for row, (reference, verdict) in enumerate(zip(references, verdicts, strict=True)):
        if verdict == reference:
            matches[row] = agreements[row] = 1.0
        elif verdict is not None and "tie" in (verdict, reference):
            agreements[row] = 0.5
    return matches, agreements


@dataclass(frozen=True)
class VerdictFigures:
    """The figures of one set of rows.

    Attributes:
        accuracy: share of right verdicts; unscored rows count as wrong.
        agreement: mean agreement; unscored rows count as 0.
        accuracy_scored: accuracy over the scored rows only.
        agreement_scored: agreement over the scored rows only.
        coverage: share of rows that have a verdict.
    """

    accuracy: Figure
    agreement: Figure
    accuracy_scored: Figure
    agreement_scored: Figure
    coverage: Figure

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {name: figure.to_json() for name, figure in vars(self).items()}


def verdict_figures(
    references: Sequence[str],
    verdicts: Sequence[str | None],
    *,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> VerdictFigures:
    """Accuracy and Agreement with their intervals; all undefined where there is no row.

    Args:
        references: canonical verdicts, one a row.
        verdicts: canonical verdicts of the judge, mapped back to the order of the references; ``None`` if unscored.
        clusters: one key a row (the pair of clips, say) where rows are not independent.
        bootstrap: resamples, level and seed of the intervals.
    """
    matches, agreements = row_gains(references, verdicts)
    scored = np.array([verdict is not None for verdict in verdicts], dtype=np.float64)
    missing = int(len(scored) - scored.sum())
    every = np.ones(len(scored))
    figures = mean_figures(
        np.stack([matches, agreements, matches, agreements, scored], axis=1),
        np.stack([every, every, scored, scored, every], axis=1),
        unscored=[missing] * 5,
        clusters=clusters,
        bootstrap=bootstrap,
        shares=True,
    )
    return VerdictFigures(*figures)


def chance_figures(references: Sequence[str]) -> dict[str, Figure]:
    """What needs no ear: a uniform guess over the three verdicts, and always the most frequent verdict.

    Returns:
        ``accuracy`` and ``agreement`` expected of the uniform guess, and ``majority``, the accuracy of the most
        frequent reference. Exact for these references, so without intervals.
    """
    n = len(references)
    if not n:
        return {name: Figure.undefined("no rows", 0) for name in ("accuracy", "agreement", "majority")}
    gains = [row_gains(references, [verdict] * n) for verdict in VERDICTS]
    params = {"method": "uniform guess"}
    return {
        "accuracy": Figure(float(np.mean([matches for matches, _ in gains])), n, params=params),
        "agreement": Figure(float(np.mean([agreements for _, agreements in gains])), n, params=params),
        "majority": Figure(max(float(matches.mean()) for matches, _ in gains), n, params={"method": "majority"}),
    }


def confusion(references: Sequence[str], verdicts: Sequence[str | None]) -> dict[str, dict[str, int]]:
    """Counts by reference, then by verdict (``unscored`` for none); every cell of the menu is present."""
    row_gains(references, verdicts)
    table: dict[str, dict[str, int]] = {reference: dict.fromkeys([*VERDICTS, UNSCORED], 0) for reference in VERDICTS}
    for reference, verdict in zip(references, verdicts, strict=True):
        table[reference][verdict or UNSCORED] += 1
    return table
