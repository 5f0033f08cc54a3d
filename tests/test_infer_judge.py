"""``earwitness.Judge``: the same answers as a run, from Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import soundfile
from infer_data import records_of, write_pairs

import earwitness
from earwitness.errors import UserError
from earwitness.infer.decide import combine_orders
from earwitness.infer.hf_engine import HFEngine
from earwitness.infer.model import find_model
from earwitness.infer.options import Decoding
from earwitness.infer.run import RunOptions, judge_records

ASPECTS = ["noise", "loudness"]

pytestmark = pytest.mark.filterwarnings("ignore:the model was unlikely to begin")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def judge(tiny_models: dict[str, Path]) -> earwitness.Judge:
    return earwitness.Judge.from_pretrained(tiny_models["qwen2_5_omni"], device="cpu", aspects=tuple(ASPECTS))


def test_python_and_a_run_say_the_same(
    judge: earwitness.Judge, tiny_models: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    records = [record for record in records_of(data) if "Instruction" not in record.prompt]
    engine = HFEngine(find_model(str(tiny_models["qwen2_5_omni"])), Decoding(verdict_only=True), device="cpu")
    options = RunOptions(orders="both", batch_size=3, quiet=True)
    judge_records(records, engine, str(tmp_path / "out.jsonl"), engine.decoding, options)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    pairs = list(dict.fromkeys(record.audios for record in records))
    found = [one for pair in judge.compare_all(pairs) for one in pair.values()]
    assert len(found) == len(rows) / 2
    for one, row in zip(found, combine_orders(rows), strict=True):
        assert (one.aspect, one.verdict, one.consistent) == (row["aspect"], row["verdict"], row["consistent"])
        assert one.probabilities == pytest.approx(row["probabilities"], abs=1e-6)


def test_a_clip_may_be_a_path_bytes_or_an_array(judge: earwitness.Judge, data: Path) -> None:
    a, b = data / "clip1.wav", data / "clip2.wav"
    samples, rate = soundfile.read(b, dtype="float32")
    forms = [
        (str(a), b),
        (a.read_bytes(), {"array": samples, "sampling_rate": rate}),
        ({"bytes": a.read_bytes(), "path": None}, samples),
    ]
    answers = [judge.compare(*form) for form in forms]
    assert list(answers[0]) == ASPECTS
    for answer in answers[1:]:
        for aspect in ASPECTS:
            assert answer[aspect].probabilities == answers[0][aspect].probabilities


def test_a_file_that_changed_is_heard_anew(judge: earwitness.Judge, data: Path, tmp_path: Path) -> None:
    clip = Path(shutil.copy(data / "clip1.wav", tmp_path / "clip.wav"))
    before = judge.compare(clip, data / "clip2.wav", ["noise"])["noise"]
    shutil.copy(data / "clip7.wav", clip)
    after = judge.compare(clip, data / "clip2.wav", ["noise"])["noise"]
    assert (
        after.probabilities == judge.compare(data / "clip7.wav", data / "clip2.wav", ["noise"])["noise"].probabilities
    )
    assert after.probabilities != before.probabilities


def test_exchanging_the_clips_exchanges_the_verdict(judge: earwitness.Judge, data: Path) -> None:
    one = judge.compare(data / "clip0.wav", data / "clip5.wav", ["noise"])["noise"]
    other = judge.compare(data / "clip5.wav", data / "clip0.wav", ["noise"])["noise"]
    assert one.probabilities is not None
    assert other.probabilities is not None
    for mine, theirs in (("first", "second"), ("second", "first"), ("tie", "tie")):
        assert one.probabilities[mine] == pytest.approx(other.probabilities[theirs], abs=1e-6)


def test_a_judge_may_come_from_its_dataset(tiny_models: dict[str, Path], data: Path) -> None:
    model = tiny_models["qwen2_5_omni"]
    thinks = earwitness.Judge.from_pretrained(model, dataset="thinks", dataset_dir=data, device="cpu")
    found = thinks.compare(data / "clip0.wav", data / "clip1.wav", ["noise"])["noise"]
    assert (found.verdict, found.menu_mass) == (None, None)
    assert found.unscored is not None
    with pytest.raises(UserError, match="names its judge"):
        earwitness.Judge.from_pretrained(model, "pairwise", dataset="thinks", dataset_dir=data)


def test_a_forced_verdict_is_warned_about(judge: earwitness.Judge, data: Path) -> None:
    with pytest.warns(UserWarning, match="unlikely to begin its answer with a label"):
        found = judge.compare(data / "clip0.wav", data / "clip1.wav", ["noise"])["noise"]
    assert found.menu_mass is not None
    assert found.menu_mass < 0.5


def test_mistakes_are_said(judge: earwitness.Judge, data: Path, tiny_models: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="unknown aspect 'taste'; allowed: noise, loudness"):
        judge.compare(data / "clip0.wav", data / "clip1.wav", ["taste"])
    with pytest.raises(UserError, match=r"none\.wav"):
        judge.compare(data / "none.wav", data / "clip1.wav")
    with pytest.raises(UserError, match="does not compare two clips"):
        earwitness.Judge.from_pretrained(tiny_models["qwen2_audio"], "score")
    with pytest.raises(UserError, match="verdict_only cannot serve"):
        earwitness.Judge.from_pretrained(tiny_models["qwen2_audio"], "alld_ab", decoding=Decoding(verdict_only=True))
    with pytest.raises(AttributeError, match="Jugde"):
        _ = earwitness.Jugde
