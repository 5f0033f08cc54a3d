"""The judges of SageLM (Ge et al. 2025): two spoken responses to one instruction, one aspect a question."""

from __future__ import annotations

from earwitness.judges.generic import LABELS_12, RESPONSES
from earwitness.judges.kinds import JudgeType
from earwitness.judges.verdicts import judge_verdict

IMPLICIT_EMOTION = "implicit emotion"
"""Asked with the words of "emotion instruction following"; in the released data only the folder tells it."""

TYPES = (
    JudgeType(
        name="sagelm_semantic",
        summary="SageLM's four semantic aspects",
        target="verdict",
        template="sagelm/pairwise",
        clip_names=RESPONSES,
        labels=LABELS_12,
        aspects=("helpfulness", "honesty", "instruction_following", "truthfulness"),
        needs_aspect=True,
        read=judge_verdict,
    ),
    JudgeType(
        name="sagelm_acoustic",
        summary="SageLM's acoustic aspects, and implicit emotion",
        target="verdict",
        template="sagelm/pairwise",
        clip_names=RESPONSES,
        labels=LABELS_12,
        aspects=(
            "emotion instruction following",
            "gender instruction following",
            "character instruction following",
            "gender instruction following and emotion instruction following",
            IMPLICIT_EMOTION,
        ),
        written_aspects={IMPLICIT_EMOTION: "emotion instruction following"},
        needs_aspect=True,
        read=judge_verdict,
    ),
)
