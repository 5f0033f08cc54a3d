"""Mean opinion scores of single clips to pairs with a verdict, by a declared and seeded rule."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from earwitness.data.converters.item import Audio, Item, new_item, stable_id
from earwitness.errors import UserError

SENTENCES = ("same", "different", "any")

_TRIES = 16  # partners looked at for one place of a clip; bounds the work at cap x tries for each clip
_ROUNDING = 1e-9  # 2.9 - 2.7 is a little less than 0.2 in binary


@dataclass(frozen=True)
class PairRule:
    """Which two clips make a pair, and what its verdict is.

    Attributes:
        margin: scores at least this far apart are decisive: the higher one is better.
        tie_band: scores at most this far apart are a tie; None: no ties. In between is no pair.
        sentence: whether two clips say the same: "same", "different" or "any".
        cap: a clip is in at most this many pairs.
        tie_share: ties are at most this share of all pairs.
        limit: at most this many pairs; None: as many as there are.
        seed: of every draw.
    """

    margin: float
    tie_band: float | None = None
    sentence: str = "any"
    cap: int = 4
    tie_share: float = 1 / 3
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise UserError(f"margin is {self.margin}; allowed: a number above 0")
        if self.tie_band is not None and not 0 <= self.tie_band < self.margin:
            raise UserError(f"tie band is {self.tie_band}; allowed: from 0 to below the margin, {self.margin}")
        if self.sentence not in SENTENCES:
            raise UserError(f"sentence is '{self.sentence}'; allowed: {', '.join(SENTENCES)}")
        if self.cap < 1:
            raise UserError(f"cap is {self.cap}; allowed: a whole number from 1")
        if not 0 <= self.tie_share <= 1:
            raise UserError(f"tie share is {self.tie_share}; allowed: a number from 0 to 1")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit is {self.limit}; allowed: a whole number from 1")


@dataclass(frozen=True, slots=True)
class _Clip:
    id: str
    audio: Audio
    score: float  # mean over its ratings
    ratings: int
    sentence: str | None
    text: str | None
    language: str | None
    system: str | None
    speaker: str | None
    format: str


@dataclass(frozen=True, slots=True)
class _Pair:
    worse: _Clip  # of a tie: the one with the lower score, if any
    better: _Clip
    tie: bool


_Key = tuple[str, str]  # source and aspect


@dataclass(frozen=True)
class Pairs:
    """Pairs and how they came about; ``record`` is for the manifest."""

    items: list[Item]
    record: dict[str, Any]


def make_pairs(items: Iterable[Item], rule: PairRule) -> Pairs:
    """Pair scored clips by a rule.

    Several ratings of one clip are averaged first. Only clips of one source and aspect are compared: scores of
    different listening tests do not share a scale. Of the decisive pairs of a source and aspect, the better clip is A
    in half, give or take one; which half, and which pairs, follow from the seed and not from the order of the rows.

    Args:
        items: of task "score"; all clips are held in memory, about 1 KB each.
        rule: see ``PairRule``.

    Raises:
        UserError: an item without a score, or no clip has a sentence although the rule needs it, or no pair results.
    """
    groups, ratings = _clips(items)
    rng = random.Random(rule.seed)
    count = sum(map(len, groups.values()))
    without = sum(clip.sentence is None for clips in groups.values() for clip in clips)
    if rule.sentence != "any" and without == count:
        raise UserError(f"sentence is '{rule.sentence}', but no clip says which sentence it speaks; use 'any'")
    chosen = {
        key: [pair for same in _by_sentence(clips, rule) for pair in _choose(same, rule, rng)]
        for key, clips in groups.items()
    }
    kept = _limited(chosen, rule, rng)
    pairs = [pair for key, some in kept.items() for pair in _in_order(key, some, rng)]
    if not pairs:
        raise UserError(
            f"no two of {count} clips make a pair with margin {rule.margin:g}, tie band {rule.tie_band} and sentence "
            f"'{rule.sentence}' within one source and aspect; lower the margin"
        )
    verdicts = [pair["verdict"] for pair in pairs]
    record = {
        "rule": asdict(rule),
        "ratings": ratings,
        "clips": count,
        "clips_used": len({pair["extra"][name] for pair in pairs for name in ("id_a", "id_b")}),
        "clips_without_sentence": without,
        "pairs": len(pairs),
        **{verdict: verdicts.count(verdict) for verdict in ("first", "second", "tie")},
        "pairs_dropped": sum(map(len, chosen.values())) - len(pairs),
        "by_source_and_aspect": {" / ".join(key): len(some) for key, some in kept.items()},
    }
    return Pairs(pairs, record)


def _clips(items: Iterable[Item]) -> tuple[dict[_Key, list[_Clip]], int]:
    """Clips by source and aspect, in the order of their paths; and the number of ratings."""
    rated: dict[_Key, dict[str, list[_Clip]]] = defaultdict(lambda: defaultdict(list))
    count = 0
    for item in items:
        if item["task"] != "score" or item["score"] is None:
            raise UserError(f"item '{item['id']}' is of task '{item['task']}' without a score; pairs need scored clips")
        audio = item["audios"][0]
        clip = _Clip(
            id=item["provenance"]["key"] or item["id"],
            audio=audio,
            score=item["score"],
            ratings=1,
            sentence=item["sentence"],
            text=item["text"],
            language=item["language"],
            system=item["systems"][0],
            speaker=item["speakers"][0],
            format=item["provenance"]["format"],
        )
        name = audio if isinstance(audio, str) else item["id"]
        rated[item["provenance"]["source"] or "", item["aspect"] or ""][name].append(clip)
        count += 1
    return {key: [_mean(clips[name]) for name in sorted(clips)] for key, clips in sorted(rated.items())}, count


def _mean(ratings: list[_Clip]) -> _Clip:
    first = min(ratings, key=lambda clip: clip.id)
    return replace(first, score=math.fsum(clip.score for clip in ratings) / len(ratings), ratings=len(ratings))


def _by_sentence(clips: list[_Clip], rule: PairRule) -> Iterator[list[_Clip]]:
    if rule.sentence == "any":
        yield clips
        return
    said: dict[str, list[_Clip]] = defaultdict(list)
    for clip in clips:
        if clip.sentence is not None:
            said[clip.sentence].append(clip)
    if rule.sentence == "different":
        yield [clip for sentence in said.values() for clip in sentence]
    else:
        yield from said.values()


def _choose(clips: list[_Clip], rule: PairRule, rng: random.Random) -> list[_Pair]:
    """Draw pairs in ``cap`` rounds; in each round every clip with a free place looks for a partner."""
    clips = sorted(clips, key=lambda clip: (clip.score, clip.id))
    scores = [clip.score for clip in clips]
    used = [0] * len(clips)
    seen: set[tuple[int, int]] = set()
    order = list(range(len(clips)))
    found: list[_Pair] = []
    for _ in range(rule.cap):
        rng.shuffle(order)
        for one in order:
            if used[one] >= rule.cap:
                continue
            tie = rule.tie_band is not None and rng.random() < rule.tie_share
            for other in _candidates(scores, one, rule, tie, rng):
                low, high = min(one, other), max(one, other)
                same = clips[one].sentence == clips[other].sentence
                if low == high or used[other] >= rule.cap or (low, high) in seen:
                    continue
                if rule.sentence == "different" and same:
                    continue
                seen.add((low, high))
                used[one] += 1
                used[other] += 1
                found.append(_Pair(clips[low], clips[high], tie))
                break
    return found


def _candidates(scores: list[float], one: int, rule: PairRule, tie: bool, rng: random.Random) -> Iterator[int]:
    """Up to ``_TRIES`` different places whose score is in the tie band of ``one``'s, or beyond its margin."""
    if tie:
        band = (rule.tie_band or 0.0) + _ROUNDING
        start, end = bisect_left(scores, scores[one] - band), bisect_right(scores, scores[one] + band)
        yield from rng.sample(range(start, end), min(_TRIES, end - start))
        return
    margin = rule.margin - _ROUNDING
    below, above = bisect_right(scores, scores[one] - margin), bisect_left(scores, scores[one] + margin)
    size = below + len(scores) - above
    for place in rng.sample(range(size), min(_TRIES, size)):
        yield place if place < below else above + place - below


def _limited(chosen: dict[_Key, list[_Pair]], rule: PairRule, rng: random.Random) -> dict[_Key, list[_Pair]]:
    """Drop pairs at random until limit and tie share hold in each source and aspect."""
    total = sum(map(len, chosen.values()))
    kept: dict[_Key, list[_Pair]] = {}
    for key, pairs in chosen.items():
        if rule.limit is not None and total > rule.limit:
            pairs = rng.sample(pairs, rule.limit * len(pairs) // total)
        ties = [pair for pair in pairs if pair.tie]
        decisive = [pair for pair in pairs if not pair.tie]
        if rule.tie_share < 1:  # t ties and d others: t / (d + t) <= s where t <= d s / (1 - s)
            most = int(len(decisive) * rule.tie_share / (1 - rule.tie_share) + _ROUNDING)
            ties = rng.sample(ties, min(len(ties), most))
        kept[key] = decisive + ties
    return kept


def _in_order(key: _Key, pairs: list[_Pair], rng: random.Random) -> Iterator[Item]:
    """Order the clips of each pair: of the decisive ones the better clip is A in every second; ties at random."""
    pairs = list(pairs)
    rng.shuffle(pairs)
    better_first = rng.random() < 0.5
    for pair in pairs:
        if pair.tie:
            clips = (pair.better, pair.worse) if rng.random() < 0.5 else (pair.worse, pair.better)
            yield _item(key, *clips, "tie")
        elif better_first:
            yield _item(key, pair.better, pair.worse, "first")
        else:
            yield _item(key, pair.worse, pair.better, "second")
        better_first = better_first if pair.tie else not better_first


def _item(key: _Key, a: _Clip, b: _Clip, verdict: str) -> Item:
    source, aspect = key
    same = a.sentence is not None and a.sentence == b.sentence
    return new_item(
        id=stable_id("pair", source, aspect, a.id, b.id),
        task="compare",
        audios=[a.audio, b.audio],
        format=a.format,
        source=source or None,
        aspect=aspect or None,
        verdict=verdict,
        text=a.text if same else None,
        sentence=a.sentence if same else None,
        language=a.language if a.language == b.language else None,
        systems=[a.system, b.system],
        speakers=[a.speaker, b.speaker],
        extra={
            **{"id_a": a.id, "id_b": b.id, "score_a": a.score, "score_b": b.score},
            **{"ratings_a": a.ratings, "ratings_b": b.ratings},
            **{"sentence_a": a.sentence or "", "sentence_b": b.sentence or ""},
        },
    )
