"""The judges of ALLD (Chen et al., ICLR 2025): a description that ends in the MOS, an A/B analysis with its winner."""

from __future__ import annotations

from earwitness.judges.kinds import JudgeType

TYPES = (
    JudgeType(
        name="alld_mos",
        summary="ALLD: describe noise, coloration, discontinuity and loudness of one clip, then the MOS",
        target="text",
        template="alld/mos",
        clip_names=("Speech",),
        scale=(1.0, 5.0),
    ),
    JudgeType(
        name="alld_ab",
        summary="ALLD: compare two clips, then [SpeechA] or [SpeechB]",
        target="verdict_last",
        template="alld/ab",
        clip_names=("SpeechA", "SpeechB"),
        labels={"first": "[SpeechA]", "second": "[SpeechB]"},
    ),
)
