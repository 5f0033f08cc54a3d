"""Pairing predictions with references: by id, and by order only where order can be checked.

Files without ids (LLaMA-Factory's ``generated_predictions.jsonl``) repeat prompt and target of each row. Three pairings
are tried, and the first that those columns do not contradict is taken: by order, where the counts are equal; by the row
that a keyed prompt names (``questions.row_key``); by the prompt, where no two references share one. A file that fits
none of them is refused, never evaluated in part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from earwitness.errors import UserError, shorten
from earwitness.judges import parse
from earwitness.metrics.pairwise_files import Prediction, Reference
from earwitness.metrics.questions import Questions, row_key

By = Literal["auto", "id", "order"]
BY_ORDER = "order"
SHOWN = 5
"""Rows that a note spells out."""


@dataclass(frozen=True)
class Judgement:
    """One verdict and what people said.

    Attributes:
        reference: of the pair.
        prediction: in one order; without a verdict, and a reason, where there is none.
    """

    reference: Reference
    prediction: Prediction


@dataclass(frozen=True)
class Joined:
    """Judgements in the order of the references.

    Attributes:
        judgements: one a reference and order that was judged.
        method: how they were paired, for people.
        missing: reference rows without a prediction; they are judgements without a verdict.
        notes: what a reader should know: differences that did not stop the pairing.
    """

    judgements: Sequence[Judgement]
    method: str
    missing: Sequence[int] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def join(
    references: Sequence[Reference], predictions: Sequence[Prediction], *, by: By = "auto", strict: bool = False
) -> Joined:
    """Pair every prediction with its reference.

    Args:
        references: labelled rows.
        predictions: of one run.
        by: "auto" as above; "id" refuses files without ids; "order" pairs equal counts by order whatever the prompts
            say, for files that a user knows to be in order.
        strict: read verdicts from the first line only (for texts whose verdict is yet to be read).

    Raises:
        UserError: they do not belong together; names file rows and what to do.
    """
    if by != "order" and predictions[0].id is not None:
        return _by_id(references, predictions, strict)
    if by == "id":
        raise UserError("the predictions have no ids; use files with ids, such as infer.sh writes, or --join auto")
    if by == "order":
        if len(references) != len(predictions):
            raise UserError(_counts(references, predictions))
        pairs = dict(enumerate(predictions))
        return _joined(references, pairs, "order, unchecked as asked", [], strict)
    return _by_content(references, predictions, strict)


def _counts(references: Sequence[Reference], predictions: Sequence[Prediction]) -> str:
    return f"{len(references)} references but {len(predictions)} predictions, and no ids to pair them by"


def _rows(numbers: Iterable[int]) -> str:
    listed = list(numbers)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return f"row{'s' * (len(listed) > 1)} {', '.join(map(str, listed[:SHOWN]))}{more}"


def _joined(
    references: Sequence[Reference], pairs: dict[int, Prediction], method: str, notes: list[str], strict: bool
) -> Joined:
    """Judgements of file order pairs, the missing ones among them."""
    missing = [reference.row for at, reference in enumerate(references) if at not in pairs]
    absent = Prediction(row=0, unscored="no prediction")
    judgements = [
        Judgement(reference, pairs.get(at, absent).read(reference.judge, strict))
        for at, reference in enumerate(references)
    ]
    return Joined(judgements, method, missing, [*_missing_note(missing), *notes])


def _missing_note(missing: Sequence[int]) -> list[str]:
    if not missing:
        return []
    return [f"{len(missing)} references have no prediction and count as unscored: {_rows(missing)} of the references"]


def _by_id(references: Sequence[Reference], predictions: Sequence[Prediction], strict: bool) -> Joined:
    places = {reference.id: at for at, reference in enumerate(references) if reference.id is not None}
    found = [places.get(str(prediction.id)) for prediction in predictions]
    method = "id"
    if all(at is None for at in found):
        found = _by_record_row(references, predictions)
        method = "row, checked by clips and aspect"
    unknown = [prediction for prediction, at in zip(predictions, found, strict=True) if at is None]
    if unknown:
        raise UserError(
            f"prediction row {unknown[0].row}: id {unknown[0].id!r} is not in the references ({len(unknown)} of "
            f"{len(predictions)} ids are not; the first id there is {references[0].id!r})"
        )
    by_place: dict[int, list[Prediction]] = {}
    relabelled = []
    for prediction, at in zip(predictions, found, strict=True):
        assert at is not None
        reference = references[at]
        if prediction.aspect is not None and reference.aspect is not None and prediction.aspect != reference.aspect:
            raise UserError(
                f"prediction row {prediction.row}: id {prediction.id!r} was judged in aspect {prediction.aspect!r}, "
                f"but reference row {reference.row} is about {reference.aspect!r}"
            )
        if prediction.reference is not None and prediction.reference != reference.verdict:
            relabelled.append(prediction.row)
        by_place.setdefault(at, []).append(prediction)
    notes = []
    if relabelled:
        notes.append(
            f"{len(relabelled)} predictions name another right verdict than the references, which count: "
            f"{_rows(relabelled)} of the predictions"
        )
    # Where some pairs were judged in both orders, the other order of the rest is missing too.
    both = any(len(group) > 1 for group in by_place.values())
    judgements, missing = [], []
    for at, reference in enumerate(references):
        given = {prediction.order: prediction for prediction in by_place.get(at, ())}
        orders = ("ab", "ba") if both else tuple(given) or ("ab",)
        if any(order not in given for order in orders):
            missing.append(reference.row)
        for order in orders:
            absent = Prediction(row=0, id=reference.id, order=order, unscored="no prediction")
            judgements.append(Judgement(reference, given.get(order, absent).read(reference.judge, strict)))
    return Joined(judgements, method, missing, [*_missing_note(missing), *notes])


def _by_record_row(references: Sequence[Reference], predictions: Sequence[Prediction]) -> list[int | None]:
    """Places by row number, for a dataset that was judged under another name; clips and aspect must agree."""
    places = {reference.row: at for at, reference in enumerate(references)}
    found: list[int | None] = []
    for prediction in predictions:
        at = None if prediction.record_row is None else places.get(prediction.record_row)
        if at is not None:
            reference = references[at]
            same_clips = len(prediction.clips) == len(reference.clips) > 0 and all(
                _same_path(one, other) for one, other in zip(prediction.clips, reference.clips, strict=True)
            )
            at = at if same_clips and prediction.aspect == reference.aspect else None
        found.append(at)
    return found


def _same_path(one: str, other: str) -> bool:
    """Whether two paths end alike: in the file and, where both have one, its folder."""
    return one.split("/")[-2:] == other.split("/")[-2:] or one == other


def _by_content(references: Sequence[Reference], predictions: Sequence[Prediction], strict: bool) -> Joined:
    questions = Questions(references)
    problems = []
    for method, pairs in _pairings(references, predictions, questions):
        check = _Check(references, questions, sure=method != BY_ORDER)
        problem = check.problem(pairs)
        if problem is None:
            return _joined(references, pairs, f"{method}, {check.checked}", check.notes, strict)
        problems.append(problem)
    if len(references) != len(predictions):
        problems.insert(0, _counts(references, predictions))
    raise UserError(
        f"{problems[0]}. Predictions with ids can be paired safely (infer.sh writes them); --join order pairs equal "
        "counts by order without this check"
    )


def _pairings(
    references: Sequence[Reference], predictions: Sequence[Prediction], questions: Questions
) -> Iterator[tuple[str, dict[int, Prediction]]]:
    """Ways to pair by what the file holds, the most literal first: index of the reference to prediction."""
    if len(references) == len(predictions):
        yield BY_ORDER, dict(enumerate(predictions))
    keys = [row_key(prediction.prompt) for prediction in predictions]
    pairs = {key: prediction for key, prediction in zip(keys, predictions, strict=True) if key is not None}
    if len(pairs) == len(predictions) and max(pairs) < len(references):
        yield "row named in the prompt", pairs
    found = [questions.find(prediction.prompt) for prediction in predictions]
    pairs = {rows[0]: prediction for rows, prediction in zip(found, predictions, strict=True) if len(rows) == 1}
    if len(pairs) == len(predictions):
        yield "prompt", pairs


class _Check:
    """Looks for contradictions between a pairing and the prompts and labels that the predictions repeat.

    Attributes:
        checked: what the pairing was checked by, for people.
        notes: differences that do not contradict it.
    """

    def __init__(self, references: Sequence[Reference], questions: Questions, sure: bool) -> None:
        """Start.

        Args:
            references: in order.
            questions: their prompts.
            sure: each prediction is tied to its reference by more than its place, so that labels are not needed.
        """
        self._references, self._questions, self._sure = references, questions, sure
        self.checked = ""
        self.notes: list[str] = []

    def problem(self, pairs: dict[int, Prediction]) -> str | None:
        """The first contradiction, or ``None``."""
        edited, relabelled = [], []
        prompts = labels = 0
        for at, prediction in sorted(pairs.items()):
            reference = self._references[at]
            same = self._questions.asks(prediction.prompt, at)
            label = parse(prediction.label, reference.judge).verdict
            prompts += same is True
            labels += label is not None
            if same is False:
                others = self._questions.find(prediction.prompt)
                if others:
                    return (
                        f"prediction row {prediction.row} asks the question of reference row "
                        f"{self._references[others[0]].row}, not of row {reference.row}"
                    )
                edited.append(prediction.row)
            if label is not None and label != reference.verdict:
                # A label that differs may be a corrected one, but only where the prompt can belong to no other row.
                if same is not True or not (self._sure or len(self._questions.rows_like(at)) == 1):
                    return (
                        f"prediction row {prediction.row} has label {shorten(repr(prediction.label), 20)}, but "
                        f"reference row {reference.row} says {reference.judge.labels[reference.verdict]!r}"
                    )
                relabelled.append(prediction.row)
        if len(edited) * 2 > len(pairs):
            return f"the prompts of {len(edited)} of {len(pairs)} predictions are in no reference ({_rows(edited)})"
        if edited:
            self.notes.append(f"the prompts of these predictions differ from their references': {_rows(edited)}")
        if relabelled:
            self.notes.append(
                f"{len(relabelled)} of {labels} labels in the predictions differ from the references, which count: "
                f"{_rows(relabelled)} of the predictions"
            )
        used = " and ".join([*["prompts"] * (prompts > 0), *["labels"] * (labels > len(relabelled))])
        self.checked = f"checked by {used}" if used else "unchecked: the predictions have neither prompts nor labels"
        return None
