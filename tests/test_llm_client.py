"""The chat client against a real server on loopback that fails on purpose."""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import pickle
import random
import time

import pytest
from openai_server import Cut, Hangup, OpenAIServer, Raw, Slow, Status, Text, Wait

from earwitness.errors import UserError
from earwitness.llm import ChatRequest, Endpoint, Failure, Reply
from earwitness.llm.client import ChatClient

SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}


def client(server: OpenAIServer, **options) -> ChatClient:
    options = {"backoff": 0.01, "attempt_timeout": 5.0, "deadline": 20.0, **options}
    return ChatClient(Endpoint(base_url=server.url, model="m", **options))


def ask(server: OpenAIServer, *texts: str, **options) -> list[Reply | Failure]:
    return client(server, **options).ask_all([ChatRequest.user(text) for text in texts])


def test_replies_come_in_order_and_concurrency_is_bounded():
    def answer(body):
        number = int(body["messages"][0]["content"])
        return Wait(0.002 * ((number * 7) % 10), Text(str(number)))

    with OpenAIServer(answer) as server:
        replies = ask(server, *map(str, range(60)), concurrency=8)
        assert [reply.text for reply in replies] == [str(number) for number in range(60)]
        assert 1 < server.peak <= 8
        assert server.requests[0]["model"] == "m"
        assert server.requests[0]["temperature"] == 0.0


def test_equal_requests_are_asked_once_unless_they_are_different_samples():
    with OpenAIServer() as server:
        requests = [ChatRequest.user("a"), ChatRequest.user("a"), ChatRequest.user("a", sample=1)]
        assert [reply.text for reply in client(server).ask_all(requests)] == ["ok"] * 3
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "trouble",
    [
        Status(429, {"Retry-After": "0"}),
        Status(500),
        Status(503),
        Raw(b"<html>bad gateway</html>"),
        Raw(b'{"choices": []}'),
        Raw(b"[1, 2]"),
        Raw(b'{"choices": [{"message": {"content": 7}}]}'),
        Cut(),
        Hangup(),
        Text(""),
        Text(None),
        Wait(1.0, Text("late")),
        Slow("late", 0.01),
    ],
    ids=repr,
)
def test_passing_trouble_is_overcome(trouble):
    with OpenAIServer(script=[trouble]) as server:
        asked = client(server, attempt_timeout=0.3)
        (reply,) = asked.ask_all([ChatRequest.user("a")])
        assert isinstance(reply, Reply)
        assert (reply.text, reply.attempts, len(server.requests)) == ("ok", 2, 2)
        assert (asked.usage.requests, asked.usage.retries, asked.usage.failed) == (1, 1, 0)


@pytest.mark.parametrize(
    ("trouble", "kind", "attempts"),
    [
        (Status(429), "rate_limit", 3),
        (Status(500, message="out of memory"), "server", 3),
        (Raw(b"garbage"), "server", 3),
        (Cut(), "connection", 3),
        (Wait(1.0, Text("late")), "timeout", 3),
        (Status(401, message="bad key"), "refused", 1),
        (Status(400, message="too long"), "refused", 1),
        (Status(302, {"Location": "http://127.0.0.1:1/"}), "refused", 1),
        (Text("half a sent", finish="length"), "truncated", 1),
        (Text("", finish="content_filter"), "refused", 1),
        (Text("  \n"), "empty", 2),
    ],
    ids=repr,
)
def test_lasting_trouble_becomes_a_failure_with_its_reason(trouble, kind, attempts):
    with OpenAIServer(lambda body: trouble) as server:
        (failure,) = ask(server, "a", attempts=3, attempt_timeout=0.2)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.attempts, len(server.requests)) == (kind, attempts, attempts)
        assert getattr(trouble, "message", "") in failure.message
        assert "half a sent" not in failure.message


def test_one_bad_request_does_not_touch_the_others():
    with OpenAIServer(lambda body: Status(400) if body["messages"][0]["content"] == "3" else "ok") as server:
        results = ask(server, *map(str, range(6)), concurrency=2)
        assert [isinstance(result, Reply) for result in results] == [True, True, True, False, True, True]


def test_a_server_that_is_not_there_is_a_failure_too():
    with OpenAIServer() as server:
        pass
    (failure,) = ask(server, "a", attempts=2)
    assert failure.kind == "connection"


def test_retry_after_is_obeyed_by_every_request():
    arrivals = []

    def answer(body):
        arrivals.append(time.monotonic())
        return "ok"

    with OpenAIServer(answer, script=[Status(429, {"Retry-After": "0.5"})]) as server:
        start = time.monotonic()
        ask(server, *map(str, range(5)), concurrency=1)
        assert min(arrivals) - start >= 0.5


def test_retry_after_as_a_date_and_beyond_the_deadline():
    late = email.utils.format_datetime(email.utils.localtime().replace(microsecond=0).replace(year=2099))
    with OpenAIServer(lambda body: Status(503, {"Retry-After": late})) as server:
        (failure,) = ask(server, "a")
        assert (failure.kind, failure.attempts, len(server.requests)) == ("server", 1, 1)
        assert "beyond the deadline" in failure.message


def test_the_deadline_ends_all_attempts():
    with OpenAIServer(lambda body: Status(500)) as server:
        (failure,) = ask(server, "a", deadline=1.5, attempts=10_000, max_backoff=0.05)
        assert failure.kind == "deadline"
        assert failure.attempts >= 2
        assert "status 500" in failure.message


def test_unreadable_replies_are_asked_again_and_never_cached(tmp_path):
    def accept(text):
        return None if text.isdigit() else "not a number"

    request = ChatRequest.user("a", accept=accept)
    with OpenAIServer(script=[Text("seven"), Text("seven"), Text("7")]) as server:
        first = client(server, cache_dir=str(tmp_path)).ask_all([request])[0]
        assert (first.kind, first.message, first.attempts) == ("unreadable", "not a number", 2)
        assert not list(tmp_path.rglob("*.json"))
        second = client(server, cache_dir=str(tmp_path)).ask_all([request])[0]
        assert (second.text, second.cached) == ("7", False)


def test_the_cache_answers_after_a_restart_and_survives_damage(tmp_path):
    with OpenAIServer() as server:
        before = client(server, cache_dir=str(tmp_path)).ask_all([ChatRequest.user("a", seed=1)])[0]
        asked = client(server, cache_dir=str(tmp_path))
        again, other = asked.ask_all([ChatRequest.user("a", seed=1), ChatRequest.user("a", seed=2)])
        assert (before.cached, again.cached, other.cached, len(server.requests)) == (False, True, False, 2)
        assert (again.text, asked.usage.cached, asked.usage.prompt_tokens) == ("ok", 1, 10)
        for path in tmp_path.rglob("*.json"):
            path.write_text("{")
        assert not client(server, cache_dir=str(tmp_path)).ask_all([ChatRequest.user("a", seed=1)])[0].cached
    assert client(server, cache_dir=str(tmp_path)).ask_all([ChatRequest.user("a", seed=1)])[0].cached


def test_the_key_goes_to_the_server_and_nowhere_else(tmp_path, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    echo = Status(500, message="key sk-very-secret is out of credit")
    with OpenAIServer(script=[echo]) as server:
        asked = client(server, api_key_env="MY_KEY", cache_dir=str(tmp_path), attempts=1)
        failure, reply = asked.ask_all([ChatRequest.user("a")])[0], asked.ask_all([ChatRequest.user("b")])[0]
        assert server.headers[0]["authorization"] == "Bearer sk-very-secret"
    files = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    seen = [repr(asked), str(asked.__dict__), repr(failure), repr(reply), caplog.text, files, repr(pickle.dumps(asked))]
    assert "out of credit" in failure.message
    assert not any("sk-very-secret" in text for text in seen)


def test_a_missing_key_is_a_user_error_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with OpenAIServer() as server, pytest.raises(UserError, match="MY_KEY is not set"):
        ask(server, "a", api_key_env="MY_KEY")
    assert not server.requests


def test_it_works_inside_a_running_loop_after_pickling_and_without_moving_the_seeded_generator():
    with OpenAIServer(script=[Status(500)]) as server:
        asked = pickle.loads(pickle.dumps(client(server)))
        random.seed(3)
        state = random.getstate()

        async def inside():
            return asked.ask_all([ChatRequest.user("a"), ChatRequest.user("b")])

        assert [reply.text for reply in asyncio.run(inside())] == ["ok", "ok"]
        assert random.getstate() == state


def test_schema_and_choices_are_sent_as_the_server_takes_them():
    request = ChatRequest.user("a", schema=SCHEMA, choices=("1", "2"))
    with OpenAIServer() as server:
        for guidance in ("json_schema", "vllm", "none"):
            client(server, guidance=guidance).ask_all([request])
        first, second, third = server.requests
        assert first["response_format"]["json_schema"]["schema"] == SCHEMA
        assert second["structured_outputs"] == {"choice": ["1", "2"]}
        assert not {"response_format", "structured_outputs"} & set(third)


def test_auto_guidance_is_given_up_once_and_said(caplog):
    def answer(body):
        return Status(400, message="response_format is not supported") if "response_format" in body else "ok"

    with OpenAIServer(answer) as server:
        asked = client(server, concurrency=1)
        replies = asked.ask_all([ChatRequest.user(str(number), schema=SCHEMA) for number in range(3)])
        assert [reply.text for reply in replies] == ["ok"] * 3
        assert len(server.requests) == 4
    assert caplog.text.count("does not take a JSON schema") == 1


def test_cost_and_budget_are_counted():
    with OpenAIServer(lambda body: Text("ok", prompt_tokens=1000, completion_tokens=100)) as server:
        asked = client(server, prompt_price=1.0, completion_price=10.0, budget=0.005, concurrency=1)
        results = asked.ask_all([ChatRequest.user(str(number)) for number in range(5)])
        assert asked.usage.cost == pytest.approx(3 * 0.002)
        assert [isinstance(result, Reply) for result in results] == [True, True, True, False, False]
        assert results[-1].kind == "budget"
        assert (asked.usage.requests, asked.usage.failed) == (5, 2)


def test_results_are_reported_as_they_end():
    seen = {}
    with OpenAIServer() as server:
        results = client(server).ask_all([ChatRequest.user(str(n % 3)) for n in range(6)], seen.__setitem__)
    assert [seen[index] for index in range(6)] == results


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "m"}, "evaluator: needs 'base_url'"),
        ({"base_url": "localhost:8000", "model": "m"}, "is no address"),
        ({"base_url": "http://user:pw@h/v1", "model": "m"}, "holds a user name or password"),
        ({"base_url": "http://h/v1", "model": "m", "guidance": "magic"}, "allowed: auto, json_schema, vllm, none"),
        ({"base_url": "http://h/v1", "model": "m", "api_key": "x"}, "unknown field 'api_key'; allowed: api_key_env"),
        ({"base_url": "http://h/v1", "model": "m", "concurrency": "8"}, "'concurrency' must be a number"),
        ({"base_url": "http://h/v1", "model": "m", "attempts": 0}, "attempts: must be at least 1"),
        ({"base_url": "http://h/v1", "model": "m", "budget": 1.0}, "budget: needs"),
    ],
)
def test_bad_endpoints_are_named(values, message):
    with pytest.raises(UserError, match=message):
        Endpoint.from_mapping(values)


def test_processes_share_the_concurrency():
    endpoint = Endpoint("http://127.0.0.1:1/v1", "m", concurrency=16)
    assert [ChatClient(endpoint, processes=n).concurrency for n in (1, 4, 64)] == [16, 4, 1]


def test_proxies_are_not_used_for_loopback(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with OpenAIServer() as server:
        assert ask(server, "a")[0].text == "ok"
    monkeypatch.setenv("no_proxy", "")
    with OpenAIServer() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        asked = ChatClient(Endpoint("http://example.invalid/v1", "m", attempts=1))
        assert asked.ask_all([ChatRequest.user("a")])[0].text == "ok"
        assert proxy.headers[0]["host"] == "example.invalid"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_can_ask():
    with OpenAIServer() as server:
        asked = client(server)
        asked.ask_all([ChatRequest.user("a")])
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            text = asked.ask_all([ChatRequest.user("b")])[0].text
            os.write(write, json.dumps(text).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert json.loads(os.read(read, 100)) == "ok"
