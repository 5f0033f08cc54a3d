"""What is written about a clip or a pair whose severities are known: rationale, thinking, rating.

The target texts of training live here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

ASPECTS = ("noise", "coloration", "discontinuity", "loudness", "overall quality")
DEGRADATIONS = ASPECTS[:4]
BEST = 9  # quality is written as one digit, from 0 (severity 1) to this (severity 0)

_MORE = {
    "noise": "more background noise",
    "coloration": "a more colored sound",
    "discontinuity": "more interruptions",
    "loudness": "a lower volume",
}
_SAME = {
    "noise": "background noise",
    "coloration": "sound color",
    "discontinuity": "continuity",
    "loudness": "volume",
    "overall quality": "overall quality",
}


def rating(severities: Mapping[str, float]) -> dict[str, int]:
    """The quality of one clip by aspect, 0 to ``BEST``, higher is better: severities on a grid, turned round.

    On ten levels a tie (a gap of at most 0.1) is at most one level apart, a decisive pair (0.25 or more) at least two.
    """
    return {aspect: BEST - round(BEST * severities[aspect.split()[0]]) for aspect in ASPECTS}


def thinking_text(first: Mapping[str, float], second: Mapping[str, float], aspect: str) -> str:
    """The reasoning before a verdict: the judge hears one clip after the other on every aspect, and compares after.

    The aspect that is asked comes last for each clip: a tiny judge that had to find it among the others learnt to
    compare overall quality and nothing else.
    """
    lines = []
    for name, severities in (("Response 1", first), ("Response 2", second)):
        levels = rating(severities)
        lines += [name, *(f"{other}: {levels[other]}" for other in ASPECTS if other != aspect)]
        lines.append(f"{aspect}: {levels[aspect]}")
    return "\n".join(lines)


def rationale_text(winner: str, first: Mapping[str, float], second: Mapping[str, float], aspect: str) -> str:
    """One sentence that names the cause of a verdict (``first``, ``second`` or ``tie``)."""
    if winner == "tie":
        return f"Both responses have about the same {_SAME[aspect]}."
    worse, better, loser = (second, first, "Response 2") if winner == "first" else (first, second, "Response 1")
    if aspect != "overall quality":
        return f"{loser} has {_MORE[aspect]}."
    gains = {name: worse[name] ** 2 - better[name] ** 2 for name in DEGRADATIONS}  # the parts of the overall severity
    ranked = sorted(DEGRADATIONS, key=lambda name: -gains[name])
    causes = [name for name in ranked[:2] if gains[name] > max(gains.values()) / 2]
    return f"{loser} has {' and '.join(_MORE[name] for name in causes)}."
