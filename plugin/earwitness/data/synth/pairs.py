"""Pairs of clips with known truth: balanced in aspect, class, position and language."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from earwitness.data.synth.sentences import LANGUAGES
from earwitness.data.synth.text import ASPECTS, rationale_text, thinking_text
from earwitness.errors import UserError

TIE_BAND = 0.10  # severities this close are a tie
DECISION_MARGIN = 0.25  # severities at least this far apart have a winner; between the two nothing is asked
CANDIDATES = 12  # partners looked at for each clip; the one used least is taken
_MEASURE = {"overall quality": "overall"}


def make_pairs(clips: Sequence[dict[str, Any]], count: int, split: str, seed: int) -> list[dict[str, Any]]:
    """Draw pairs among the clips of one split.

    Aspects get equal shares; within an aspect a third each of first, second and tie (``first`` and ``second`` exactly
    equal), and the languages in turn. The two clips of a pair speak one language, differ in sentence and voice, and
    meet once an aspect.
    Clips come up about equally often.

    Args:
        clips: rows of ``clips_*.jsonl``.
        count: number of pairs.
        split: prefix of the ids.
        seed: of the draws.

    Raises:
        UserError: too few clips to find a pair with the gap that is needed.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, *split.encode()]))
    rows: list[dict[str, Any]] = []
    for number, aspect in enumerate(ASPECTS):
        share = count // len(ASPECTS) + (number < count % len(ASPECTS))
        rows += _of_aspect(clips, aspect, share, rng)
    order = rng.permutation(len(rows))
    digits = len(str(max(count - 1, 0)))
    return [{"id": f"{split}-pair-{number:0{digits}d}", **rows[place]} for number, place in enumerate(order)]


def _of_aspect(
    clips: Sequence[dict[str, Any]], aspect: str, count: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    measure = _MEASURE.get(aspect, aspect)
    shelves = [_Shelf([clip for clip in clips if clip["language"] == language], measure, rng) for language in LANGUAGES]
    decisive = count // 3
    winners = ["first"] * decisive + ["second"] * decisive + ["tie"] * (count - 2 * decisive)
    rows = []
    for number, winner in enumerate(winners):
        one, other = shelves[number % len(shelves)].draw(winner == "tie", aspect)
        if winner != "tie":
            better, worse = sorted((one, other), key=lambda clip: clip["severities"][measure])
            one, other = (better, worse) if winner == "first" else (worse, better)
        rows.append(_row(one, other, aspect, measure, winner))
    return rows


def _row(one: dict[str, Any], other: dict[str, Any], aspect: str, measure: str, winner: str) -> dict[str, Any]:
    first, second = one["severities"], other["severities"]
    return {
        "audio_a": one["audio"],
        "audio_b": other["audio"],
        "aspect": aspect,
        "winner": winner,
        "gap": round(abs(first[measure] - second[measure]), 4),
        "severity_a": first,
        "severity_b": second,
        "thinking": thinking_text(first, second, aspect),
        "rationale": rationale_text(winner, first, second, aspect),
        "language": one["language"],
    }


class _Shelf:
    """Clips of one language, ordered by one severity, handed out in pairs of a wanted gap."""

    def __init__(self, clips: list[dict[str, Any]], measure: str, rng: np.random.Generator) -> None:
        self.clips = sorted(clips, key=lambda clip: clip["severities"][measure])
        self.levels = [clip["severities"][measure] for clip in self.clips]
        self.uses = [0] * len(clips)
        self.rng = rng
        self.queue: list[int] = []
        self.made: set[frozenset[int]] = set()

    def draw(self, tie: bool, aspect: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Two clips in random order, a tie or a decisive pair."""
        for _ in range(4 * len(self.clips)):
            if not self.queue:
                self.queue = [int(place) for place in self.rng.permutation(len(self.clips))]
            one = self.queue.pop()
            other = self._partner(one, tie)
            if other is not None:
                self.uses[one] += 1
                self.uses[other] += 1
                self.made.add(frozenset((one, other)))
                places = (one, other) if self.rng.random() < 0.5 else (other, one)
                return self.clips[places[0]], self.clips[places[1]]
        raise UserError(
            f"{len(self.clips)} clips of one language are too few for a {'tie' if tie else 'decisive pair'} in "
            f"{aspect}: ask for more clips or fewer pairs (--clips, --pairs, --mid, --long)"
        )

    def _partner(self, one: int, tie: bool) -> int | None:
        level = self.levels[one]
        if tie:
            low, high = level - TIE_BAND, level + TIE_BAND
            target = self.rng.uniform(max(low, self.levels[0]), min(high, self.levels[-1]))
        else:
            room = [level - self.levels[0], self.levels[-1] - level]  # the largest gap downwards and upwards
            sides = [side for side in (0, 1) if room[side] >= DECISION_MARGIN]
            if not sides:
                return None
            side = sides[int(self.rng.integers(len(sides)))]
            gap = self.rng.uniform(DECISION_MARGIN, room[side])
            target = level - gap if side == 0 else level + gap
            low, high = (-1.0, level - DECISION_MARGIN) if side == 0 else (level + DECISION_MARGIN, 2.0)
        start, end = bisect_left(self.levels, low), bisect_right(self.levels, high)
        centre = min(max(bisect_left(self.levels, target), start), end)
        window = range(max(start, centre - CANDIDATES // 2), min(end, centre + CANDIDATES // 2))
        fitting = [place for place in window if self._fit(one, place)]
        if not fitting:
            return None
        fewest = min(self.uses[place] for place in fitting)
        return int(self.rng.choice([place for place in fitting if self.uses[place] == fewest]))

    def _fit(self, one: int, other: int) -> bool:
        first, second = self.clips[one], self.clips[other]
        if frozenset((one, other)) in self.made:
            return False
        return first["sentence"] != second["sentence"] and first["speaker"] != second["speaker"]
