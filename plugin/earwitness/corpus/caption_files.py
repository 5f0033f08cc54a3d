"""Files of ``earwitness caption``: the seed's for two clips, training sets for a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from earwitness.corpus.caption import SPEECH_A, Caption, Clip, Comparison, Description, Pair, Ratings
from earwitness.errors import UserError
from earwitness.files import atomic_write, read_rows, write_json, write_jsonl
from earwitness.llm.chat import Failure

FACTORS = ("mos", "noi", "col", "dis", "loud")
MOS_SET, AB_SET = "alld_mos", "alld_ab"

Failures = list[dict[str, str]]
"""What could not be written: ``id``, ``what``, ``kind``, ``message``."""


def read_metrics(path: str | Path) -> Ratings:
    """The ratings of one clip from a JSON object ``{"mos", "noi", "col", "dis", "loud"}``.

    Raises:
        UserError: no such file, broken JSON, a rating missing or outside 1 to 5.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise UserError(f"{path}: broken JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold one object with {', '.join(FACTORS)}")
    return Ratings.from_mapping(values, str(path))


def read_manifest(path: str | Path, columns: Mapping[str, str]) -> list[Clip]:
    """The clips of a manifest: one row a clip, with ``audio``, the five factors and, if wanted, ``id``.

    Args:
        path: JSON, JSONL, CSV, TSV or Parquet.
        columns: our name to the file's, for those that differ.

    Raises:
        UserError: a column or value is missing or wrong, an id or a clip without id occurs twice; names the row.
    """
    clips: dict[str, Clip] = {}
    for number, row in enumerate(read_rows(path), 1):
        where = f"{path}, row {number}"
        named = {name: row.get(columns.get(name, name)) for name in ("id", "audio", *FACTORS)}
        if not named["audio"]:
            raise UserError(f"{where}: no '{columns.get('audio', 'audio')}'; its columns: {', '.join(row)}")
        clip = Clip(str(named["id"] or named["audio"]), str(named["audio"]), Ratings.from_mapping(named, where))
        if clip.id in clips:
            raise UserError(f"{where}: id '{clip.id}' occurs twice; ids must differ")
        clips[clip.id] = clip
    if not clips:
        raise UserError(f"{path}: holds no rows")
    return list(clips.values())


def read_pairs(path: str | Path, clips: Sequence[Clip]) -> list[Pair]:
    """The pairs to compare: rows with ``audio_a``, ``audio_b`` (paths or ids of the manifest) and, if wanted, ``id``.

    Raises:
        UserError: a clip that the manifest lacks, twice the same clip, equal mos, a repeated id; names the row.
    """
    known = {clip.audio: clip for clip in clips} | {clip.id: clip for clip in clips}
    pairs: dict[str, Pair] = {}
    for number, row in enumerate(read_rows(path), 1):
        where = f"{path}, row {number}"
        names = [str(row.get("audio_a") or ""), str(row.get("audio_b") or "")]
        for column, name in zip(("audio_a", "audio_b"), names, strict=True):
            if name not in known:
                raise UserError(f"{where}: {column} '{name}' is no clip of the manifest (neither its audio nor its id)")
        a, b = known[names[0]], known[names[1]]
        pair = Pair(str(row.get("id") or f"{a.id}|{b.id}"), a, b)
        if pair.winner is None:
            raise UserError(f"{where}: both clips have mos {a.ratings.mos:g}; the A/B prompt needs a winner")
        if pair.id in pairs:
            raise UserError(f"{where}: id '{pair.id}' occurs twice; ids must differ")
        pairs[pair.id] = pair
    return list(pairs.values())


def write_two(
    folder: str | Path, clips: Sequence[Clip], descriptions: Sequence[Description], comparison: Comparison | None
) -> Failures:
    """Write the seed's files: metrics, two descriptions of each clip, and the A/B test unless it was skipped.

    A text that failed is not written, and a file of it from an earlier run is removed.

    Returns: the failures.
    """
    folder = Path(folder)
    failures: Failures = []
    for number, (clip, description) in enumerate(zip(clips, descriptions, strict=True), 1):
        write_json(folder / f"audio{number}_metrics.json", asdict(clip.ratings))
        failures += _write_text(folder / f"audio{number}_mos.txt", description.first)
        failures += _write_text(folder / f"audio{number}_mos_diverse.txt", description.diverse)
    if comparison is not None:
        failures += _write_text(folder / "ab_test.txt", comparison.analysis)
        failures += _write_text(folder / "ab_test_summary.txt", comparison.summary)
    return failures


def _write_text(path: Path, caption: Caption) -> Failures:
    if isinstance(caption, Failure):
        path.unlink(missing_ok=True)
        return [{"id": path.stem, "what": path.name, "kind": caption.kind, "message": caption.message}]
    with atomic_write(path) as file:
        file.write(caption + "\n")
    return []


def write_sets(
    folder: str | Path,
    clips: Sequence[Clip],
    descriptions: Sequence[Description],
    pairs: Sequence[Pair],
    comparisons: Sequence[Comparison],
) -> Failures:
    """Write training sets that ``dataset_dir: folder`` can name: ``alld_mos`` and, with pairs, ``alld_ab``.

    ``alld_mos.jsonl`` has two rows a clip (ids ``<id>#1`` and ``<id>#2``), ``alld_ab.jsonl`` one a pair; each row keeps
    the ratings that the expert saw. What failed is in ``failures.jsonl`` and in neither set.

    Returns: the failures.
    """
    folder = Path(folder)
    failures: Failures = []
    write_jsonl(folder / f"{MOS_SET}.jsonl", list(_mos_rows(clips, descriptions, failures)))
    sets: dict[str, Any] = {
        MOS_SET: {
            "file_name": f"{MOS_SET}.jsonl",
            "formatting": "speech_clip",
            "columns": {"audio": "audio", "answer": "answer", "score": "mos", "id": "id"},
            "judge": {"type": "alld_mos"},
        }
    }
    if pairs:
        write_jsonl(folder / f"{AB_SET}.jsonl", list(_ab_rows(pairs, comparisons, failures)))
        sets[AB_SET] = {
            "file_name": f"{AB_SET}.jsonl",
            "formatting": "speech_pair",
            "columns": {
                "audio_a": "audio_a",
                "audio_b": "audio_b",
                "verdict": "verdict",
                "rationale": "rationale",
                "id": "id",
            },
            "judge": {"type": "alld_ab"},
        }
    write_json(folder / "dataset_info.json", sets)
    write_jsonl(folder / "failures.jsonl", failures)
    return failures


def _mos_rows(
    clips: Sequence[Clip], descriptions: Sequence[Description], failures: Failures
) -> Iterator[dict[str, Any]]:
    for clip, description in zip(clips, descriptions, strict=True):
        for number, text in enumerate((description.first, description.diverse), 1):
            name = f"{clip.id}#{number}"
            if isinstance(text, Failure):
                failures.append({"id": name, "what": "description", "kind": text.kind, "message": text.message})
            else:
                yield {"id": name, "audio": clip.audio, "answer": text, **asdict(clip.ratings)}


def _ab_rows(pairs: Sequence[Pair], comparisons: Sequence[Comparison], failures: Failures) -> Iterator[dict[str, Any]]:
    for pair, comparison in zip(pairs, comparisons, strict=True):
        analysis = comparison.analysis
        if isinstance(analysis, Failure):
            failures.append({"id": pair.id, "what": "comparison", "kind": analysis.kind, "message": analysis.message})
            continue
        yield {
            "id": pair.id,
            "audio_a": pair.a.audio,
            "audio_b": pair.b.audio,
            "verdict": "first" if comparison.summary == SPEECH_A else "second",
            "rationale": analysis,
            "ratings_a": asdict(pair.a.ratings),
            "ratings_b": asdict(pair.b.ratings),
        }
