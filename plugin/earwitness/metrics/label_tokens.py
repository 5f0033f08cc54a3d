"""P(real) from token log-probabilities: a two-way softmax at the token where the answer stands.

Source: SpeechLLM-as-Judges (Wang et al. 2025), Appendix C.3: a two-dimensional softmax over the logits of the key
response tokens. A label that is not listed among the top tokens counts as log-probability -100.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ABSENT = -100.0
"""Log-probability of a label that is not among the listed tokens."""
WORDS = ("real", "fake")

_CLOSING = re.compile(r"</think>|<answer>", re.IGNORECASE)
_END = re.compile(r"</answer>|<\|[^|>]*\|>", re.IGNORECASE)


@dataclass(frozen=True)
class LabelScore:
    """``value``: P(real) in 0..1, or ``None`` with the ``reason``."""

    value: float | None
    reason: str | None = None


def label_score(logprobs: Any, verdict: str | None) -> LabelScore:
    """P(real) at the token that says the verdict of an answer.

    The answer is what follows the last ``<answer>`` tag, or the thought, or the whole text; a label that is only
    mentioned before it is no answer. Log-probabilities are read in the spelling of the token that was written ("Real"
    is compared with "Fake"), and a label split into several tokens by its first piece.

    Args:
        logprobs: OpenAI's and ms-swift's ``{"content": [{"token", "logprob", "top_logprobs": [...]}]}``, or anything
            else that a broken file may hold.
        verdict: "real" or "fake", as read from the text of the response; ``None`` if unreadable.

    Returns:
        The score, or why this row has none. Nothing is borrowed from another token or row.
    """
    if verdict is None:
        return LabelScore(None, "the answer is neither real nor fake")
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(content, list) or not all(isinstance(entry, Mapping) for entry in content) or not content:
        return LabelScore(None, "no log-probabilities")
    found = _answer_token(content, verdict)
    if found is None:
        return LabelScore(None, f"the tokens with log-probabilities do not answer {verdict!r}")
    listed = _listed(found)
    if listed is None:
        return LabelScore(None, "a log-probability is NaN or no number")
    token = str(found["token"])
    own = listed.get(token, ABSENT)
    other = max((listed[name] for name in _counterparts(token, verdict, listed)), default=ABSENT)
    if max(own, other) <= ABSENT:
        return LabelScore(None, "no label is among the listed tokens")
    real, fake = (own, other) if verdict == "real" else (other, own)
    return LabelScore(1 / (1 + math.exp(fake - real)))


def _answer_token(content: list[Mapping[str, Any]], verdict: str) -> Mapping[str, Any] | None:
    """The token in which the answer's label begins."""
    tokens = [str(entry.get("token", "")) for entry in content]
    text = "".join(tokens)
    start = max((match.end() for match in _CLOSING.finditer(text)), default=0)
    end = _END.search(text, start)
    word = re.compile(rf"\b{verdict}\b", re.IGNORECASE).search(text, start, end.start() if end else len(text))
    if word is None:
        return None
    place = 0
    for entry, token in zip(content, tokens, strict=True):
        place += len(token)
        if place > word.start():
            return entry
    return None


def _listed(entry: Mapping[str, Any]) -> dict[str, float] | None:
    """Log-probabilities by token, the highest where a token is listed twice; minus infinity counts as absent."""
    listed: dict[str, float] = {}
    top = entry.get("top_logprobs")
    for candidate in [entry, *(top if isinstance(top, list) else [])]:
        value = candidate.get("logprob") if isinstance(candidate, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return None
        name = str(candidate.get("token", ""))
        # A probability above 1 (log above 0) is rounding; far below -100 it is as good as absent.
        listed[name] = max(listed.get(name, ABSENT), min(float(value), 0.0))
    return listed


def _counterparts(token: str, verdict: str, listed: Mapping[str, float]) -> list[str]:
    """Listed tokens that begin the other label as ``token`` begins this one."""
    other = WORDS[1 - WORDS.index(verdict)]
    core = token.strip(" \t\r\n*_`\"'>:")
    lead, _, tail = token.partition(core)
    styled = other.upper() if core.isupper() and len(core) > 1 else other.capitalize() if core[:1].isupper() else other
    if core.casefold() == verdict:
        return [name for name in (f"{lead}{styled}{tail}",) if name in listed]
    return [
        name for name in listed if name.startswith(lead) and name[len(lead) :] and styled.startswith(name[len(lead) :])
    ]
