"""The engines that leave the model to others: a server over HTTP, and vLLM behind a stand-in."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import soundfile
from infer_data import records_of, write_pairs
from openai_server import OpenAIServer, Raw, Status, Text

from earwitness.errors import UserError
from earwitness.infer.api_engine import APIEngine
from earwitness.infer.listed import label_shares
from earwitness.infer.model import find_model
from earwitness.infer.options import Decoding
from earwitness.infer.plan import make_items
from earwitness.infer.run import RunOptions, Summary, judge_records
from earwitness.infer.vllm_engine import VLLMEngine
from earwitness.judges.spec import JudgeSpec
from earwitness.llm.endpoint import Endpoint

PLAIN = JudgeSpec.of_type("pairwise")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path, pairs=4)


def louder(body: dict[str, Any]) -> str:
    """Hear both clips and name the longer one: an answer that depends on what travelled, and on its order."""
    parts = body["messages"][0]["content"]
    clips = [part["audio_url"]["url"] for part in parts if part["type"] == "audio_url"]
    lengths = [len(soundfile.read(io.BytesIO(base64.b64decode(url.partition(",")[2])))[0]) for url in clips]
    return "Tie\nalike" if lengths[0] == lengths[1] else f"{1 if lengths[0] > lengths[1] else 2}\nlonger"


def judged(server: OpenAIServer, data: Path, out: Path, **options: Any) -> Summary:
    limits = {"attempts": 2, "backoff": 0.01, **options.pop("limits", {})}
    decoding = options.pop("decoding", Decoding())
    engine = APIEngine(Endpoint(server.url, "judge", **limits), decoding, logprobs=options.pop("logprobs", False))
    settings = RunOptions(**{"orders": "both", "quiet": True, **options})
    return judge_records(records_of(data), engine, str(out), decoding, settings)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_server_is_asked_what_a_model_would_be(data: Path, tmp_path: Path) -> None:
    with OpenAIServer(louder, latency=0.02) as server:
        rows = lines(judged(server, data, tmp_path / "out.jsonl").predictions)
        assert server.peak > 4
        body = server.requests[0]
    prompts = {record.prompt for record in records_of(data)}
    texts = [part.get("text", "<audio>") for part in body["messages"][0]["content"]]
    assert "".join(texts) in prompts
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0.0, 256, "judge")
    lengths = {path: len(soundfile.read(path)[0]) for path in {path for row in rows for path in row["audios"]}}
    for row in rows:
        one, two = (lengths[path] for path in row["audios"])
        assert row["shown_verdict"] == ("tie" if one == two else "first" if one > two else "second")
        assert row["rationale"] == ("alike" if one == two else "longer")
        assert row["model"] == {"engine": "api", "path": "judge", "server": server.url}
    assert [row["id"] for row in rows[::2]] == [record.id for record in records_of(data)]
    assert all(one["verdict"] == two["verdict"] for one, two in zip(rows[::2], rows[1::2], strict=True))


def test_rows_that_fail_are_asked_again_by_the_next_run_alone(data: Path, tmp_path: Path) -> None:
    with OpenAIServer(louder) as server:
        server.script = [Status(500), Status(500)] * 3
        with pytest.raises(UserError, match=r"3 of 16 rows failed, first plain, row .*: server: .*; 13 are safe"):
            judged(server, data, tmp_path / "out.jsonl", limits={"concurrency": 1})
        before = len(server.requests)
        assert judged(server, data, tmp_path / "out.jsonl", limits={"concurrency": 1}).resumed == 13
        assert len(server.requests) == before + 3
        judged(server, data, tmp_path / "whole.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_server_that_answers_nothing_stops_the_run(data: Path, tmp_path: Path) -> None:
    with OpenAIServer(lambda body: Status(404, message="no such model")) as server:
        with pytest.raises(UserError, match=r"all of 8 requests failed: refused: status 404: no such model"):
            judged(server, data, tmp_path / "out.jsonl", limits={"concurrency": 1})
        assert len(server.requests) == 8


def test_of_an_answer_that_was_cut_off_the_verdict_is_read_if_it_is_there(data: Path, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Text:
        loudness = "loudness" in str(body["messages"][0]["content"])
        return Text("1\nbecause" if loudness else "<think>\nit is", finish="length")

    with OpenAIServer(answer) as server:
        rows = lines(judged(server, data, tmp_path / "out.jsonl").predictions)
    for row in rows:
        if row["aspect"] == "loudness":
            assert (row["shown_verdict"], row["rationale"]) == ("first", "because")
        else:
            assert (row["verdict"], row["unscored"]) == (None, "<think> is not closed")


def completion(text: str, tokens: list[tuple[str, dict[str, float]]]) -> Raw:
    """A reply with the likeliest tokens of each place, as probabilities."""
    content = [
        {
            "token": token,
            "logprob": math.log(shares[token]),
            "top_logprobs": [{"token": name, "logprob": math.log(share)} for name, share in shares.items()],
        }
        for token, shares in tokens
    ]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        "logprobs": {"content": content},
    }
    return Raw(json.dumps({"model": "m", "choices": [choice], "usage": {}}).encode())


def test_label_probabilities_come_from_the_listed_tokens(data: Path, tmp_path: Path) -> None:
    listed = {"1": 0.5, "2": 0.3, "T": 0.1, "the": 0.1}
    with OpenAIServer(
        lambda body: completion("1\nx", [("1", listed), ("\n", {"\n": 1.0}), ("x", {"x": 1.0})])
    ) as server:
        rows = lines(judged(server, data, tmp_path / "out.jsonl", logprobs=True).predictions)
        assert server.requests[0]["top_logprobs"] == 20
    straight = {"first": 0.5555556, "second": 0.3333333, "tie": 0.1111111}
    assert rows[0]["probabilities"] == straight
    assert rows[1]["probabilities"] == {"first": 0.3333333, "second": 0.5555556, "tie": 0.1111111}


def of(tokens: list[tuple[str, dict[str, float]]], judge: JudgeSpec = PLAIN) -> dict[str, float] | None:
    text = "".join(token for token, _ in tokens)
    answer = json.loads(completion(text, tokens).body)["choices"][0]
    found = label_shares(text, answer["logprobs"], judge)
    return None if found is None else dict(found.probabilities)


def test_listed_tokens_are_read_where_and_as_the_label_stands() -> None:
    thinks = dataclasses.replace(PLAIN, chain_of_thought=True)
    certain = {"<think>1</think><answer>": 1.0}
    assert of(
        [(next(iter(certain)), certain), ("\n2", {"\n2": 0.6, "\n1": 0.2}), ("</answer>", {"</answer>": 1.0})], thinks
    ) == (pytest.approx({"first": 0.25, "second": 0.75, "tie": 0.0}))
    assert of([("Tie", {"Tie": 0.4, "tie": 0.5, "1": 0.4})]) == pytest.approx({"first": 0.5, "second": 0.0, "tie": 0.5})
    assert of([("Response 2 is better.", {"Response 2 is better.": 1.0})]) is None
    alike = dataclasses.replace(PLAIN, labels={"first": "Response 1", "second": "Response 2", "tie": "Tie"})
    assert of([("Response", {"Response": 0.9, "Tie": 0.1}), (" 1", {" 1": 1.0})], alike) is None
    assert label_shares("1", None, PLAIN) is None
    assert label_shares("1", {"content": [{"token": "2", "logprob": 0.0}]}, PLAIN) is None


def test_clips_of_other_formats_travel_as_wave(data: Path, tmp_path: Path) -> None:
    samples, rate = soundfile.read(data / "clip0.wav")
    soundfile.write(data / "clip0.flac", samples, rate)
    rows = (data / "pairs.jsonl").read_text().replace("clip0.wav", "clip0.flac")
    (data / "pairs.jsonl").write_text(rows)
    with OpenAIServer(louder) as server:
        judged(server, data, tmp_path / "out.jsonl")
        urls = [
            part["audio_url"]["url"] for part in server.requests[0]["messages"][0]["content"] if "audio_url" in part
        ]
    assert all(url.startswith("data:audio/wav;base64,") for url in urls)


SHARES = {True: {"1": 0.7, "Tie": 0.2, "2": 0.05}, False: {"2": 0.7, "Tie": 0.2, "1": 0.05}}
"""What the stand-in says of each label, by whether the first clip is the longer one."""


class StandIn:
    """What ``vllm.LLM`` takes and gives, with a judge that names the longer clip."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def generate(self, prompts: list, sampling: list, lora_request: Any = None, **_: Any) -> list:
        from transformers import AutoTokenizer

        self.lora = lora_request
        tokenizer = AutoTokenizer.from_pretrained(self.options["tokenizer"])
        placeholder = tokenizer.convert_tokens_to_ids("<|AUDIO|>")
        answers = []
        for prompt, settings in zip(prompts, sampling, strict=True):
            clips = prompt["multi_modal_data"]["audio"]
            frames = clips["audio_feature_lengths"].tolist()
            assert prompt["prompt_token_ids"].count(placeholder) == len(frames) == 2
            assert clips["input_audio_features"].shape == (128, sum(frames))
            shares = SHARES[frames[0] > frames[1]]
            labels = {label: tokenizer.encode(label, add_special_tokens=False) for label in shares}
            if hasattr(settings, "logprob_token_ids"):
                answers.append(self.next_token(prompt["prompt_token_ids"], settings, shares, labels))
                continue
            best = max(shares, key=shares.__getitem__)
            listed = {
                ids[0]: SimpleNamespace(decoded_token=tokenizer.decode(ids[:1]), logprob=math.log(shares[label]))
                for label, ids in labels.items()
            }
            sample = SimpleNamespace(text=best, token_ids=labels[best][:1], logprobs=[listed])
            answers.append(SimpleNamespace(outputs=[sample] * settings.n))
        return answers

    @staticmethod
    def next_token(ids: list[int], settings: Any, shares: dict[str, float], labels: dict[str, list[int]]) -> Any:
        """Conditional probabilities of the tokens asked for, after as much of a label as the prompt ends in."""
        assert settings.max_tokens == 1
        begun = [path[:end] for path in labels.values() for end in range(len(path))]
        node = max((one for one in begun if not one or ids[-len(one) :] == one), key=len)
        under = {label: path for label, path in labels.items() if path[: len(node)] == node}
        whole = sum(shares[label] for label in under) if node else 1.0
        listed = {0: SimpleNamespace(decoded_token="!", logprob=math.log(0.05))}  # the sampled token comes first
        for token in settings.logprob_token_ids:
            share = sum(shares[label] for label, path in under.items() if path[len(node)] == token)
            listed[token] = SimpleNamespace(decoded_token="?", logprob=math.log(share / whole))
        return SimpleNamespace(outputs=[SimpleNamespace(text="", token_ids=[0], logprobs=[listed])])


class Settings(SimpleNamespace):
    """``vllm.SamplingParams``."""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module, request, platforms = ModuleType("vllm"), ModuleType("vllm.lora.request"), ModuleType("vllm.platforms")
    platforms.current_platform = SimpleNamespace(is_cpu=lambda: True)  # type: ignore[attr-defined]
    module.LLM, module.SamplingParams, module.__version__ = StandIn, Settings, "0"  # type: ignore[attr-defined]
    request.LoRARequest = lambda name, number, path: SimpleNamespace(name=name, path=path)  # type: ignore[attr-defined]
    modules = {"vllm": module, "vllm.platforms": platforms, "vllm.lora": ModuleType("vllm.lora")}
    for name, one in {**modules, "vllm.lora.request": request}.items():
        monkeypatch.setitem(sys.modules, name, one)


@pytest.mark.parametrize(
    "decoding", [Decoding(verdict_only=True), Decoding(samples=2, temperature=1.0)], ids=["labels", "texts"]
)
def test_vllm_gets_token_prompts_and_clips_and_its_lists_become_probabilities(
    stand_in: None, data: Path, tmp_path: Path, tiny_models: dict[str, Path], decoding: Decoding
) -> None:
    engine = VLLMEngine(find_model(str(tiny_models["qwen2_5_omni"])), decoding)
    settings = RunOptions(orders="ab", quiet=True)
    judge_records(records_of(data), engine, str(tmp_path / "out.jsonl"), engine.decoding, settings)
    for row in lines(tmp_path / "out.jsonl"):
        one, two = (len(soundfile.read(path)[0]) for path in row["audios"])
        winner, loser = ("first", "second") if one > two else ("second", "first")
        assert row["verdict"] == winner
        expected = {winner: 0.7 / 0.95, "tie": 0.2 / 0.95, loser: 0.05 / 0.95}
        assert row["probabilities"] == pytest.approx(expected, abs=1e-6)
        assert row["menu_mass"] == pytest.approx(0.95)


def test_an_adapter_reaches_vllm_under_the_names_it_applies_or_not_at_all(
    stand_in: None, data: Path, tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    from peft import LoraConfig, get_peft_model
    from safetensors import safe_open

    from earwitness.infer.model import JudgeModel

    base = str(tiny_models["qwen2_5_omni"])

    def saved(name: str, targets: Any) -> str:
        network = JudgeModel(find_model(base), "cpu")._network
        get_peft_model(network, LoraConfig(r=4, target_modules=targets)).save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    text = saved("text", r"model\.layers\..*\.q_proj")
    engine = VLLMEngine(find_model(text, base), Decoding(verdict_only=True))
    (item,) = make_items(records_of(data, limit=1), ["ab"])
    ((_, answers),) = engine.answer([(0, [item])])
    assert answers[0].failure is None
    assert (engine._llm.options["enable_lora"], engine._llm.options["max_lora_rank"]) == (True, 8)
    with safe_open(Path(engine._llm.lora.path) / "adapter_model.safetensors", framework="pt") as file:
        names = list(file.keys())
    assert names
    assert all(name.startswith("base_model.model.thinker.model.layers.") for name in names)

    with pytest.raises(UserError, match=r"adapts audio_tower\..*vLLM applies LoRA to the text model's layers alone"):
        VLLMEngine(find_model(saved("tower", ["q_proj"]), base), Decoding())
    other = dataclasses.replace(find_model(text, base), family="qwen2_audio")
    with pytest.raises(UserError, match="takes no LoRA adapter for qwen2_audio; merge it with earwitness export"):
        VLLMEngine(other, Decoding())


def test_the_gpus_that_share_a_model_reach_vllm_and_what_it_refuses_is_one_line(
    stand_in: None, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_model(str(tiny_models["qwen2_5_omni"]))
    engine = VLLMEngine(files, Decoding(), tensor_parallel=2, options={"max_num_seqs": 512})
    given = engine._llm.options
    assert (given["tensor_parallel_size"], given["max_num_seqs"], given["enable_prefix_caching"]) == (2, 512, True)
    assert engine.describe()["tensor_parallel"] == 2

    def refuse(**_: Any) -> None:
        raise ValueError("Free memory on device\n  is less than desired")

    monkeypatch.setattr(sys.modules["vllm"], "LLM", refuse)
    with pytest.raises(UserError, match=r"^vLLM does not start: Free memory on device is less than desired$"):
        _ = VLLMEngine(files, Decoding())._llm


def test_without_vllm_its_engine_says_what_to_install(tiny_models: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"needs vLLM.*pip install"):
        VLLMEngine(find_model(str(tiny_models["qwen2_audio"])), Decoding())


def test_a_prompt_for_an_engine_that_expands_clips_itself_is_the_same_but_for_that(
    tiny_models: dict[str, Path], data: Path, stand_in: None
) -> None:
    engine = VLLMEngine(find_model(str(tiny_models["qwen3_omni"])), Decoding())
    (item,) = make_items(records_of(data, limit=1), ["ab"])
    whole = engine.prompts.encode(item.shown.prompt, item.shown.audios).tolist()
    short = engine.prompts.encode(item.shown.prompt, item.shown.audios, expand=False).tolist()
    token = engine.prompts.tokenizer.convert_tokens_to_ids("<|audio_pad|>")
    collapsed = [one for place, one in enumerate(whole) if one != token or whole[place - 1] != token]
    assert short == collapsed
    assert short.count(token) == 2
