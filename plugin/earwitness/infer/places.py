"""Where in a written answer the verdict stands, so that the labels can be scored right there."""

from __future__ import annotations

from earwitness.judges.spec import JudgeSpec
from earwitness.judges.text import bare


def verdict_place(text: str, judge: JudgeSpec, verdict: str) -> tuple[int, dict[str, str]] | None:
    """Find the label that a parsed verdict stands on.

    Args:
        text: the whole answer.
        judge: with a menu.
        verdict: canonical, as parsed from ``text``.

    Returns: the character at which the label begins, and the menu as it would be written there (``tie`` where the
        answer says ``tie``, ``TIE`` where it says ``TIE``); None where the verdict is not said by a label at the
        beginning of the answer (of its last line, for judges that end in their verdict), because scores of the menu
        would mean nothing there.
    """
    start = _answer_start(text)
    end = len(text) if (closing := text.find("</answer>", start)) < 0 else closing
    if judge.kind.target == "verdict_last":
        start += len(text[start:end].rstrip().rpartition("\n")[0])
    while start < end and not bare(text[start]):
        start += 1
    label = judge.labels[verdict]
    # A label may begin with what counts as decoration, as [SpeechA] does.
    lead = len(label) - len(label.lstrip("".join(char for char in label if not bare(char))))
    start = max(0, start - lead)
    for write in (str, str.lower, str.upper):
        if text.startswith(write(label), start):
            return start, {name: write(other) for name, other in judge.labels.items()}
    return None


def _answer_start(text: str) -> int:
    """Return where the answer begins: after ``<answer>``, after the thought, or at the start."""
    folded = text.lower()
    for tag in ("<answer>", "</think>"):
        if (place := folded.rfind(tag)) >= 0:
            return place + len(tag)
    return 0
