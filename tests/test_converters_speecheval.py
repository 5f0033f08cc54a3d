"""SpeechEval rows, structured label lines and ms-swift results to items."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.data.converters import Options, convert_file, get_converter, to_row
from earwitness.data.converters.label_lines import preference_of, read_label_lines, read_thinking, scores_of
from earwitness.data.converters.speecheval import split_answer
from earwitness.data.converters.swift_results import label_logprobs
from earwitness.errors import RowError
from earwitness.files import read_rows
from earwitness.judges.speecheval_lines import RATED

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
THINK = "Compare the two samples.\nOverall Quality: B is better than A\nSpeech Rate: A and B are similar in this aspect"
PAIR = {
    "key": "zh_X_1.wav_zh_Y_tts_1.wav",
    "task": "CompareEval",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Sample A: <audio> Sample B: <audio> Compare them."},
        {"role": "assistant", "content": f"<think>\n{THINK}\n</think>\n\n<answer>\nB sounds **cleaner**.\n</answer>"},
    ],
    "audios": ["wav/zh_X_1.wav", "wav/zh_Y_tts_1.wav"],
}
CLIP = {
    "key": "en_BVCC_sys1-utt1.wav",
    "task": "SingleEval",
    "messages": [{"role": "user", "content": "<audio> Please evaluate."}],
    "audios": ["en_BVCC_sys1-utt1.wav"],
}
FAKE = CLIP | {"task": "FakeDetection", "messages": [{"role": "user", "content": "<audio> Real or a deepfake?"}]}

convert = get_converter("speecheval").bind()
inferring = get_converter("speecheval").bind(Options(unlabelled=True))


def empty_detail(**values: Any) -> dict[str, Any]:
    return dict.fromkeys(("name", "clip", "rater", "verdict", "score", "text", "start", "end")) | values


def test_a_pair_becomes_exactly_this() -> None:
    assert convert(PAIR) == {
        "id": "compare:zh_X_1.wav_zh_Y_tts_1.wav",
        "task": "compare",
        "audios": ["wav/zh_X_1.wav", "wav/zh_Y_tts_1.wav"],
        "aspect": "overall quality",
        "verdict": "second",
        "score": None,
        "scores": None,
        "scale": None,
        "question": None,
        "text": None,
        "sentence": None,
        "prompt": "Sample A: <audio> Sample B: <audio> Compare them.",
        "thinking": THINK,
        "rationale": None,
        "answer": "B sounds **cleaner**.",
        "language": "zh",
        "systems": ["X", "Y_tts"],
        "speakers": [None, None],
        "raters": [],
        "details": [
            empty_detail(name="overall quality", verdict="second"),
            empty_detail(name="speech rate", verdict="tie"),
        ],
        "context": None,
        "prediction": None,
        "provenance": {"format": "speecheval", "source": "SpeechEval", "key": PAIR["key"], "file": None, "row": None},
        "extra": {},
    }


def test_a_clip_with_structured_labels_and_a_grpo_solution() -> None:
    lines = ["Overall Quality: 3", "Distortion Type: background noise", "Speech Rate: suitable"]
    row = CLIP | {"solution": "<task>SingleEval</task>A fair recording.", "labels": lines}
    item = convert(row)
    assert (item["id"], item["task"], item["answer"]) == ("assess:en_BVCC_sys1-utt1.wav", "assess", "A fair recording.")
    assert (item["score"], item["scale"], item["aspect"]) == (3.0, [1.0, 5.0], "overall quality")
    assert item["scores"] == dict.fromkeys(RATED) | {"overall quality": 3.0}
    assert item["details"] == [
        empty_detail(name="overall quality", score=3.0),
        empty_detail(name="distortion type", text="background noise"),
        empty_detail(name="speech rate", text="suitable"),
    ]
    assert item["context"] == "\n".join(lines)
    assert (item["language"], item["systems"], item["provenance"]["source"]) == ("en", ["BVCC"], "SpeechEval")
    assert convert(CLIP | {"solution": row["solution"], "context": "\n".join(lines)})["details"] == item["details"]


def test_labels_of_annotators_win_over_those_of_the_thinking() -> None:
    row = PAIR | {"labels": ["Overall Quality (A vs B): A is better than B"]}
    assert convert(row)["verdict"] == "first"
    assert [entry["name"] for entry in convert(row)["details"]] == ["overall quality", "speech rate"]


@pytest.mark.parametrize("answer", ["<think>\n</think>\n\n<answer>\nfake\n</answer>", "fake", " Fake\n"])
def test_detection(answer: str) -> None:
    row = FAKE | {"messages": [*FAKE["messages"], {"role": "assistant", "content": answer}]}
    item = convert(row)
    assert (item["task"], item["verdict"], item["answer"], item["thinking"]) == ("detect", "fake", None, None)
    assert convert(FAKE | {"solution": "<task>FakeDetection</task>real"})["verdict"] == "real"


def test_rows_for_inference() -> None:
    item = inferring(CLIP)
    assert (item["answer"], item["score"], item["scores"]) == (None, None, dict.fromkeys(RATED))
    with pytest.raises(
        RowError, match="column 'messages' holds no label; allowed: an assistant message or a 'solution'"
    ):
        convert(CLIP)


def test_messages_as_json_text_and_other_columns() -> None:
    row = PAIR | {"messages": json.dumps(PAIR["messages"]), "duration": 3}
    assert convert(row) == convert(PAIR) | {"extra": {"duration": 3}}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (PAIR | {"task": "Compare"}, "column 'task' holds 'Compare'; allowed: SingleEval, CompareEval, Suggest"),
        (PAIR | {"audios": ["a.wav"]}, "the prompt has 2 <audio> placeholder(s), but 'audios' holds 1 clip(s)"),
        (PAIR | {"task": "Suggest"}, "holds 2 clip(s), but task 'suggest' needs 1"),
        (
            PAIR | {"solution": "A wins"},
            "column 'solution' holds 'A wins'; allowed: '<task>T</task>' and the reference",
        ),
        (
            PAIR | {"solution": "<task>Suggest</task>x"},
            "column 'solution' is of task 'Suggest', but 'task' is 'CompareEval'",
        ),
        (PAIR | {"labels": ["Loudness: 3"]}, "label line 'Loudness: 3' cannot be read; allowed:"),
        (PAIR | {"labels": ["Distortion: 9"]}, "holds 9; allowed: a number from 1 to 5"),
        (PAIR | {"labels": 3}, "column 'labels' holds 3; allowed: a text, or a list of lines"),
        (PAIR | {"messages": PAIR["messages"][::-1]}, "has the roles assistant, user; allowed: one user message"),
        (PAIR | {"messages": "x"}, "column 'messages' holds 'x'; allowed: a list of messages"),
        (PAIR | {"messages": []}, "has the roles none"),
        (PAIR | {"key": 7}, "column 'key' holds 7; allowed: a text"),
        (PAIR | {"audios": []}, "column 'audios' holds []; allowed: a list of clips"),
        (FAKE | {"solution": "<task>FakeDetection</task>maybe"}, "column 'answer' holds 'maybe'; allowed: real, fake"),
        (
            PAIR | {"messages": [*PAIR["messages"][:2], {"role": "assistant", "content": "<think>x</think> A"}]},
            "the answer '<think>x</think> A' is not whole",
        ),
        (CLIP | {"messages": [{"role": "user", "content": "<audio> hi <|im_end|>"}]}, "control token '<|im_end|>'"),
    ],
)
def test_what_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError, match=re.escape(message)):
        convert(row)


def test_several_descriptions_of_one_clip_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(
        "\n".join(json.dumps(row) for row in (PAIR, PAIR, CLIP | {"solution": "<task>SingleEval</task>x"}, PAIR))
    )
    ids = [item["id"] for item in convert_file(path, "speecheval")]
    pair = f"compare:{PAIR['key']}"
    assert ids == [pair, f"{pair}#2", f"assess:{CLIP['key']}", f"{pair}#3"]


def test_flat_rows_of_pairs() -> None:
    row = to_row(convert(PAIR))
    assert (row["audio_a"], row["audio_b"], row["system_b"]) == ("wav/zh_X_1.wav", "wav/zh_Y_tts_1.wav", "Y_tts")
    assert (row["verdict"], row["answer"], row["rationale"], row["votes"]) == (
        "second",
        "B sounds **cleaner**.",
        "",
        [],
    )
    assert (row["source"], row["language"], row["provenance"]["format"]) == ("SpeechEval", "zh", "speecheval")


# ---------------------------------------------------------------------------------------------------------- label lines


@pytest.mark.parametrize(
    ("line", "details"),
    [
        (
            "Distortion: 2/5 (timbre & quality;artifacts)",
            [("distortion", 2.0), ("distortion type", "timbre & quality"), ("distortion type", "artifacts")],
        ),
        ("Emotional Impact: 1/5 (Neutral)", [("emotional impact", 1.0), ("emotion", "Neutral")]),
        (
            "Subjective Experience: 2/5 (female, thirties)",
            [("subjective experience", 2.0), ("speaker gender", "female"), ("speaker age", "thirties")],
        ),
        (
            "Distortion Duration: appeared between 0 s - 3.5 s (from start to end)",
            [("distortion duration", (0.0, 3.5))],
        ),
        (
            "Distortion Duration: 0-0.5s, 1.3–2.1s",
            [("distortion duration", (0.0, 0.5)), ("distortion duration", (1.3, 2.1))],
        ),
        ("Intelligibility (A vs B): B is better than A", [("intelligibility", "second")]),
        (
            "Distortion Detail A - Type: jitter, Duration: 0-3.3 s (throughout the recording)",
            [("distortion type", "a jitter"), ("distortion duration", (0.0, 3.3))],
        ),
        ("Distortion Detail B - Type: none", []),
        ("Emotional Impact Type B: Neutral", [("emotion", "b Neutral")]),
        ("Subjective B - Gender: female, Age: N/A", [("speaker gender", "b female")]),
        (
            "Improvement Suggestions: emotional impact;timbre",
            [("improvement areas", "emotional impact"), ("improvement areas", "timbre")],
        ),
        ("  Tone Description: hollow: and dull. ", [("tone", "hollow: and dull.")]),
    ],
)
def test_label_lines(line: str, details: list[tuple[str, Any]]) -> None:
    found = []
    for entry in read_label_lines(line):
        span = (entry["start"], entry["end"]) if entry["start"] is not None else None
        text = " ".join(filter(None, (entry["clip"], entry["text"])))
        found.append((entry["name"], span or entry["score"] or entry["verdict"] or text))
    assert found == details


@pytest.mark.parametrize(
    "line",
    [
        "Overall Quality",
        "Overall Quality: good",
        "Overall Quality: 3 (why)",
        "Overall Quality: A is worse than B",
        "Speech Rate: brisk",
        "Distortion Duration: long",
        "Distortion Duration: 3 s - 1 s",
        "Distortion Detail C - Type: jitter",
        "Distortion Detail A - loud, Type: jitter",
        "Emotional Impact Type C: Neutral",
    ],
)
def test_label_lines_that_are_refused(line: str) -> None:
    with pytest.raises(RowError, match="label line"):
        read_label_lines(["", line])


@given(st.text())
def test_thinking_never_fails_and_invents_nothing(thinking: str) -> None:
    for entry in read_thinking(thinking):
        assert entry["score"] is None or 1 <= entry["score"] <= 5
        assert entry["text"] is None or entry["text"].casefold() in thinking.casefold()


@given(st.text(alphabet="<>/thinkanswer \n:-AB0123."))
def test_answers_are_split_whole_or_refused(text: str) -> None:
    try:
        answer = split_answer(text)
    except RowError:
        return
    assert answer.text in text
    assert "<answer>" not in answer.text


def test_preferences_and_scores_of_dimensions() -> None:
    details = read_label_lines("Overall Quality (A vs B): A is better than B\nDistortion (A vs B): A and B are similar")
    assert (preference_of(details), preference_of(details, "distortion")) == ("first", "tie")
    assert preference_of(details, "speech rate") is None
    assert scores_of(read_label_lines("Dynamic Range: 2.5"))["dynamic range"] == 2.5


# ------------------------------------------------------------------------------------------------------------- ms-swift


def token(text: str, **listed: float) -> dict[str, Any]:
    return {"token": text, "logprob": -0.5, "top_logprobs": [{"token": t, "logprob": p} for t, p in listed.items()]}


RESULT = {
    "response": "<think>\n</think>\n\n<answer>\nfake\n</answer>",
    "labels": "real",
    "logprobs": {
        "content": [
            token("<think>\n</think>\n\n<answer>"),
            token("\n"),
            token("fake", fake=-0.1, real=-2.5),
            token("\n</answer>"),
        ]
    },
    "messages": [
        {"role": "user", "content": "<audio> Determine if this speech is real or a deepfake.", "loss": None},
        {"role": "assistant", "content": "<think>\n</think>\n\n<answer>\nfake\n</answer>"},
    ],
    "audios": ["a/en_X_1.wav"],
}
result = get_converter("ms_swift").bind(Options(unlabelled=True))


def test_results_without_a_reference_are_for_inference() -> None:
    row = {"response": "fake", "labels": None, "messages": FAKE["messages"], "audios": FAKE["audios"]}
    assert result(row)["verdict"] is None
    with pytest.raises(RowError, match="column 'labels' holds no label; allowed: the reference text; the assistant's"):
        get_converter("ms_swift").bind(Options())(row)


def test_a_result_becomes_exactly_this() -> None:
    assert result(RESULT) == {
        "id": result(RESULT | {"response": "real", "logprobs": None, "labels": None})["id"],
        "task": "detect",
        "audios": ["a/en_X_1.wav"],
        "aspect": None,
        "verdict": "real",
        "score": None,
        "scores": None,
        "scale": None,
        "question": None,
        "text": None,
        "sentence": None,
        "prompt": "<audio> Determine if this speech is real or a deepfake.",
        "thinking": None,
        "rationale": None,
        "answer": None,
        "language": "en",
        "systems": ["X"],
        "speakers": [None],
        "raters": [],
        "details": [],
        "context": None,
        "prediction": {"raw": RESULT["response"], "logprobs": {"real": -2.5, "fake": -0.1}},
        "provenance": {"format": "ms_swift", "source": "SpeechEval", "key": None, "file": None, "row": None},
        "extra": {},
    }


def test_results_join_their_questions_by_key() -> None:
    assert result(RESULT | {"key": FAKE["key"], "task": "FakeDetection"})["id"] == inferring(FAKE)["id"]


def test_any_response_is_kept_as_it_is() -> None:
    raw = "<answer>I\x00 <|im_end|> do not know"
    assert result(RESULT | {"response": raw, "task": "FakeDetection"})["prediction"] == {"raw": raw, "logprobs": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response": None}, "column 'response' holds None; allowed: a text"),
        ({"response": "hm", "labels": None}, "does not show its task; declare it with 'task': SingleEval"),
        ({"labels": "bona fide", "task": "FakeDetection"}, "column 'answer' holds 'bona fide'; allowed: real, fake"),
        ({"labels": ["real"]}, "column 'labels' holds ['real']; allowed: a text, or null"),
        ({"logprobs": [1]}, "column 'logprobs' holds [1]; allowed: {'content': [...]}, or null"),
        ({"task": "detect"}, "column 'task' holds 'detect'; allowed: SingleEval"),
    ],
)
def test_results_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError, match=re.escape(message)):
        result(RESULT | change)


def test_label_logprobs_stand_at_the_answer_or_nowhere() -> None:
    content = RESULT["logprobs"]["content"]
    raw = RESULT["response"]
    assert label_logprobs({"content": content}, raw) == {"real": -2.5, "fake": -0.1}
    assert label_logprobs({"content": [token("fake")]}, "fake") == {"real": None, "fake": -0.5}
    assert label_logprobs({"content": [token(" fake", real=-1.0)]}, " fake") == {"real": -1.0, "fake": None}
    assert label_logprobs({"content": []}, raw) is None
    assert label_logprobs({"content": content[:2]}, raw) is None, "cut before the answer"
    assert label_logprobs({"content": content[1:]}, raw) is None, "tokens of another text"
    assert label_logprobs({"content": [token("<answer>fake", real=-1.0)]}, "<answer>fake") is None, (
        "no token of its own"
    )


def test_golden_log_probabilities() -> None:
    folder = SHARED / "golden" / "deepfake"
    if not folder.is_dir():
        pytest.skip("needs ../shared/golden/deepfake")
    expected = json.loads((folder / "swift_clean_expected.json").read_text())["rows"]
    items = list(convert_file(folder / "swift_clean.jsonl", "ms_swift"))
    assert len(items) == len(expected)
    for item, row in zip(items, expected, strict=True):
        assert item["verdict"] == row["label"]
        assert item["prediction"]["logprobs"] == {"real": row["real_logprob"], "fake": row["fake_logprob"]}


def test_released_examples() -> None:
    folder = SHARED / "data" / "speecheval"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/speecheval")
    options = Options(unlabelled=True)
    inputs = list(convert_file(folder / "example_inputs.jsonl", "speecheval", options))
    outputs = list(convert_file(folder / "example_outputs.jsonl", "ms_swift", options))
    assert (
        [item["task"] for item in inputs]
        == [item["task"] for item in outputs]
        == ["detect", "assess", "compare", "suggest"]
    )
    assert [item["language"] for item in inputs] == ["zh", "en", "zh", "en"]
    assert [item["systems"] for item in inputs] == [
        ["ali_zhida_csmsc"],
        ["BVCC"],
        ["Aishell3_tacotron2", "Aishell3"],
        ["CosyVoice"],
    ]
    raw = [json.loads(line)["response"] for line in (folder / "example_outputs.jsonl").read_text().splitlines()]
    assert [item["prediction"]["raw"] for item in outputs] == raw
    spoken = read_thinking(split_answer(raw[1]).thinking or "")
    assert scores_of(spoken) == dict(zip(RATED, (2.0, 2.0, 2.0, 3.0, 2.0, 2.0, 2.0), strict=True))
    assert preference_of(read_thinking(split_answer(raw[2]).thinking or "")) == "second"
    assert [entry["text"] for entry in read_thinking(split_answer(raw[3]).thinking or "")] == [
        "emotional impact",
        "expressiveness",
        "timbre",
    ]
    assert len(list(read_rows(folder / "example_outputs.jsonl"))) == 4
