"""Write the files of the four tasks: clips, rows, manifest; resumable, the same for any number of processes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.data.synth.sentences import SPLITS
from earwitness.data.synth_speecheval import texts
from earwitness.data.synth_speecheval.truth import DECISION_MARGIN, TIE_BAND, Distortion, Scene, preferences
from earwitness.errors import UserError
from earwitness.files import read_rows, write_json, write_jsonl

MANIFEST = "manifest.json"
TASKS = ("assessment", "comparison", "suggestion", "detection")
PART = 50  # clips that are made in one go
_PAIR_TRIES = 5000  # one draw in 18 fits where clips are many, fewer where they are few


@dataclass(frozen=True)
class TasksSpec:
    """Everything that the files depend on besides the code.

    Attributes:
        clips: for assessment and suggestion, in train, val and test.
        pairs: for comparison, of those clips.
        detection: clips for detection, half of them fake.
        mixed: clips with several distortions at once, for ``clips_<split>.jsonl`` alone.
        seed: of every draw.
    """

    clips: tuple[int, int, int]
    pairs: tuple[int, int, int]
    detection: tuple[int, int, int]
    mixed: tuple[int, int, int] = (0, 0, 0)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clips", "pairs", "detection", "mixed"):
            counts = getattr(self, name)
            if len(counts) != len(SPLITS) or min(counts) < 0:
                raise UserError(f"{name}: {list(counts)}; three counts of 0 or more, for {', '.join(SPLITS)}")
        if self.seed < 0:
            raise UserError(f"seed: {self.seed}; must be 0 or more")


KINDS = ("rated", "mixed", "detected")
"""Clips that were made alike; see the function of `scenes` of that name."""


@dataclass(frozen=True)
class _Part:
    kind: str  # of KINDS
    split: str
    start: int
    stop: int

    @property
    def rows(self) -> str:
        return f"parts/{self.kind}-{self.split}-{self.start:06d}-{self.stop:06d}.jsonl"


def build(spec: TasksSpec, out: str | os.PathLike[str], jobs: int = 1, progress: bool = True) -> Path:
    """Make the files under ``out``, or what is still missing of them.

    Writes ``audio/<split>/*.wav`` (16 kHz, 16 bit, mono), ``<task>_<split>.jsonl`` for each of ``TASKS``,
    ``clips_<split>.jsonl`` with every clip and its levels and, last, a manifest with ``"complete": true``.

    Raises:
        UserError: ``out`` holds something else, or files of another spec; or too few clips for the pairs.
    """
    from tqdm import tqdm

    out = Path(out)
    if jobs < 1:
        raise UserError(f"jobs: {jobs}; must be 1 or more")
    manifest = json.loads(json.dumps({"kind": "synthetic SpeechEval", "spec": asdict(spec)}))
    present = _manifest(out)
    if present is not None and any(present.get(key) != value for key, value in manifest.items()):
        raise UserError(
            f"{out / MANIFEST}: made as {present.get('spec')}, wanted {manifest['spec']}; remove the folder or choose "
            "another --out"
        )
    if present is not None and present["complete"]:
        return out
    write_json(out / MANIFEST, {**manifest, "complete": False})
    parts = list(_parts(spec))
    missing = [part for part in parts if not (out / part.rows).is_file()]
    make = partial(make_part, out=out, seed=spec.seed)
    bar = tqdm(total=len(parts), initial=len(parts) - len(missing), unit="part", desc="synth", disable=not progress)
    with bar:
        if jobs == 1:
            for part in missing:
                make(part)
                bar.update()
        else:
            with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
                for _ in pool.map(make, missing):
                    bar.update()
    for place, split in enumerate(SPLITS):
        rows = {kind: list(_rows(out, parts, kind, split)) for kind in KINDS}
        scenes = [scene_of(row) for row in rows["rated"]]
        write_jsonl(out / f"clips_{split}.jsonl", [row for kind in KINDS for row in rows[kind]])
        write_jsonl(out / f"assessment_{split}.jsonl", map(_assessment, rows["rated"], scenes))
        write_jsonl(out / f"suggestion_{split}.jsonl", map(_suggestion, rows["rated"], scenes))
        write_jsonl(out / f"detection_{split}.jsonl", rows["detected"])
        pairs = _pairs(rows["rated"], scenes, spec.pairs[place], split, spec.seed)
        write_jsonl(out / f"comparison_{split}.jsonl", pairs)
    write_json(out / MANIFEST, {**manifest, "complete": True})
    return out


def _manifest(out: Path) -> dict[str, Any] | None:
    path = out / MANIFEST
    if not path.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out}: exists and holds no files of ours (no {MANIFEST}); choose another --out")
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict) or "complete" not in value:
        raise UserError(f"{path}: not a manifest of ours; remove the folder or choose another --out")
    return value


def _parts(spec: TasksSpec) -> Iterator[_Part]:
    for kind, counts in zip(KINDS, (spec.clips, spec.mixed, spec.detection), strict=True):
        for split, count in zip(SPLITS, counts, strict=True):
            for start in range(0, count, PART):
                yield _Part(kind, split, start, min(start + PART, count))


def _rows(out: Path, parts: Sequence[_Part], kind: str, split: str) -> Iterator[dict[str, Any]]:
    for part in parts:
        if (part.kind, part.split) == (kind, split):
            yield from read_rows(out / part.rows)


def make_part(part: _Part, out: Path, seed: int) -> None:
    """Make the clips of one part, then its rows."""
    from earwitness.data.synth.corpus import write_wav
    from earwitness.data.synth_speecheval import scenes

    make = {"rated": scenes.rated_clip, "mixed": scenes.mixed_clip, "detected": scenes.detected_clip}[part.kind]
    rows = []
    for number in range(part.start, part.stop):
        clip = make(part.split, number, seed)
        name = f"{part.kind}-{part.split}-{number:06d}"
        audio = f"audio/{part.split}/{name}.wav"
        write_wav(out / audio, clip.waveform)
        row: dict[str, Any] = {"id": name, "audio": audio, "language": clip.language, "voice": clip.voice}
        row |= {"speaker": clip.speaker, "sentence": clip.sentence, "levels": clip.levels}
        if part.kind == "rated":
            row |= _scene_row(clip.scene)
        elif part.kind == "detected":
            row["verdict"] = "fake" if clip.fake else "real"
        rows.append(row)
    write_jsonl(out / part.rows, rows)


def _scene_row(scene: Scene) -> dict[str, Any]:
    distortions = [] if scene.distortion is None else [asdict(scene.distortion)]
    known = {"seconds": scene.seconds, "distortions": distortions, "loudness": scene.loudness, "rate": scene.rate}
    return {**known, "dimensions": scene.scores()}


def scene_of(row: dict[str, Any]) -> Scene:
    """What was done to the clip of a row."""
    distortion = Distortion(**row["distortions"][0]) if row["distortions"] else None
    return Scene(row["seconds"], distortion, row["loudness"], row["rate"])


def _assessment(row: dict[str, Any], scene: Scene) -> dict[str, Any]:
    thinking, answer = texts.assessment(scene)
    return {**row, "score": scene.scores()["overall quality"], "thinking": thinking, "answer": answer}


def _suggestion(row: dict[str, Any], scene: Scene) -> dict[str, Any]:
    thinking, answer = texts.suggestion(scene)
    return {**row, "areas": list(scene.areas()), "thinking": thinking, "answer": answer}


def _pairs(
    rows: Sequence[dict[str, Any]], scenes: Sequence[Scene], count: int, split: str, seed: int
) -> list[dict[str, Any]]:
    """Pairs of one language, other sentences and voices; a third each of first, second and tie in overall quality."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, *split.encode(), 2]))
    made: set[tuple[int, int]] = set()
    pairs = []
    for number in range(count):
        wanted = ("first", "second", "tie")[number % 3]
        for _ in range(_PAIR_TRIES):
            one, other = (int(place) for place in rng.integers(0, max(1, len(rows)), 2))
            if (one, other) not in made and one != other and _fit(rows, scenes, one, other, wanted):
                break
        else:
            raise UserError(f"{len(rows)} clips of {split} are too few for {count} pairs: ask for more clips")
        made.add((one, other))
        pairs.append(_pair(f"pair-{split}-{number:06d}", (rows[one], rows[other]), (scenes[one], scenes[other])))
    return pairs


def _fit(rows: Sequence[dict[str, Any]], scenes: Sequence[Scene], one: int, other: int, wanted: str) -> bool:
    first, second = rows[one], rows[other]
    if first["language"] != second["language"] or any(first[key] == second[key] for key in ("sentence", "speaker")):
        return False
    gap = scenes[other].impairments()["overall quality"] - scenes[one].impairments()["overall quality"]
    return abs(gap) <= TIE_BAND if wanted == "tie" else (gap if wanted == "first" else -gap) >= DECISION_MARGIN


def _pair(id: str, rows: tuple[dict[str, Any], dict[str, Any]], scenes: tuple[Scene, Scene]) -> dict[str, Any]:
    preferred = preferences(*scenes)
    thinking, answer = texts.comparison(*scenes, preferred)
    return {
        "id": id,
        "audio_a": rows[0]["audio"],
        "audio_b": rows[1]["audio"],
        "language": rows[0]["language"],
        "verdict": preferred["overall quality"],
        "preferences": preferred,
        "distortions_a": rows[0]["distortions"],
        "distortions_b": rows[1]["distortions"],
        "thinking": thinking,
        "answer": answer,
    }
