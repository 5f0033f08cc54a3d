"""Judges of our own: any pair on any aspect, one score, and one clip rated on several aspects."""

from __future__ import annotations

from earwitness.judges.kinds import JudgeType

RESPONSES = ("Response 1", "Response 2")
LABELS_12 = {"first": "1", "second": "2", "tie": "Tie"}

TYPES = (
    JudgeType(
        name="pairwise",
        summary="which of two clips is better in one aspect, or a tie",
        target="verdict",
        template="earwitness/pairwise",
        clip_names=RESPONSES,
        labels=LABELS_12,
        optional_labels=("tie",),
    ),
    JudgeType(
        name="score",
        summary="one clip, one aspect, one number on a scale",
        target="score",
        template="earwitness/score",
        clip_names=("Recording",),
        scale=(1.0, 5.0),
    ),
    JudgeType(
        name="rate_clip",
        summary="one clip, one line 'aspect: value' for each declared aspect",
        target="scores",
        template="earwitness/rate_clip",
        clip_names=("Recording",),
        scale=(1.0, 5.0),
    ),
)
