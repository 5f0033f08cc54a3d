"""The four judges of SpeechEval / SQ-LLM (Wang et al. 2025), with and without chain of thought."""

from __future__ import annotations

from earwitness.judges.kinds import JudgeType

SAMPLES = ("Sample A", "Sample B")

TYPES = (
    JudgeType(
        name="speecheval_assessment",
        summary="SpeechEval SingleEval: describe the quality of one clip; with thought, eight dimensions first",
        target="text",
        template="speecheval/assessment",
        clip_names=("Sample",),
        scale=(1.0, 5.0),
    ),
    JudgeType(
        name="speecheval_comparison",
        summary="SpeechEval CompareEval: compare two clips; with thought, eight dimensions first",
        target="text",
        template="speecheval/comparison",
        clip_names=SAMPLES,
        labels={"first": "A", "second": "B", "tie": "Tie"},
        optional_labels=("tie",),
    ),
    JudgeType(
        name="speecheval_suggestion",
        summary="SpeechEval Suggest: what would improve one clip",
        target="text",
        template="speecheval/suggestion",
        clip_names=("Sample",),
    ),
    JudgeType(
        name="speecheval_detection",
        summary="SpeechEval FakeDetection: is one clip real or a deepfake",
        target="verdict",
        template="speecheval/detection",
        clip_names=("Sample",),
        labels={"real": "real", "fake": "fake"},
    ),
)
