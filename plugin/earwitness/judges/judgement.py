"""What a judge said, taken apart: the result of every parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Distortion:
    """One distortion that was named or located.

    Attributes:
        clip: 0 for the only or first clip, 1 for the second; None where the text does not say.
        kind: what it is, such as "artifacts"; None where only its time is given.
        start: seconds from the beginning of the clip; None without an interval.
        end: likewise.
    """

    clip: int | None
    kind: str | None
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Speaker:
    """Who speaks: ``clip`` as in ``Distortion``, ``gender`` and ``age`` in the words of the answer."""

    clip: int | None
    gender: str | None
    age: str | None


@dataclass(frozen=True)
class Unread:
    """A piece of an answer that has the form of a field and cannot be read, and why."""

    text: str
    reason: str


@dataclass(frozen=True)
class Judgement:
    """One answer, read.

    Attributes:
        verdict: canonical: "first", "second", "tie", "real", "fake"; None for judges without a menu, or unread.
        score: the overall score on the judge's scale.
        scores: aspect or dimension to its number or level.
        preferences: dimension to "first", "second" or "tie".
        categories: "speech rate", "emotion" and other fields with a word as value.
        distortions: named and located distortions.
        speakers: what is said of the speakers.
        areas: what should be improved, in a few words each.
        suggestions: how, one sentence each.
        rationale: the prose of the answer.
        thinking: the chain of thought as it stands.
        unscored: why the main result of the judge could not be read; None when it was.
        unread: other pieces that could not be read.
    """

    verdict: str | None = None
    score: float | None = None
    scores: Mapping[str, float | str] = field(default_factory=dict)
    preferences: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    distortions: tuple[Distortion, ...] = ()
    speakers: tuple[Speaker, ...] = ()
    areas: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    rationale: str | None = None
    thinking: str | None = None
    unscored: str | None = None
    unread: tuple[Unread, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return every field as JSON holds it."""
        return asdict(self)
