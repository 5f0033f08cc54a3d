"""Rate the sound of clips: mos, noi, col, dis, loud on 1 to 5, and the measurements behind them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError

if TYPE_CHECKING:
    from earwitness.analysis.run import Rated

DESCRIPTION = """\
Rate clips from 1 (worst) to 5: mos (overall), and freedom from noise (noi), coloration (col), discontinuity (dis) and
too low a level (loud), as `earwitness caption` and ALLD read them.

FILE is an audio file, a folder (every audio file below it), or a manifest with a column audio, or audio_a and audio_b
(.json, .jsonl, .csv, .tsv, .parquet; paths relative to it).

engine signal: voice activity, noise floor, SNR, bandwidth, clipping, gaps and BS.1770 loudness, turned into ratings by
  weights that were fitted on synthetic degradations (docs/analysis.md has the figures). No listener was asked.
engine nisqa: NISQA v2.0, trained on listeners' opinions; needs the extra earwitness[nisqa] and its weights.

  earwitness analyze clips/ --out clips.jsonl
  earwitness caption --manifest clips.jsonl --output corpus --base-url URL --model NAME

Exit status: 0 all rated, 1 some clips could not be rated (listed on standard error), 2 wrong input.
"""
_MEASURED = {
    "seconds": "s",
    "loudness_lufs": "LUFS",
    "noise_floor_dbfs": "floor dBFS",
    "snr_db": "SNR dB",
    "low_hz": "from Hz",
    "high_hz": "to Hz",
    "clipped_share": "clipped",
    "gaps": "gaps",
    "missing_share": "missing",
}
"""Measurements of the table and their headings; ``--json`` has them all."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="earwitness analyze",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument("files", nargs="+", metavar="FILE")
    options.add_argument("--engine", choices=("signal", "nisqa"), default="signal", help="what rates (signal)")
    options.add_argument(
        "--weights",
        metavar="FILE",
        help="of nisqa: nisqa.tar, or owner/repository/file on the Hugging Face hub (torchmetrics' own copy)",
    )
    options.add_argument("--media-dir", metavar="DIR", help="where relative paths of manifests start (beside each)")
    options.add_argument("--out", metavar="FILE", help="write the rows there: .jsonl")
    options.add_argument("--json", action="store_true", help="print JSON instead of a table, one line a clip")
    options.add_argument("--jobs", type=int, metavar="N", help="processes (signal: all processors; nisqa: 1)")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input, or the engine lacks its package or weights.
    """
    arguments = parser().parse_args(argv)
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UserError(f"--jobs {arguments.jobs}: must be 1 or more")
    if arguments.weights and arguments.engine != "nisqa":
        raise UserError("--weights goes with --engine nisqa; those of the signal engine are part of the package")
    if arguments.out and not arguments.out.endswith(".jsonl"):
        raise UserError(f"--out {arguments.out}: must end in .jsonl")

    from earwitness.analysis.run import find_clips, rate_clips

    sources = find_clips(arguments.files, arguments.media_dir)
    jobs = arguments.jobs or (1 if arguments.engine == "nisqa" else os.cpu_count() or 1)
    rated = _shown(rate_clips(sources, arguments.engine, arguments.weights, min(jobs, len(sources))), len(sources))
    rows = [one.row for one in rated if one.row is not None]
    if arguments.out:
        from earwitness.files import write_jsonl

        write_jsonl(arguments.out, rows)
    if arguments.json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False, allow_nan=False), flush=True)
    else:
        print(_table(rows))
    failed = [one for one in rated if one.row is None]
    for one in failed:
        print(f"error: {one.error}", file=sys.stderr)
    return 1 if failed else 0


def _shown(rated: Iterator[Rated], count: int) -> list[Rated]:
    """Everything, with a bar on a terminal."""
    from tqdm import tqdm

    return list(tqdm(rated, total=count, unit="clip", desc="analyze", disable=count < 2 or not sys.stderr.isatty()))


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Ratings and, of the signal engine, what people look at first."""
    from earwitness.analysis.ratings import DIMENSIONS
    from earwitness.report.tables import Column, Table

    measured = [name for name in _MEASURED if any(name in row["measurements"] for row in rows)]
    columns = [Column("clip"), *map(Column, DIMENSIONS), *(Column(_MEASURED[name]) for name in measured)]
    cells = [
        [
            row["audio"],
            *(f"{row[name]:.2f}" for name in DIMENSIONS),
            *(None if (value := row["measurements"].get(name)) is None else f"{value:g}" for name in measured),
        ]
        for row in rows
    ]
    notes = [f"{row['audio']}: {row['note']}" for row in rows if row["note"]]
    return Table(columns, cells, notes=notes).text()
