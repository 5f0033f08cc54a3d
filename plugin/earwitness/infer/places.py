"""Where in a written answer its result stands, so that the labels can be scored right there."""

from __future__ import annotations

import re

from earwitness.judges.judgement import Judgement
from earwitness.judges.spec import JudgeSpec
from earwitness.judges.text import bare

MOST_SCORES = 101
"""A scale with more whole numbers than this has no menu."""

_WHOLE_NUMBER = re.compile(r"[\s*_`]*(\d+)(?![\d.,])")


def menu_of(judge: JudgeSpec) -> dict[str, str]:
    """Return what a judge may answer first: canonical name to the text that it writes.

    Labels for verdicts; the whole numbers of the scale for a single score, where both its ends are whole; empty for
    judges that answer in another form.
    """
    if judge.kind.target in ("verdict", "verdict_last"):
        return dict(judge.labels)
    if judge.kind.target == "score" and judge.scale is not None:
        low, high = (float(bound) for bound in judge.scale)
        if low.is_integer() and high.is_integer() and low >= 0 and high - low < MOST_SCORES:
            return {str(number): str(number) for number in range(int(low), int(high) + 1)}
    return {}


def menu_place(text: str, judge: JudgeSpec, read: Judgement) -> tuple[int, dict[str, str]] | None:
    """Find the label, or the whole number, that an answer's result stands on.

    Args:
        text: the whole answer.
        judge: who wrote it.
        read: what was read from ``text``.

    Returns: the character at which it begins, and the menu as it would be written there (``tie`` where the answer says
        ``tie``, ``TIE`` where it says ``TIE``); None where the result is not said by a label or whole number at the
        beginning of the answer (of its last line, for judges that end in their verdict), because scores of the menu
        would mean nothing there.
    """
    menu = menu_of(judge)
    start = _answer_start(text)
    if not menu or read.unscored is not None:
        return None
    if judge.kind.target == "score":
        number = _WHOLE_NUMBER.match(text, start)
        return (number.start(1), menu) if number and number[1] in menu else None
    end = len(text) if (closing := text.find("</answer>", start)) < 0 else closing
    if judge.kind.target == "verdict_last":
        start += len(text[start:end].rstrip().rpartition("\n")[0])
    while start < end and not bare(text[start]):
        start += 1
    label = menu[str(read.verdict)]
    # A label may begin with what counts as decoration, as [SpeechA] does.
    lead = len(label) - len(label.lstrip("".join(char for char in label if not bare(char))))
    start = max(0, start - lead)
    for write in (str, str.lower, str.upper):
        if text.startswith(write(label), start):
            return start, {name: write(other) for name, other in menu.items()}
    return None


def _answer_start(text: str) -> int:
    """Return where the answer begins: after ``<answer>``, after the thought, or at the start."""
    folded = text.lower()
    for tag in ("<answer>", "</think>"):
        if (place := folded.rfind(tag)) >= 0:
            return place + len(tag)
    return 0
