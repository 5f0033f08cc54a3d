"""The judge block: defaults, what it refuses and how it says so."""

import pickle

import pytest

from earwitness.errors import UserError
from earwitness.judges.registry import JUDGE_TYPES
from earwitness.judges.spec import JudgeSpec


def entry(formatting="speech_pair", **judge):
    return {"file_name": "rows.jsonl", "formatting": formatting, "judge": judge}


def test_an_empty_block_gives_the_generic_judge_of_the_formatting():
    spec = JudgeSpec.from_entry("mine", entry())
    assert (spec.type, spec.template, spec.labels) == (
        "pairwise",
        "earwitness/pairwise",
        {"first": "1", "second": "2", "tie": "Tie"},
    )
    assert (spec.chain_of_thought, spec.order_swap, spec.aspects) == (False, "none", ())
    assert JudgeSpec.from_entry("mine", entry("speech_clip")).type == "score"


def test_every_key_reaches_the_spec():
    spec = JudgeSpec.from_entry(
        "mine",
        entry(
            type="pairwise",
            template="sagelm/pairwise",
            aspects=["noise", "overall quality"],
            labels={"first": "A", "second": "B"},
            verdict_values={"1": "first", "-1": "second"},
            scale=None,
            chain_of_thought=True,
            order_swap="random",
            clip_names=["Sample A", "Sample B"],
            language="French",
        ),
    )
    assert spec == JudgeSpec(
        type="pairwise",
        template="sagelm/pairwise",
        aspects=("noise", "overall quality"),
        labels={"first": "A", "second": "B"},
        verdict_values={"1": "first", "-1": "second"},
        chain_of_thought=True,
        order_swap="random",
        clip_names=("Sample A", "Sample B"),
        language="French",
    )
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(spec) == hash(pickle.loads(pickle.dumps(spec)))


@pytest.mark.parametrize(
    ("formatting", "judge", "named"),
    [
        (
            "speech_pair",
            {"tempalte": "x"},
            ["unknown key 'tempalte'", "did you mean 'template'", "order_swap"],
        ),
        ("speech_pair", {"type": "pariwise"}, ["pariwise", "sagelm_semantic", "alld_ab"]),
        ("speech_pair", {"type": "score"}, ["hears 1 clip", "pairwise"]),
        ("speech_clip", {"type": "pairwise"}, ["hears 2 clip", "rate_clip"]),
        ("speech_pair", {"template": "sagelm/other"}, ["sagelm/other", "sagelm/pairwise", ".jinja"]),
        ("speech_pair", {"template": "../secret"}, ["unknown template"]),
        ("speech_pair", {"template": "/nowhere/mine.jinja"}, ["/nowhere/mine.jinja", "no such file"]),
        ("speech_pair", {"type": "sagelm_semantic", "aspects": ["humour"]}, ["humour", "helpfulness", "honesty"]),
        ("speech_pair", {"aspects": ["noise", "Noise "]}, ["occurs twice"]),
        ("speech_pair", {"aspects": "noise"}, ["must be a list"]),
        ("speech_pair", {"aspects": []}, ["at least one"]),
        ("speech_pair", {"labels": {"first": "1", "second": "2", "draw": "0"}}, ["draw", "first, second, tie"]),
        ("speech_pair", {"labels": {"first": "1", "tie": "Tie"}}, ["'second' is missing"]),
        ("speech_pair", {"labels": {"first": "X", "second": "**x**"}}, ["occurs twice"]),
        ("speech_pair", {"labels": {"first": 1, "second": 2}}, ["non-empty texts"]),
        ("speech_pair", {"labels": {"first": "1\n", "second": "2"}}, ["spans lines"]),
        ("speech_pair", {"labels": ["1", "2"]}, ["must be an object"]),
        ("speech_clip", {"labels": {"first": "1"}}, ["no labels"]),
        ("speech_pair", {"verdict_values": {"A": "1"}}, ["'A' maps to '1'", "first, second, tie"]),
        ("speech_pair", {"verdict_values": {}}, ["must map"]),
        ("speech_clip", {"scale": [5, 1]}, ["[5, 1]", "[lowest, highest]"]),
        ("speech_clip", {"scale": [1, float("nan")]}, ["scale"]),
        ("speech_clip", {"scale": ["bad", "good"]}, ["scale"]),
        ("speech_clip", {"type": "rate_clip", "aspects": ["noise"], "scale": ["bad", "bad"]}, ["occurs twice"]),
        ("speech_pair", {"scale": [1, 5]}, ["gives no scores"]),
        ("speech_clip", {"type": "rate_clip"}, ["needs the list of aspects"]),
        ("speech_pair", {"chain_of_thought": "yes"}, ["'yes'", "true, false"]),
        ("speech_pair", {"order_swap": "sometimes"}, ["sometimes", "none, random, always"]),
        ("speech_clip", {"order_swap": "random"}, ["needs two clips"]),
        ("speech_pair", {"clip_names": ["Only"]}, ["hears 2"]),
        ("speech_pair", {"language": 3}, ["name of a language"]),
    ],
)
def test_a_wrong_block_is_refused_with_what_is_allowed(formatting, judge, named):
    with pytest.raises(UserError) as error:
        JudgeSpec.from_entry("mine", entry(formatting, **judge))
    message = str(error.value)
    assert "\n" not in message
    for part in (*named, "dataset_info.json, entry 'mine'"):
        assert part in message


def test_a_block_that_is_no_object_is_refused():
    with pytest.raises(UserError, match="must be an object"):
        JudgeSpec.from_entry("mine", {"formatting": "speech_pair", "judge": "pairwise"})


@pytest.mark.parametrize(
    ("values", "value", "verdict"),
    [
        (None, "first", "first"),
        (None, " TIE ", "tie"),
        (None, 2, "second"),
        (None, 2.0, "second"),
        (None, "3", None),
        (None, "A", None),
        ({"A": "first", "B": "second", "0": "tie"}, "A", "first"),
        ({"A": "first", "B": "second", "0": "tie"}, 0, "tie"),
        ({"A": "first", "B": "second"}, "first", None),
        ({"-1": "second", "1": "first"}, -1, "second"),
    ],
)
def test_values_of_the_data_become_verdicts_by_declaration_only(values, value, verdict):
    judge = {} if values is None else {"verdict_values": values}
    assert JudgeSpec.from_entry("mine", entry(**judge)).canonical(value) == verdict


def test_every_type_has_its_template_and_consistent_parts():
    for name, kind in JUDGE_TYPES.items():
        spec = JudgeSpec.of_type(name)
        assert spec.kind is kind
        assert kind.clips in (1, 2)
        assert set(kind.optional_labels) <= set(kind.labels)
        assert set(kind.written_aspects) <= set(kind.aspects)
        assert ("verdict" in kind.columns) == bool(kind.labels)
