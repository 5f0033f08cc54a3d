"""What is written about a clip or a pair whose severities are known: rationale, thinking, rating.

The target texts of training live here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

ASPECTS = ("noise", "coloration", "discontinuity", "loudness", "overall quality")
DEGRADATIONS = ASPECTS[:4]
RATED = (*DEGRADATIONS, "overall")
GRID = 10  # severities are written as integers from 0 to this

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


def rating_text(severities: Mapping[str, float]) -> str:
    """The severities of one clip on the grid: ``noise 3, coloration 7, discontinuity 0, loudness 2, overall 4``."""
    return ", ".join(f"{name} {round(GRID * severities[name])}" for name in RATED)


def thinking_text(first: Mapping[str, float], second: Mapping[str, float], aspect: str) -> str:
    """The reasoning before a verdict: the severities of each clip in turn, whatever the aspect.

    The same block for every aspect: the judge hears first and compares after.
    """
    return f"Response 1: {rating_text(first)}\nResponse 2: {rating_text(second)}"


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
