"""Rows of any number in little memory: packed records are those of a list, and runs and checks grow by little a row."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from earwitness.data import packed
from earwitness.data.check import KEPT_FINDINGS, CheckOptions, check_datasets
from earwitness.data.packed import BLOCK, Packed
from earwitness.data.records import Record, load_records
from earwitness.infer.datasets import load_dataset
from earwitness.infer.plan import make_items, make_plan
from earwitness.judges.spec import JudgeSpec

JUDGE = {"type": "pairwise", "aspects": ["noise", "loudness"]}
FEW, MANY = 500, 3_000
ROW = 400
"""Bytes of memory that a row more may cost a run, or a check; as a list of records in both orders it is 3 kB."""


def dataset(folder: Path, rows: int, clips: int | None = None) -> Path:
    """Declare ``pairs``: texts of their own in every row, and clips too, unless so many are shared by all rows."""
    with (folder / "pairs.jsonl").open("w") as file:
        for row in range(rows):
            a, b = (2 * row, 2 * row + 1) if clips is None else (row % clips, (row // clips + row + 1) % clips)
            line = {"id": f"pair-{row:07d}", "audio_a": f"clips/{a:07d}.wav", "audio_b": f"clips/{b:07d}.wav"}
            line |= {"aspect": ("noise", "loudness")[row % 2], "verdict": ("first", "second", "tie")[row % 3]}
            line |= {"question": f"What was said in sentence {row * 7919 % rows}?", "rationale": f"Response 1: {row}."}
            file.write(json.dumps({**line, "system_a": "one", "language": "en"}) + "\n")
    entry = {"file_name": "pairs.jsonl", "formatting": "speech_pair", "judge": JUDGE}
    (folder / "dataset_info.json").write_text(json.dumps({"pairs": entry}))
    return folder


def growth(work: Callable[[int], Any]) -> float:
    """Bytes by which the peak of Python's memory grows with each row."""
    peaks = []
    for rows in (FEW, FEW, MANY):  # the first round loads modules
        tracemalloc.start()
        work(rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return (peaks[2] - peaks[1]) / (MANY - FEW)


@pytest.mark.parametrize("rows", [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 5])
def test_packed_records_are_those_of_a_list(tmp_path: Path, rows: int) -> None:
    plain = load_records("pairs", dataset(tmp_path, rows))
    packed_ = Packed(iter(plain))
    assert list(packed_) == plain
    assert [packed_[place] for place in range(rows)] == plain
    assert packed_[-3:] == plain[-3:]
    assert (len(packed_), bool(packed_)) == (rows, rows > 0)
    assert [record.swapped() for record in packed_] == [record.swapped() for record in plain]
    assert all(one.judge is other.judge for one, other in zip(packed_, plain, strict=True))
    for outside in (rows, -rows - 1):
        with pytest.raises(IndexError):
            packed_[outside]


def test_packed_rows_beyond_those_that_stay_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "KEPT_BLOCKS", 2)
    rows = Packed(range(10 * BLOCK))
    picked = np.random.default_rng(0).permutation(10 * BLOCK).tolist()
    assert [rows[place] for place in picked] == picked
    rows.append(-1)
    assert (rows[-1], rows[0]) == (-1, 0)


CLIPS = st.tuples(st.sampled_from("abc"), st.sampled_from("abc"))


@given(
    st.lists(st.tuples(CLIPS, st.sampled_from(["noise?", "loud?"]), st.integers(1, 300)), max_size=40),
    st.sets(st.integers(0, 79), max_size=5),
    st.sampled_from([("ab",), ("ba",), ("ab", "ba")]),
    st.integers(1, 8),
    st.integers(50, 2000),
)
def test_plans(
    rows: list[tuple[tuple[str, str], str, int]], bad: set[int], orders: Sequence[str], most: int, budget: int
) -> None:
    judge = JudgeSpec.of_type("pairwise")
    records = [
        Record(str(number), "set", number, judge, None, clips, prompt) for number, (clips, prompt, _) in enumerate(rows)
    ]
    items = make_items(records, orders)
    sizes = [size for _, _, size in rows for _ in orders]
    plan = make_plan(items, sizes, {number: "bad" for number in bad if number < len(items)}, most, budget)
    batches = list(plan.batches)
    asked = [item for batch in batches for item in batch]
    assert sorted(item.number for item in asked) == [number for number in range(len(items)) if number not in bad]
    for batch in batches:
        assert 0 < len(batch) <= most
        assert len(batch) == 1 or len(batch) * max(sizes[item.number] for item in batch) <= budget
    about = [frozenset(item.record.audios) for item in asked]
    assert sum(one != other for one, other in pairwise(about)) == max(0, len(set(about)) - 1)
    shown = [item.shown.audios for item in asked]
    assert sum(one != other for one, other in pairwise(shown)) == max(0, len(set(shown)) - 1)
    longest = {
        clips: max(sizes[item.number] for item in asked if frozenset(item.record.audios) == clips) for clips in about
    }
    assert [longest[clips] for clips in about] == sorted((longest[clips] for clips in about), reverse=True)
    assert [item.order for item in items] == list(orders) * len(records)
    assert items[2:5] == list(items)[2:5]


def test_a_run_of_many_rows_keeps_little_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "KEPT_BLOCKS", 8)

    def prepare(rows: int) -> None:
        records = load_dataset("pairs", dataset_dir=dataset(tmp_path, rows))
        items = make_items(records, ("ab", "ba"))
        plan = make_plan(items, [400] * len(items), {}, 32, 32768)
        assert 2 * rows / 32 <= len(plan.batches) < 2 * rows / 32 + 1

    assert growth(prepare) < ROW


def test_a_check_of_many_rows_keeps_little_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "KEPT_BLOCKS", 8)
    (tmp_path / "clips").mkdir()
    for clip in range(20):
        samples = np.random.default_rng(clip).standard_normal(1_000)
        soundfile.write(tmp_path / f"clips/{clip:07d}.wav", 0.1 * samples, 16_000)

    def check(rows: int) -> None:
        folder = dataset(tmp_path, rows, clips=20)
        (found,) = check_datasets(["pairs"], CheckOptions(folder), lambda things, *_: things)
        assert len(found.records) == len(found.audio_tokens) == rows

    assert growth(check) < ROW


def test_findings_beyond_those_kept_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from earwitness.data import check, check_report

    for module in (check, check_report):
        monkeypatch.setattr(module, "KEPT_FINDINGS", 20)
    dataset(tmp_path, 50)
    with (tmp_path / "pairs.jsonl").open("a") as file:
        file.writelines(f'{{"audio_a": {row}}}\n' for row in range(30))
    checks = check_datasets(["pairs"], CheckOptions(tmp_path), lambda things, *_: things)
    report = check_report.to_json(checks, [], [])
    (found,) = report["datasets"]
    counts = {one["kind"]: one["count"] for one in found["found"]}
    assert (counts["row"], counts["clip"], found["rows"], found["bad_rows"]) == (30, 100, 80, 30)
    assert len(found["findings"]) == 40
    assert found["errors"] == report["errors"] == 130
    text = check_report.to_text(report)
    assert "error: clip (100)" in text
    assert "and 90 more (--json lists the first 20)" in text
    assert KEPT_FINDINGS > 20


MEASURED = """\
import resource, sys
from pathlib import Path
from earwitness.infer.datasets import load_dataset
from earwitness.infer.plan import make_items, make_plan
records = load_dataset("pairs", dataset_dir=Path(sys.argv[1]))
items = make_items(records, ("ab", "ba"))
plan = make_plan(items, [400] * len(items), {}, 32, 32768)
print(len(plan.batches), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_the_memory_of_a_process(tmp_path: Path) -> None:
    peaks = []
    for rows in (40_000, 240_000):
        command = [sys.executable, "-c", MEASURED, str(dataset(tmp_path, rows))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        batches, peak = map(int, done.stdout.split())
        assert batches == 2 * rows // 32
        peaks.append(peak)
    assert (peaks[1] - peaks[0]) * 1024 / 200_000 < 2 * ROW
