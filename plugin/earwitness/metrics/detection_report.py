"""What a detector is worth: figures over all labelled clips, by group, and the points of its DET curve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from earwitness.metrics.detection import (
    SPEECHEVAL_COST,
    CostModel,
    DetectionFigures,
    det_points,
    detection_accuracy,
    detection_figures,
)
from earwitness.metrics.detection_files import Clip
from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap
from earwitness.report.tables import Column, Table, unscored_notes


def detection_report(
    clips: Sequence[Clip],
    *,
    by: Sequence[str] = (),
    cluster: str | None = None,
    cost: CostModel = SPEECHEVAL_COST,
    bootstrap: Bootstrap = DEFAULT,
) -> dict[str, Any]:
    """Figures over the labelled clips.

    Args:
        clips: as ``read_clips`` gives them; unlabelled ones are counted and left out.
        by: names of groups to break the figures down by (``language``, ``source``).
        cluster: name of a group whose clips are drawn together (``speaker``).
        cost: prior and costs of minDCF.
        bootstrap: resamples, level and seed.

    Returns:
        ``overall`` and ``by`` (group name, value): accuracy, accuracy on real and on fake clips, the figures of
        ``DetectionFigures``, counts; ``det``; ``unlabelled``; ``unscored_reasons``. A group value also holds
        ``sources``: accuracy on its fake clips by ``source``, as SpeechEval's table 14.
    """
    labelled = [clip for clip in clips if clip.label is not None]
    scored = [clip for clip in labelled if clip.score is not None]
    # 0.5 is a threshold of probabilities only.
    probabilities = all(0 <= clip.score <= 1 for clip in scored if clip.score is not None)

    def figures(subset: Sequence[Clip]) -> dict[str, Any]:
        return _figures(subset, probabilities, cluster, cost, bootstrap)

    report: dict[str, Any] = {"overall": figures(labelled), "by": {}}
    for name in by:
        values = sorted({str(clip.groups.get(name, "unknown")) for clip in labelled})
        groups = {
            value: [clip for clip in labelled if str(clip.groups.get(name, "unknown")) == value] for value in values
        }
        report["by"][name] = {
            value: figures(subset) | {"sources": _by_source(subset, probabilities, bootstrap)}
            for value, subset in groups.items()
        }
    report["det"] = det_points(*_scores(scored))
    report["rows"] = len(clips)
    report["unlabelled"] = len(clips) - len(labelled)
    report["unscored_reasons"] = dict(Counter(clip.unscored for clip in labelled if clip.unscored).most_common())
    return report


def _figures(
    clips: Sequence[Clip], probabilities: bool, cluster: str | None, cost: CostModel, bootstrap: Bootstrap
) -> dict[str, Any]:
    scored = [clip for clip in clips if clip.score is not None]
    keys = None if cluster is None else [clip.groups.get(cluster, clip.row) for clip in scored]
    scores, is_real = _scores(scored)
    rates: DetectionFigures = detection_figures(
        scores,
        is_real,
        unscored=len(clips) - len(scored),
        cost=cost,
        clusters=keys,
        bootstrap=bootstrap,
    )
    return {
        "n_real": sum(clip.label == "real" for clip in clips),
        "n_fake": sum(clip.label == "fake" for clip in clips),
        "accuracy": _accuracy(clips, probabilities, cluster, bootstrap),
        "accuracy_real": _accuracy([clip for clip in clips if clip.label == "real"], probabilities, cluster, bootstrap),
        "accuracy_fake": _accuracy([clip for clip in clips if clip.label == "fake"], probabilities, cluster, bootstrap),
        **vars(rates),
    }


def _scores(clips: Sequence[Clip]) -> tuple[list[float], list[bool]]:
    scored = [(clip.score, clip.label == "real") for clip in clips if clip.score is not None]
    return [score for score, _ in scored], [real for _, real in scored]


def _accuracy(clips: Sequence[Clip], probabilities: bool, cluster: str | None, bootstrap: Bootstrap) -> Figure:
    verdicts = [clip.verdict for clip in clips]
    if not any(verdicts) and any(clip.score is not None for clip in clips):
        if not probabilities:
            return Figure.undefined("scores are no probabilities in 0..1, so 0.5 is no threshold", len(clips))
        verdicts = [None if clip.score is None else "real" if clip.score >= 0.5 else "fake" for clip in clips]
    keys = None if cluster is None else [clip.groups.get(cluster, clip.row) for clip in clips]
    return detection_accuracy(verdicts, [str(clip.label) for clip in clips], clusters=keys, bootstrap=bootstrap)


def _by_source(clips: Sequence[Clip], probabilities: bool, bootstrap: Bootstrap) -> dict[str, Figure]:
    fake = [clip for clip in clips if clip.label == "fake" and clip.groups.get("source")]
    sources = sorted({str(clip.groups["source"]) for clip in fake})
    return {
        source: _accuracy(
            [clip for clip in fake if str(clip.groups["source"]) == source], probabilities, None, bootstrap
        )
        for source in sources
    }


def detection_table(report: dict[str, Any], title: str = "") -> Table:
    """Overall figures and, below a rule, those of every group; in the units of SpeechEval's table 6."""
    columns = [
        Column("clips"),
        Column("real"),
        Column("fake"),
        Column("unscored"),
        Column("EER(%)", 100, 3, interval=True),
        Column("tie-aware EER(%)", 100),
        Column("minDCF", 1, 3, interval=True),
        Column("ACC(%)", 100, 3, interval=True),
    ]
    named = [("overall", report["overall"])]
    named += [
        (f"{name}={value}", figures) for name, values in report["by"].items() for value, figures in values.items()
    ]
    rows = [
        [
            name,
            figures["n_real"],
            figures["n_fake"],
            figures["eer"].unscored,
            figures["eer"],
            figures["eer_linear"],
            figures["min_dcf"],
            figures["accuracy"],
        ]
        for name, figures in named
    ]
    notes = [f"{report['unlabelled']} unlabelled clips are in no figure."] if report["unlabelled"] else []
    notes += unscored_notes(report["unscored_reasons"])
    undefined = {
        f"{label}: {figures[key].reason}"
        for label, key in (("EER and minDCF", "eer"), ("ACC", "accuracy"))
        for _, figures in named[:1]
        if figures[key].reason
    }
    return Table(columns, rows, title, [*notes, *sorted(undefined)], frozenset({1}) if len(rows) > 1 else frozenset())
