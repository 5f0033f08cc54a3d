"""Label probabilities from the likeliest tokens that a server or vLLM lists at each place of an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from earwitness.infer.menu import LabelShares
from earwitness.infer.places import menu_place
from earwitness.judges import parse
from earwitness.judges.spec import JudgeSpec


def label_shares(text: str, logprobs: Any, judge: JudgeSpec) -> LabelShares | None:
    """Compare the labels by the likeliest tokens that a server listed where the verdict stands.

    A label that is not listed is less likely than all that are and counts as 0; labels of several tokens are told by
    their first.

    Args:
        text: of the reply.
        logprobs: the reply's ``{"content": [{"token", "logprob", "top_logprobs"}]}``, or what a server gives instead.
        judge: who was asked.

    Returns: None where the result is not said by a label, nothing is listed, the listed tokens are not
        those of the text, or two labels begin with the same token.
    """
    found = menu_place(text, judge, parse(text, judge))
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if found is None or not isinstance(content, list):
        return None
    start, labels = found
    written = "".join(str(entry.get("token", "")) for entry in content)
    start += written.find(text)
    if text not in written:
        return None
    place = 0
    for entry in content:
        token = str(entry["token"])
        if place + len(token) > start:
            return _menu_shares(entry, token[: start - place], labels)
        place += len(token)
    return None


def _menu_shares(entry: Mapping[str, Any], lead: str, labels: Mapping[str, str]) -> LabelShares | None:
    shares = dict.fromkeys(labels, 0.0)
    seen: set[str] = set()
    for candidate in [entry, *(entry.get("top_logprobs") or [])]:
        token = str(candidate.get("token", ""))
        if token in seen or not token.startswith(lead) or token == lead:
            continue
        seen.add(token)
        piece = token[len(lead) :]
        begun = [name for name, label in labels.items() if label.startswith(piece) or piece.startswith(label)]
        if len(begun) > 1:
            return None
        if begun:
            shares[begun[0]] += math.exp(min(0.0, float(candidate["logprob"])))
    total = sum(shares.values())
    if total <= 0.0:
        return None
    return LabelShares({name: share / total for name, share in shares.items()}, min(1.0, total))
