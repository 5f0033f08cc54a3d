"""The columns of SageLM's acoustic result tables, which split aspects further than the prompt does."""

from __future__ import annotations

import posixpath

from earwitness.judges.sagelm import IMPLICIT_EMOTION
from earwitness.metrics.pairwise_files import Reference

ACOUSTIC = {
    "emotion instruction following": "emotion",
    "gender instruction following": "gender",
    "character instruction following": "character",
    IMPLICIT_EMOTION: "implicit_emotion",
    "gender instruction following and emotion instruction following": "mixed",
}
"""Aspect to the name of its column."""
SPLIT = ("emotion", "gender", "character")


def acoustic_columns(reference: Reference) -> tuple[str, ...]:
    """The columns that a row counts in: its aspect's, and for three aspects the one of its kind of question.

    Clips are named ``<task>-<instruction>-<response>-...``. Where both clips speak the same response the question is
    about the voice alone (``_tts``), else about the answer too (``_qa``). Empty for rows of other data.
    """
    column = ACOUSTIC.get(reference.aspect or "")
    if column is None:
        return ()
    parts = [posixpath.basename(clip).split("-") for clip in reference.clips]
    if column not in SPLIT or len(parts) != 2 or min(map(len, parts)) < 3:
        return (column,)
    return column, f"{column}_{'tts' if parts[0][2] == parts[1][2] else 'qa'}"
