"""Rewards that a rule gives: no server, no model, the same number for the same text.

Each takes completions and their records and returns one number from 0 to 1 a completion, or None where the record has
nothing to compare with. A completion that a parser cannot read is wrong (0), not unscored: the policy wrote it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError
from earwitness.judges.sections import split_response
from earwitness.judges.verdicts import parse_verdict
from earwitness.rewards.facts import concepts, ratings, times
from earwitness.rewards.materials import label_line

if TYPE_CHECKING:
    from earwitness.data.records import Record

TIME_TOLERANCE = 0.25
"""Seconds by which a time stamp may differ from the annotators': distortions have soft edges."""

Rule = Callable[..., list[float | None]]


def _for_each(rule: Callable[..., float | None]) -> Rule:
    """Turn a rule about one completion and its record into one about a batch; columns it does not know are ignored."""
    known = inspect.signature(rule).parameters.keys() - {"completion", "record"}

    @functools.wraps(rule)
    def batch(
        prompts: Sequence[str], completions: Sequence[str], records: Sequence[Record], **columns: Any
    ) -> list[float | None]:
        options = {name: columns[name] for name in known & columns.keys()}
        return [rule(text, record, **options) for text, record in zip(completions, records, strict=True)]

    return batch


def _only(applies: Callable[[Record], bool]) -> Callable[[Rule], Rule]:
    """Mark a rule as meant for the records for which ``applies`` is true."""

    def mark(rule: Rule) -> Rule:
        rule.applies = applies  # type: ignore[attr-defined]
        return rule

    return mark


def _is_detection(record: Record) -> bool:
    return "fake" in record.judge.labels


def _has_verdict(record: Record) -> bool:
    return bool(record.judge.labels) and not _is_detection(record)


def _has_ratings(record: Record) -> bool:
    return bool(_ratings(record.response or "", record))


def _has_prose(record: Record) -> bool:
    return bool(_prose(record.response or "", record))


@_only(_has_verdict)
@_for_each
def verdict_correct(completion: str, record: Record) -> float | None:
    """1 when the verdict is the reference's, else 0: also for an unreadable one."""
    if record.reference is None:
        return None
    return float(parse_verdict(completion, record.judge).verdict == record.reference)


@_only(_has_verdict)
@_for_each
def verdict_agreement(completion: str, record: Record) -> float | None:
    """SageLM's Agreement: 1 when equal, 0.5 when exactly one of both is a tie, else 0; 0 for an unreadable verdict."""
    verdict = parse_verdict(completion, record.judge).verdict
    if record.reference is None:
        return None
    if verdict is None or verdict == record.reference:
        return float(verdict is not None)
    return 0.5 if "tie" in (verdict, record.reference) else 0.0


@_only(_is_detection)
@_for_each
def detection_exact(completion: str, record: Record) -> float | None:
    """SQ-LLM's reward of deepfake detection: 1 for the right one of real and fake, else 0."""
    if record.reference is None:
        return None
    return float(parse_verdict(completion, record.judge).verdict == record.reference)


@_only(_has_ratings)
@_for_each
def dimension_scores(completion: str, record: Record) -> float | None:
    """How close the ratings of a completion are to those of the record's own response; ordinal, hence dense.

    Each rating is a position p from 0 to 1 on its scale (see ``facts.ratings``) and scores 1 - |p - q| against the
    reference's q; a rating that only one of both texts gives scores 0, so left out and invented dimensions lose alike.
    The reward is the mean.
    """
    truth = _ratings(record.response or "", record)
    given = _ratings(completion, record)
    names = truth.keys() | given.keys()
    both = truth.keys() & given.keys()
    return sum(1 - abs(truth[name] - given[name]) for name in both) / len(names) if names else None


@_for_each
def format_kept(completion: str, record: Record) -> float | None:
    """1 when a completion has exactly the form that the judge is trained to write, else 0.

    With chain of thought the tags, their order and the white space between them; then, where the judge has a menu, a
    label as it stands in the menu alone on the first line of the answer (the last line for ALLD's A/B).
    """
    spec = record.judge
    answer = completion
    if spec.chain_of_thought:
        head, opened, rest = completion.partition("</think>\n\n<answer>\n")
        answer, closed, tail = rest.partition("\n</answer>")
        thought = head.removeprefix("<think>\n")
        tags = sum(completion.count(tag) for tag in ("<think>", "</think>", "<answer>", "</answer>"))
        whole = head.startswith("<think>\n") and (not thought or thought.endswith("\n"))
        if not (whole and opened and closed and not tail.strip() and tags == 4):
            return 0.0
    if not answer.strip():
        return 0.0
    if spec.kind.target not in ("verdict", "verdict_last"):
        return 1.0
    lines = answer.strip("\n").split("\n")
    return float(lines[-1 if spec.kind.target == "verdict_last" else 0] in spec.labels.values())


@_only(_has_prose)
@_for_each
def rationale_consistent(completion: str, record: Record) -> float | None:
    """The share of what a rationale states that the reference states too; 0 for one that states nothing.

    Counted are time stamps (equal within ``TIME_TOLERANCE``) and what is said to be heard (``facts.CONCEPTS``): noise,
    artifacts, the speaker. The reference is the record's own answer, the aspect asked for, the annotators' structured
    labels and, for judges that describe, the lines of the reference's thought.
    """
    prose = _prose(completion, record)
    sections = split_response(record.response or "", record.judge.chain_of_thought)
    known = [_prose(record.response or "", record), record.aspect or ""]
    known += [label_line(entry) for entry in record.meta.get("details") or []]
    if record.judge.kind.target == "text":
        known.append(sections.thinking or "")
    reference = "\n".join(known)
    stamps = set(times(prose))
    said, allowed, right = concepts(prose), concepts(reference), times(reference)
    supported = sum(any(abs(stamp - one) <= TIME_TOLERANCE for one in right) for stamp in stamps)
    stated = len(stamps) + len(said)
    return (supported + len(said & allowed)) / stated if stated else 0.0


@_for_each
def length(completion: str, record: Record, min_words: int | None = None, max_words: int | None = None) -> float | None:
    """1 while an answer has ``min_words`` to ``max_words`` words, down to 0 at none and at twice the limit.

    Without limits they are half and one and a half times the words of the record's own answer; None where it has none.
    Languages written without spaces are counted by character. An answer that cannot be found has no words.
    """
    if max_words is not None and not (min_words or 0) <= max_words > 0:
        raise UserError(f"reward 'length': max_words must be above 0 and not below min_words, but is {max_words}")
    thinks = record.judge.chain_of_thought
    own = _words(split_response(record.response or "", thinks).answer or "")
    low = own * 0.5 if min_words is None else min_words
    high = own * 1.5 if max_words is None else max_words
    if (min_words is None or max_words is None) and not own:
        return None
    words = _words(split_response(completion, thinks).answer or "")
    if words < low:
        return words / low
    return 1.0 if words <= high else max(0.0, 2 - words / high)


def _words(text: str) -> int:
    unspaced = sum("\u3040" <= character <= "\u9fff" for character in text)
    return unspaced if unspaced > len(text) / 2 else len(text.split())


def _ratings(text: str, record: Record) -> dict[str, float]:
    spec = record.judge
    sections = split_response(text, spec.chain_of_thought)
    source = sections.thinking if spec.chain_of_thought else sections.answer
    return ratings(source or "", spec.clip_names, spec.scale if spec.kind.target == "scores" else None)


def _prose(text: str, record: Record) -> str:
    """The answer without its label."""
    spec = record.judge
    if spec.labels and spec.kind.target != "text":
        return parse_verdict(text, spec).rationale or ""
    return split_response(text, spec.chain_of_thought).answer or ""
