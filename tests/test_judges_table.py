"""Every row of the table in docs/judges.md, executed: formats, prompt, labels, forms and parser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from earwitness.data.records import load_records
from earwitness.judges import parse
from earwitness.judges.registry import JUDGE_TYPES

PAGE = (REPOSITORY / "docs/judges.md").read_text(encoding="utf-8")
LINES = [line for line in PAGE.splitlines() if line.startswith("| `")]
COLUMNS = ("judge", "prompt", "labels", "forms", "parser", "formats", "example")
ROWS = [
    dict(zip(COLUMNS, (cell.strip() for cell in line.strip("|").split("|")), strict=True)) | {"number": number}
    for number, line in enumerate(LINES, 1)
]

THOUGHT = {
    "speecheval_assessment": "Overall Quality: 2/5\nDistortion: 2/5 (jitter)\nSpeech Rate: slow",
    "speecheval_comparison": "Overall Quality: B is better than A\nDistortion: B is better than A",
    "speecheval_suggestion": "Key improvement areas: pace, timbre",
}
PROSE = {
    "speecheval_assessment": "The quality is poor, with jitter (0.2-1.4 s).",
    "speecheval_comparison": "Overall, Sample B is better.",
    "speecheval_suggestion": "Speak more slowly.\nAdd warmth.",
    "alld_mos": "The speech is noisy but clear. The MOS is 2.5.",
}
TASKS = {"assessment": "SingleEval", "comparison": "CompareEval", "suggestion": "Suggest", "detection": "FakeDetection"}
TRUTH = {
    "speecheval_assessment": 2.0,
    "speecheval_detection": "fake",
    "alld_mos": 2.5,
    "score": 2.5,
    "rate_clip": {"noise": 2.0, "overall quality": 2.5},
}
SAGELM = (
    "Below are two responses for a given task. The task is defined by the Instruction. Evaluate in terms of "
    "**{aspect}** and indicate a better response using 1, 2 or Tie.\n### Instruction:\nSay hello.\n\n"
    "### Response 1:\n<audio>\n\n### Response 2:\n<audio>"
)


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def rows_of(kind: str, format: str, form: str) -> tuple[dict[str, Any], str, str]:
    """The entry but for its judge, the file's ending and its text: one labelled row of a format for a judge."""
    aspect = (*JUDGE_TYPES[kind].aspects, "noise")[0]
    task = kind.rpartition("_")[2]
    thinking = {"thinking": THOUGHT.get(kind, "It hisses.")} if form == "thought" else {}
    prose = PROSE.get(kind, "")
    tagged = f"<think>\n{THOUGHT.get(kind, '')}\n</think>\n\n<answer>\n{prose or 'fake'}\n</answer>"
    asked = " ".join(["<audio>"] * JUDGE_TYPES[kind].clips)
    clips = ["a.wav", "b.wav"][: JUDGE_TYPES[kind].clips]
    row: dict[str, Any]
    match format:
        case "speech_pair":
            said = {"answer": prose} if kind in PROSE else {"rationale": "The other one hisses."}
            row = {
                "audio_a": "a.wav",
                "audio_b": "b.wav",
                "aspect": aspect,
                "verdict": "second",
                "question": "Hi",
                **said,
            }
            return {}, ".jsonl", json.dumps(row | thinking)
        case "speech_clip":
            labels = {"rate_clip": {"scores": TRUTH["rate_clip"]}, "speecheval_detection": {"verdict": "fake"}}
            said = labels.get(kind) or ({"answer": prose} if kind in PROSE else {"score": 2.5, "aspect": "noise"})
            score = {"score": TRUTH[kind]} if kind in ("speecheval_assessment", "alld_mos") else {}
            return {}, ".jsonl", json.dumps({"audio": "a.wav", **said, **score, **thinking})
        case "alpaca":
            row = {"instruction": SAGELM.format(aspect=aspect), "input": "", "output": "2\nIt hisses.", "audios": clips}
            columns = {"prompt": "instruction", "query": "input", "response": "output", "audios": "audios"}
            return {"columns": columns}, ".jsonl", json.dumps(row)
        case "sagelm":
            row = {"instruction": SAGELM.format(aspect=aspect), "input": "", "output": "2\nIt hisses.", "audios": clips}
            return {}, ".json", json.dumps([row])
        case "speecheval":
            messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": tagged}]
            row = {"key": "k", "task": TASKS[task], "messages": messages, "audios": clips}
            return {}, ".jsonl", json.dumps(row)
        case "ms_swift":
            messages = [{"role": "user", "content": asked}]
            row = {"response": "x", "labels": tagged, "logprobs": None, "messages": messages, "audios": clips}
            return {}, ".jsonl", json.dumps(row | {"task": TASKS[task]})
        case "nisqa":
            head = "db,con,file,filename_deg,lang,mos,noi,col,dis,loud,filepath_deg\n"
            return {}, ".csv", head + "S,1,1,a.wav,en,2.5,2,3,4,5,a.wav\n"
        case "somos":
            return {}, ".csv", "utteranceId,mean\nbook_0001_007,2.5\n"
        case "bvcc":
            return {}, ".txt", "sys1,sys1-a.wav,2.5,_,a_b_r1_c_d_e_f\n"
        case "asvspoof":
            return {}, ".txt", "LA_0079 LA_T_1 - A01 spoof\n"
        case "speechjudge":
            row = {"index": "1", "subset": "x", "audioA": "a.wav", "audioB": "b.wav", "target_text": "Hi"}
            return {}, ".jsonl", json.dumps(row | {"naturalness_annotation": [], "naturalness_label": "B"})
        case "plain" if JUDGE_TYPES[kind].clips == 2:
            columns = {"audio_a": "l", "audio_b": "r", "verdict": "w"}
            options = {"columns": columns, "verdict_values": {"L": "first", "R": "second"}, "aspect": "noise"}
            return {"converter": options}, ".csv", "l,r,w\na.wav,b.wav,R\n"
        case "plain":
            options = {"columns": {"audio": "clip", "score": "s"}, "scale": [1, 5], "aspect": "noise"}
            return {"converter": options}, ".csv", "clip,s\na.wav,2.5\n"
    raise AssertionError(f"docs/judges.md names the format {format!r}, which this test does not know")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['number']}-{row['judge']}".replace("`", ""))
def test_row(row: dict[str, Any], tmp_path: Path) -> None:
    (kind,), (template,) = codes(row["judge"]), codes(row["prompt"])
    judge = JUDGE_TYPES[kind]
    assert (REPOSITORY / "templates" / f"{template}.jinja").is_file()
    assert codes(row["parser"]) == [f"{judge.read.__module__.rpartition('.')[2]}.{judge.read.__qualname__}"]
    assert codes(row["labels"]) == list(judge.labels.values())
    if not judge.labels:
        assert row["labels"] == ("{:g} to {:g}".format(*judge.scale) if judge.scale else "")
    for example in codes(row["example"]):
        assert (REPOSITORY / "examples/judge" / example).is_file()
    for form in row["forms"].split(", "):
        for format in codes(row["formats"]):
            if format == "alpaca" and form == "thought":
                continue  # rows that are rendered already hold their answer as it is
            run(kind, template, format, form, tmp_path)


def run(kind: str, template: str, format: str, form: str, folder: Path) -> None:
    extra, ending, text = rows_of(kind, format, form)
    declared: dict[str, Any] = {"type": kind, "template": template, "chain_of_thought": form == "thought"}
    if kind == "rate_clip":
        five = {"noise": 2.0, "coloration": 3.0, "discontinuity": 4.0, "loudness": 5.0, "overall quality": 2.5}
        truth: Any = TRUTH[kind] if format == "speech_clip" else five
        declared["aspects"] = list(truth)
    else:
        truth = TRUTH.get(kind, "second")
    (folder / f"rows{ending}").write_text(text, encoding="utf-8")
    entry = {"file_name": f"rows{ending}", "formatting": format, "judge": declared, **extra}
    (folder / "dataset_info.json").write_text(json.dumps({"it": entry}), encoding="utf-8")
    (record,) = load_records("it", folder)
    assert record.judge.type == kind
    assert record.prompt.count("<audio>") == len(record.audios) == JUDGE_TYPES[kind].clips
    assert record.response is not None
    assert ("<think>" in record.response) == (form == "thought")
    read = parse(record.response, record.judge)
    if kind == "speecheval_suggestion":
        assert read.suggestions == tuple(PROSE[kind].splitlines())
        return
    # Plain prose of SpeechEval states no score: the column does.
    said = truth if kind == "speecheval_assessment" and form == "plain" else read.verdict or read.score or read.scores
    assert said == truth, (format, form, read)
    assert record.reference == truth


def test_every_judge_template_and_format_is_in_the_table() -> None:
    from earwitness.data.converters import CONVERTERS
    from earwitness.judges.spec import FORMATTINGS

    assert {codes(row["judge"])[0] for row in ROWS} == set(JUDGE_TYPES)
    folders = ("sagelm", "speecheval", "alld", "earwitness")
    files = {
        f"{folder}/{path.stem}" for folder in folders for path in (REPOSITORY / "templates" / folder).glob("*.jinja")
    }
    assert {codes(row["prompt"])[0] for row in ROWS} == files
    assert {name for row in ROWS for name in codes(row["formats"])} == {*CONVERTERS, *FORMATTINGS, "alpaca"}
