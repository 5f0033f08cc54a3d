"""Everything that is known about a pairwise judge once its verdicts are joined with the references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from earwitness.errors import UserError, shorten
from earwitness.metrics.agreement import cohen_kappa, human_ceiling, krippendorff_alpha
from earwitness.metrics.breakdown import Breakdown, check_column
from earwitness.metrics.calibration import confidence_figures
from earwitness.metrics.duels import mcnemar, paired_difference
from earwitness.metrics.intervals import DEFAULT, Bootstrap
from earwitness.metrics.joining import Joined, Judgement
from earwitness.metrics.order import first_share, position_bias, swap_consistency
from earwitness.metrics.pairwise_files import Reference
from earwitness.metrics.ranking import Match, Ranking, rank_systems
from earwitness.metrics.sagelm_columns import acoustic_columns
from earwitness.metrics.scores import score_figures
from earwitness.metrics.verdicts import MIRRORED, VERDICTS, chance_figures, confusion, row_gains, verdict_figures

NO_ASPECT = "(no aspect)"
NO_BOOTSTRAP = Bootstrap(resamples=0)


@dataclass(frozen=True)
class PairwiseOptions:
    """What to report.

    Attributes:
        cluster: what is drawn together in resamples: "pair" for judgements of the same two clips, "row" for single
            references, or the name of a column of the references.
        by: breakdowns beside the aspects.
        raters: column of the references with the verdicts of single raters, a list.
        systems: columns of the references that name the systems of A and B, to rank them.
        bootstrap: resamples, level and seed.
    """

    cluster: str = "pair"
    by: Sequence[Breakdown] = ()
    raters: str | None = None
    systems: tuple[str, str] | None = None
    bootstrap: Bootstrap = DEFAULT


def pairwise_report(joined: Joined, options: PairwiseOptions | None = None) -> dict[str, Any]:
    """Figures of a joined run.

    Returns:
        ``overall``, ``aspects`` and, where the data has them, ``splits`` (the columns of SageLM's acoustic tables),
        ``orders``, ``by``: each ``accuracy``, ``agreement``, ``accuracy_scored``, ``agreement_scored``, ``coverage``;
        ``overall`` also ``kappa`` and ``confusion``. Then ``swap_consistency`` (both orders judged), ``position_bias``,
        ``calibration`` and ``risk_coverage`` (probabilities), ``raters``, ``ranking`` (of the systems), ``chance``,
        ``join``, ``rows`` (judgements), ``references``, ``unscored_reasons``.

    Raises:
        UserError: a column that the options name is in no row, or holds no verdicts.
    """
    return _Report(joined, options or PairwiseOptions()).build()


class _Report:
    """One report under way."""

    def __init__(self, joined: Joined, options: PairwiseOptions) -> None:
        self.joined, self.options, self.bootstrap = joined, options, options.bootstrap
        self.all = list(joined.judgements)
        if options.cluster not in ("pair", "row"):
            check_column("--cluster", options.cluster, [judgement.reference.meta for judgement in self.all])
        self.both = len({judgement.prediction.order for judgement in self.all}) == 2 and len(self.all) > len(
            {id(judgement.reference) for judgement in self.all}
        )

    def build(self) -> dict[str, Any]:
        kappa = cohen_kappa(
            [judgement.reference.verdict for judgement in self.all],
            [judgement.prediction.verdict for judgement in self.all],
            labels=VERDICTS,
            clusters=self.clusters(self.all),
            bootstrap=self.bootstrap,
        )
        table = confusion(*_verdicts(self.all))
        report: dict[str, Any] = {"overall": self.section(self.all) | {"kappa": kappa, "confusion": table}}
        report["aspects"] = self.grouped(lambda judgement: judgement.reference.aspect or NO_ASPECT)
        splits: dict[str, list[Judgement]] = {}
        for judgement in self.all:
            for name in acoustic_columns(judgement.reference):
                splits.setdefault(name, []).append(judgement)
        if splits:
            report["splits"] = {name: self.section(group) for name, group in sorted(splits.items())}
        if self.both:
            report["orders"] = self.grouped(lambda judgement: judgement.prediction.order)
            report["swap_consistency"] = self.swaps()
        report["position_bias"] = self.bias()
        report |= self.confidence()
        report["by"] = {breakdown.title: self.broken_down(breakdown) for breakdown in self.options.by}
        if self.options.raters is not None:
            report["raters"] = self.raters(self.options.raters)
        if self.options.systems is not None:
            report["ranking"] = self.rankings(*self.options.systems)
        reasons = Counter(judgement.prediction.unscored for judgement in self.all if judgement.prediction.unscored)
        report |= {
            "chance": chance_figures([judgement.reference.verdict for judgement in self.all]),
            "rows": len(self.all),
            "references": len({id(judgement.reference) for judgement in self.all}),
            "unscored_reasons": dict(reasons.most_common()),
            "join": {
                "method": self.joined.method,
                "missing": list(self.joined.missing),
                "notes": list(self.joined.notes),
            },
        }
        return report

    def section(self, judgements: Sequence[Judgement]) -> dict[str, Any]:
        figures = verdict_figures(*_verdicts(judgements), clusters=self.clusters(judgements), bootstrap=self.bootstrap)
        return dict(vars(figures))

    def grouped(self, key: Callable[[Judgement], str]) -> dict[str, dict[str, Any]]:
        groups: dict[str, list[Judgement]] = {}
        for judgement in self.all:
            groups.setdefault(key(judgement), []).append(judgement)
        return {name: self.section(group) for name, group in groups.items()}

    def clusters(self, judgements: Sequence[Judgement]) -> list[Hashable] | None:
        """One key a judgement; ``None`` where every key is different, so that rows are drawn singly."""
        keys = [self.cluster_of(judgement) for judgement in judgements]
        return keys if len(set(keys)) < len(keys) else None

    def cluster_of(self, judgement: Judgement) -> Hashable:
        name, reference = self.options.cluster, judgement.reference
        clips = reference.clips or judgement.prediction.clips
        if name == "pair" and clips:
            return tuple(sorted(clips))
        if name in ("pair", "row"):
            return reference.row
        return str(reference.meta.get(name))

    def swaps(self) -> Any:
        pairs = self.pairs()
        return swap_consistency(
            [straight.prediction.verdict for straight, _ in pairs],
            [swapped.prediction.verdict for _, swapped in pairs],
            clusters=self.clusters([straight for straight, _ in pairs]),
            bootstrap=self.bootstrap,
        )

    def pairs(self) -> list[tuple[Judgement, Judgement]]:
        """The two judgements of every reference that was shown in both orders."""
        found: dict[int, dict[str, Judgement]] = {}
        for judgement in self.all:
            found.setdefault(id(judgement.reference), {})[judgement.prediction.order] = judgement
        return [(orders["ab"], orders["ba"]) for orders in found.values() if len(orders) == 2]

    def bias(self) -> dict[str, Any]:
        fair: list[str | None]
        if self.both:
            pairs = self.pairs()
            rows = [straight for straight, _ in pairs]
            fair = [swapped.prediction.verdict for _, swapped in pairs]
        else:
            rows = self.all
            fair = [
                row.reference.verdict if row.prediction.order == "ab" else MIRRORED[row.reference.verdict]
                for row in rows
            ]
        shown = [row.prediction.shown for row in rows]
        bias = position_bias(shown, fair, clusters=self.clusters(rows), bootstrap=self.bootstrap)
        share = first_share([row.prediction.shown for row in self.all], level=self.bootstrap.level)
        return {"compared_with": "the other order" if self.both else "the references", "first_share": share, **bias}

    def confidence(self) -> dict[str, Any]:
        """Calibration and risk-coverage over the scored rows, where probabilities were written."""
        scored = [row for row in self.all if row.prediction.verdict is not None]
        if not any(row.prediction.probabilities for row in scored):
            return {}
        confidences = [(row.prediction.probabilities or {}).get(str(row.prediction.verdict)) for row in scored]
        correct = [row.prediction.verdict == row.reference.verdict for row in scored]
        clusters = self.clusters(scored)
        found = confidence_figures(confidences, correct, clusters=clusters, bootstrap=self.bootstrap)
        return {
            "calibration": {"ece": found.ece, "curve": found.reliability},
            "risk_coverage": {"area": found.aurc, "curve": found.risk_coverage},
        }

    def broken_down(self, breakdown: Breakdown) -> dict[str, dict[str, Any]]:
        groups = breakdown.groups([judgement.reference.meta for judgement in self.all])
        return {name: self.section([self.all[at] for at in rows]) for name, rows in groups.items()}

    def raters(self, column: str) -> dict[str, Any]:
        check_column("--raters", column, [judgement.reference.meta for judgement in self.all])
        given = [_ratings(judgement.reference, column) for judgement in self.all]
        verdicts = [judgement.prediction.verdict for judgement in self.all]
        result: dict[str, Any] = human_ceiling(given, verdicts, bootstrap=self.bootstrap)
        # Each reference once: judging in two orders adds no ratings.
        once = list({id(judgement.reference): _ratings(judgement.reference, column) for judgement in self.all}.values())
        return result | {"alpha": krippendorff_alpha(once, bootstrap=self.bootstrap)}

    def rankings(self, column_a: str, column_b: str) -> dict[str, Any]:
        """The systems as the judge and as people rank them, and the rank correlation of the two sides' win rates."""
        for column in (column_a, column_b):
            check_column("--systems", column, [judgement.reference.meta for judgement in self.all])
            for judgement in self.all:
                if judgement.reference.meta.get(column) is None:
                    raise UserError(f"--systems: reference row {judgement.reference.row} has no {column!r}")

        def ranked(rows: Sequence[Judgement], verdicts: Sequence[str | None]) -> Ranking:
            scored = [(row, verdict) for row, verdict in zip(rows, verdicts, strict=True) if verdict is not None]
            matches = [
                Match(str(row.reference.meta[column_a]), str(row.reference.meta[column_b]), verdict)
                for row, verdict in scored
            ]
            clusters = self.clusters([row for row, _ in scored])
            return rank_systems(matches, unscored=len(rows) - len(scored), clusters=clusters, bootstrap=self.bootstrap)

        once = list({id(judgement.reference): judgement for judgement in self.all}.values())
        judge = ranked(self.all, [judgement.prediction.verdict for judgement in self.all])
        people = ranked(once, [judgement.reference.verdict for judgement in once])
        rates = {standing.system: standing.win_rate.value for standing in judge.standings}
        pairs = [(standing.win_rate.value, rates.get(standing.system)) for standing in people.standings]
        agreement = score_figures(
            [float(one or 0) for one, _ in pairs], [other for _, other in pairs], bootstrap=NO_BOOTSTRAP
        )
        return {"judge": judge, "people": people, "srcc": agreement.srcc, "ktau": agreement.ktau}


def _verdicts(judgements: Sequence[Judgement]) -> tuple[list[str], list[str | None]]:
    return (
        [judgement.reference.verdict for judgement in judgements],
        [judgement.prediction.verdict for judgement in judgements],
    )


def _ratings(reference: Reference, column: str) -> list[str | None]:
    values = reference.meta.get(column)
    if values is None:
        return []
    if not isinstance(values, list):
        raise UserError(
            f"reference row {reference.row}: {column!r} must hold a list, but holds {shorten(repr(values))}"
        )
    ratings: list[str | None] = []
    for value in values:
        verdict = None if value is None else reference.judge.canonical(value)
        if value is not None and verdict is None:
            raise UserError(
                f"reference row {reference.row}: rating {shorten(repr(value))} in {column!r} is not in the menu; "
                f"allowed: {reference.judge.allowed_values()}, null"
            )
        ratings.append(verdict)
    return ratings


def disagreements(joined: Joined) -> list[dict[str, Any]]:
    """Judgements that differ from their reference, the judge's most confident first, unscored ones last.

    Each has ``row, id, order, aspect, clips, reference, verdict, confidence, unscored``; confidence is the probability
    of the verdict, ``None`` without.
    """
    rows = [
        {
            "row": judgement.reference.row,
            "id": judgement.reference.id,
            "order": judgement.prediction.order,
            "aspect": judgement.reference.aspect,
            "clips": list(judgement.reference.clips or judgement.prediction.clips),
            "reference": judgement.reference.verdict,
            "verdict": judgement.prediction.verdict,
            "confidence": (judgement.prediction.probabilities or {}).get(judgement.prediction.verdict or ""),
            "unscored": judgement.prediction.unscored,
        }
        for judgement in joined.judgements
        if judgement.prediction.verdict != judgement.reference.verdict
    ]
    return sorted(rows, key=lambda row: (row["verdict"] is None, -(row["confidence"] or 0.0)))


def duel(joined: Joined, other: Joined, options: PairwiseOptions | None = None) -> dict[str, Any]:
    """Two judges on the rows that both were shown, in the same order of clips.

    Returns:
        ``accuracy`` and ``agreement``: first minus second with paired intervals; ``mcnemar``; ``rows``.

    Raises:
        UserError: they have no row in common.
    """
    report = _Report(joined, options or PairwiseOptions())
    theirs = {(row.reference.row, row.prediction.order): row for row in other.judgements}
    pairs = [(row, theirs[key]) for row in report.all if (key := (row.reference.row, row.prediction.order)) in theirs]
    if not pairs:
        raise UserError("the two runs have no pair and order in common; judge the same references in the same orders")
    ours = [row for row, _ in pairs]
    gains = row_gains(*_verdicts(ours)), row_gains(*_verdicts([row for _, row in pairs]))
    clusters = report.clusters(ours)
    differences = [
        paired_difference(mine, yours, clusters=clusters, bootstrap=report.bootstrap)
        for mine, yours in zip(*gains, strict=True)
    ]
    return {
        "accuracy": differences[0],
        "agreement": differences[1],
        "mcnemar": mcnemar((gains[0][0] == 1).tolist(), (gains[1][0] == 1).tolist()),
        "rows": len(pairs),
    }
