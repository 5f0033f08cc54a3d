"""The structured parsers of every judge: what they read, what they leave unread, on any text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.judges import parse
from earwitness.judges.answers import answer_with_scores
from earwitness.judges.judgement import Distortion, Speaker
from earwitness.judges.registry import JUDGE_TYPES
from earwitness.judges.spec import JudgeSpec
from earwitness.judges.speecheval_lines import RATED

ASPECTS = ("noise", "overall quality")


def spec_of(name, **changes):
    return JudgeSpec.of_type(name, **({"aspects": ASPECTS} if name == "rate_clip" else {}), **changes)


ASSESS, COMPARE, SUGGEST, DETECT = (
    spec_of(f"speecheval_{task}", chain_of_thought=True)
    for task in ("assessment", "comparison", "suggestion", "detection")
)


@pytest.fixture(scope="module")
def outputs(shared):
    with (shared / "data/speecheval/example_outputs.jsonl").open(encoding="utf-8") as file:
        detect, assess, compare, suggest = (json.loads(line)["response"] for line in file)
    return {"assess": assess, "compare": compare, "suggest": suggest, "detect": detect}


def test_the_released_outputs_parse_completely(outputs):
    read = {
        "assess": parse(outputs["assess"], ASSESS),
        "compare": parse(outputs["compare"], COMPARE),
        "suggest": parse(outputs["suggest"], SUGGEST),
        "detect": parse(outputs["detect"], DETECT),
    }
    for judgement in read.values():
        assert judgement.unscored is None
        assert judgement.unread == ()
        json.dumps(judgement.to_json(), allow_nan=False)

    assess = read["assess"]
    assert assess.score == 2.0
    assert assess.scores == dict(zip(RATED, (2, 2, 2, 3, 2, 2, 2), strict=True))
    assert assess.categories == {"speech rate": "appropriate", "emotion": "neutral"}
    assert assess.distortions == tuple(
        Distortion(0, kind) for kind in ("timbre & quality", "artifacts", "drop / missing")
    )
    assert assess.speakers == (Speaker(0, "female", "thirties"),)
    assert assess.rationale.startswith("The speech has poor overall quality")

    compare = read["compare"]
    assert compare.verdict == "second"
    assert len(compare.preferences) == 8
    assert {name for name, verdict in compare.preferences.items() if verdict == "tie"} == {
        "speech rate",
        "dynamic range",
    }
    assert compare.distortions == (Distortion(0, "artifacts", 0.0, 3.4),)
    assert compare.speakers == (Speaker(0, "male", "middle-aged"), Speaker(1, "female", "middle-aged"))

    suggest = read["suggest"]
    assert suggest.areas == ("emotional impact", "expressiveness", "timbre")
    assert len(suggest.suggestions) == 3
    assert suggest.suggestions[2].startswith("Refine timbre")
    assert read["detect"].verdict == "fake"


def test_plain_answers_give_what_prose_can_give(outputs):
    answers = {name: text.split("<answer>")[1].split("</answer>")[0].strip() for name, text in outputs.items()}
    assert parse(answers["compare"], spec_of("speecheval_comparison")).verdict == "second"
    assert parse(answers["detect"], spec_of("speecheval_detection")).verdict == "fake"
    assert len(parse(answers["suggest"], spec_of("speecheval_suggestion")).suggestions) == 3
    assess = parse(answers["assess"], spec_of("speecheval_assessment"))
    assert (assess.score, assess.unscored) == (None, "no line with the score of Overall Quality")


def thought(*lines, answer="Fine."):
    return "<think>\n" + "\n".join(lines) + f"\n</think>\n\n<answer>\n{answer}\n</answer>"


def test_the_examples_of_the_appendix():
    lines = (
        "For each dimension, give a score and a short explanation.",
        "Overall Quality: 1/5",
        "Distortion: 1/5 (timbre and quality;artifacts)",
        "Emotional Impact: 1/5 (Neutral)",
        "Subjective Experience: 2/5 (male, middle-aged)",
    )
    read = parse(thought(*lines, answer="Timbre and quality distortions last 0-3 seconds. It is dull."), ASSESS)
    assert read.scores == {"overall quality": 1, "distortion": 1, "emotional impact": 1, "subjective experience": 2}
    assert read.distortions == (Distortion(0, "artifacts"), Distortion(0, "timbre & quality", 0.0, 3.0))
    assert read.unread == ()
    lines = ("Overall Quality: A and B are similar", "Emotional Impact: B is better than A")
    read = parse(thought(*lines, answer="B stands out slightly."), COMPARE)
    assert (read.verdict, read.preferences["emotional impact"]) == ("tie", "second")


def test_structured_label_lines_of_a_pair():
    read = parse(
        thought(
            "Intelligibility (A vs B): B is better than A",
            "Distortion Detail A - Type: jitter, Duration: 0-3.3 s",
            "Distortion Detail B - Type: none, Duration: none",
            "Subjective B - Gender: female, Age: thirties",
            "Emotional Impact Type A: Neutral",
            "Overall Quality: A",
        ),
        COMPARE,
    )
    assert read.unread == ()
    assert read.preferences == {"intelligibility": "second", "overall quality": "first"}
    assert read.distortions == (Distortion(0, "jitter", 0.0, 3.3),)
    assert read.speakers == (Speaker(1, "female", "thirties"),)
    assert read.categories == {"emotion a": "neutral"}


def test_structured_label_lines_of_a_clip():
    read = parse(
        thought(
            "**Overall Quality**: 3",
            "Speech Rate: 5",
            "Distortion Type: background noise; hum",
            "Distortion Duration: 0 s - 3.5 s",
            "Subjective Speaker Gender: male",
            "Subjective Speaker Age: thirties",
            "Tone Description: Hollow",
        ),
        ASSESS,
    )
    assert read.unread == ()
    assert (read.score, read.categories) == (3.0, {"speech rate": "fast", "tone": "hollow"})
    assert Distortion(0, "hum") in read.distortions
    assert Distortion(0, None, 0.0, 3.5) in read.distortions
    assert read.speakers == (Speaker(0, "male", "thirties"),)


@pytest.mark.parametrize(
    ("spec", "line", "reason"),
    [
        (ASSESS, "Overall Quality: 7/10", "out of 10"),
        (ASSESS, "Overall Quality: 9", "off the scale 1 to 5"),
        (ASSESS, "Overall Quality: 3-4", "no score"),
        (ASSESS, "Overall Quality: good", "no score"),
        (ASSESS, "Speech Rate: purple", "is none of slow"),
        (ASSESS, "Distortion Duration: 3-1 s", "no interval"),
        (ASSESS, "Mood: bright", "unknown field"),
        (COMPARE, "Overall Quality: maybe", "no preference"),
        (COMPARE, "Distortion Details: some", "says nothing of A or B"),
    ],
)
def test_lines_that_cannot_be_read_are_listed_with_the_reason(spec, line, reason):
    (unread,) = parse(thought(line), spec).unread
    assert unread.text == line
    assert reason in unread.reason


def test_contradicting_lines_give_nothing():
    read = parse(thought("Overall Quality: 2", "Overall Quality: 3"), ASSESS)
    assert "overall quality" not in read.scores
    assert "contradicts" in read.unread[0].reason


def test_intervals_need_their_unit():
    answer = "Artifacts at 0–0.5s, 1.3–2.1s and 3.1–3.8 s. On a 1-5 scale it is 2. Jitter at 0-1, 2-3 s."
    assert parse(thought("Overall Quality: 2", answer=answer), ASSESS).distortions == (
        Distortion(0, "artifacts", 0.0, 0.5),
        Distortion(0, "artifacts", 1.3, 2.1),
        Distortion(0, "artifacts", 3.1, 3.8),
        Distortion(0, "jitter", 0.0, 1.0),
        Distortion(0, "jitter", 2.0, 3.0),
    )


def test_an_answer_that_is_cut_off_is_unscored(outputs):
    for spec, text in ((ASSESS, outputs["assess"]), (COMPARE, outputs["compare"]), (DETECT, outputs["detect"])):
        for end in range(len(text) - len("</answer>") + 1):
            read = parse(text[:end], spec)
            assert read.verdict is None
            assert read.unscored
    whole = parse(outputs["assess"], ASSESS)
    for end in range(len(outputs["assess"])):
        part = parse(outputs["assess"][:end], ASSESS)
        assert part.scores.items() <= whole.scores.items()


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("4", 4), ("**4/5**", 4), ("4.5", 4.5), ("Score: 4", 4), ("Score: **4**", 4), ("I rate it 4 out of 5.", 4),
        ("I would give it a 3.", 3), ("3\nclear", 3), ("Overall quality: 3/5", 3), ("4/5 - clean", 4),
        (2, 2), (3.5, 3.5),
        ("score 4, but 5/5 for tone", 4), ("Clear enough, 4/5 in all.", 4),
        ("7/10", None), ("4-5", None), ("3 or 4", None), ("6", None), ("0", None), ("-3", None), ("4%", None),
        ("", None),
        ("The score is 3. The rating is 4.", None), ("Rating: 4/10", None), ("The clip is 4 s long", None),
        ("3,5", None), ("12", None), (None, None), ("1/5 to 3/5", None), ("four", None),
    ],
)  # fmt: skip
def test_single_scores(text, score):
    read = parse(text, spec_of("score"))
    assert read.score == score
    assert (read.unscored is None) == (score is not None)


@pytest.mark.parametrize(
    ("text", "mos", "scores"),
    [
        ("Noise is high (2.1). The mos is 3.2.", 3.2, {}),
        ("noise level is 2.5, col: 3, loudness is 4.1 and overall mos 3.", 3.0, {"noi": 2.5, "col": 3.0, "loud": 4.1}),
        ("The mean opinion score would be around 3.4 out of 5.", 3.4, {}),
        ("A mos of 2 at first, but in the end the MOS: 2.5", 2.5, {}),
        ("clean and clear\n3.5", 3.5, {}),
        ("MOS 7", None, {}),
        ("excellent", None, {}),
    ],
)
def test_alld_descriptions(text, mos, scores):
    read = parse(text, spec_of("alld_mos"))
    assert (read.score, read.scores) == (mos, scores)


@pytest.mark.parametrize(
    ("text", "scores", "unread"),
    [
        ("noise: none\noverall quality: strong", {"noise": "none", "overall quality": "strong"}, 0),
        ("So:\n- **Noise** = Slight.\n- Overall Quality: strong", {"noise": "slight", "overall quality": "strong"}, 0),
        ("noise: some", {}, 1),
        ("noise: none\nnoise: strong\noverall quality: none", {"overall quality": "none"}, 1),
        ("", {}, 0),
    ],
)
def test_levels_in_words(text, scores, unread):
    read = parse(text, spec_of("rate_clip", scale=("none", "slight", "strong")))
    assert (read.scores, len(read.unread)) == (scores, unread)
    assert (read.unscored is None) == (len(scores) == 2)


def test_levels_in_numbers():
    read = parse("noise: 3 (hiss)\noverall quality: 4.5/5", spec_of("rate_clip"))
    assert (read.scores, read.unscored) == ({"noise": 3.0, "overall quality": 4.5}, None)
    read = parse("noise: 3 dB\noverall quality: 9", spec_of("rate_clip"))
    assert (read.scores, read.unscored, len(read.unread)) == ({}, "no value for: noise, overall quality", 2)
    assert parse(
        answer_with_scores(read.scores | {"noise": 2.25, "overall quality": 1.0}), spec_of("rate_clip")
    ).scores == {
        "noise": 2.25,
        "overall quality": 1.0,
    }


REAL = "real|Real.|**REAL**|Answer: real|The speech is real.|It is not a deepfake.|It isn't fake.|bona fide|real, yes"
FAKE = "fake|deepfake|spoof|This is a deepfake.|It is AI-generated.|It is not real.|fake - robotic|most likely fake"
NEITHER = "real or fake|real/fake|It could be fake.|Is it real?|fake real|real-time|realistic|human-like|1|It is both"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [(text, "real") for text in REAL.split("|")]
    + [(text, "fake") for text in FAKE.split("|")]
    + [
        (text, None)
        for text in [*NEITHER.split("|"), "", None, "The speech is real. The speech is fake.", "real\nfake"]
    ],
)
def test_detection(text, verdict):
    assert parse(text, spec_of("speecheval_detection")).verdict == verdict
    renamed = spec_of("speecheval_detection", labels={"real": "bonafide", "fake": "spoof"})
    assert parse(text, renamed).verdict == verdict


PIECES = st.sampled_from(
    [
        "Overall Quality:", "Distortion", "Distortion Details:", "Speech Rate", "noise:", "(A vs B)", "A has", "B is",
        "better than A", "2/5", "3", "9", "4.5", "/", "-", "0-3 s", "seconds", "artifacts", "jitter", "mos", "score",
        "real", "fake", "not", "is", "Key improvement areas:", "Detail A -", "Type:", "Duration:", ":", ";", ",", ".",
        "\n", " ", "(", ")", "<think>", "</think>", "<answer>", "</answer>", "Sample A", "Sample B", "Gender:", "none",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=16).map(" ".join) | st.lists(PIECES, max_size=12).map("".join) | st.text()
ALL = [spec_of(name, chain_of_thought=thinks) for name in sorted(JUDGE_TYPES) for thinks in (False, True)]


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.sampled_from(ALL))
def test_any_text_gives_values_of_the_scale_or_a_reason(text, spec):
    for answer in (text, f"<think>\n{text}\n</think>\n<answer>\n{text}\n</answer>"):
        read = parse(answer, spec)
        main = {"score": read.score, "scores": read.scores or None}.get(spec.kind.target, read.verdict)
        if spec.kind.target in ("verdict", "verdict_last", "score"):
            assert (main is None) == (read.unscored is not None)
        assert read.verdict is None or read.verdict in spec.labels
        numbers = [value for value in (read.score, *read.scores.values()) if value is not None]
        assert all(1 <= value <= 5 for value in numbers)
        assert set(read.preferences.values()) <= {"first", "second", "tie"}
        assert all(one.start is None or one.start <= one.end for one in read.distortions)
        json.dumps(read.to_json(), allow_nan=False)


@pytest.mark.parametrize("value", [None, float("nan"), True, [1], {}, b"4", object()])
def test_values_that_are_no_text(value):
    for spec in ALL:
        read = parse(value, spec)
        assert read.unscored
        assert (read.verdict, read.score, read.scores) == (None, None, {})


@pytest.mark.parametrize(
    "piece",
    [
        ":", "Overall Quality: 2/5\n", "Distortion: ", "0-3 s, ", "0-3, ", "artifacts ", "Sample A ", "A has x, ", "1 ",
        "1/", "mos ", "score is ", "noise: 3\n", "is real ", "Type: ,", "(", "a:b\n", "\n", " ",
        "Distortion Detail A - Type: x\n",
    ],
)  # fmt: skip
def test_long_answers_take_linear_time(piece):
    # Quadratic work on this many characters would take minutes.
    text = piece * (40_000 // len(piece))
    for spec in ALL:
        if spec.kind.target != "verdict" or spec.type == "speecheval_detection":
            parse(f"<think>{text}</think><answer>{text}</answer>" if spec.chain_of_thought else text, spec)
