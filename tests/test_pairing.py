"""Scored clips to pairs: the rule holds for every pair, order is balanced, the seed decides and nothing else."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.data.converters import Item, to_row
from earwitness.data.converters.item import new_item
from earwitness.data.pairing import PairRule, make_pairs
from earwitness.errors import UserError


def clip(name: str, score: float, **values: Any) -> Item:
    values = {"source": "S", "aspect": "noise", "key": name} | values
    return new_item(
        id=values.pop("id", name), task="score", audios=[f"{name}.wav"], format="plain", score=score, **values
    )


def corpus(size: int, seed: int = 0, **values: Any) -> list[Item]:
    rng = random.Random(seed)
    return [
        clip(f"c{number}", rng.choice((1, 1.5, 2, 2.3, 2.8, 3.1, 4, 4.5, 5)), sentence=f"s{number % 7}", **values)
        for number in range(size)
    ]


def test_two_clips_become_exactly_this_pair() -> None:
    clips = [
        clip("good", 4.0, sentence="s1", text="Hi", language="en", systems=["x"], speakers=["u"]),
        clip("bad", 2.5, sentence="s1", text="Hi", language="en", systems=["y"], speakers=["v"]),
    ]
    pairs = make_pairs(clips, PairRule(margin=1.5, sentence="same", seed=3))
    (pair,) = pairs.items
    good_first = pair["audios"][0] == "good.wav"
    names = ["good", "bad"] if good_first else ["bad", "good"]
    assert pair == {
        **new_item(id=pair["id"], task="compare", audios=[f"{name}.wav" for name in names], format="plain", source="S"),
        "aspect": "noise",
        "verdict": "first" if good_first else "second",
        "text": "Hi",
        "sentence": "s1",
        "language": "en",
        "systems": ["x", "y"] if good_first else ["y", "x"],
        "speakers": ["u", "v"] if good_first else ["v", "u"],
        "extra": {
            "id_a": names[0],
            "id_b": names[1],
            "score_a": 4.0 if good_first else 2.5,
            "score_b": 2.5 if good_first else 4.0,
            "ratings_a": 1,
            "ratings_b": 1,
            "sentence_a": "s1",
            "sentence_b": "s1",
        },
    }
    assert pairs.record == {
        "rule": {
            "margin": 1.5,
            "tie_band": None,
            "sentence": "same",
            "cap": 4,
            "tie_share": 1 / 3,
            "limit": None,
            "seed": 3,
        },
        "ratings": 2,
        "clips": 2,
        "clips_used": 2,
        "clips_without_sentence": 0,
        "pairs": 1,
        "first": int(good_first),
        "second": int(not good_first),
        "tie": 0,
        "pairs_dropped": 0,
        "by_source_and_aspect": {"S / noise": 1},
    }


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(2, 60),
    margin=st.sampled_from((0.3, 0.5, 1.0, 2.0)),
    band=st.sampled_from((None, 0.0, 0.2)),
    sentence=st.sampled_from(("same", "different", "any")),
    cap=st.integers(1, 5),
    tie_share=st.sampled_from((0.0, 0.25, 0.5, 1.0)),
    seed=st.integers(0, 99),
)
def test_the_rule_holds(
    size: int, margin: float, band: float | None, sentence: str, cap: int, tie_share: float, seed: int
) -> None:
    clips = corpus(size, seed)
    rule = PairRule(margin, band, sentence, cap, tie_share, seed=seed)
    try:
        pairs = make_pairs(clips, rule).items
    except UserError as error:
        if "make a pair" not in str(error):
            raise
        return
    scores = {item["id"]: item["score"] for item in clips}
    uses: Counter[str] = Counter()
    for pair in pairs:
        a, b = pair["extra"]["id_a"], pair["extra"]["id_b"]
        uses.update((a, b))
        gap = scores[a] - scores[b]
        if pair["verdict"] == "tie":
            assert band is not None
            assert abs(gap) <= band + 1e-9
        else:
            assert abs(gap) >= margin - 1e-9
            assert pair["verdict"] == ("first" if gap > 0 else "second")
        same = pair["extra"]["sentence_a"] == pair["extra"]["sentence_b"]
        assert {"same": same, "different": not same, "any": True}[sentence]
    verdicts = Counter(pair["verdict"] for pair in pairs)
    assert max(uses.values()) <= cap
    assert abs(verdicts["first"] - verdicts["second"]) <= 1
    assert verdicts["tie"] <= tie_share * len(pairs) + 1e-9
    assert len({frozenset(pair["audios"]) for pair in pairs}) == len(pairs)
    assert len({pair["id"] for pair in pairs}) == len(pairs)


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    clips = corpus(50)
    rule = PairRule(margin=0.5, tie_band=0.1)
    again = make_pairs(random.Random(1).sample(clips, len(clips)), rule)
    assert again == make_pairs(clips, rule)
    assert make_pairs(clips, PairRule(margin=0.5, tie_band=0.1, seed=1)).items != again.items


def test_a_margin_that_binary_numbers_just_miss() -> None:
    assert 2.9 - 2.7 < 0.2
    assert len(make_pairs([clip("a", 2.9), clip("b", 2.7)], PairRule(margin=0.2)).items) == 1


def test_ratings_of_one_clip_are_averaged_exactly() -> None:
    clips = [clip("a", score, id=f"a#{rater}", raters=[f"r{rater}"]) for rater, score in enumerate((1, 2, 5))]
    clips += [clip("b", score, id=f"b#{rater}", raters=[f"r{rater}"]) for rater, score in enumerate((5, 4))]
    pairs = make_pairs(clips, PairRule(margin=1))
    extra = pairs.items[0]["extra"]
    assert {
        extra["id_a"]: (extra["score_a"], extra["ratings_a"]),
        extra["id_b"]: (extra["score_b"], extra["ratings_b"]),
    } == {
        "a": (math.fsum((1, 2, 5)) / 3, 3),
        "b": (4.5, 2),
    }
    assert (pairs.record["ratings"], pairs.record["clips"]) == (5, 2)


def test_scores_of_other_listening_tests_and_aspects_are_not_compared() -> None:
    clips = [clip("a", 1), clip("b", 5, source="T"), clip("c", 5, aspect="loudness")]
    with pytest.raises(UserError, match=r"no two of 3 clips make a pair with margin 0\.5"):
        make_pairs(clips, PairRule(margin=0.5))
    pairs = make_pairs([*clips, clip("d", 3, source="T")], PairRule(margin=0.5)).items
    assert [sorted(pair["audios"]) for pair in pairs] == [["b.wav", "d.wav"]]


def test_order_is_balanced_within_each_source() -> None:
    clips = corpus(40) + [clip(f"t{number}", number % 5 + 1, source="T") for number in range(41)]
    pairs = make_pairs(clips, PairRule(margin=0.5)).items
    for source in "ST":
        verdicts = Counter(pair["verdict"] for pair in pairs if pair["provenance"]["source"] == source)
        assert abs(verdicts["first"] - verdicts["second"]) <= 1


def test_a_limit_keeps_the_shares_of_the_sources() -> None:
    clips = corpus(60) + [clip(f"t{number}", number % 5 + 1, source="T") for number in range(60)]
    record = make_pairs(clips, PairRule(margin=0.5, limit=40)).record
    assert record["pairs"] <= 40
    assert all(count >= 15 for count in record["by_source_and_aspect"].values())
    assert record["pairs_dropped"] > 0


def test_embedded_audio_and_flat_rows() -> None:
    clips = [
        clip(name, score) | {"audios": [{"bytes": name.encode(), "path": None}]} for name, score in (("a", 1), ("b", 5))
    ]
    pair = make_pairs(clips, PairRule(margin=1)).items[0]
    row = to_row(pair)
    assert {row["audio_a"]["bytes"], row["audio_b"]["bytes"]} == {b"a", b"b"}
    assert row["score_a"] != row["score_b"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"margin": 0}, "margin is 0; allowed: a number above 0"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"margin": 1, "tie_band": 1}, "tie band is 1; allowed: from 0 to below the margin, 1"),
        ({"margin": 1, "sentence": "alike"}, "sentence is 'alike'; allowed: same, different, any"),
        ({"margin": 1, "cap": 0}, "cap is 0"),
        ({"margin": 1, "tie_share": 2}, "tie share is 2"),
        ({"margin": 1, "limit": 0}, "limit is 0"),
    ],
)
def test_rules_that_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PairRule(**values)


def test_items_that_are_refused() -> None:
    with pytest.raises(UserError, match="item 'x' is of task 'compare' without a score; pairs need scored clips"):
        make_pairs([new_item(id="x", task="compare", audios=["a", "b"], format="plain")], PairRule(1))
    with pytest.raises(UserError, match="sentence is 'same', but no clip says which sentence it speaks; use 'any'"):
        make_pairs([clip("a", 1), clip("b", 5)], PairRule(1, sentence="same"))
