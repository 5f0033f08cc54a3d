"""The client and ``earwitness caption`` against the host's own server, with a tiny random text model."""

from __future__ import annotations

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
from tiny_text_model import build

from earwitness.cli.caption import main
from earwitness.llm import ChatRequest, Endpoint, Failure, Reply
from earwitness.llm.client import ChatClient

CLI = Path(sys.executable).with_name("llamafactory-cli")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    if not CLI.is_file():
        pytest.skip("llamafactory-cli is not installed beside this Python")
    folder = tmp_path_factory.mktemp("api")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(CLI), "api", "--model_name_or_path", str(build(folder / "model")), "--template", "qwen"]
    environment = {**os.environ, "API_HOST": "127.0.0.1", "API_PORT": str(port), "FASTAPI_ROOT_PATH": ""}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            if server.poll() is not None:
                pytest.fail(f"the server ended: {(folder / 'log').read_text()[-2000:]}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        else:
            pytest.fail(f"the server did not start: {(folder / 'log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()


def test_it_answers_and_a_cut_off_text_is_a_failure(url):
    chat = ChatClient(Endpoint(url, "tiny", deadline=120))
    long, *short = chat.ask_all(
        [
            ChatRequest.user("Tell me.", temperature=1.0, max_tokens=6000),
            *(ChatRequest.user(f"Tell me {n}.", max_tokens=3, schema={"type": "object"}) for n in range(3)),
        ]
    )
    assert isinstance(long, Reply), long
    assert long.prompt_tokens > 5
    assert 0 < long.completion_tokens < 6000
    assert [(one.kind, one.attempts) for one in short] == [("truncated", 1)] * 3


def test_an_unknown_role_is_refused_with_the_servers_words(url):
    (failure,) = ChatClient(Endpoint(url, "tiny")).ask_all([ChatRequest(({"role": "judge", "content": "x"},))])
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.attempts) == ("refused", 1)
    assert "status 422" in failure.message


def test_random_text_is_no_description(url, tmp_path, capsys):
    """A model that writes nonsense: nothing of it is stored as a description or a summary."""
    for number in (1, 2):
        ratings = {"mos": 1.63 + number, "noi": 2, "col": 2, "dis": 2, "loud": 2}
        (tmp_path / f"{number}.json").write_text(json.dumps(ratings))
    metrics = ["--metrics1", str(tmp_path / "1.json"), "--metrics2", str(tmp_path / "2.json")]
    options = ["--output", str(tmp_path / "out"), "--base-url", url, "--model", "tiny", "--max-tokens", "200"]
    assert main([*metrics, *options, "--tries", "1"]) == 1
    assert not list((tmp_path / "out").glob("*.txt"))
    assert len(list((tmp_path / "out").glob("*.json"))) == 2
    assert "6 texts failed" in capsys.readouterr().err
