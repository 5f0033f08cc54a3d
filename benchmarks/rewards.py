"""Evaluator rewards of one GRPO step: the seed's way against ours, on a loopback server with a fixed latency.

    python benchmarks/rewards.py [--completions 16] [--latency 0.05] [--repeats 10] [--json FILE]

The seed grades one criterion after another, one completion at a time, over one kept-alive connection. Ours asks for all
of them together. Both send the same requests to the same server (a process of its own), which answers after
``--latency`` seconds with a grade that depends on the request's text alone, so equal grades can be demanded. The third
line, one request for all four criteria, is another prompt; its grades are not compared.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

from earwitness.llm.client import ChatClient
from earwitness.llm.endpoint import Endpoint
from earwitness.rewards.criteria import CRITERIA, Material, grade_request, read_grades
from earwitness.rewards.evaluator import Evaluator, EvaluatorConfig

SERVER = Path(__file__).resolve().parents[1] / "tests" / "openai_server.py"
MODEL = "grader"
Grades = list[dict[str, int]]


@contextlib.contextmanager
def server(latency: float) -> Iterator[str]:
    """Start the server; its address."""
    command = [sys.executable, str(SERVER), "--latency", str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def materials(count: int) -> list[Material]:
    """Comparisons of about the length that SpeechEval's have."""
    reference = "Sample B is better overall. " + "A has artifacts from 0 to 3.4 s and a metallic tone. " * 8
    return [
        Material("Comparison", "Sample A: <audio> Sample B: <audio> Compare.", reference, f"Answer {n}. " + reference)
        for n in range(count)
    ]


def one_by_one(url: str, cases: list[Material], max_tokens: int) -> Grades:
    """The seed's way."""
    parts = urllib.parse.urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port)
    grades: Grades = [{} for _ in cases]
    for criterion in CRITERIA:
        for case, found in zip(cases, grades, strict=True):
            request = grade_request(case, [criterion], max_tokens)
            body = json.dumps({**request.body(), "model": MODEL})
            connection.request("POST", f"{parts.path}/chat/completions", body, {"Content-Type": "application/json"})
            text = json.loads(connection.getresponse().read())["choices"][0]["message"]["content"]
            read = read_grades(text, [criterion])
            assert isinstance(read, dict), read
            found.update(read)
    connection.close()
    return grades


def all_at_once(url: str, cases: list[Material], together: bool) -> Grades:
    """Ours, a new client each time, as the first step of a run has it."""
    config = EvaluatorConfig(server=Endpoint(url, MODEL), together=together)
    graded = Evaluator(config, ChatClient(Endpoint(url, MODEL))).grade_all(cases)
    return [{name: round(10 * one.value) for name, one in row.items() if one.value is not None} for row in graded]


def seconds(function: Callable[[], Grades], repeats: int) -> tuple[float, Grades]:
    """The fastest of ``repeats`` runs after a first one (other work on the machine only adds), and its grades."""
    taken, grades = [], function()
    for _ in range(repeats):
        start = time.perf_counter()
        grades = function()
        taken.append(time.perf_counter() - start)
    return min(taken), grades


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--completions", type=int, default=16)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds before the server answers")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    options = parser.parse_args()
    cases = materials(options.completions)
    tokens = EvaluatorConfig().max_tokens
    with server(options.latency) as url:
        seed_time, seed = seconds(lambda: one_by_one(url, cases, tokens), max(1, options.repeats // 5))
        our_time, ours = seconds(lambda: all_at_once(url, cases, False), options.repeats)
        together_time, _ = seconds(lambda: all_at_once(url, cases, True), options.repeats)
    if seed != ours:
        sys.exit("the two ways gave different grades")
    print(f"{options.completions} completions x {len(CRITERIA)} criteria, {options.latency * 1000:g} ms latency")
    print(f"one after another (seed)     {seed_time:8.3f} s     1.0 x")
    print(f"all at once, same requests   {our_time:8.3f} s  {seed_time / our_time:6.1f} x   the same grades")
    print(f"all at once, four in one     {together_time:8.3f} s  {seed_time / together_time:6.1f} x")
    if options.json:
        from earwitness.files import write_json

        figures = {"seed_seconds": seed_time, "seconds": our_time, "together_seconds": together_time}
        setting = {"completions": options.completions, "criteria": len(CRITERIA), "latency": options.latency}
        ratios = {"ratio": seed_time / our_time, "together_ratio": seed_time / together_time, "same_grades": True}
        write_json(options.json, {**setting, **figures, **ratios})


if __name__ == "__main__":
    main()
