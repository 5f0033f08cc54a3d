"""The constants of docs/scale.md: what a row and a second of audio cost, and what 100 million pairs come to.

    python benchmarks/scale.py [--rows 20000] [--pairs 100e6] [--seconds 5] [--aspects 1] [--orders 2] [--ray]

Measured on this machine: everything but the GPU. The plan below the measurements takes the GPU from ``--gpu-tflops``
(dense bf16) and ``--mfu`` (share of it that the judge keeps busy): both are assumptions, to be replaced by one run of
``benchmarks/judging.py --device cuda`` with the model in question. ``--ray`` adds what Ray costs a task (it starts a
cluster on this machine).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import tracemalloc
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import soundfile

from earwitness.audio.features import mel_features
from earwitness.audio.lengths import clip_samples
from earwitness.audio.reading import read_audio
from earwitness.data import packed
from earwitness.data.synth.corpus import make_clip
from earwitness.infer.datasets import load_dataset
from earwitness.infer.engine import Answer, Item
from earwitness.infer.journal import Journal
from earwitness.infer.menu import LabelShares
from earwitness.infer.options import Decoding
from earwitness.infer.plan import make_items, make_plan
from earwitness.infer.rows import prediction

RATE = 16_000
CLIPS = 40
SHAPES = {"Qwen2.5-Omni-7B": (7.6e9, 0.64e9), "Qwen2.5-Omni-3B": (3.4e9, 0.64e9)}
"""Parameters that a text token, and an audio frame of the tower, pass through."""
TOKENS_A_SECOND = 25
TOWER_FRAMES_A_SECOND = 50
TEXT_TOKENS = 150
"""Of a prompt: SageLM's has 120 to 180 beside its question."""
WORDS = "The second clip has a constant hiss under the voice, while the first is clean and evenly loud. " * 3


class Null:
    """An engine that answers at once, to time what is around engines."""

    name, alone = "null", False

    def describe(self) -> dict[str, Any]:
        """See ``Engine``."""
        return {"name": self.name}

    def label(self) -> Any:
        """See ``Engine``."""
        return {"engine": "hf", "path": "runs/judge", "sha256": "0" * 16}

    def size(self, item: Item) -> int:
        """See ``Engine``."""
        return 400

    def answer(self, batches: Iterable[tuple[int, Sequence[Item]]]) -> Iterator[tuple[int, list[Answer]]]:
        """See ``Engine``."""
        shares = LabelShares({"first": 0.2, "second": 0.7, "tie": 0.1}, 0.999)
        for number, items in batches:
            yield number, [Answer(("2",), (shares,)) for _ in items]


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall clock and result of one call."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def write_rows(folder: Path, rows: int) -> None:
    """Write pairs of the clips in ``folder`` and the entry that declares them."""
    with (folder / "pairs.jsonl").open("w") as file:
        for row in range(rows):
            a, b = row % CLIPS, (row * 7 + 1) % CLIPS
            line = {"id": f"pair-{row:09d}", "audio_a": f"{a}.wav", "audio_b": f"{b}.wav", "winner": "A"}
            file.write(json.dumps(line | {"system_a": "one", "system_b": "two", "language": "en"}) + "\n")
    columns = {"verdict": "winner"}
    judge = {"type": "pairwise", "aspects": ["overall quality"], "labels": {"first": "A", "second": "B", "tie": "Tie"}}
    entry = {"file_name": "pairs.jsonl", "formatting": "speech_pair", "columns": columns, "judge": judge}
    (folder / "dataset_info.json").write_text(json.dumps({"pairs": entry}))


def measure_audio(folder: Path) -> dict[str, float]:
    """Sizes of a second of speech, and processor time to hear it."""
    from transformers import WhisperFeatureExtractor

    length = 0.0
    for index in range(CLIPS):
        _, waveform = make_clip("test", index, 0)
        length += len(waveform) / RATE
        soundfile.write(folder / f"{index}.wav", waveform, RATE, subtype="PCM_16")
        soundfile.write(folder / f"{index}.flac", waveform, RATE, subtype="PCM_16")
    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=300)
    paths = [folder / f"{index}.wav" for index in range(CLIPS)]
    read, waveforms = seconds(lambda: [read_audio(path, RATE) for path in paths])
    mel, _ = seconds(lambda: [mel_features(waveform, extractor) for waveform in waveforms])
    header, _ = seconds(lambda: [clip_samples(path, RATE) for path in paths])
    size = {kind: sum(path.stat().st_size for path in folder.glob(f"*.{kind}")) for kind in ("wav", "flac")}
    return {
        "wav, kB a second": size["wav"] / length / 1e3,
        "flac, kB a second": size["flac"] / length / 1e3,
        "read and mel features, CPU ms a second of audio": (read + mel) / length * 1e3,
        "length from the header, ms a clip": header / CLIPS * 1e3,
    }


def measure_memory(folder: Path, rows: int) -> int:
    """Peak of Python's memory, in bytes, until so many rows are planned; without the few that stay unpacked."""
    tracemalloc.start()
    with mock.patch.object(packed, "KEPT_BLOCKS", 1):
        records = load_dataset("pairs", dataset_dir=folder, limit=rows)
        items = make_items(records, ("ab",))
        make_plan(items, array("q", [400] * rows), {}, 32, 32768)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def measure_rows(folder: Path, rows: int) -> dict[str, float]:
    """What a row costs from the dataset to the merged file."""
    write_rows(folder, rows)
    memory = measure_memory(folder, rows // 2) - measure_memory(folder, rows // 4)
    loading, records = seconds(lambda: load_dataset("pairs", dataset_dir=folder))
    items = make_items(records, ("ab",))
    planning, plan = seconds(lambda: make_plan(items, [400] * rows, {}, 32, 32768))
    engine, decoding = Null(), Decoding(verdict_only=True)

    def lines() -> list[list[tuple[int, str]]]:
        return [
            [
                (item.number, json.dumps(prediction(item, answer, engine.label(), decoding), ensure_ascii=False))
                for item, answer in zip(plan.batches[number], answers, strict=True)
            ]
            for number, answers in engine.answer(enumerate(plan.batches))
        ]

    writing, batches = seconds(lines)
    journal = Journal(folder / "journal.log", rows)
    appending, _ = seconds(lambda: [journal.append(number, batch) for number, batch in enumerate(batches)])
    merging, _ = seconds(lambda: journal.merge(folder / "predictions.jsonl"))
    journal.close()
    size = (folder / "predictions.jsonl").stat().st_size / rows
    return {
        "memory of the run, kB a row": memory / (rows // 4) / 1e3,
        "load a record, ms": loading / rows * 1e3,
        "plan, ms a row": planning / rows * 1e3,
        "write a row, ms": writing / rows * 1e3,
        "journal (fsync), ms a batch of 32": appending / len(batches) * 1e3,
        "merge, ms a row": merging / rows * 1e3,
        "prediction, kB a row": size / 1e3,
        "prediction with a rationale of 300 characters, kB a row": (size + len(WORDS)) / 1e3,
    }


def measure_ray(folder: Path) -> dict[str, float]:
    """What Ray Data costs a task of four batches, with an engine that takes no time."""
    from earwitness.infer.ray_engine import BATCHES_A_TASK, RayEngine

    records = load_dataset("pairs", dataset_dir=folder, limit=12_800)
    plan = make_plan(make_items(records, ("ab",)), [400] * len(records), {}, 32, 32768)
    start, first = time.perf_counter(), 0.0
    for _ in RayEngine(Null, workers=2).answer(iter(enumerate(plan.batches))):
        first = first or time.perf_counter() - start
    tasks = len(plan.batches) / BATCHES_A_TASK
    return {
        "Ray: start to first answer, s": first,
        "Ray: ms a task of 128 rows": (time.perf_counter() - start - first) / tasks * 1e3,
    }


def plan(options: argparse.Namespace, found: dict[str, float]) -> dict[str, str]:
    """Storage, GPUs and hours of the whole job."""
    pairs, clip = options.pairs, options.seconds
    questions = pairs * options.aspects * options.orders
    text, tower = SHAPES[options.model]
    audio = 2 * clip * TOKENS_A_SECOND
    # Both clips are heard once a pair; the text model reads each question, whose aspects share the prompt's beginning
    # only where the aspect stands behind the clips.
    shared = options.aspects if options.shared_prompt else 1
    read = options.orders * options.aspects * (audio / shared + TEXT_TOKENS)
    flop = 2 * text * read + 2 * tower * 2 * clip * TOWER_FRAMES_A_SECOND
    per_gpu = options.gpu_tflops * 1e12 * options.mfu / flop
    hours = pairs / per_gpu / 3600
    cores = per_gpu * 2 * clip * found["read and mel features, CPU ms a second of audio"] / 1e3
    serial = sum(found[name] for name in ("load a record, ms", "plan, ms a row", "write a row, ms", "merge, ms a row"))
    serial += found["journal (fsync), ms a batch of 32"] / 32 + found["length from the header, ms a clip"] * 2
    shard, rows = options.shard, options.shard * options.aspects * options.orders
    return {
        "questions": f"{questions:.3g}",
        "tokens read a pair": f"{read:.0f}",
        "TFLOP a pair": f"{flop / 1e12:.2f}",
        f"pairs/s on one GPU ({options.gpu_tflops:g} TFLOP/s x {options.mfu:g}, assumed)": f"{per_gpu:.1f}",
        "GPU hours": f"{hours:.0f}",
        f"hours on {options.gpus} GPUs": f"{hours / options.gpus:.1f}",
        "CPU cores a GPU, to read and transform": f"{cores:.2f}",
        "network a GPU, MB/s of flac": f"{per_gpu * 2 * clip * found['flac, kB a second'] / 1e3:.1f}",
        "clips as wav, TB (every clip in one pair)": f"{pairs * 2 * clip * found['wav, kB a second'] / 1e9:.1f}",
        "clips as flac, TB": f"{pairs * 2 * clip * found['flac, kB a second'] / 1e9:.1f}",
        "predictions, GB": f"{questions * found['prediction, kB a row'] / 1e6:.0f}",
        f"shards of {shard:.0f} pairs": f"{pairs / shard:.0f}",
        "memory of a shard's run, GB": f"{rows * found['memory of the run, kB a row'] / 1e6:.1f}",
        "the run's own time a shard, minutes (not on the GPU)": f"{rows * serial / 6e4:.1f}",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--pairs", type=float, default=100e6)
    parser.add_argument("--seconds", type=float, default=5.0, help="mean length of a clip")
    parser.add_argument("--aspects", type=int, default=1)
    parser.add_argument("--orders", type=int, default=2, choices=(1, 2))
    parser.add_argument("--shared-prompt", action="store_true", help="the prompt names the aspect behind the clips")
    parser.add_argument("--model", choices=tuple(SHAPES), default="Qwen2.5-Omni-7B")
    parser.add_argument("--gpu-tflops", type=float, default=989.0, help="dense bf16; default: an H100's data sheet")
    parser.add_argument("--mfu", type=float, default=0.35, help="share of it that is used: an assumption")
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--shard", type=float, default=1e6, help="pairs of one run")
    parser.add_argument("--ray", action="store_true", help="measure Ray too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = measure_audio(folder) | measure_rows(folder, options.rows)
        if options.ray:
            found |= measure_ray(folder)
    print(f"measured here ({os.cpu_count()} cores, {options.rows} rows)")
    for what, value in found.items():
        print(f"  {what:58} {value:10.3f}")
    print(
        f"\n{options.pairs:g} pairs, clips of {options.seconds:g} s, {options.aspects} aspects x {options.orders} "
        f"orders, {options.model}, verdict only"
    )
    for what, text in plan(options, found).items():
        print(f"  {what:58} {text:>10}")


if __name__ == "__main__":
    main()
