"""Texts about two clips, turned around for the other order."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.judges.mirror import mirror_text

RESPONSES = ("Response 1", "Response 2")
SAMPLES = ("Sample A", "Sample B")


@pytest.mark.parametrize(
    ("names", "text", "turned"),
    [
        (RESPONSES, "Response 1 is cleaner than response 2.", "Response 2 is cleaner than response 1."),
        (RESPONSES, "Responses 1 and 2 are alike.", "Responses 2 and 1 are alike."),
        (RESPONSES, "The second response beats the first clip.", "The first response beats the second clip."),
        (RESPONSES, "Response 1's tone; the latter is worse.", "Response 2's tone; the latter is worse."),
        (RESPONSES, "Response 10 is loud in the second half.", "Response 10 is loud in the second half."),
        (RESPONSES, "Say 1, dish 2, not option B.", "Say 1, dish 2, not option B."),
        (
            SAMPLES,
            "Noise: B is better than A\nRate: A and B are similar",
            "Noise: A is better than B\nRate: B and A are similar",
        ),
        (SAMPLES, "A has artifacts, B has none", "B has artifacts, A has none"),
        (SAMPLES, "Both (A and B). B stands out; while A delivers.", "Both (B and A). A stands out; while B delivers."),
        (SAMPLES, "Sample B’s voice and a flat tone", "Sample A’s voice and a flat tone"),
        (("SpeechA", "SpeechB"), "SpeechA, then [SpeechB].", "SpeechB, then [SpeechA]."),
        (("Left clip", "Right clip"), "Left clip beats Right clip.", "Right clip beats Left clip."),
    ],
)
def test_turned_around(names, text, turned):
    assert mirror_text(text, names) == turned
    assert mirror_text(turned, names) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (RESPONSES, "The first is better."),
        (RESPONSES, "I prefer the second one."),
        (RESPONSES, "1 is better than 2"),
        (RESPONSES, "Louder than 2."),
        (RESPONSES, "Audio 1 is louder."),
        (RESPONSES, "Option #2 wins."),
        (SAMPLES, "A flat voice."),
        (SAMPLES, "Vitamin B is discussed."),
        (("Left clip", "Right clip"), "Clip 1 is better"),
    ],
)
def test_not_guessed_at(names, text):
    assert mirror_text(text, names) is None


def test_the_released_rationales(shared):
    turned = 0
    for name in ("test_semantic", "test_acoustic"):
        for row in json.loads((shared / f"data/sagelm/{name}.json").read_text(encoding="utf-8")):
            text = row["output"].split("\n", 1)[1]
            other = mirror_text(text, RESPONSES)
            if other is not None:
                assert mirror_text(other, RESPONSES) == text
                turned += 1
    assert turned == 1137  # of 1138: one says "the range of the first"


def test_the_speecheval_comparison_example(shared):
    with (shared / "data/speecheval/example_outputs.jsonl").open(encoding="utf-8") as file:
        responses = [row["response"] for row in map(json.loads, file) if len(row["audios"]) == 2]
    for response in responses:
        other = mirror_text(response, SAMPLES)
        assert "Overall Quality: A is better than B" in other
        assert "Sample A is the preferred choice" in other
        assert mirror_text(other, SAMPLES) == response


WORDS = ["Response 1", "response 2", "Responses", "Sample A", "Sample B", "A", "B", "1", "2", "the", "first", "second"]
WORDS += ["one", "clip", "is", "and", "than", ",", ".", ":", "\n", "’s", "than B", "(A"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(), st.sampled_from([RESPONSES, SAMPLES]))
def test_turned_twice_is_the_text(text, names):
    other = mirror_text(text, names)
    if other is not None:
        assert len(other) == len(text) or "st" in text or "nd" in text
        assert mirror_text(other, names) in (text, None)


@pytest.mark.parametrize("piece", [" ", "\n", "\n ", "A ", "A, ", "response ", "Responses 1 ", "the first ", "(", "1 "])
def test_long_texts_take_linear_time(piece):
    # Quadratic work on this many characters would take minutes.
    for names in (RESPONSES, SAMPLES):
        mirror_text(piece * (60_000 // len(piece)), names)
