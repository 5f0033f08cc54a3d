"""Build the embedded corpus: WAV clips, their ratings and pairs, in three disjoint splits; resumable, reproducible."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.data.synth.pairs import make_pairs
from earwitness.data.synth.sentences import LANGUAGES, SPLITS, sentences
from earwitness.data.synth.text import rating
from earwitness.errors import UserError
from earwitness.files import read_rows, write_json, write_jsonl

MANIFEST = "manifest.json"
LONGER_S = {"mid": (2.0, 12.0), "long": (4.0, 45.0)}
"""Groups of longer training clips: sentences and voices of train, several sentences a clip; seconds, log-uniform."""
CLIPS_A_PART = 50
WAV_HEADER = 44  # bytes
UNTOUCHED_PROBABILITY = 0.15  # of each aspect of each clip, on its own
_TEMPORARY = re.compile(r"\.[\w-]+\.(wav|jsonl?)\.\w+")
_LIBRARIES = ("espeakng-loader", "numpy", "scipy", "soxr", "av")  # what the samples depend on


@dataclass(frozen=True)
class CorpusSpec:
    """Everything that the corpus depends on, besides the code: equal specs give equal bytes.

    Attributes:
        clips, pairs: number in train, val and test.
        mid, long: number of longer clips for training, and of pairs of them, which come with a question.
        seed: of every draw.
    """

    clips: tuple[int, int, int]
    pairs: tuple[int, int, int]
    mid: tuple[int, int] = (0, 0)
    long: tuple[int, int] = (0, 0)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, counts in (("clips", self.clips), ("pairs", self.pairs)):
            if len(counts) != len(SPLITS) or min(counts) < 0:
                raise UserError(f"{name}: {list(counts)}; three counts of 0 or more, for {', '.join(SPLITS)}")
        for name, both in (("mid", self.mid), ("long", self.long)):
            if len(both) != 2 or min(both) < 0:
                raise UserError(f"{name}: {list(both)}; two counts of 0 or more, of clips and of pairs")
        if self.seed < 0:
            raise UserError(f"seed: {self.seed}; must be 0 or more")

    @property
    def groups(self) -> dict[str, tuple[int, int]]:
        """Name of each group of clips -> number of its clips and of its pairs."""
        splits = zip(SPLITS, zip(self.clips, self.pairs, strict=True), strict=True)
        return {**dict(splits), "mid": self.mid, "long": self.long}


@dataclass(frozen=True)
class Part:
    """A run of clips of one split that one process makes in one go."""

    split: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        return f"{self.split}-{self.start:06d}-{self.stop:06d}"


def build(spec: CorpusSpec, out: str | os.PathLike[str], jobs: int = 2, progress: bool = True) -> Path:
    """Make the corpus under ``out``, or what is still missing of it.

    Writes ``audio/<group>/*.wav`` (16 kHz, 16 bit, mono), ``clips_<group>.jsonl``, ``pairs_<group>.jsonl`` and, last,
    a manifest with ``"complete": true``. A second call with the same spec does nothing; after an interruption it
    continues. The bytes depend on the spec alone, not on ``jobs`` or on interruptions.

    Raises:
        UserError: ``out`` holds a corpus of another spec or of another version; or too few clips for the pairs.
    """
    from tqdm import tqdm

    out = Path(out)
    if jobs < 1:
        raise UserError(f"jobs: {jobs}; must be 1 or more")
    manifest = {"spec": asdict(spec), "made_by": fingerprint(), "complete": False}
    manifest = json.loads(json.dumps(manifest))
    present = _manifest(out)
    if present is not None:
        differences = [key for key in ("spec", "made_by") for key in _differences(key, present.get(key), manifest[key])]
        if differences:
            raise UserError(
                f"{out / MANIFEST}: {out} holds a corpus made with other parameters or by another version "
                f"({'; '.join(differences)}); remove the folder or choose another --out"
            )
        tables = [out / f"{kind}_{group}.jsonl" for kind in ("clips", "pairs") for group in spec.groups]
        if (
            present["complete"]
            and all(map(Path.is_file, tables))
            and all(_is_whole(out, part) for part in _parts(spec))
        ):
            return out
    write_json(out / MANIFEST, manifest)
    missing = [part for part in _parts(spec) if not _is_whole(out, part)]
    done = sum(part.stop - part.start for part in _parts(spec)) - sum(part.stop - part.start for part in missing)
    total = sum(clips for clips, _ in spec.groups.values())
    with tqdm(total=total, initial=done, unit="clip", desc="synth", disable=not progress) as bar:
        for part in _make(missing, out, spec.seed, jobs):
            bar.update(part.stop - part.start)
    for group, (_, count) in spec.groups.items():
        clips = [row for part in _parts(spec) if part.split == group for row in read_rows(_part_file(out, part))]
        pairs = make_pairs(clips, count, group, spec.seed)
        if group in LONGER_S:
            asked = {clip["audio"]: clip["sentence"] for clip in clips}
            pairs = [{**pair, "question": f"Say: {asked[pair['audio_a']]}"} for pair in pairs]
        write_jsonl(out / f"clips_{group}.jsonl", clips)
        write_jsonl(out / f"pairs_{group}.jsonl", pairs)
    write_json(out / MANIFEST, {**manifest, "complete": True})
    for path in out.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name):  # left by a run that was killed
            path.unlink(missing_ok=True)
    return out


def fingerprint() -> dict[str, str]:
    """Hash of this package's source, and the versions of the libraries that make the samples."""
    source = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return {"source": source.hexdigest()[:16], **{name: version(name) for name in _LIBRARIES}}


def _differences(name: str, present: Any, wanted: dict[str, Any]) -> list[str]:
    present = present if isinstance(present, dict) else {}
    keys = [key for key in {**present, **wanted} if present.get(key) != wanted.get(key)]
    return [f"{name}.{key}: there {present.get(key)}, wanted {wanted.get(key)}" for key in keys]


def _manifest(out: Path) -> dict[str, Any] | None:
    if not (out / MANIFEST).is_file():
        if out.exists() and (not out.is_dir() or any(not _TEMPORARY.fullmatch(path.name) for path in out.iterdir())):
            raise UserError(f"{out}: exists and holds no corpus of ours (no {MANIFEST}); choose another --out")
        return None
    try:
        value = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict) or "complete" not in value:
        raise UserError(f"{out / MANIFEST}: not a manifest of ours; remove the folder or choose another --out")
    return value


def _parts(spec: CorpusSpec) -> list[Part]:
    return [
        Part(group, start, min(start + CLIPS_A_PART, count))
        for group, (count, _) in spec.groups.items()
        for start in range(0, count, CLIPS_A_PART)
    ]


def _part_file(out: Path, part: Part) -> Path:
    return out / "parts" / f"{part.name}.jsonl"


def _is_whole(out: Path, part: Part) -> bool:
    """The part's rows, written after its clips, are there, and so are the clips."""
    file = _part_file(out, part)
    return file.is_file() and all(_size(out / row["audio"]) > WAV_HEADER for row in read_rows(file))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _make(parts: Sequence[Part], out: Path, seed: int, jobs: int) -> Iterator[Part]:
    """Make the parts and yield each when it is done."""
    if jobs == 1 or len(parts) < 2:
        for part in parts:
            make_part(part, out, seed)
            yield part
        return
    # Fresh interpreters: forking a process that runs threads (torch, BLAS) can hang.
    with ProcessPoolExecutor(
        min(jobs, len(parts)), mp_context=get_context("spawn"), initializer=_end_with_parent
    ) as pool:
        try:
            futures = {pool.submit(make_part, part, out, seed): part for part in parts}
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Leave no worker behind when the parent is killed: the next run would work beside it."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def make_part(part: Part, out: Path, seed: int) -> None:
    """Make the clips of one part, then its rows."""
    rows = []
    for index in range(part.start, part.stop):
        row, waveform = make_clip(part.split, index, seed)
        write_wav(out / row["audio"], waveform)
        rows.append(row)
    write_jsonl(_part_file(out, part), rows)


def make_clip(split: str, index: int, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """One clip of the corpus: its row and its waveform, (samples,), 16 kHz. Depends on the arguments only."""
    from earwitness.data.synth.degrade import Severities, degrade
    from earwitness.data.synth.levels import SAMPLING_RATE
    from earwitness.data.synth.source import SPEECH_S, record
    from earwitness.data.synth.voices import Voice, speak

    rng = np.random.default_rng(np.random.SeedSequence([seed, (*SPLITS, *LONGER_S).index(split), index]))
    language = LANGUAGES[index % len(LANGUAGES)]
    source = "train" if split in LONGER_S else split
    choices = sentences(language, source)
    number = int(rng.integers(len(choices)))
    voice = Voice.draw(language, source, rng)
    speech, seconds = speak(choices[number].reading, voice), SPEECH_S
    if split in LONGER_S:
        seconds = (float(np.exp(rng.uniform(*np.log(LONGER_S[split])))),) * 2
        while len(speech) < seconds[0] * SAMPLING_RATE:
            speech = np.append(speech, speak(choices[int(rng.integers(len(choices)))].reading, voice))
    untouched = rng.random(4) < UNTOUCHED_PROBABILITY
    severities = Severities(*(float(value) for value in np.where(untouched, 0, np.round(rng.random(4), 4))))
    clean = record(speech, rng, seconds)
    degraded = degrade(clean, severities, rng)
    table = {**asdict(severities), "overall": round(severities.overall, 4)}
    row = {
        "id": f"{split}-{index:06d}",
        "audio": f"audio/{split}/{index:06d}.wav",
        "language": language,
        "voice": str(voice),
        "speaker": voice.speaker,
        "sentence": choices[number].text,
        "severities": table,
        "overall": table["overall"],
        "causes": degraded.causes,
        "scores": rating(table),
    }
    return row, degraded.waveform


def write_wav(path: Path, waveform: np.ndarray) -> None:
    """Write 16 kHz mono 16-bit PCM; a file of this name is whole or absent."""
    import soundfile

    from earwitness.data.synth.levels import SAMPLING_RATE

    memory = io.BytesIO()
    integers = np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)
    soundfile.write(memory, integers, SAMPLING_RATE, format="WAV", subtype="PCM_16")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(memory.getvalue())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
