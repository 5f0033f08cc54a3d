"""Verdicts decided anew from a finished run: both orders, the tie band, abstention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from earwitness.cli import decide
from earwitness.errors import UserError
from earwitness.infer.decide import combine_orders, fit_tie_band, redecide


def row(identity: str, order: str, verdict: str | None, shares: tuple[float, float, float] | None, **more: Any) -> dict:
    names = ("first", "second", "tie")
    return {
        "id": identity,
        "dataset": "d",
        "order": order,
        "verdict": verdict,
        "shown_verdict": None,
        "unscored": None if verdict else "no verdict",
        "probabilities": None if shares is None else dict(zip(names, shares, strict=True)),
        "menu_mass": None if shares is None else 0.5,
        "reference": None,
        **more,
    }


def test_probabilities_of_both_orders_are_averaged() -> None:
    combined = list(
        combine_orders([row("x", "ab", "first", (0.5, 0.4, 0.1)), row("x", "ba", "second", (0.1, 0.8, 0.1))])
    )
    assert len(combined) == 1
    assert combined[0]["verdict"] == "second"
    assert combined[0]["probabilities"] == pytest.approx({"first": 0.3, "second": 0.6, "tie": 0.1})
    assert combined[0]["orders"] == {"ab": "first", "ba": "second"}
    assert combined[0]["consistent"] is False


def test_without_probabilities_only_equal_verdicts_stand() -> None:
    rows = [
        row("x", "ab", "first", None),
        row("x", "ba", "first", None),
        row("y", "ab", "first", None),
        row("y", "ba", "tie", (0.1, 0.1, 0.8)),
        row("z", "ab", None, None),
        row("z", "ba", "tie", None),
    ]
    verdicts = [(one["verdict"], one["unscored"]) for one in combine_orders(rows)]
    assert verdicts == [
        ("first", None),
        (None, "the orders disagree: ab first, ba tie"),
        (None, "order ab: no verdict"),
    ]


def test_combining_needs_both_orders() -> None:
    with pytest.raises(UserError, match="id x: judged in order ab only"):
        list(combine_orders([row("x", "ab", "first", None)]))


def test_the_fitted_band_is_the_most_accurate_and_the_narrowest() -> None:
    rows = [
        row("a", "ab", "first", (0.52, 0.48, 0.0), reference="tie"),
        row("b", "ab", "second", (0.4, 0.5, 0.1), reference="tie"),
        row("c", "ab", "first", (0.65, 0.35, 0.0), reference="first"),
        row("d", "ab", "first", (0.9, 0.1, 0.0), reference="tie"),
        row("e", "ab", None, None, reference="tie"),
    ]
    band = fit_tie_band(rows)
    assert band == pytest.approx((0.1 + 0.3) / 2)
    assert [redecide(one, band, 0.0)["verdict"] for one in rows] == ["tie", "tie", "first", "first", None]
    assert fit_tie_band(rows[2:3]) == 0.0
    with pytest.raises(UserError, match="there is none"):
        fit_tie_band([rows[4]])


def test_a_row_below_the_threshold_abstains() -> None:
    assert redecide(row("a", "ab", "first", (0.5, 0.4, 0.1)), 0.0, 0.6)["unscored"] == (
        "abstained: the likeliest label has probability 0.500, below 0.6"
    )
    assert redecide(row("a", "ab", "first", None), 0.0, 0.6)["verdict"] is None


def test_the_command_combines_and_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        row("x", "ab", "first", (0.5, 0.4, 0.1), reference="tie"),
        row("x", "ba", "second", (0.4, 0.5, 0.1), reference="tie"),
        row("y", "ab", "first", (0.9, 0.1, 0.0), reference="first"),
        row("y", "ba", "first", (0.8, 0.2, 0.0), reference="first"),
    ]
    run = tmp_path / "run"
    run.mkdir()
    (run / "predictions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    out = tmp_path / "out.jsonl"
    assert decide.main([str(run), str(out), "--combine", "--fit", str(run)]) == 0
    assert capsys.readouterr().out == f"tie band 0.35, fitted on {run}\n{out}: 2 rows, 0 unscored\n"
    assert [json.loads(line)["verdict"] for line in out.read_text().splitlines()] == ["tie", "first"]
