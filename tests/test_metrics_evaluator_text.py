"""Reading evaluator replies: every golden reply, the traps around them, and properties of both readers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.metrics.evaluator_text import CONSISTENCIES, DIMENSIONS, extract_consistency, extract_score

GOLDEN = Path(__file__).resolve().parents[1].parent / "shared" / "golden" / "judge_text"


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="golden figures are not at hand")
def test_every_golden_reply_is_read_as_its_right_answer_says():
    answers = {row["id"]: row for row in json.loads((GOLDEN / "expected.json").read_text())["rows"]}
    replies = [json.loads(line) for line in (GOLDEN / "evaluator_outputs.jsonl").read_text().splitlines()]
    assert len(replies) == len(answers)
    for reply in replies:
        right = answers[reply["id"]]
        assert extract_score(reply["text"]) == right["right_score"], reply["id"]
        silent = dict.fromkeys(DIMENSIONS)
        assert extract_consistency(reply["text"]) == right.get("right_consistency", silent), reply["id"]


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Score：8", 8),
        ("SCORE = 4", 4),
        ("__Score__: 7", 7),
        ("### Score\n\n8/10", 8),
        ("Score:\n\n9", 9),
        ("Score (0-10): 7", 7),
        ("Score for Answer_2: 6", 6),
        ('{"score": 7, "why": "2 faults"}', 7),
        ("Score: [8]", 8),
        ("Score: 8.0/10.0", 8),
        ("Score: 8 / 10.", 8),
        ("Score: 7 out of ten", 7),
        ("Score: 8 (misses 2 of 8 aspects)", 8),
        ("Score: 6\n7. further remarks", 6),
        ("Score: 8\nThis score reflects 3 aspects.", 8),
        ("Score: 0", 0),
    ],
)
def test_one_number_after_the_last_label_is_the_score(reply, score):
    assert extract_score(reply) == score


@pytest.mark.parametrize(
    "reply",
    [
        None,
        "",
        "8/10",
        "Score: 7-8",
        "Score: 7 to 8",
        "Score: 7 or 8",
        "Score: 7 8",
        "Score: 11",
        "Score: 10.5",
        "Score: -1",
        "Score: 70%",
        "Score: 7/100",
        "Score: 3/5",
        "Score: 8 out of 5",
        "Score: 8,5",
        "Score: 1e1",
        "Score: N/A",
        "Score: seven",
        "Score: <A number from 0 to 10>",
        "Score: 7\nScore: N/A",
        "underscore: 4",
    ],
)
def test_anything_else_is_no_score(reply):
    assert extract_score(reply) is None


@pytest.mark.parametrize(
    ("reply", "stated"),
    [
        ("conclusion consistency for speech  rate：CONSISTENT.", {"Speech Rate": "Consistent"}),
        ("**Conclusion Consistency for Distortion:**\n**Fail**", {"Distortion": "Fail"}),
        ("#### **Distortion**\n- **Conclusion Consistency**: inconsistent", {"Distortion": "Inconsistent"}),
        ("| Distortion | Consistent | A | A |", {"Distortion": "Consistent"}),
        ("1. **Distortion**: Consistent", {"Distortion": "Consistent"}),
        ("Distortion - Conclusion Consistency: Fail", {"Distortion": "Fail"}),
        ("Distortion (Conclusion Consistency): Fail", {"Distortion": "Fail"}),
        ("Conclusion Consistency for Distortion: [Consistent]", {"Distortion": "Consistent"}),
        ("Conclusion Consistency for Distortion: Consistent (both say A)", {"Distortion": "Consistent"}),
        (
            "Score: 6 Conclusion Consistency for Distortion: Consistent Conclusion Consistency for Speech Rate: Fail",
            {"Distortion": "Consistent", "Speech Rate": "Fail"},
        ),
        ("#### Distortion:\nno verdict\n#### Speech Rate:\nConclusion Consistency: Fail", {"Speech Rate": "Fail"}),
        ("Conclusion Consistency for Distortion: Consistent/Inconsistent", {}),
        ("Conclusion Consistency for Distortion: <Consistent/Inconsistent>", {}),
        ("Conclusion Consistency for Distortion: Consistently good", {}),
        ("Conclusion Consistency for Distortion: Partially Consistent", {}),
        ("Extracted Conclusion from Answer_1 (Distortion): Consistent", {}),
        ("Conclusion Consistency: Consistent", {}),
        (None, {}),
    ],
)
def test_consistency_belongs_to_the_dimension_it_names(reply, stated):
    assert extract_consistency(reply) == {**dict.fromkeys(DIMENSIONS), **stated}


numbers = st.integers(0, 100).map(lambda tenths: tenths / 10)
marks = st.sampled_from(["", "*", "**", "__", "`"])


@given(
    score=numbers,
    label=st.sampled_from(["Score", "score", "SCORE", "Final Score"]),
    mark=marks,
    inner=marks,
    colon=st.sampled_from([":", "：", " : "]),
    scale=st.sampled_from(["", "/10", " / 10", " out of 10"]),
    before=st.sampled_from(["", "Explanation: 3 of 5 is 2.\n", "Score: 1\n"]),
    after=st.sampled_from(["", "\nConclusion 5", ".", "\n\n2. Answer_2"]),
)
def test_decoration_never_changes_the_score(score, label, mark, inner, colon, scale, before, after):
    reply = f"{before}{mark}{label}{mark}{colon}{inner}{score:g}{scale}{inner}{after}"
    assert extract_score(reply) == score


@given(
    values=st.lists(st.sampled_from([*CONSISTENCIES, None]), min_size=8, max_size=8),
    mark=marks,
    upper=st.booleans(),
    form=st.sampled_from(
        ["{m}Conclusion Consistency for {d}:{m} {v}", "- {m}{d}{m}: {v}", "{d}:\nConclusion Consistency: {v}"]
    ),
)
def test_stated_consistencies_are_all_read_and_no_other(values, mark, upper, form):
    stated = dict(zip(DIMENSIONS, values, strict=True))
    lines = [
        form.format(m=mark, d=name, v=value.upper() if upper else value) for name, value in stated.items() if value
    ]
    assert extract_consistency("\n".join(lines)) == stated


@given(st.text())
def test_any_text_gives_an_answer_in_range(reply):
    score = extract_score(reply)
    assert score is None or 0 <= score <= 10
    assert set(extract_consistency(reply).values()) <= {*CONSISTENCIES, None}


@given(st.lists(st.sampled_from(["Score", ":", "8", "/10", " ", "\n", "**", "-", "Consistent", "for", "Distortion"])))
def test_near_misses_never_crash(words):
    score = extract_score("".join(words))
    assert score in (None, 8)
    extract_consistency("".join(words))
