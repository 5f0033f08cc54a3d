"""From answers to lines: votes, mirrored orders, scores, what JSON can hold."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from earwitness.data.records import Record
from earwitness.infer.engine import Answer, Item
from earwitness.infer.menu import LabelShares
from earwitness.infer.options import Decoding
from earwitness.infer.plan import make_items
from earwitness.infer.rows import prediction
from earwitness.judges.spec import JudgeSpec

PAIR = Record("x", "d", 1, JudgeSpec.of_type("pairwise"), "noise", ("a.wav", "b.wav"), "<audio><audio>", "first")
SCORE = Record("x", "d", 1, JudgeSpec.of_type("score"), "noise", ("a.wav",), "<audio>", 3.0)
VOTES = Decoding(samples=3, temperature=1.0)


def row(
    texts: tuple[str, ...],
    shares: tuple[tuple[float, float, float] | None, ...] = (),
    record: Record = PAIR,
    order: str = "ab",
    decoding: Decoding = VOTES,
) -> dict[str, Any]:
    names = ("first", "second", "tie")
    given = [
        None if share is None else LabelShares(dict(zip(names, share, strict=True)), 0.5)
        for share in shares or [None] * len(texts)
    ]
    (item,) = make_items([record], [order])
    return prediction(item, Answer(texts, tuple(given)), "m", decoding)


def test_most_votes_win_and_the_shown_text_is_one_of_them() -> None:
    found = row(("2\nfirst reason", "1\nbad", "2\nother"), order="ba")
    assert (found["shown_verdict"], found["verdict"]) == ("second", "first")
    assert (found["raw"], found["rationale"]) == ("2\nfirst reason", "first reason")
    assert [sample["shown_verdict"] for sample in found["samples"]] == ["second", "first", "second"]


def test_unreadable_samples_have_no_vote() -> None:
    assert row(("?", "", "Tie"))["verdict"] == "tie"
    found = row(("?", "", "no"))
    assert found["verdict"] is None
    assert found["unscored"].startswith("none of 3 samples can be read; the first: ")


def test_a_level_vote_is_decided_by_probability_or_left_open() -> None:
    texts = ("1", "2", "Tie")
    shares = ((0.6, 0.3, 0.1), (0.1, 0.8, 0.1), (0.3, 0.3, 0.4))
    found = row(texts, shares)
    assert found["verdict"] == "second"
    assert found["probabilities"] == pytest.approx({"first": 1 / 3, "second": 1.4 / 3, "tie": 0.2}, abs=1e-6)
    assert row(texts)["unscored"] == "the vote is level: first 1, second 1, tie 1"


def test_scores_are_averaged_over_samples() -> None:
    found = row(("3", "5", "?"), record=SCORE)
    assert (found["score"], found["unscored"], found["verdict"]) == (4.0, None, None)
    assert found["raw"] == "3"


def test_what_a_parser_found_beside_the_result_is_kept() -> None:
    judge = JudgeSpec.of_type("speecheval_assessment")
    found = row(
        ("Overall Quality: 3\nSpeech Rate: fast",), record=dataclasses.replace(SCORE, judge=judge), decoding=Decoding()
    )
    assert found["score"] == 3.0
    assert found["read"]["categories"] == {"speech rate": "fast"}


def test_meta_that_json_cannot_hold_becomes_null_or_text() -> None:
    meta = {"nan": math.nan, "inf": [math.inf, 1], "date": complex(1, 2), 3: "x"}
    found = row(("1",), record=dataclasses.replace(PAIR, meta=meta), decoding=Decoding())
    assert json.loads(json.dumps(found, allow_nan=False))["meta"] == {
        "nan": None,
        "inf": [None, 1],
        "date": "(1+2j)",
        "3": "x",
    }


def test_a_failure_is_no_verdict() -> None:
    (item,) = make_items([PAIR], ["ab"])
    assert isinstance(item, Item)
    found = prediction(item, Answer(failure="a.wav: gone"), "m", Decoding())
    assert (found["verdict"], found["raw"], found["unscored"]) == (None, None, "not judged: a.wav: gone")
