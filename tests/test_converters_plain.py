"""Plain files with declared columns and values: the map is declared, nothing is guessed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.data.converters import Options, convert_file, get_converter, to_row
from earwitness.errors import RowError, UserError
from earwitness.files import BadRows, write_jsonl

ROW = {
    "left": "a.wav",
    "right": "b.wav",
    "best": "-1",
    "who": "tts1",
    "said": "Hi, *you*",
    "when": "noon",
    "judge": "r1",
}
COLS = {"audio_a": "left", "audio_b": "right", "verdict": "best", "system_a": "who", "text": "said", "rater": "judge"}
VALUES = {"-1": "first", "0": "tie", "1": "second"}
PAIR = Options(columns=COLS, verdict_values=VALUES, aspect="noise", language="en")
CLIP = Options(columns={"audio": "wav", "score": "mos", "id": "n"}, scale=(0, 100), aspect="noise")

BY_ASPECT = Options(columns={"audio": "a", "score": "s", "aspect": "k"}, scale=(1, 5))


def convert(row: dict[str, Any], options: Options = PAIR) -> Any:
    return get_converter("plain").bind(options)(row)


def test_a_pair_becomes_exactly_this() -> None:
    assert convert(ROW) == {
        "id": "row-26e4b20c3d163758",
        "task": "compare",
        "audios": ["a.wav", "b.wav"],
        "aspect": "noise",
        "verdict": "first",
        "score": None,
        "scores": None,
        "scale": None,
        "question": None,
        "text": "Hi, *you*",
        "sentence": "Hi, *you*",
        "prompt": None,
        "thinking": None,
        "rationale": None,
        "answer": None,
        "language": "en",
        "systems": ["tts1", None],
        "speakers": [None, None],
        "raters": ["r1"],
        "details": [],
        "context": None,
        "prediction": None,
        "provenance": {"format": "plain", "source": None, "key": None, "file": None, "row": None},
        "extra": {"when": "noon"},
    }


def test_a_scored_clip() -> None:
    item = convert({"wav": "x.wav", "mos": "71.5", "n": 3}, CLIP)
    assert (item["id"], item["task"], item["score"], item["scale"]) == ("3", "score", 71.5, [0.0, 100.0])


def test_a_detection_clip_and_free_text() -> None:
    options = Options(columns={"audio": "a", "verdict": "v"}, verdict_values={"bonafide": "real", "spoof": "fake"})
    assert convert({"a": "x.wav", "v": "spoof"}, options)["verdict"] == "fake"
    options = Options(columns={"audio": "a", "answer": "t"}, task="assess")
    assert convert({"a": "x.wav", "t": "Good."}, options)["answer"] == "Good."


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_the_same_items_from_every_file_format(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    if ending == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW | {"best": -1.0}]), path)
    elif ending == "jsonl":
        write_jsonl(path, [ROW | {"best": -1}])
    else:
        comma = "\t" if ending == "tsv" else ","
        quoted = [f'"{value}"' for value in ROW.values()]
        path.write_text(f"{comma.join(ROW)}\n{comma.join(quoted)}\n")
    (item,) = convert_file(path, "plain", PAIR)
    expected = convert(ROW)
    expected["provenance"] |= {"file": str(path), "row": 1}
    assert item == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"winner": "best"}}, "unknown column name 'winner'; allowed: id, audio_a, audio_b, verdict"),
        ({"columns": {}}, "columns must name 'audio'; a pair needs audio_a and audio_b"),
        ({"columns": {"audio_a": "left"}}, "columns must name 'audio_b'"),
        ({"columns": COLS | {"score": "x"}}, "column 'score' does not go with audio_a; allowed: audio_a, audio_b"),
        (
            {"aspect": "x", "columns": COLS},
            "column 'verdict' needs what its values stand for, such as A=first, B=second, tie=tie",
        ),
        (
            {"aspect": "x", "columns": COLS, "verdict_values": {"A": "left"}},
            "value 'A' stands for 'left'; allowed: first, second, tie",
        ),
        ({"aspect": "x", "columns": COLS, "verdict_values": {"A": "first"}}, "no value stands for 'second'"),
        (
            {"columns": {"audio": "a", "score": "s"}},
            "task 'score' needs what is judged: an 'aspect' for the file, or a",
        ),
        (
            {"columns": {"audio": "a", "score": "s"}, "aspect": "x"},
            "column 'score' needs the scale of the scores, such as 1:5",
        ),
        ({"columns": {"audio": "a"}}, "declare the task, or one column of 'score' (task score) and 'verdict'"),
        (
            {"columns": {"audio": "a"}, "task": "compare"},
            "task 'compare' does not fit 1 clip(s); allowed: score, assess",
        ),
        ({"columns": {"audio": "a", "verdict": "v"}, "task": "assess"}, "task 'assess' has no verdict; tasks with one"),
    ],
)
def test_declarations_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        get_converter("plain").bind(Options(**options))


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (ROW | {"best": "B"}, PAIR, "column 'best' holds 'B'; allowed: -1, 0, 1"),
        (
            ROW | {"best": ""},
            PAIR,
            "column 'best' holds no label; allowed: -1, 0, 1; rows for inference need 'unlabelled'",
        ),
        (ROW | {"best": None}, PAIR, "column 'best' holds no label"),
        (ROW | {"said": "a <audio> b"}, PAIR, "column 'said' holds the control token '<audio>' at character 3"),
        (ROW | {"said": "a <|im_start|>"}, PAIR, "control token '<|im_start|>'"),
        (ROW | {"said": ["x"]}, PAIR, "column 'said' holds ['x']; allowed: a text"),
        (ROW | {"said": "\ud800"}, PAIR, r"the control character '\ud800'"),
        ({"left": "a"}, PAIR, "has no column 'right'; its columns: left"),
        ({"wav": "x.wav", "mos": "nan", "n": "1"}, CLIP, "column 'mos' holds 'nan'; allowed: a finite number"),
        ({"wav": "x.wav", "mos": "101", "n": "1"}, CLIP, "column 'mos' holds 101; allowed: a number from 0 to 100"),
        ({"wav": "x.wav", "mos": "", "n": "1"}, CLIP, "column 'mos' holds no label; allowed: a number from 0 to 100"),
        ({"wav": "x.wav", "mos": "1", "n": " "}, CLIP, "column 'n' is empty; allowed: a text"),
        ({"a": "x.wav", "s": "1", "k": " "}, BY_ASPECT, "column 'k' is empty; allowed: a text"),
        ({"wav": "x\n.wav", "mos": "1", "n": "1"}, CLIP, r"column 'wav' holds 'x\n.wav'; allowed: the path of a clip"),
    ],
)
def test_rows_that_are_refused(row: dict[str, Any], options: Options, message: str) -> None:
    with pytest.raises(RowError, match=re.escape(message)):
        convert(row, options)


def test_unlabelled_rows_are_taken_when_declared() -> None:
    options = Options(columns=COLS, verdict_values=VALUES, unlabelled=True, aspect="noise")
    assert convert(ROW | {"best": ""}, options)["verdict"] is None


def test_every_bad_row_of_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("n,wav,mos\n1,a.wav,3\n1,b.wav,4\n2,c.wav,nan\n3,,5\n4,d.wav\n5,e.wav,2\n")
    bad = BadRows(skip=True)
    assert [item["id"] for item in convert_file(path, "plain", CLIP, bad)] == ["1", "5"]
    assert [(error.row, error.value) for error in bad.first] == [(2, "1"), (3, "nan"), (4, ""), (5, "4,d.wav")]
    with pytest.raises(RowError, match=r"x\.csv, row 2: id '1' is that of row 1 too; allowed: each id once"):
        list(convert_file(path, "plain", CLIP))


def test_the_same_question_twice_without_an_id(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("left,right,best,who,said,judge\na,b,0,,,r1\na,b,0,,,r2\na,b,1,,,r1\n")
    with pytest.raises(
        RowError, match="row 3: asks the same of the same clips as row 1; remove one, or declare a column"
    ):
        list(convert_file(path, "plain", PAIR))


def test_options_of_json() -> None:
    given_options = {"columns": COLS, "verdict_values": VALUES, "aspect": "noise", "language": "en", "scale": [1, 5]}
    assert Options.from_mapping(given_options).scale == (1.0, 5.0)
    for wrong, message in (
        ({"winner": "x"}, "unknown option 'winner'; allowed: columns, verdict_values, aspect"),
        ({"columns": "x"}, "option 'columns' is 'x'; allowed: an object of names to names"),
        ({"scale": [5, 1]}, "option 'scale' is [5, 1]; allowed: [lowest, highest]"),
        ({"task": 3}, "option 'task' is 3; allowed: a text"),
        ({"unlabelled": "yes"}, "option 'unlabelled' is 'yes'; allowed: true, false"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            Options.from_mapping(wrong)


@given(st.recursive(st.none() | st.floats() | st.dates() | st.binary() | st.text(), lambda some: st.lists(some)))
def test_columns_that_are_not_ours_hold_what_json_can(value: Any) -> None:
    row = to_row(convert(ROW | {"more": value}))
    assert json.loads(json.dumps(row, allow_nan=False))["more"] == row["more"]


CELLS = st.none() | st.text(max_size=8) | st.floats() | st.booleans() | st.integers() | st.lists(st.text(max_size=2))


@given(st.dictionaries(st.sampled_from([*ROW, "x"]), CELLS))
def test_any_row_is_an_item_of_the_menu_or_a_named_error(row: dict[str, Any]) -> None:
    try:
        item = convert(row)
    except RowError:
        return
    assert item["verdict"] == VALUES[str(row["best"]).strip().removesuffix(".0")]


@given(st.sampled_from(["mos"]), CELLS)
def test_any_score_is_on_the_scale_or_a_named_error(name: str, value: Any) -> None:
    try:
        item = convert({"wav": "x.wav", name: value, "n": "1"}, CLIP)
    except RowError:
        return
    assert 0 <= item["score"] <= 100
