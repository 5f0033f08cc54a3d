"""Judges of our own: any pair on any aspect, one score, and one clip rated on several aspects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from earwitness.judges.fields import fields_of, level
from earwitness.judges.judgement import Judgement, Unread
from earwitness.judges.kinds import JudgeType
from earwitness.judges.numbers import read_score
from earwitness.judges.sections import split_response
from earwitness.judges.text import listed
from earwitness.judges.verdicts import judge_verdict

if TYPE_CHECKING:
    from earwitness.judges.spec import JudgeSpec

RESPONSES = ("Response 1", "Response 2")
LABELS_12 = {"first": "1", "second": "2", "tie": "Tie"}


def read_single_score(text: Any, spec: JudgeSpec) -> Judgement:
    """Read one number on the scale; the whole answer is kept as the rationale."""
    sections = split_response(text, spec.chain_of_thought)
    if sections.answer is None:
        return Judgement(thinking=sections.thinking, unscored=sections.problem)
    score, reason = read_score(sections.answer, spec.bounds)
    return Judgement(score=score, rationale=sections.answer, thinking=sections.thinking, unscored=reason)


def read_levels(text: Any, spec: JudgeSpec) -> Judgement:
    """Read one line ``aspect: value`` for each declared aspect; other lines are prose."""
    sections = split_response(text, spec.chain_of_thought)
    if sections.answer is None:
        return Judgement(thinking=sections.thinking, unscored=sections.problem)
    assert spec.scale is not None
    names = {aspect.casefold(): aspect for aspect in spec.aspects}
    scores: dict[str, float | str] = {}
    unread = []
    for line, name, value in fields_of(sections.answer):
        aspect = names.get(name)
        if aspect is None:
            continue
        read, reason = level(value, spec.scale)
        if read is None:
            unread.append(Unread(line, str(reason)))
        elif scores.setdefault(aspect, read) != read:
            unread.append(Unread(line, f"contradicts an earlier line: {scores[aspect]}"))
            names.pop(name)
    contradicted = [aspect for aspect in scores if aspect.casefold() not in names]
    scores = {aspect: scores[aspect] for aspect in spec.aspects if aspect in scores and aspect not in contradicted}
    missing = [aspect for aspect in spec.aspects if aspect not in scores]
    return Judgement(
        scores=scores,
        rationale=sections.answer,
        thinking=sections.thinking,
        unscored=f"no value for: {listed(missing)}" if missing else None,
        unread=tuple(unread),
    )


TYPES = (
    JudgeType(
        name="pairwise",
        summary="which of two clips is better in one aspect, or a tie",
        target="verdict",
        template="earwitness/pairwise",
        clip_names=RESPONSES,
        labels=LABELS_12,
        optional_labels=("tie",),
        read=judge_verdict,
    ),
    JudgeType(
        name="score",
        summary="one clip, one aspect, one number on a scale",
        target="score",
        template="earwitness/score",
        clip_names=("Recording",),
        scale=(1.0, 5.0),
        read=read_single_score,
    ),
    JudgeType(
        name="rate_clip",
        summary="one clip, one line 'aspect: value' for each declared aspect",
        target="scores",
        template="earwitness/rate_clip",
        clip_names=("Recording",),
        scale=(1.0, 5.0),
        read=read_levels,
    ),
)
