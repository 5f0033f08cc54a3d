"""A judge behind the host's HTTP API: two clips in one request, and requests that are wrong."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from earwitness.judges.prompts import render
from earwitness.judges.spec import JudgeSpec

SERVE = Path(__file__).resolve().parents[1] / "scripts" / "my_infer" / "serve.sh"
START_SECONDS = 240  # importing torch and transformers takes 10 s of CPU, on machines that do other things too


@pytest.fixture(scope="module")
def server(tiny_models):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "API_PORT": str(port)}
    command = ["bash", SERVE, tiny_models["qwen2_5_omni"], "qwen2_omni", "--max_new_tokens", "8"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=1):
                        break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        process.kill()
                        pytest.fail(f"the server did not start: {process.stdout.read().decode()[-3000:]}")
                    time.sleep(0.3)
            yield f"http://127.0.0.1:{port}/v1/chat/completions"
        finally:
            process.kill()


def ask(url: str, content: list[dict]) -> tuple[int, dict]:
    body = json.dumps({"model": "judge", "messages": [{"role": "user", "content": content}]}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def text(content: str) -> dict:
    return {"type": "text", "text": content}


def audio(path: Path) -> dict:
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{data}"}}


def pair_of(first: Path, second: Path) -> list[dict]:
    """The SageLM question about two clips, text and clips in the order of the prompt."""
    prompt = render(JudgeSpec.of_type("pairwise"), aspect="noise")
    before, between, after = prompt.split("<audio>")
    return [text(before), audio(first), text(between), audio(second), text(after)]


def test_two_clips_in_one_request(server, pair_data):
    status, reply = ask(server, pair_of(pair_data / "clip0.wav", pair_data / "clip5.wav"))
    assert status == 200, reply
    assert isinstance(reply["choices"][0]["message"]["content"], str)


def test_real_clips(server, shared):
    clips = sorted((shared / "data" / "speecheval" / "audios").glob("*.wav"))[:2]
    status, reply = ask(server, pair_of(*clips))
    assert status == 200, reply


def test_literal_placeholder_is_refused_with_its_reason(server, pair_data):
    status, reply = ask(server, [text("Say <audio> twice."), audio(pair_data / "clip0.wav")])
    assert status == 400
    assert "2 <audio> placeholders but 1 audios" in reply["detail"]


def test_clip_that_is_no_audio_is_refused_with_its_reason(server, tmp_path):
    (tmp_path / "text.wav").write_text("this is no sound")
    status, reply = ask(server, [text("Rate this."), audio(tmp_path / "text.wav")])
    assert status == 400
    assert "not" in reply["detail"]


def test_local_files_are_out_of_reach(server, pair_data):
    clip = {"type": "audio_url", "audio_url": {"url": str(pair_data / "clip0.wav")}}
    status, _reply = ask(server, [text("Rate this."), clip])
    assert status in (400, 403)


def test_the_engine_for_servers_says_what_the_engine_for_folders_says(server, pair_data, tiny_models, tmp_path):
    import torch

    from earwitness.data.records import load_records
    from earwitness.infer.api_engine import APIEngine
    from earwitness.infer.hf_engine import HFEngine
    from earwitness.infer.model import find_model
    from earwitness.infer.options import Decoding
    from earwitness.infer.run import RunOptions, judge_records
    from earwitness.llm.endpoint import Endpoint

    rows = [
        {"id": f"{n}", "audio_a": f"clip{n}.wav", "audio_b": f"clip{n + 1}.wav", "aspect": "noise"} for n in range(4)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = {"file_name": "rows.jsonl", "formatting": "speech_pair", "judge": {"type": "pairwise"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": entry}))
    records = load_records("rows", tmp_path, pair_data)
    decoding, options = Decoding(max_new_tokens=8), RunOptions(quiet=True)
    engines = {
        "hf": HFEngine(find_model(str(tiny_models["qwen2_5_omni"])), decoding, device="cpu"),
        "api": APIEngine(Endpoint(server.removesuffix("/chat/completions"), "judge"), decoding),
    }
    # An untrained model writes special tokens; a server cannot be kept from them, and leaves them out of the text.
    model = engines["hf"].model
    engines["hf"]._forbidden = torch.zeros(model.vocabulary, dtype=torch.bool)
    said = {}
    for name, engine in engines.items():
        path = judge_records(records, engine, str(tmp_path / f"{name}.jsonl"), decoding, options).predictions
        said[name] = [json.loads(line) for line in path.read_text().splitlines()]
    for here, there in zip(said["hf"], said["api"], strict=True):
        assert here["raw"] == there["raw"]
        assert {name for name in here if here[name] != there[name]} <= {"model", "probabilities", "menu_mass"}
