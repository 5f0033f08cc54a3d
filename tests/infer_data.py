"""Pairs of short clips for the inference tests: a plain judge, a judge that thinks, and clips of many lengths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from earwitness.data.records import Record, load_records
from earwitness.infer.engine import Answer
from earwitness.infer.hf_engine import HFEngine
from earwitness.infer.model import find_model
from earwitness.infer.options import Decoding
from earwitness.infer.plan import make_items

JUDGES: dict[str, dict[str, Any]] = {
    "plain": {"type": "pairwise", "aspects": ["noise", "loudness"]},
    "thinks": {"type": "pairwise", "aspects": ["noise", "loudness"], "chain_of_thought": True},
}


def write_pairs(folder: Path, pairs: int = 8, shortest: float = 0.3) -> Path:
    """Write clips, pairs and a ``dataset_info.json``; every pair is asked about twice.

    Clips are of ``shortest`` seconds and up to 0.42 more.
    """
    random = np.random.default_rng(0)
    for index in range(pairs + 1):
        samples = int(16000 * (shortest + 0.07 * (index * 5 % 7)))
        tone = 0.1 * np.sin(np.arange(samples) * 0.05 * (1 + index)) + random.normal(0, 0.01 * index, samples)
        soundfile.write(folder / f"clip{index}.wav", tone, 16000)
    rows = [
        {
            "id": f"{index}-{aspect}",
            "audio_a": f"clip{index}.wav",
            "audio_b": f"clip{index + 1}.wav",
            "aspect": aspect,
            "verdict": ("first", "second", "tie")[index % 3],
            "question": "Say it with <audio> clearly. " * (index % 4) or None,
            "gap": index / 10,
        }
        for index in range(pairs)
        for aspect in ("noise", "loudness")
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    clips = [{"id": f"c{index}", "audio": f"clip{index}.wav", "aspect": "noise"} for index in range(pairs + 1)]
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in clips), encoding="utf-8")
    entries: dict[str, dict[str, Any]] = {
        name: {"file_name": "pairs.jsonl", "formatting": "speech_pair", "judge": judge}
        for name, judge in JUDGES.items()
    }
    entries["scores"] = {"file_name": "clips.jsonl", "formatting": "speech_clip", "judge": {"type": "score"}}
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


def records_of(folder: Path, name: str = "plain", limit: int | None = None) -> list[Record]:
    """Load the records that ``write_pairs`` wrote."""
    return load_records(name, folder, limit=limit)


def judged(model: Path, folder: Path, decoding: Decoding, name: str = "plain", **options: Any) -> list[Answer]:
    """Answers of the transformers engine to every pair in both orders, in batches of five."""
    engine = HFEngine(find_model(str(model)), decoding, **options)
    items = make_items(records_of(folder, name), ["ab", "ba"])
    batches = [(start, items[start : start + 5]) for start in range(0, len(items), 5)]
    return [answer for _, batch in engine.answer(batches) for answer in batch]
