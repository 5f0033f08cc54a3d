"""The text that a judge is trained to write, put together from its parts and turned around with its clips."""

from __future__ import annotations

from collections.abc import Mapping

from earwitness.judges.mirror import mirror_text
from earwitness.judges.spec import JudgeSpec

_OPPOSITE = {"first": "second", "second": "first", "tie": "tie"}


def answer_with_verdict(spec: JudgeSpec, verdict: str, rationale: str | None = None) -> str:
    """Write a verdict and its rationale in the judge's order: label first (SageLM), or last (ALLD's A/B).

    Args:
        spec: of a judge with labels.
        verdict: canonical.
        rationale: None or empty for a bare label.
    """
    label = spec.labels[verdict]
    if not rationale:
        return label
    return f"{rationale}\n{label}" if spec.kind.target == "verdict_last" else f"{label}\n{rationale}"


def respond(spec: JudgeSpec, answer: str, thinking: str | None = None) -> str:
    """Write the whole response: the bare answer, or thought and answer in SpeechEval's tags.

    A judge that thinks gets both tags even where a row has no thought, as SpeechEval's detection rows do.
    """
    if not spec.chain_of_thought:
        return answer
    thought = f"{thinking}\n" if thinking else ""
    return f"<think>\n{thought}</think>\n\n<answer>\n{answer}\n</answer>"


def mirror_verdict(verdict: str) -> str:
    """Return the same judgement of the same clips when A and B have changed places."""
    return _OPPOSITE[verdict]


def mirror_answer(
    spec: JudgeSpec, verdict: str | None, rationale: str | None, thinking: str | None = None
) -> str | None:
    """Write the response for the clips in the other order, or None where a text cannot be turned around safely.

    Args:
        spec: of a judge of two clips.
        verdict: canonical, of the record's own order; None for judges whose ``rationale`` is the whole answer.
        rationale: text of the record's own order.
        thinking: likewise.
    """
    texts = []
    for text in (rationale, thinking):
        mirrored = mirror_text(text, spec.clip_names) if text else text
        if text and mirrored is None:
            return None
        texts.append(mirrored)
    answer = texts[0] or ""
    if verdict is not None:
        answer = answer_with_verdict(spec, mirror_verdict(verdict), texts[0])
    return respond(spec, answer, texts[1])


def answer_with_scores(scores: Mapping[str, str | float]) -> str:
    """Write one line ``aspect: value`` for each aspect."""
    return "\n".join(f"{aspect}: {written(value)}" for aspect, value in scores.items())


def written(value: str | float) -> str:
    """Write a level or a number; whole numbers without a point, others to four significant digits."""
    return value if isinstance(value, str) else f"{value:.4g}"
