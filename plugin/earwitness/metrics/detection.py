"""Detection of synthetic speech: equal error rate, minimum detection cost, accuracy and the points of a DET curve.

"real" is the target: a higher score means more real, and a clip is rejected (called fake) at threshold t when its score
is at most t. FRR(t) is the share of real clips rejected, FAR(t) the share of fake clips accepted.

References: SpeechLLM-as-Judges (Wang et al. 2025), Appendix C.3, tables 6 and 14, and its scoring script, whose
EER walks through tied scores row by row; A. Martin et al., The DET curve, 1997.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap, Floats, Ints, percentile_interval, replicate_weights
from earwitness.metrics.means import mean_figure


@dataclass(frozen=True)
class CostModel:
    """Prior of a fake clip and the costs of both errors; the defaults are SpeechEval's (and ASVspoof 5's)."""

    p_spoof: float = 0.05
    c_miss: float = 1.0
    c_fa: float = 10.0

    @property
    def weights(self) -> tuple[float, float]:
        """Factors of FRR and FAR in the normalised cost; 1.9 and 1 for the defaults."""
        miss, false_alarm = self.c_miss * (1 - self.p_spoof), self.c_fa * self.p_spoof
        best_blind = min(miss, false_alarm)
        return miss / best_blind, false_alarm / best_blind


SPEECHEVAL_COST = CostModel()


@dataclass(frozen=True)
class DetectionFigures:
    """Figures of one set of clips, as fractions.

    Attributes:
        eer: equal error rate in the reference's definition: (FRR + FAR) / 2 at the first point that brings them
            closest, tied scores stepped over one by one, real ones first.
        eer_discrete: the same rule on the points that a threshold can reach.
        eer_linear: where the straight line between the two neighbouring points crosses FRR = FAR.
        eer_hull: where the ROC convex hull crosses it.
        min_dcf: least normalised detection cost over all thresholds, at most 1.
        auc: area under the ROC curve, ties counting half.
        eer_threshold: threshold of ``eer``.
        min_dcf_threshold: threshold of ``min_dcf``.
    """

    eer: Figure
    eer_discrete: Figure
    eer_linear: Figure
    eer_hull: Figure
    min_dcf: Figure
    auc: Figure
    eer_threshold: float | None = None
    min_dcf_threshold: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The figures by name, and the two thresholds."""
        return {name: item.to_json() if isinstance(item, Figure) else item for name, item in vars(self).items()}


def detection_figures(
    scores: ArrayLike,
    is_real: Sequence[bool],
    *,
    unscored: int = 0,
    cost: CostModel = SPEECHEVAL_COST,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> DetectionFigures:
    """EER in four definitions, minDCF and AUC.

    Args:
        scores: (rows,) finite numbers on any scale, higher = more real.
        is_real: (rows,) whether the clip is real speech.
        unscored: rows that have no score, recorded in each figure.
        cost: prior and costs of minDCF.
        clusters: one key a row; rows with equal keys are drawn together.
        bootstrap: resamples, level and seed. ``eer``, ``eer_linear`` and ``min_dcf`` get intervals.

    Returns:
        Figures; all undefined where there is no real or no fake clip.

    Raises:
        ValueError: lengths differ, or a score is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    real = np.asarray(is_real, dtype=bool)
    if values.shape != real.shape or not np.isfinite(values).all():
        raise ValueError("scores must be finite and as many as labels")
    if not real.any() or real.all():
        absent = "real" if not real.any() else "fake"
        nothing = Figure.undefined(
            f"no {absent} clip has a score" if len(values) else "no scored rows", len(values), unscored
        )
        return DetectionFigures(nothing, nothing, nothing, nothing, nothing, nothing)
    steps = _Steps.of(values, real)
    runs = steps.runs()
    far, frr = steps.reachable()
    eer, eer_threshold = steps.eer_by_rows()
    min_dcf, min_dcf_threshold = steps.least_cost(cost)
    results = {
        "eer": eer,
        "eer_discrete": _eer_discrete(far, frr),
        "eer_linear": runs.resampled(runs.counts, cost)[1],
        "eer_hull": _eer_hull(far, frr),
        "min_dcf": min_dcf,
        "auc": float(np.trapezoid(1 - frr[::-1], far[::-1])),
    }
    figures = {name: Figure(value, len(values), unscored) for name, value in results.items()}
    if bootstrap.resamples:
        chunks = replicate_weights(len(values), groups=runs.group, clusters=clusters, bootstrap=bootstrap)
        drawn = np.array([runs.resampled(weights, cost) for chunk in chunks for weights in chunk])
        params = bootstrap.params(None if clusters is None else len(set(clusters)))
        for name, column in zip(("eer", "eer_linear", "min_dcf"), drawn.T, strict=True):
            ci = percentile_interval(column, bootstrap.level)
            figures[name] = Figure(results[name], len(values), unscored, ci, params=params)
    figures["min_dcf"] = figures["min_dcf"].with_params(**vars(cost))
    return DetectionFigures(**figures, eer_threshold=eer_threshold, min_dcf_threshold=min_dcf_threshold)


def detection_accuracy(
    verdicts: Sequence[str | None],
    labels: Sequence[str],
    *,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> Figure:
    """Share of right verdicts "real" or "fake"; an unscored row counts as wrong (Appendix C.3: ACC covers all rows)."""
    right = [verdict == label for verdict, label in zip(verdicts, labels, strict=True)]
    unscored = sum(verdict is None for verdict in verdicts)
    return mean_figure(right, unscored=unscored, clusters=clusters, bootstrap=bootstrap, share=True)


def det_points(scores: ArrayLike, is_real: Sequence[bool], points: int = 200) -> list[dict[str, float | None]]:
    """The (FAR, FRR) points that a threshold can reach, thinned to about ``points``; the first accepts everything.

    Each is ``{"threshold", "far", "frr"}``; the threshold of the first is ``None`` (minus infinity). Empty where there
    is no real or no fake clip.
    """
    values, real = np.asarray(scores, dtype=np.float64), np.asarray(is_real, dtype=bool)
    if not real.any() or real.all():
        return []
    steps = _Steps.of(values, real)
    far, frr = steps.reachable()
    thresholds = [None, *steps.scores[steps.last].tolist()]
    chosen = np.unique(np.linspace(0, len(far) - 1, min(points, len(far))).round().astype(int))
    return [{"threshold": thresholds[at], "far": float(far[at]), "frr": float(frr[at])} for at in chosen]


@dataclass(frozen=True)
class _Steps:
    """Rows by ascending score, real before fake where scores tie; like rows (same score and label) are one step.

    Attributes:
        group: (rows,) the step of each row.
        counts: (steps,) rows of each step.
        scores: (steps,) their score.
        real: (steps,) 1 for real, 0 for fake.
        last: index of the last step of each distinct score.
    """

    group: Ints
    counts: Floats
    scores: Floats
    real: Floats
    last: Ints

    @classmethod
    def of(cls, scores: Floats, real: NDArray[np.bool_]) -> _Steps:
        keys, group, counts = np.unique(
            np.stack([scores, ~real], axis=1), axis=0, return_inverse=True, return_counts=True
        )
        last = np.append(np.flatnonzero(np.diff(keys[:, 0])), len(keys) - 1)
        return cls(group.reshape(-1), counts.astype(np.float64), keys[:, 0], 1.0 - keys[:, 1], last)

    def reachable(self) -> tuple[Floats, Floats]:
        """FAR and FRR of the sample at the thresholds that can be set, from minus infinity on."""
        rejected_real = np.append(0.0, np.cumsum(self.counts * self.real)[self.last])
        rejected_fake = np.append(0.0, np.cumsum(self.counts * (1 - self.real))[self.last])
        return 1 - rejected_fake / rejected_fake[-1], rejected_real / rejected_real[-1]

    def eer_by_rows(self) -> tuple[float, float | None]:
        """EER in the reference's definition and its threshold, ``None`` where everything is accepted."""
        real = np.repeat(self.real, self.counts.astype(np.int64))
        frr = np.append(0.0, np.cumsum(real) / real.sum())
        far = 1 - np.append(0.0, np.cumsum(1 - real) / (1 - real).sum())
        at = _first_minimum(np.abs(frr - far))
        scores = np.repeat(self.scores, self.counts.astype(np.int64))
        return float((frr[at] + far[at]) / 2), None if at == 0 else float(scores[at - 1])

    def least_cost(self, cost: CostModel) -> tuple[float, float | None]:
        """Least cost (minDCF) and its threshold, ``None`` where everything is accepted."""
        far, frr = self.reachable()
        miss, false_alarm = cost.weights
        costs = miss * frr + false_alarm * far
        at = _first_minimum(costs)
        return float(costs[at]), None if at == 0 else float(self.scores[self.last[at - 1]])

    def runs(self) -> _Runs:
        """Steps that need not be told apart in resamples, put together."""
        starts = np.append(0, self.last[:-1] + 1)
        mixed_block = self.last > starts  # a score that both real and fake clips have
        block = np.repeat(np.arange(len(self.last)), self.last - starts + 1)
        mixed = mixed_block[block]
        fresh = np.append(True, (np.diff(self.real) != 0) | mixed[1:] | mixed[:-1])
        run = np.cumsum(fresh) - 1
        real = self.real[fresh]
        first = np.arange(len(real))
        ends = first.copy()
        pairs = run[starts[mixed_block]]
        first[pairs + 1], ends[pairs] = pairs, pairs + 1
        return _Runs(run[self.group], np.bincount(run, weights=self.counts).astype(np.float64), real, first, ends)


@dataclass(frozen=True)
class _Runs:
    """Neighbouring scores of one class: what a resample does to EER and minDCF depends on their sum alone.

    Between two scores of one class the cost is monotone, and the line to the next point of the curve is level or
    upright, so that neither the least cost nor the crossing with FRR = FAR moves with the place of the step. Scores
    that both classes have keep their two steps.

    Attributes:
        group: (rows,) the run of each row.
        counts: (runs,) rows of each run.
        real: (runs,) 1 for real, 0 for fake.
        first: (runs,) the first run of its threshold: the run before where both have one score, else itself.
        last: (runs,) likewise the last.
    """

    group: Ints
    counts: Floats
    real: Floats
    first: Ints
    last: Ints

    def resampled(self, weights: Floats, cost: CostModel) -> tuple[float, float, float]:
        """EER by rows, linear EER and minDCF of one resample, given how often each run was drawn.

        NaN in a resample of one class.
        """
        every = np.cumsum(weights)
        rejected_real = np.cumsum(weights * self.real)
        n_real = float(rejected_real[-1])
        n_fake = float(every[-1]) - n_real
        if not n_real or not n_fake:
            return (np.nan,) * 3

        def rates(runs: int) -> tuple[float, float]:
            real = float(rejected_real[runs - 1]) if runs else 0.0
            fake = float(every[runs - 1]) - real if runs else 0.0
            return 1 - fake / n_fake, real / n_real

        def surplus(run: int) -> float:
            far, frr = rates(run + 1)
            return frr - far

        miss, false_alarm = cost.weights
        saved = every * (false_alarm / n_fake) - rejected_real * (false_alarm / n_fake + miss / n_real)
        min_dcf = false_alarm - max(0.0, float(saved.max()))
        at = bisect_left(range(len(every)), -1e-12, key=surplus)
        far, frr = rates(at)
        # Inside the run that crosses, one class is rejected row by row: the points around the crossing are whole rows.
        is_real, size = self.real[at], float(weights[at])
        rows = (far - frr) * (n_real if is_real else n_fake)
        nearest = []
        for taken in (np.floor(rows + 1e-9), np.floor(rows + 1e-9) + 1):
            moved = min(taken, size)
            nearest.append((far, frr + moved / n_real) if is_real else (far - moved / n_fake, frr))
        by_rows = max(0.0, sum(min(nearest, key=lambda point: round(abs(point[0] - point[1]), 12))) / 2)

        far_0, frr_0 = rates(int(self.first[at]))
        far_1, frr_1 = rates(int(self.last[at]) + 1)
        before, after = far_0 - frr_0, frr_1 - far_1
        linear = frr_0 + before / (before + after) * (frr_1 - frr_0)
        return by_rows, linear, min_dcf


def _first_minimum(values: Floats) -> int:
    """Index of the first least value; differences in the last digits are none."""
    return int(np.argmin(np.round(values, 12)))


def _eer_discrete(far: Floats, frr: Floats) -> float:
    at = _first_minimum(np.abs(frr - far))
    return float((far[at] + frr[at]) / 2)


def _eer_hull(far: Floats, frr: Floats) -> float:
    """Where the lower convex hull of the points (FAR, FRR), from (0, 1) to (1, 0), crosses the diagonal."""
    hull: list[tuple[float, float]] = []
    for point in sorted(zip(far.tolist(), frr.tolist(), strict=True)):
        while len(hull) > 1 and _turn(hull[-2], hull[-1], point) <= 0:
            hull.pop()
        hull.append(point)
    after = next(index for index, (x, y) in enumerate(hull) if y <= x)
    (x_0, y_0), (x_1, y_1) = hull[max(after - 1, 0)], hull[after]
    drop, rise = y_0 - x_0, x_1 - y_1
    return x_0 + (drop / (drop + rise) * (x_1 - x_0) if drop + rise else 0.0)


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
