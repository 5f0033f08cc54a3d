"""Rewards as a YAML names them: names, weights, options, users' own files, and totals that never count a gap as 0."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest
from openai_server import OpenAIServer, Status

from earwitness.data.records import Record
from earwitness.errors import UserError
from earwitness.judges.spec import JudgeSpec
from earwitness.rewards.evaluator import Evaluator, EvaluatorConfig
from earwitness.rewards.registry import RewardSet, find_reward, load_rewards

OWN = '''
"""A user's file."""
def long(prompts, completions, records, words=3, **columns):
    return [float(len(text.split()) >= words) for text in completions]

def by_language(prompts, completions, records, language, **columns):
    return [1.0 if one == "en" else None for one in language]

def only_pairs(prompts, completions, records, **columns):
    return [2] * len(completions)

only_pairs.applies = lambda record: len(record.audios) == 2

def short_list(prompts, completions, records, **columns):
    return [1.0]

def infinite(prompts, completions, records, **columns):
    return [float("nan")] * len(completions)

def words(prompts, completions, records, **columns):
    return ["good"] * len(completions)
'''


def record(kind: str = "pairwise", response: str = "1\nLess noise.", reference="first", **spec) -> Record:
    judge = JudgeSpec.of_type(kind, **spec)
    return Record("1", "set", 4, judge, None, tuple("ab"[: judge.kind.clips]), "prompt", reference, response)


PAIR = record()
DETECTION = record("speecheval_detection", "fake", "fake")


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return str(path)


def run(rewards: RewardSet, completions: list[str], records: list[Record], **columns):
    return rewards(["p"] * len(completions), completions, records, **columns)


def test_values_and_the_weighted_sum():
    rewards = RewardSet(["verdict_correct", "format"], [2.0, 0.5])
    found = run(rewards, ["1", "**1**", "2", "no idea"], [PAIR] * 4)
    assert found.values == {"verdict_correct": [1, 1, 0, 0], "format": [1, 0, 1, 0]}
    assert found.totals == [2.5, 2.0, 0.5, 0.0]
    assert found.reasons == [None] * 4


def test_a_reward_without_a_value_leaves_the_completion_out():
    found = run(RewardSet(["verdict_correct", "format"]), ["1", "1"], [PAIR, record(reference=None)])
    assert found.totals == [2.0, None]
    assert found.values["verdict_correct"] == [1, None]
    assert found.reasons[1] == "verdict_correct: no value"


def test_a_reward_for_other_records_is_neither_called_nor_missed():
    found = run(RewardSet(["verdict_correct", "detection_exact"], [1.0, 3.0]), ["1", "fake"], [PAIR, DETECTION])
    assert found.totals == [1.0, 3.0]
    assert found.values == {"verdict_correct": [1, None], "detection_exact": [None, 1]}
    detection_only = RewardSet(["detection_exact"])
    assert run(detection_only, ["1"], [PAIR]).reasons == ["no reward applies"]
    with pytest.raises(
        UserError, match=r"none of detection_exact applies to dataset 'set', row 4 \(judge 'pairwise'\)"
    ):
        detection_only.check([DETECTION, PAIR])
    detection_only.check([DETECTION])


def test_users_own_functions_get_columns_and_options(own):
    rewards = RewardSet([f"{own}:long", f"{own}:by_language"], options={f"{own}:long": {"words": 2}})
    found = run(rewards, ["a b", "a", "a b c"], [PAIR] * 3, language=["en", "en", "zh"], words=["x", "y", "z"])
    assert found.values[f"{own}:long"] == [1, 0, 1]
    assert found.totals == [2.0, 1.0, None]


def test_users_own_functions_may_be_for_some_records(own):
    found = run(RewardSet([f"{own}:only_pairs", "format"]), ["1", "fake"], [PAIR, DETECTION])
    assert found.totals == [3.0, 1.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short_list", "must return a list of 2 numbers or None, but returned 1 values"),
        ("infinite", "returned nan; return None"),
        ("words", "must return numbers or None, but one is 'good'"),
    ],
)
def test_what_users_functions_return_is_checked(own, name, message):
    with pytest.raises(UserError, match=message):
        run(RewardSet([f"{own}:{name}"]), ["a", "b"], [PAIR] * 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": []}, "reward_funcs: is empty; name at least one of verdict_correct"),
        ({"names": ["verdict"]}, r"'verdict' is unknown; allowed: verdict_correct, .*helpfulness.*file.py:function"),
        ({"names": ["format", "format"]}, "'format' is named twice"),
        ({"names": ["format"], "weights": [1, 2]}, r"2 weights for 1 rewards \(format\)"),
        ({"names": ["format"], "weights": [float("nan")]}, "must be finite numbers, but one is nan"),
        ({"names": ["accuracy"]}, "'accuracy' is graded by an LLM; declare it under 'evaluator'"),
        ({"names": ["length"], "options": {"length": {"most": 3}}}, "no option 'most'; allowed: min_words, max_words"),
        ({"names": ["format"], "options": {"length": {}}}, "'length' is not among the functions format"),
        ({"names": ["format"], "options": {"format": {"x": 1}}}, "has no option 'x'; allowed: none"),
        ({"names": ["nowhere.py:f"]}, "'nowhere.py:f': no such file"),
        (
            {"names": ["format"], "evaluator": {"base_url": "http://h/v1", "model": "m"}},
            "names none of helpfulness, relevance",
        ),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        load_rewards(**arguments)


def test_a_missing_function_or_a_broken_file_is_named(own, tmp_path):
    with pytest.raises(UserError, match="holds no function 'nope'; it holds: long, by_language, only_pairs"):
        find_reward(f"{own}:nope")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(UserError, match="cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this"):
        find_reward(f"{tmp_path / 'broken.py'}:f")


def test_a_set_is_pickled_and_works_in_another_process(own, tmp_path):
    rewards = RewardSet([f"{own}:long", "verdict_correct", "length"], options={"length": {"max_words": 5}})
    (tmp_path / "set.pickle").write_bytes(pickle.dumps((rewards, PAIR)))
    code = (
        "import pickle, sys, json; rewards, record = pickle.load(open(sys.argv[1], 'rb'));"
        "print(json.dumps(rewards(['p'], ['1 good one'], [record]).totals))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path / "set.pickle")]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == run(rewards, ["1 good one"], [PAIR]).totals


def test_criteria_are_graded_together_and_mixed_with_exact_detection():
    with OpenAIServer(lambda body: json.dumps({body["messages"][0]["content"].rsplit('"', 2)[1]: 8})) as server:
        config = {"base_url": server.url, "model": "m", "backoff": 0.01}
        names = ["helpfulness", "relevance", "accuracy", "level_of_detail", "detection_exact"]
        rewards = load_rewards(names, evaluator=config)
        assert list(rewards.weights.values()) == [1, 1, 2, 0.5, 1]
        server.latency = 0.05
        found = run(rewards, ["1\nLess noise.", "2\nMore noise.", "fake"], [PAIR, PAIR, DETECTION])
        assert server.peak == len(server.requests) == 8
    assert found.totals == pytest.approx([4.5 * 0.8, 4.5 * 0.8, 1.0])
    assert found.values["accuracy"] == [0.8, 0.8, None]


def test_a_failed_grade_or_a_missing_answer_is_none_and_only_the_first_counts_as_the_evaluators():
    thinker = record(response="<think>\nx\n</think>\n\n<answer>\n1\n</answer>", chain_of_thought=True)

    def answer(body):
        return Status(503) if "> broken" in body["messages"][0]["content"] else '{"accuracy": 5}'

    with OpenAIServer(answer) as server:
        config = EvaluatorConfig.from_mapping({"base_url": server.url, "model": "m", "attempts": 1})
        rewards = RewardSet(["accuracy", "format"], evaluator=Evaluator(config))
        texts = ["fine", "broken", "1", "<think>\nx\n</think>\n\n<answer>\n1"]
        found = run(rewards, texts, [PAIR, PAIR, thinker, thinker])
        assert not any("None" in str(body["messages"]) for body in server.requests)
    assert found.totals == [1.0, None, None, None]
    assert found.reasons[1].startswith("accuracy: server: status 503")
    assert found.reasons[2] == "accuracy: no <answer> part"
    assert found.reasons[3] == "accuracy: <answer> is not closed"
    assert rewards.evaluator.monitor.counts() == (1, 2)
