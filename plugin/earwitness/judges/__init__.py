"""Judges: prompt, labels, scale and parser of each side by side, and the registry that ``dataset_info.json`` names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earwitness.judges.judgement import Judgement
    from earwitness.judges.spec import JudgeSpec


def parse(text: Any, spec: JudgeSpec) -> Judgement:
    """Take an answer apart with the parser of its judge. Takes any value, raises nothing, in linear time.

    Args:
        text: what the model wrote.
        spec: the judge that was asked.
    """
    return spec.kind.read(text, spec)
