"""Verdicts from label probabilities, after the fact: both orders combined, a fitted tie band, abstention.

Nothing is asked of the model again: a run in both orders with probabilities holds all that these need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from earwitness.errors import UserError

Row = Mapping[str, Any]


def in_tie_band(probabilities: Mapping[str, float] | None, band: float) -> bool:
    """Tell whether ``first`` and ``second`` differ by less than ``band`` in probability; 0 is off."""
    return probabilities is not None and band > abs(probabilities.get("first", 0.0) - probabilities.get("second", 0.0))


def abstention(probabilities: Mapping[str, float] | None, threshold: float) -> str | None:
    """Return why a row abstains: its likeliest label has less probability than ``threshold``; None where it has not."""
    if threshold <= 0.0:
        return None
    if probabilities is None:
        return "abstained: the answer has no label probabilities"
    best = max(probabilities.values())
    return (
        f"abstained: the likeliest label has probability {best:.3f}, below {threshold:g}" if best < threshold else None
    )


def combine_orders(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Combine the rows of each record that was judged in both orders into one.

    Label probabilities, mapped back to the record's own order, are averaged and the likeliest label is the verdict.
    Where an order has none, equal verdicts stand and others leave the record unscored. A record with an unscored order
    stays unscored. The result has order "ab" (its verdict is about the record's own order), the verdict of each order
    under ``orders``, and ``consistent``.

    Args:
        rows: predictions, the orders of a record next to each other, as a run writes them.

    Raises:
        UserError: a record was not judged once in each order.
    """
    for (dataset, identity), group in groupby(rows, key=lambda row: (row["dataset"], row["id"])):
        by_order = {row["order"]: row for row in group}
        if set(by_order) != {"ab", "ba"}:
            raise UserError(
                f"{dataset}, id {identity}: judged in order {', '.join(sorted(by_order))} only; combining needs a run "
                "with --orders both"
            )
        yield _combined(by_order["ab"], by_order["ba"])


def _combined(straight: Row, exchanged: Row) -> dict[str, Any]:
    scored = [row["probabilities"] for row in (straight, exchanged) if row["probabilities"] is not None]
    mean = {label: sum(scores[label] for scores in scored) / 2 for label in scored[0]} if len(scored) == 2 else None
    masses = [row["menu_mass"] for row in (straight, exchanged) if row.get("menu_mass") is not None]
    verdict, unscored = None, None
    for row in (straight, exchanged):
        if row["verdict"] is None:
            unscored = f"order {row['order']}: {row['unscored']}"
            break
    else:
        if mean is not None:
            verdict = max(mean, key=mean.__getitem__)
        elif straight["verdict"] == exchanged["verdict"]:
            verdict = straight["verdict"]
        else:
            unscored = f"the orders disagree: ab {straight['verdict']}, ba {exchanged['verdict']}"
    return {
        **straight,
        "verdict": verdict,
        "shown_verdict": None,
        "unscored": unscored,
        "probabilities": mean,
        "menu_mass": sum(masses) / 2 if len(masses) == 2 else None,
        "orders": {"ab": straight["verdict"], "ba": exchanged["verdict"]},
        "consistent": straight["verdict"] is not None and straight["verdict"] == exchanged["verdict"],
    }


def redecide(row: Row, tie_band: float, abstain: float) -> dict[str, Any]:
    """Apply a tie band and an abstention threshold to a row; rows that have no verdict keep their reason."""
    verdict, probabilities = row["verdict"], row["probabilities"]
    if verdict is None:
        return dict(row)
    if (
        tie_band > 0.0
        and probabilities is not None
        and tie_band > abs(probabilities["first"] - probabilities["second"])
    ):
        verdict = "tie"
    reason = abstention(probabilities, abstain)
    return {**row, "verdict": None if reason else verdict, "unscored": reason}


def fit_tie_band(rows: Sequence[Row]) -> float:
    """Return the tie band most accurate on validation predictions; the narrowest of equals, 0 if none helps.

    Args:
        rows: predictions with references; those without probabilities or a verdict do not count.

    Raises:
        UserError: no row has a reference, a verdict and probabilities of ``first`` and ``second``.
    """
    usable = sorted(
        (abs(row["probabilities"]["first"] - row["probabilities"]["second"]), row["verdict"], row["reference"])
        for row in rows
        if row["verdict"] is not None and row["reference"] is not None and "second" in (row["probabilities"] or {})
    )
    if not usable:
        raise UserError("a tie band is fitted on labelled pairs with probabilities, and there is none")
    right = best = sum(verdict == reference for _, verdict, reference in usable)
    band = 0.0
    for place, (margin, verdict, reference) in enumerate(usable):
        right += (reference == "tie") - (verdict == reference)
        following = usable[place + 1][0] if place + 1 < len(usable) else 1.0
        if right > best and following > margin:
            best, band = right, (margin + following) / 2
    return band
