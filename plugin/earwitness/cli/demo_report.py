"""Put the figures of scripts/demo.sh into one JSON file and one short table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from earwitness.errors import UserError

MEASURES = ("accuracy", "agreement")
SECTION_KEYS = ("value", "n", "unscored", "ci", "reason")


def main(argv: Sequence[str]) -> int:
    """Run ``earwitness demo-report ...``.

    Raises:
        UserError: an evaluation or a step's record is missing.
    """
    parser = argparse.ArgumentParser(
        prog="earwitness demo-report", description="Collect the figures of scripts/demo.sh, print them and write JSON."
    )
    parser.add_argument("--judge", required=True, help="evaluate_pairwise.py's JSON of the trained judge")
    parser.add_argument("--untrained", required=True, help="the same of the untrained model")
    parser.add_argument("--steps", required=True, help="folder with the record of every step")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args(argv)

    from earwitness.files import write_json

    judge, untrained = _report(options.judge), _report(options.untrained)
    metrics = {
        "overall": _measures(judge["overall"]),
        "aspects": {name: _measures(section) for name, section in judge["aspects"].items()},
        "by_gap": {name: _measures(section) for by in judge["by"].values() for name, section in by.items()},
        "untrained": _measures(untrained["overall"]),
        "chance": _measures(judge["chance"]),
        "swap_consistency": _figure(judge["swap_consistency"]),
        "position_shift": _figure(judge["position_bias"]["shift"]),
        "ece": _figure(judge["calibration"]["ece"]) if "calibration" in judge else None,
        "seconds": _seconds(Path(options.steps)),
    }
    write_json(options.out, metrics)
    print(_table(metrics))
    print(f"\nAll of it, with n and intervals: {options.out}")
    return 0


def _report(path: str) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; run evaluate_pairwise.py with --json {path} first") from None
    return report


def _figure(figure: Mapping[str, Any]) -> dict[str, Any]:
    return {key: figure[key] for key in SECTION_KEYS if key in figure}


def _measures(section: Mapping[str, Any]) -> dict[str, Any]:
    return {measure: _figure(section[measure]) for measure in MEASURES if measure in section}


def _seconds(steps: Path) -> dict[str, int]:
    """Read how long each finished step took: the last line of its record, in the order they finished."""
    records = sorted(steps.glob("*"), key=lambda path: path.stat().st_mtime_ns)
    lines = {path.name: path.read_text(encoding="utf-8").split() for path in records}
    return {name: int(words[-1]) for name, words in lines.items() if len(words) > 1}


def _table(metrics: Mapping[str, Any]) -> str:
    from earwitness.report.tables import Column, Table

    columns = [Column("aspect"), *(Column(title) for title in ("Accuracy [95%]", "Agreement [95%]", "n", "unscored"))]
    named = {
        **metrics["aspects"],
        "overall": metrics["overall"],
        **{f"  gap {name}": section for name, section in metrics["by_gap"].items()},
        "untrained model": metrics["untrained"],
        "chance": metrics["chance"],
    }
    rows = [
        [
            name,
            *(_percent(section.get(measure)) for measure in MEASURES),
            section["accuracy"].get("n"),
            section["accuracy"].get("unscored"),
        ]
        for name, section in named.items()
    ]
    trust = [
        ("swap consistency", metrics["swap_consistency"], "same verdict when A and B change places"),
        ("position shift", metrics["position_shift"], "towards the first response; 0 is none"),
        ("ECE", metrics["ece"], "expected calibration error of the label probabilities"),
    ]
    notes = [f"{name} {_percent(figure)}: {meaning}" for name, figure, meaning in trust if figure]
    seconds = ", ".join(f"{name} {value}" for name, value in metrics["seconds"].items())
    notes.append(f"seconds: {seconds}; {sum(metrics['seconds'].values())} in all")
    return Table(columns, rows, notes=["", *notes], rules=frozenset({len(metrics["aspects"])})).text()


def _percent(figure: Mapping[str, Any] | None) -> str | None:
    if figure is None or figure["value"] is None:
        return None
    text = f"{100 * figure['value']:.1f}"
    if figure.get("ci"):
        low, high = figure["ci"]
        text += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return text


if __name__ == "__main__":
    from earwitness.cli import run

    sys.exit(run(main))
