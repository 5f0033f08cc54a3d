"""What one row says: the prompt, clips and response that training and inference share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from earwitness.judges import parse
from earwitness.judges.answers import mirror_verdict
from earwitness.judges.spec import JudgeSpec

Reference = str | float | dict[str, str | float]
"""A canonical verdict, a score, or for judges of several aspects the value of each."""

Mirror = Callable[[], str | None]
"""Gives the response for the clips in the other order; None for one clip, unlabelled rows and texts that cannot be
turned around safely."""


def _itself(text: str | None) -> str | None:
    return text


def as_mirror(text: str | None) -> Mirror:
    """Return the mirror that gives a text that is there already. It can be pickled, as lambdas cannot."""
    return partial(_itself, text)


@dataclass(frozen=True)
class Example:
    """One row, in its own order of clips.

    Attributes:
        judge: who is asked.
        id: of the row, None where it has none.
        aspect: what is judged, None where the judge asks for none.
        prompt: the user message with one ``<audio>`` for each clip.
        audios: paths as they stand in the row.
        reference: the truth, None for unlabelled rows.
        response: the training target, None for unlabelled rows.
        mirror: writes the response for the clips in the other order, on demand, since few readers need it.
        meta: every column that the judge does not read.
    """

    judge: JudgeSpec
    id: str | None
    aspect: str | None
    prompt: str
    audios: tuple[str, ...]
    reference: Reference | None = None
    response: str | None = None
    mirror: Mirror = field(default=as_mirror(None), repr=False, compare=False)
    meta: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of what is asked about which clips: the same whether or not the row is labelled."""
        asked = "\x1f".join((self.judge.type, self.aspect or "", self.prompt, *self.audios))
        return hashlib.sha256(asked.encode()).hexdigest()[:8]

    def swapped(self) -> Example:
        """Return the same question with A and B in each other's place.

        Clips, reference and response change; prompt, id and meta do not.
        """
        return replace(
            self,
            audios=self.audios[::-1],
            reference=mirror_reference(self.reference, len(self.audios)),
            response=self.mirror(),
            mirror=as_mirror(self.response),
        )


def mirror_reference(reference: Reference | None, clips: int) -> Reference | None:
    """Return the truth about the same clips in the other order; only verdicts of pairs depend on it."""
    return mirror_verdict(reference) if isinstance(reference, str) and clips == 2 else reference


def cell(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column, None where it is absent, null, empty or NaN."""
    value = row.get(column)
    if isinstance(value, str) and not value.strip():
        return None
    return None if isinstance(value, float) and math.isnan(value) else value


def stated_reference(response: str, judge: JudgeSpec) -> Reference | None:
    """Return the truth that a response states by itself, None where it states none that the judge's parser can read."""
    read = parse(response, judge)
    if read.unscored is not None:
        return None
    return next((value for value in (read.verdict, read.score) if value is not None), dict(read.scores) or None)
