"""A check as text for people and as JSON for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from earwitness.data.check import KEPT_FINDINGS, DatasetCheck
from earwitness.data.findings import Level

BINS, BAR = 8, 24
SHOWN = 10
"""Findings of one kind that are listed for people; JSON has all that are kept."""
SHOWN_LABELS = 12


def to_json(checks: Sequence[DatasetCheck], skipped: Sequence[str], other_problems: Sequence[str]) -> dict[str, Any]:
    """Return the whole check as plain data; durations in seconds, shares in 0..1, undefined figures ``None``.

    Args:
        checks: of the datasets.
        skipped: names of entries that were not to be checked.
        other_problems: of entries of ``dataset_info.json`` that were not asked for; warnings.
    """
    datasets = [_dataset(check) for check in checks]
    return {
        "datasets": datasets,
        "skipped": list(skipped),
        "other_problems": list(other_problems),
        "errors": sum(dataset["errors"] for dataset in datasets),
        "warnings": sum(dataset["warnings"] for dataset in datasets) + len(other_problems),
    }


def _dataset(check: DatasetCheck) -> dict[str, Any]:
    first, decided = check.labels.first_wins
    counts = check.labels.counts
    clips = [clip for clip in check.clips.values() if clip.error is None]
    return {
        "name": check.name,
        "file": check.file,
        "rows": len(check.records) + len(check.preferences) + check.bad_rows,
        "bad_rows": check.bad_rows,
        "labelled": check.labels.labelled,
        "clips": len(check.clips),
        "bad_clips": len(check.clips) - len(clips),
        "distinct_sounds": len({clip.digest for clip in clips}),
        "labels": {
            aspect or "all": {str(label): count for label, count in sorted(counts[aspect].items(), key=_label_order)}
            for aspect in counts
        },
        "first_wins": {"value": first / decided if decided else None, "n": decided},
        "seconds": _distribution([clip.seconds for clip in clips]),
        "audio_tokens": _distribution(check.audio_tokens),
        "row_tokens": _distribution(check.row_tokens),
        "errors": _found(check, "error"),
        "warnings": _found(check, "warning"),
        "found": [{"level": level, "kind": kind, "count": count} for (level, kind), count in check.found.items()],
        "findings": [vars(finding) for finding in check.findings],
    }


def _found(check: DatasetCheck, level: Level) -> int:
    return sum(count for (its, _), count in check.found.items() if its == level)


def _label_order(item: tuple[str | float, int]) -> tuple[bool, float, str]:
    label = item[0]
    return (True, 0.0, label) if isinstance(label, str) else (False, label, "")


def _distribution(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    counts, edges = np.histogram(values, bins=BINS, range=(min(values), max(values)))
    return {
        "n": len(values),
        "total": float(np.sum(values)),
        "min": float(min(values)),
        "median": float(np.median(values)),
        "max": float(max(values)),
        "histogram": [
            {"from": float(low), "to": float(high), "count": int(count)}
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ],
    }


def to_text(report: dict[str, Any]) -> str:
    """Return `to_json`'s report as people read it."""
    lines: list[str] = []
    for dataset in report["datasets"]:
        lines += [*_dataset_lines(dataset), ""]
    if report["skipped"]:
        lines.append(f"not checked (no audio, or not in local files): {', '.join(report['skipped'])}")
    if report["other_problems"]:
        lines += ["warning: entries that were not asked for", *(f"  {one}" for one in report["other_problems"])]
    lines.append(f"{_plural(report['errors'], 'error')}, {_plural(report['warnings'], 'warning')}")
    return "\n".join(lines)


def _dataset_lines(dataset: dict[str, Any]) -> Iterator[str]:
    yield f"{dataset['name']}  ({dataset['file'] or 'no file'})"
    rows = f"{_plural(dataset['rows'], 'row')}, {dataset['labelled']} labelled"
    if dataset["bad_rows"]:
        rows += f", {dataset['bad_rows']} bad"
    clips = f"{_plural(dataset['clips'], 'clip')}, {dataset['distinct_sounds']} different"
    if dataset["bad_clips"]:
        clips += f", {dataset['bad_clips']} bad"
    yield f"  {rows}; {clips}"
    for aspect, counts in dataset["labels"].items():
        yield f"  labels, {aspect}: {_label_counts(counts)}"
    if dataset["first_wins"]["n"]:
        yield f"  first clip wins {dataset['first_wins']['value']:.1%} of {dataset['first_wins']['n']} decided pairs"
    for title, key, unit in (
        ("clip length", "seconds", " s"),
        ("audio tokens a row", "audio_tokens", ""),
        ("tokens a row", "row_tokens", ""),
    ):
        yield from _histogram(title, dataset[key], unit)
    for level in ("error", "warning"):
        yield from _findings(level, dataset)


def _label_counts(counts: dict[str, int]) -> str:
    total = sum(counts.values())
    shown = [f"{label} {count} ({count / total:.0%})" for label, count in list(counts.items())[:SHOWN_LABELS]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {_plural(more, 'other value')}" if more else "")


def _histogram(title: str, distribution: dict[str, Any] | None, unit: str) -> Iterator[str]:
    if distribution is None:
        return
    digits = 1 if unit else 0
    low, middle, high = (f"{distribution[key]:.{digits}f}" for key in ("min", "median", "max"))
    total = f", {distribution['total'] / 3600:.2f} h in all" if unit else ""
    yield f"  {title}: {low} to {high}{unit}, median {middle}{total}"
    most = max(bin_["count"] for bin_ in distribution["histogram"])
    for bin_ in distribution["histogram"]:
        edges = f"{bin_['from']:.{digits}f} to {bin_['to']:.{digits}f}"
        bar = "#" * -(-BAR * bin_["count"] // most)
        yield f"    {edges:>16} {bar:<{BAR}} {bin_['count']}"


def _findings(level: str, dataset: dict[str, Any]) -> Iterator[str]:
    for found in dataset["found"]:
        if found["level"] != level:
            continue
        kind, count = found["kind"], found["count"]
        shown = (one["message"] for one in dataset["findings"] if (one["level"], one["kind"]) == (level, kind))
        yield f"  {level}: {kind} ({count})"
        yield from (f"    {message}" for message in islice(shown, SHOWN))
        if count > SHOWN:
            which = "all" if count <= KEPT_FINDINGS else f"the first {KEPT_FINDINGS}"
            yield f"    and {count - SHOWN} more (--json lists {which})"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)
