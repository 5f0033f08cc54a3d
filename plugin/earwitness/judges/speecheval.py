"""The four judges of SpeechEval / SQ-LLM (Wang et al. 2025), with and without chain of thought."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from earwitness.judges.judgement import Distortion, Judgement
from earwitness.judges.kinds import JudgeType
from earwitness.judges.sections import Sections, split_response
from earwitness.judges.speecheval_lines import KINDS, SCALE, SPAN, read_lines
from earwitness.judges.text import bare
from earwitness.judges.verdicts import judge_verdict, read_answer

if TYPE_CHECKING:
    from earwitness.judges.spec import JudgeSpec

T = TypeVar("T")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_KIND = re.compile("|".join(f"({pattern})" for pattern in KINDS.values()), re.IGNORECASE)
_SAMPLE = re.compile(r"\bSample\s+([AB])\b")


def read_assessment(text: Any, spec: JudgeSpec) -> Judgement:
    """Read dimension scores from the lines, and located distortions from the prose; the main result is overall quality.

    Scores that stand in prose alone ("poor overall quality") are left to an evaluator.
    """
    sections = split_response(text, spec.chain_of_thought)
    found = _structured(sections, clips=1)
    score = found.scores.get("overall quality")
    reason = sections.problem or ("no line with the score of Overall Quality" if score is None else None)
    return replace(found, score=None if score is None else float(score), unscored=reason)


def read_comparison(text: Any, spec: JudgeSpec) -> Judgement:
    """Read the preference in each dimension; the verdict is that of the line Overall Quality, else of the prose."""
    sections = split_response(text, spec.chain_of_thought)
    found = _structured(sections, clips=2)
    if sections.answer is None:
        return replace(found, unscored=sections.problem)
    if "overall quality" in found.preferences:
        return replace(found, verdict=found.preferences["overall quality"])
    read = read_answer(sections.answer, spec)
    return replace(found, verdict=read.verdict, unscored=read.unscored)


def read_suggestion(text: Any, spec: JudgeSpec) -> Judgement:
    """Read the areas of the thought, and of the answer each line as one suggestion."""
    sections = split_response(text, spec.chain_of_thought)
    found = _structured(sections, clips=1)
    lines = [line.strip() for line in (sections.answer or "").split("\n") if bare(line)]
    return replace(found, suggestions=tuple(lines), unscored=sections.problem)


def _structured(sections: Sections, clips: int) -> Judgement:
    """Read the lines of the thought, or of an answer without one, and the intervals of the prose."""
    answer = sections.answer or ""
    lines = read_lines(sections.thinking or answer, clips)
    located = _located(answer, clips)
    timed = {(one.clip, one.kind) for one in located}
    named = [one for one in lines.distortions if one.start is not None or (one.clip, one.kind) not in timed]
    # Prose may hold colons; only a thought is a list of fields.
    unread = lines.unread if sections.thinking else []
    return Judgement(
        scores=lines.scores,
        preferences=lines.preferences,
        categories=lines.categories,
        distortions=(*named, *located),
        speakers=tuple(lines.speakers),
        areas=lines.areas,
        rationale=sections.answer,
        thinking=sections.thinking,
        unread=tuple(unread),
    )


def _located(prose: str, clips: int) -> list[Distortion]:
    """Find intervals with their unit, the distortion named last before each and, of two clips, the sample likewise."""
    found = []
    for sentence in _SENTENCE.split(prose):
        kinds = [(match.end(), list(KINDS)[(match.lastindex or 1) - 1]) for match in _KIND.finditer(sentence)]
        samples = [(match.end(), "AB".index(match[1])) for match in _SAMPLE.finditer(sentence)]
        spans = list(SPAN.finditer(sentence))
        for place, span in enumerate(spans):
            # "0–0.5, 1.3–2.1 s": the unit of a list stands behind its last interval.
            unit = span["unit"] or next(
                (later["unit"] for later in spans[place + 1 : place + 9] if later["unit"]), None
            )
            start, end = float(span["start"]), float(span["end"])
            if unit and start <= end:
                clip = 0 if clips == 1 else _last_before(span.start(), samples)
                found.append(Distortion(clip, _last_before(span.start(), kinds), start, end))
    return found


def _last_before(place: int, named: list[tuple[int, T]]) -> T | None:
    at = bisect_right(named, place, key=lambda one: one[0])
    return named[at - 1][1] if at else None


SAMPLES = ("Sample A", "Sample B")

TYPES = (
    JudgeType(
        name="speecheval_assessment",
        summary="SpeechEval SingleEval: describe the quality of one clip; with thought, eight dimensions first",
        target="text",
        template="speecheval/assessment",
        clip_names=("Sample",),
        scale=SCALE,
        read=read_assessment,
    ),
    JudgeType(
        name="speecheval_comparison",
        summary="SpeechEval CompareEval: compare two clips; with thought, eight dimensions first",
        target="text",
        template="speecheval/comparison",
        clip_names=SAMPLES,
        labels={"first": "A", "second": "B", "tie": "Tie"},
        optional_labels=("tie",),
        read=read_comparison,
    ),
    JudgeType(
        name="speecheval_suggestion",
        summary="SpeechEval Suggest: what would improve one clip",
        target="text",
        template="speecheval/suggestion",
        clip_names=("Sample",),
        read=read_suggestion,
    ),
    JudgeType(
        name="speecheval_detection",
        summary="SpeechEval FakeDetection: is one clip real or a deepfake",
        target="verdict",
        template="speecheval/detection",
        clip_names=("Sample",),
        labels={"real": "real", "fake": "fake"},
        read=judge_verdict,
    ),
)
