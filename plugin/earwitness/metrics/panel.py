"""Judges, evaluators and people side by side: who agrees with whom, and on which items they do not.

People are compared as single raters, not as their mean: a judge that agrees with one person as often as two persons
agree with each other cannot be told from a person by its agreement. Measures as in ``agreement`` and ``scores``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from earwitness.metrics.agreement import Level, cohen_kappa, human_ceiling, krippendorff_alpha
from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap
from earwitness.metrics.means import mean_figure
from earwitness.metrics.scores import score_figures
from earwitness.metrics.verdicts import VERDICTS

Value = str | float
Kind = Literal["verdicts", "scores"]
PERSON = "a person"
MAJORITY = "people's majority"
MEAN = "people's mean"


@dataclass(frozen=True)
class PanelItem:
    """One pair or clip in one aspect, and what everybody said of it.

    Attributes:
        row: of the references, from 1.
        id: of the references; ``None`` without.
        aspect: ``None`` without.
        clips: that rows may share; empty where unknown.
        people: rater to verdict or score; only raters who gave one.
        models: model to verdict or score; ``None`` where unscored.
        confidence: probability of the first model's verdict; ``None`` where unknown.
    """

    row: int
    id: str | None
    aspect: str | None
    clips: tuple[str, ...]
    people: Mapping[str, Value] = field(hash=False)
    models: Mapping[str, Value | None] = field(hash=False)
    confidence: float | None = None

    @property
    def together(self) -> Value | None:
        """The verdict that most people gave, ``None`` where two lead; of scores their mean."""
        values = list(self.people.values())
        if not values:
            return None
        if isinstance(values[0], str):
            most = Counter(values).most_common(2)
            return most[0][0] if len(most) == 1 or most[0][1] > most[1][1] else None
        return sum(float(value) for value in values) / len(values)


def panel_report(
    items: Sequence[PanelItem], kind: Kind, *, named: bool, bootstrap: Bootstrap = DEFAULT
) -> dict[str, Any]:
    """Figures of a panel.

    Args:
        items: all of one kind.
        kind: of their values.
        named: rater names mean the same person in every item; else raters are compared as "a person" only.
        bootstrap: resamples, level and seed; items about the same clips are drawn together.

    Returns:
        ``pairs``: for each two observers ``a, b`` and, of verdicts, ``agreement`` (share of equal ones) and ``kappa``,
        of scores ``pcc, srcc, mse``; n counts comparisons, so an item counts once for each of its raters where "a
        person" is compared, and each two of them twice where persons are. ``alpha``: Krippendorff's, of the people
        alone and with each model as one rater more.
        ``ceiling``: of verdicts, every person and model against the majority of the other people (``human_ceiling``).
        ``rows``, ``raters`` (most of one item), ``kind``.
    """
    models = list(items[0].models)
    report: dict[str, Any] = {"kind": kind, "rows": len(items), "raters": max(len(item.people) for item in items)}
    raters = sorted({name for item in items for name in item.people}) if named else []
    observers = [*models, *raters, PERSON, MAJORITY if kind == "verdicts" else MEAN]
    report["pairs"] = [
        {"a": a, "b": b, **_compared(items, a, b, kind, bootstrap)}
        for a, b in combinations(observers, 2)
        if not (a in raters and b in (PERSON, MAJORITY, MEAN)) and not (a == PERSON and b in (MAJORITY, MEAN))
    ]
    report["pairs"].append({"a": PERSON, "b": "another person", **_compared(items, PERSON, PERSON, kind, bootstrap)})
    level: Level = "nominal" if kind == "verdicts" else "interval"
    people = [list(item.people.values()) for item in items]
    report["alpha"] = {"people": krippendorff_alpha(people, level=level, bootstrap=bootstrap)} | {
        f"people and {model}": krippendorff_alpha(
            [[*given, item.models[model]] for given, item in zip(people, items, strict=True)],
            level=level,
            bootstrap=bootstrap,
        )
        for model in models
    }
    if kind == "verdicts":
        votes = [[str(value) for value in given] for given in people]
        report["ceiling"] = {PERSON: human_ceiling(votes, bootstrap=bootstrap)["human"]} | {
            model: human_ceiling(votes, [_text(item.models[model]) for item in items], bootstrap=bootstrap)["judge"]
            for model in models
        }
    return report


def _text(value: Value | None) -> str | None:
    return None if value is None else str(value)


def _said(item: PanelItem, observer: str) -> list[Value | None]:
    if observer == PERSON:
        return list(item.people.values())
    if observer in (MAJORITY, MEAN):
        return [item.together]
    return [item.models[observer] if observer in item.models else item.people.get(observer)]


def _compared(items: Sequence[PanelItem], a: str, b: str, kind: Kind, bootstrap: Bootstrap) -> dict[str, Figure]:
    """Figures of two observers; a model that gave nothing counts as unscored, a person who gave nothing as absent."""
    first: list[Any] = []
    second: list[Any] = []
    keys: list[Hashable] = []
    unscored = 0
    for item in items:
        said = _said(item, a), _said(item, b)
        # Two persons of one item have no order: both orders are counted, so that neither side is a certain one.
        pairs = (
            [(one, two) for at, one in enumerate(said[0]) for to, two in enumerate(said[1]) if at != to]
            if a == b
            else [(one, two) for one in said[0] for two in said[1]]
        )
        for one, two in pairs:
            if one is None or two is None:
                unscored += (one is None and a in item.models) or (two is None and b in item.models)
                continue
            first.append(one)
            second.append(two)
            keys.append(tuple(sorted(item.clips)) or item.row)
    clusters = keys if len(set(keys)) < len(keys) else None
    if kind == "scores":
        figures = score_figures(
            [float(value) for value in first],
            [float(value) for value in second],
            clusters=clusters,
            bootstrap=bootstrap,
        )
        return {name: _with_unscored(getattr(figures, name), unscored) for name in ("pcc", "srcc", "mse")}
    equal = [one == two for one, two in zip(first, second, strict=True)]
    return {
        "agreement": mean_figure(equal, unscored=unscored, clusters=clusters, bootstrap=bootstrap, share=True),
        "kappa": _with_unscored(
            cohen_kappa(first, second, labels=VERDICTS, clusters=clusters, bootstrap=bootstrap), unscored
        ),
    }


def _with_unscored(figure: Figure, unscored: int) -> Figure:
    return Figure(figure.value, figure.n, unscored, figure.ci, figure.reason, figure.params)


def panel_disagreements(items: Sequence[PanelItem]) -> list[dict[str, Any]]:
    """Items on which the first model differs from the people together or from another model.

    The first model's most confident come first; without confidences (scores) the greatest distance to the people's
    mean. Items that it left unscored come last. Each has ``row, id, aspect, clips, confidence``, what each model said,
    ``people`` (rater to value) and ``together``.
    """
    found = []
    for item in items:
        first, *others = item.models.values()
        together = item.together
        if (together is None or first == together) and all(other in (None, first) for other in others):
            continue
        distance = abs(first - together) if isinstance(first, float) and isinstance(together, float) else 0.0
        key = (first is None, item.confidence is None, -(item.confidence or 0.0), -distance, item.row)
        row = {
            "row": item.row,
            "id": item.id,
            "aspect": item.aspect,
            "clips": list(item.clips),
            "confidence": item.confidence,
            "models": dict(item.models),
            "people": dict(item.people),
            "together": together,
        }
        found.append((key, row))
    return [row for _, row in sorted(found, key=lambda entry: entry[0])]
