"""What one type of judge is made of: prompt, clips, labels, scale and how its answer is put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from earwitness.judges.judgement import Judgement
    from earwitness.judges.spec import JudgeSpec

Target = Literal["verdict", "verdict_last", "score", "scores", "text"]
"""What a judge answers, hence which columns a labelled row needs:

- ``verdict``: a label of the menu, then an optional rationale (SageLM's order);
- ``verdict_last``: the analysis, then the label on a line of its own (ALLD's A/B order);
- ``score``: one number on the scale, then an optional rationale;
- ``scores``: one line ``aspect: value`` for each declared aspect;
- ``text``: free text, written by the row.
"""

CLIP_COLUMNS = {1: ("audio",), 2: ("audio_a", "audio_b")}
COMMON_COLUMNS = ("id", "question", "aspect", "thinking")
TARGET_COLUMNS: Mapping[Target, tuple[str, ...]] = {
    "verdict": ("verdict", "rationale"),
    "verdict_last": ("verdict", "rationale"),
    "score": ("score", "rationale"),
    "scores": ("scores",),
    "text": ("answer",),
}


@dataclass(frozen=True)
class JudgeType:
    """A type of judge; ``judges/registry.py`` lists them all.

    Attributes:
        name: what ``judge.type`` says in ``dataset_info.json``.
        summary: one line for documentation and errors.
        target: see ``Target``.
        template: path under ``templates/`` without ``.jinja``.
        clip_names: what the prompt calls each clip, in order; their number is the number of clips.
        labels: canonical verdict to the text that the model writes; empty for judges without a menu.
        optional_labels: canonical verdicts that a menu may leave out.
        aspects: the aspects that the source defines; empty when any aspect may be asked.
        written_aspects: aspects whose prompt says something else than their name.
        scale: lowest and highest number, or ordered words from worst to best; None for judges without scores.
        read: takes an answer apart.
        needs_aspect: whether a row without an aspect is an error.
    """

    name: str
    summary: str
    target: Target
    template: str
    clip_names: tuple[str, ...]
    read: Callable[[Any, JudgeSpec], Judgement]
    labels: Mapping[str, str] = field(default_factory=dict)
    optional_labels: tuple[str, ...] = ()
    aspects: tuple[str, ...] = ()
    written_aspects: Mapping[str, str] = field(default_factory=dict)
    scale: tuple[float, float] | tuple[str, ...] | None = None
    needs_aspect: bool = False

    @property
    def clips(self) -> int:
        """How many clips one row holds: 1 or 2."""
        return len(self.clip_names)

    @property
    def reference_column(self) -> str | None:
        """The column that holds the reference of a free-text judge: a verdict of pairs, a score of single clips."""
        if self.target == "text":
            return "verdict" if self.labels else "score" if self.scale else None
        return {"verdict_last": "verdict"}.get(self.target, self.target)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that an entry of this type may map, in the order of the documentation."""
        reference = (self.reference_column,) if self.reference_column else ()
        names = (*COMMON_COLUMNS[:1], *CLIP_COLUMNS[self.clips], *COMMON_COLUMNS[1:])
        return tuple(dict.fromkeys((*names, *reference, *TARGET_COLUMNS[self.target])))
