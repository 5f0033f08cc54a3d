"""What is true of a scene, by declared formulas: scores, preferences, areas.

Severities are 0 (untouched) to 1. Impairments are severities weighed by how much of the clip they cover:

* Distortion: the severity itself;
* Intelligibility: ``_MASKING[kind] * severity * sqrt(share)``, the root because words need their neighbours;
* Overall Quality: the worst of ``severity * sqrt(share)`` and ``0.6 * loudness``.

A score is ``5 - 4 * impairment``, rounded; a grade or level the same on 0 to ``BEST``. Of two clips the one with the
lower impairment is better, unless the two are within ``TIE_BAND``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KINDS = ("background noise", "timbre & quality", "drop / missing", "jitter", "artifacts")
"""Distortion types of SpeechEval that are made here; all of its annotation schema."""

RATES = {"slow": (85, 115), "appropriate": (150, 190), "fast": (255, 310)}
"""Speech rates, eSpeak NG's words a minute."""

HEARD = (*KINDS, "volume", "pace")
"""What ``Scene.levels`` rates: each alone, so that a judge can learn to hear it before it learns the four tasks."""

BEST = 9
COMPARED = ("overall quality", "intelligibility", "distortion")
TIE_BAND = 0.1
DECISION_MARGIN = 0.25
_MASKING = {"background noise": 0.9, "timbre & quality": 0.6, "drop / missing": 1.0, "jitter": 0.8, "artifacts": 0.7}
LOUDNESS_WEIGHT = 0.6
_WRONG_PACE = 0.5  # severity of a slow or fast rate, which has no degrees here
_WORTH_SAYING = 0.3  # an impairment from which on an improvement is suggested


@dataclass(frozen=True)
class Distortion:
    """One distortion.

    Attributes:
        kind: of ``KINDS``.
        severity: above 0, up to 1.
        start, end: seconds, one decimal.
    """

    kind: str
    severity: float
    start: float
    end: float


@dataclass(frozen=True)
class Scene:
    """What was done to one clip.

    Attributes:
        seconds: its length.
        distortion: None for none.
        loudness: severity of too low a level.
        rate: of ``RATES``.
    """

    seconds: float
    distortion: Distortion | None
    loudness: float
    rate: str

    def impairments(self) -> dict[str, float]:
        """Impairment of each of ``COMPARED``, 0 to 1."""
        kind, severity, share = "", 0.0, 0.0
        if self.distortion is not None:
            kind, severity = self.distortion.kind, self.distortion.severity
            share = min(1.0, (self.distortion.end - self.distortion.start) / self.seconds)
        covered = severity * share**0.5
        return {
            "overall quality": max(covered, LOUDNESS_WEIGHT * self.loudness),
            "intelligibility": _MASKING.get(kind, 0.0) * covered,
            "distortion": severity,
        }

    def scores(self) -> dict[str, int]:
        """Score of each of ``COMPARED``, 1 to 5, higher is better."""
        return {name: 5 - round(4 * impairment) for name, impairment in self.impairments().items()}

    def grades(self) -> dict[str, int]:
        """The same on 0 to ``BEST``: fine enough that two clips with a winner differ."""
        return {name: _level(impairment) for name, impairment in self.impairments().items()}

    def levels(self) -> dict[str, int]:
        """Level of each of ``HEARD``, 0 to ``BEST``, higher is better."""
        severities = {"volume": self.loudness, "pace": pace_severity(self.rate)}
        if self.distortion is not None:
            severities[self.distortion.kind] = self.distortion.severity
        return levels(severities)

    def areas(self) -> tuple[str, ...]:
        """What should be improved, worst first; empty where nothing needs it."""
        found = []
        if self.distortion is not None and self.impairments()["overall quality"] >= _WORTH_SAYING:
            found.append((self.distortion.severity, self.distortion.kind))
        if LOUDNESS_WEIGHT * self.loudness >= _WORTH_SAYING:
            found.append((LOUDNESS_WEIGHT * self.loudness, "volume"))
        if self.rate != "appropriate":
            found.append((0.0, "pace"))
        return tuple(area for _, area in sorted(found, reverse=True))


def pace_severity(rate: str) -> float:
    """How bad a speech rate is, 0 to 1."""
    return 0.0 if rate == "appropriate" else _WRONG_PACE


def levels(severities: Mapping[str, float]) -> dict[str, int]:
    """Level of each of ``HEARD``, 0 to ``BEST``, higher is better; what has no severity is at its best."""
    return {name: _level(severities.get(name, 0.0)) for name in HEARD}


def _level(impairment: float) -> int:
    return BEST - round(BEST * impairment)


def preferences(first: Scene, second: Scene) -> dict[str, str]:
    """The better clip in each of ``COMPARED``: "first", "second" or "tie"."""
    one, other = first.impairments(), second.impairments()
    return {
        name: "tie" if abs(one[name] - other[name]) <= TIE_BAND else "first" if one[name] < other[name] else "second"
        for name in COMPARED
    }
