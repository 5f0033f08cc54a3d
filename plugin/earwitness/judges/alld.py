"""The judges of ALLD (Chen et al., ICLR 2025): a description that ends in the MOS, an A/B analysis with its winner."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from earwitness.judges.judgement import Judgement
from earwitness.judges.kinds import JudgeType
from earwitness.judges.numbers import SCORE, agreed, read_mos
from earwitness.judges.sections import split_response
from earwitness.judges.verdicts import judge_verdict

if TYPE_CHECKING:
    from earwitness.judges.spec import JudgeSpec

DIMENSIONS = {"noi": "noi(?:se)?", "col": "col(?:oration)?", "dis": "dis(?:continuity)?", "loud": "loud(?:ness)?"}
"""The four dimensions of ALLD's meta information besides the MOS, and how texts write them; higher is better."""

_RATED = {
    name: re.compile(
        rf"\b(?:{form})\b(?:\s+(?:level|score|rating|factor))?(?:\s+(?:is|of|at|rated|scores?|scored))?\s*[:=(]?\s*{SCORE}",
        re.IGNORECASE,
    )
    for name, form in DIMENSIONS.items()
}


def read_description(text: Any, spec: JudgeSpec) -> Judgement:
    """Read the MOS that a description ends in, and the dimensions it gives a number."""
    sections = split_response(text, spec.chain_of_thought)
    if sections.answer is None:
        return Judgement(thinking=sections.thinking, unscored=sections.problem)
    mos, reason = read_mos(sections.answer, spec.bounds)
    rated = {name: agreed(list(form.finditer(sections.answer)), spec.bounds, "")[0] for name, form in _RATED.items()}
    return Judgement(
        score=mos,
        scores={name: score for name, score in rated.items() if score is not None},
        rationale=sections.answer,
        thinking=sections.thinking,
        unscored=reason,
    )


TYPES = (
    JudgeType(
        name="alld_mos",
        summary="ALLD: describe noise, coloration, discontinuity and loudness of one clip, then the MOS",
        target="text",
        template="alld/mos",
        clip_names=("Speech",),
        scale=(1.0, 5.0),
        read=read_description,
    ),
    JudgeType(
        name="alld_ab",
        summary="ALLD: compare two clips, then [SpeechA] or [SpeechB]",
        target="verdict_last",
        template="alld/ab",
        clip_names=("SpeechA", "SpeechB"),
        labels={"first": "[SpeechA]", "second": "[SpeechB]"},
        read=judge_verdict,
    ),
)
