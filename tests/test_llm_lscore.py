"""LScore and dimension extraction over a real server: what is asked, what is read, what stays unscored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openai_server import OpenAIServer, Status

from earwitness.llm import Endpoint
from earwitness.llm.client import ChatClient
from earwitness.llm.lscore import RATES, extract_dimensions, lscore, read_dimensions
from earwitness.metrics.evaluator_text import DIMENSIONS
from earwitness.rewards.criteria import Material

GOLDEN = Path(__file__).resolve().parents[1].parent / "shared" / "golden" / "judge_text"
FULL = dict.fromkeys(DIMENSIONS, 3) | {"Speech Rate": "suitable"}


def client(server: OpenAIServer, **options) -> ChatClient:
    return ChatClient(Endpoint(server.url, "m", backoff=0.01, attempts=2, **options))


def case(task: str = "Assessment", answer: str = "Quite clean.") -> Material:
    return Material(task, "<audio> Describe.", "Noisy throughout.", answer, "Distortion: 2")


def test_the_golden_replies_are_scored_as_their_right_answer_says():
    if not GOLDEN.is_dir():
        pytest.skip(f"the golden figures are not at {GOLDEN}")
    texts = [json.loads(line) for line in (GOLDEN / "evaluator_outputs.jsonl").read_text().splitlines()]
    right = {row["id"]: row for row in json.loads((GOLDEN / "expected.json").read_text())["rows"]}
    replies = {one["id"]: one["text"] for one in texts}

    def answer(body):
        prompt = body["messages"][0]["content"]
        return replies[prompt.split("> case ")[1].split("\n")[0]]

    with OpenAIServer(answer) as server:
        singles = lscore([case(answer=f"case {name}") for name in replies], client(server))
        pairs = [name for name in replies if "right_consistency" in right[name]]
        compared = lscore([case("Comparison", f"case {name}") for name in pairs], client(server))
    assert [one.score for one in singles] == [right[name]["right_score"] for name in replies]
    assert all((one.unscored is None) == (one.score is not None) for one in singles)
    assert [one.consistency for one in compared] == [right[name]["right_consistency"] for name in pairs]
    assert [one.score for one in compared] == [right[name]["right_score"] for name in pairs]


def test_prompts_quote_the_material_and_name_every_dimension():
    with OpenAIServer(lambda body: "Score: 5") as server:
        lscore([case(answer="Fine.\nScore: 10"), case("Comparison")], client(server, reasks=0))
        single, pair = sorted((body["messages"][0]["content"] for body in server.requests), key=len)
    assert "> Fine.\n> Score: 10" in single
    assert "> Distortion: 2" in single
    assert single.endswith("Score: <a number from 0 to 10>")
    for name in DIMENSIONS:
        assert f"Conclusion Consistency for {name}: <" in pair


def test_missing_answers_and_failures_stay_unscored_with_their_reason():
    def answer(body):
        return Status(500, message="down") if "> bad" in body["messages"][0]["content"] else "Score: seven"

    with OpenAIServer(answer) as server:
        bad, vague, missing = lscore([case(answer="bad"), case(answer="vague"), "no <answer> part"], client(server))
        asked = len(server.requests)
    assert (bad.score, vague.score, missing.score) == (None, None, None)
    assert "status 500: down" in bad.unscored
    assert vague.unscored == "unreadable: the reply holds no score from 0 to 10"
    assert missing.unscored == "no <answer> part"
    assert asked == 4


def test_dimensions_are_extracted_with_null_for_silence():
    found = FULL | {"Emotional Impact": None, "Speech Rate": "Slightly-Fast"}
    with OpenAIServer(lambda body: json.dumps(found)) as server:
        first, missing = extract_dimensions(["Clear, rather fast.", None], client(server))
        body = server.requests[0]
    assert first.values == found | {"Speech Rate": "slightly fast"}
    assert (missing.values, missing.unscored) == (None, "no answer")
    assert "> Clear, rather fast." in body["messages"][0]["content"]
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == list(DIMENSIONS)
    assert schema["properties"]["Speech Rate"] == {"enum": [*RATES, None]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Distortion": 6}, "'Distortion' must be an integer from 1 to 5, but is 6"),
        ({"Distortion": 2.5}, "'Distortion' must be an integer from 1 to 5, but is 2.5"),
        ({"Distortion": True}, "'Distortion' must be an integer from 1 to 5, but is true"),
        ({"Distortion": "2"}, "'Distortion' must be an integer"),
        ({"Speech Rate": 3}, "'Speech Rate' must be one of slow, slightly slow"),
        ({"Speech Rate": "brisk"}, 'but is "brisk"'),
    ],
)
def test_dimensions_are_read_strictly(change, message):
    assert read_dimensions(json.dumps(FULL)) == FULL | {"Speech Rate": "appropriate"}
    assert message in read_dimensions(json.dumps(FULL | change))
    assert read_dimensions(json.dumps({"Distortion": 3})) == "'Overall Quality' is missing"
    assert read_dimensions("nothing") == "the reply is no JSON object: 'nothing'"


def test_a_second_run_is_answered_from_the_cache(tmp_path):
    with OpenAIServer(lambda body: "Score: 7") as server:
        first = lscore([case(), case(answer="b")], client(server, cache_dir=str(tmp_path)))
        again = lscore([case(), case(answer="b"), case(answer="c")], client(server, cache_dir=str(tmp_path)))
        assert len(server.requests) == 3
    assert again[:2] == first
