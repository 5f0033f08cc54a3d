"""Rule rewards on judges' real response forms: right, wrong, cut off, invented."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.data.records import Record
from earwitness.errors import UserError
from earwitness.judges.spec import JudgeSpec
from earwitness.rewards import rules
from earwitness.rewards.facts import concepts, ratings, times
from earwitness.rewards.registry import RULES

SPEECHEVAL = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "speecheval" / "example_outputs.jsonl"
NAMES = ("Response 1", "Response 2")
GRID = (
    "Response 1: noise 3, coloration 7, discontinuity 0, loudness 2, overall 4\n"
    "Response 2: noise 8, coloration 1, discontinuity 0, loudness 2, overall 6"
)


def thinking(thought: str, answer: str) -> str:
    return f"<think>\n{thought}\n</think>\n\n<answer>\n{answer}\n</answer>"


def record(kind: str = "pairwise", response: str | None = None, reference=None, meta=None, **spec) -> Record:
    judge = JudgeSpec.of_type(kind, **spec)
    clips = tuple("ab"[: judge.kind.clips])
    return Record("1", "set", 1, judge, spec.pop("aspect", None), clips, "prompt", reference, response, meta or {})


PAIR = record(
    reference="first", response=thinking(GRID, "1\nResponse 2 has more background noise."), chain_of_thought=True
)


def score(rule, completion: str, row: Record, **options) -> float | None:
    (value,) = rule(prompts=[row.prompt], completions=[completion], records=[row], **options)
    return value


@pytest.mark.parametrize(
    ("answer", "correct", "agreement"),
    [("1", 1, 1), ("**1**", 1, 1), ("Tie", 0, 0.5), ("2\nbecause", 0, 0), ("10/10", 0, 0), ("", 0, 0)],
)
def test_verdicts(answer, correct, agreement):
    row = record(reference="first")
    assert score(rules.verdict_correct, answer, row) == correct
    assert score(rules.verdict_agreement, answer, row) == agreement
    assert score(rules.verdict_correct, thinking(GRID, answer), PAIR) == correct


def test_a_verdict_in_the_thought_or_in_a_cut_off_answer_is_no_verdict():
    assert score(rules.verdict_correct, "<think>\nThe answer is 1\n</think>", PAIR) == 0
    assert score(rules.verdict_correct, f"<think>\n{GRID}\n</think>\n\n<answer>\n1", PAIR) == 0


def test_a_tie_against_a_tie_agrees_and_no_reference_is_none():
    assert score(rules.verdict_agreement, "Tie", record(reference="tie")) == 1
    assert score(rules.verdict_agreement, "2", record(reference="tie")) == 0.5
    assert score(rules.verdict_correct, "1", record()) is None


def test_detection_is_exact_and_reads_the_answer_only():
    row = record("speecheval_detection", reference="fake", chain_of_thought=True)
    assert score(rules.detection_exact, "<think>\nreal?\n</think>\n\n<answer>\nfake\n</answer>", row) == 1
    assert score(rules.detection_exact, "<think>\nfake\n</think>\n\n<answer>\nreal\n</answer>", row) == 0
    assert score(rules.detection_exact, "fake", row) == 0
    assert rules.detection_exact.applies(row)
    assert not rules.detection_exact.applies(PAIR)
    assert not rules.verdict_correct.applies(row)


def test_severities_of_the_embedded_corpus_are_scored_by_distance():
    assert score(rules.dimension_scores, PAIR.response, PAIR) == 1
    near = GRID.replace("noise 3", "noise 5").replace("coloration 1", "coloration 2")
    assert score(rules.dimension_scores, thinking(near, "1"), PAIR) == pytest.approx(1 - (0.2 + 0.1) / 10)
    far = GRID.replace("noise 3", "noise 10")
    assert score(rules.dimension_scores, thinking(far, "1"), PAIR) == pytest.approx(1 - 0.7 / 10)
    half = GRID.splitlines()[0]
    assert score(rules.dimension_scores, thinking(half, "1"), PAIR) == pytest.approx(0.5)
    invented = GRID + "\nResponse 1: echo 3"
    assert score(rules.dimension_scores, thinking(invented, "1"), PAIR) == pytest.approx(10 / 11)
    assert score(rules.dimension_scores, thinking("I hear nothing.", "1"), PAIR) == 0
    assert score(rules.dimension_scores, f"<think>\n{GRID}", PAIR) == 0


def test_speecheval_lines_are_scored_by_distance():
    lines = "Overall Quality: 2/5\nDistortion: 4/5 (artifacts)\nSpeech Rate: suitable"
    row = record("speecheval_assessment", thinking(lines, "Poor."), chain_of_thought=True)
    assert score(rules.dimension_scores, thinking(lines, "x"), row) == 1
    other = "Overall Quality: 3/5\nDistortion: 1/5\nSpeech Rate: slightly fast"
    assert score(rules.dimension_scores, thinking(other, "x"), row) == pytest.approx((0.75 + 0.25 + 0.75) / 3)
    pair = record(
        "speecheval_comparison", thinking("Distortion: A is better than B", "A."), reference="first",
        chain_of_thought=True,
    )  # fmt: skip
    for said, value in (("A is better than B", 1), ("A and B are similar", 0.5), ("B is better than A", 0)):
        assert score(rules.dimension_scores, thinking(f"Distortion: {said}", "A."), pair) == value


def test_rate_clip_answers_are_scored_by_distance():
    row = record("rate_clip", "noise: 2\nloudness: 4", aspects=("noise", "loudness"))
    assert score(rules.dimension_scores, "noise: 2\nloudness: 4", row) == 1
    assert score(rules.dimension_scores, "noise: 3\nloudness: 9", row) == pytest.approx(0.75 / 2)
    words = record("rate_clip", "noise: bad\nloudness: good", scale=("bad", "fair", "good"))
    assert score(rules.dimension_scores, "noise: Fair\nloudness: good", words) == pytest.approx(0.75)
    thought = thinking("Response 1\nnoise: 3\nResponse 2\nnoise: 5", "1")
    row = record(response=thought, chain_of_thought=True)
    assert score(rules.dimension_scores, thought.replace("noise: 5", "noise: 9"), row) == pytest.approx(0.8)


def test_ratings_stated_twice_with_different_values_count_for_neither():
    assert ratings("noise 3, loudness 2\nnoise 4", NAMES) == {"loudness": 0.2}
    assert ratings("Response 1: noise 30", NAMES) == {}
    assert ratings("Response 3: noise 3", NAMES) == {}
    assert ratings("noise: nan", NAMES) == {}
    assert ratings("Response 1:\nbackground noise 3, overall 4", NAMES) == {
        "Response 1 background noise": 0.3,
        "Response 1 overall": 0.4,
    }
    assert not rules.dimension_scores.applies(record(response="1\nbetter"))


@pytest.mark.parametrize(
    ("completion", "kept"),
    [
        (thinking(GRID, "1"), 1),
        (thinking(GRID, "Tie\nSame noise."), 1),
        ("<think>\n</think>\n\n<answer>\n2\n</answer>", 1),
        (thinking(GRID, "1") + "\n", 1),
        (thinking(GRID, "**1**"), 0),
        (thinking(GRID, ""), 0),
        (thinking(GRID, "Response 1 is better."), 0),
        ("1", 0),
        (thinking(GRID, "1").removesuffix("</answer>"), 0),
        (thinking(GRID, "1") + " and more", 0),
        (thinking("<think>", "1"), 0),
        (thinking(GRID, "1").replace("\n\n<answer>", "<answer>"), 0),
        ("", 0),
    ],
)
def test_format_with_thought(completion, kept):
    assert score(rules.format_kept, completion, PAIR) == kept


def test_format_without_thought():
    plain = record(response="1")
    assert [score(rules.format_kept, text, plain) for text in ("1", "1\nwhy", "1.", "the first", "")] == [1, 1, 0, 0, 0]
    alld = record("alld_ab", response="A is clean.\n[SpeechA]")
    assert [score(rules.format_kept, text, alld) for text in ("x\n[SpeechB]", "[SpeechB]\nx", "x")] == [1, 0, 0]
    text = record("alld_mos", response="Fine. 4.2")
    assert [score(rules.format_kept, one, text) for one in ("anything", " ")] == [1, 0]


def test_invented_time_stamps_and_defects_lose():
    lines = "Distortion: 2/5 (artifacts)\nSpeech Rate: suitable"
    answer = "Artifacts from 0 to 3.4 s; the speech rate is suitable. A male voice."
    row = record("speecheval_assessment", thinking(lines, answer), chain_of_thought=True)

    def consistent(text):
        return score(rules.rationale_consistent, thinking(lines, text), row)

    assert consistent(answer) == 1
    assert consistent("Artifacts until 3.3 s.") == 1
    assert consistent("Artifacts from 0 to 3.4 s, echo at 7.2 s.") == pytest.approx(3 / 5)
    assert consistent("Heavy echo and clipping.") == 0
    assert consistent("A fine recording.") == 0
    detail = {"name": "distortion duration", "start": 7.0, "end": 7.2, "text": None, "score": None, "verdict": None}
    with_details = record("speecheval_assessment", row.response, meta={"details": [detail]}, chain_of_thought=True)
    assert score(rules.rationale_consistent, thinking(lines, "Artifacts at 7.2 s."), with_details) == 1


def test_rationales_of_verdict_judges_are_held_to_the_reference_rationale():
    assert score(rules.rationale_consistent, thinking(GRID, "2\nResponse 1 is noisy."), PAIR) == 1
    assert score(rules.rationale_consistent, thinking(GRID, "1\nResponse 2 is muffled."), PAIR) == 0
    assert score(rules.rationale_consistent, thinking(GRID, "1\nResponse 2 is noisy and quiet."), PAIR) == 0.5
    assert not rules.rationale_consistent.applies(record(response="1"))


def test_length_is_flat_between_its_limits_and_falls_outside():
    row = record("alld_mos", response="one two three four")
    lengths = [score(rules.length, "word " * n, row) for n in (0, 1, 2, 4, 6, 9, 12, 40)]
    assert lengths == [0, 0.5, 1, 1, 1, 0.5, 0, 0]
    assert score(rules.length, "word " * 15, row, min_words=1, max_words=10) == 0.5
    assert score(rules.length, "音质很好没有噪声", record("alld_mos", response="音质不错没有噪音")) == 1
    assert score(rules.length, "word", record("alld_mos")) is None
    with pytest.raises(UserError, match="max_words must be above 0"):
        score(rules.length, "word", row, max_words=0)


def test_times_and_concepts():
    assert times("from 0 s to 3.5 s, 1.3–2.1s, for 5.7 seconds; 3 of 5, 24 kHz, 4/5, 10 sounds") == [
        0,
        3.5,
        1.3,
        2.1,
        5.7,
    ]
    assert concepts("Response 2 has more interruptions and a lower volume.") == {"discontinuity", "loudness"}
    assert concepts("The better one overall.") == set()


def test_the_released_example_outputs_are_consistent_with_themselves():
    if not SPEECHEVAL.is_file():
        pytest.skip(f"the example outputs are not at {SPEECHEVAL}")
    kinds = ("detection", "assessment", "comparison", "suggestion")
    for kind, line in zip(kinds, SPEECHEVAL.read_text(encoding="utf-8").splitlines(), strict=True):
        response = json.loads(line)["response"]
        row = record(f"speecheval_{kind}", response, reference="fake", chain_of_thought=True)
        for name, rule in RULES.items():
            if getattr(rule, "applies", lambda row: True)(row) and name not in ("verdict_correct", "verdict_agreement"):
                assert score(rule, response, row) == 1, (kind, name)


@settings(deadline=None)  # other work on the machine is not a failure
@given(
    st.text(alphabet="<>/thinkaswer 12Tie\n:,noise.-s[]"), st.sampled_from([PAIR, record("alld_ab", "x\n[SpeechA]")])
)
def test_any_text_gives_a_number_from_0_to_1(text, row):
    for rule in RULES.values():
        value = score(rule, text, row)
        assert value is None or 0 <= value <= 1


@pytest.mark.parametrize("name", RULES)
def test_rules_pickle_and_ignore_columns_they_do_not_know(name):
    rule = pickle.loads(pickle.dumps(RULES[name]))
    assert score(rule, PAIR.response, PAIR, language=["en"]) == score(RULES[name], PAIR.response, PAIR)
