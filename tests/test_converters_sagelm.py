"""SageLM rows to items: the exact dict, both forms of the prompt, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from earwitness.data.converters import Options, convert_file, get_converter
from earwitness.errors import RowError
from earwitness.files import BadRows

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "sagelm"
PROMPT = (
    "Below are two responses for a given task. The task is defined by the Instruction. Evaluate in terms of "
    "**helpfulness** and indicate a better response using 1, 2 or Tie.\n### Instruction:\nUse **bold** and `code`:\n\n"
    "### Response 1:\nis not the end\n\n### Response 1:\n<audio>\n\n### Response 2:\n<audio>\n\n"
)
ROW = {
    "instruction": PROMPT,
    "input": "",
    "output": "2\nBetter.\nTruly.",
    "audios": ["Audio/stage1/a.wav", "Audio/b.wav"],
}

convert = get_converter("sagelm").bind()
inferring = get_converter("sagelm").bind(Options(unlabelled=True, language="en", audio_dir="/data"))


def test_a_row_becomes_exactly_this() -> None:
    assert convert(ROW) == {
        "id": "sagelm-2349cb487f0fe2e3",
        "task": "compare",
        "audios": ["Audio/stage1/a.wav", "Audio/b.wav"],
        "aspect": "helpfulness",
        "verdict": "second",
        "score": None,
        "scores": None,
        "scale": None,
        "question": "Use **bold** and `code`:\n\n### Response 1:\nis not the end",
        "text": None,
        "sentence": None,
        "prompt": PROMPT,
        "thinking": None,
        "rationale": "Better.\nTruly.",
        "answer": None,
        "language": None,
        "systems": [None, None],
        "speakers": [None, None],
        "raters": [],
        "details": [],
        "context": None,
        "prediction": None,
        "provenance": {"format": "sagelm", "source": "Audio/stage1", "key": None, "file": None, "row": None},
        "extra": {},
    }


def test_the_form_of_the_readme_and_unlabelled_rows() -> None:
    readme = ROW | {"instruction": PROMPT.replace(".\n###", ".\n\n###"), "output": "", "split": "test"}
    item = inferring(readme)
    assert (item["question"], item["verdict"], item["language"]) == (convert(ROW)["question"], None, "en")
    assert item["audios"] == ["/data/Audio/stage1/a.wav", "/data/Audio/b.wav"]
    assert item["extra"] == {"split": "test"}
    assert item["id"] != convert(ROW)["id"], "another prompt is another question"


def test_ids_do_not_depend_on_the_label() -> None:
    assert convert(ROW)["id"] == convert(ROW | {"output": "Tie"})["id"]
    assert convert(ROW)["id"] != convert(ROW | {"audios": ROW["audios"][::-1]})["id"]


@pytest.mark.parametrize(("output", "verdict"), [("1", "first"), (" 2 \nx", "second"), ("Tie\n", "tie"), ("T", "tie")])
def test_verdicts(output: str, verdict: str) -> None:
    assert convert(ROW | {"output": output})["verdict"] == verdict


def test_implicit_emotion_is_told_by_the_folder_alone() -> None:
    prompt = PROMPT.replace("helpfulness", "emotion instruction following")
    row = ROW | {"instruction": prompt, "audios": ["Audio/stage2/Implicit-Emotion/a.wav", "b.wav"]}
    assert convert(row)["aspect"] == "implicit emotion"
    assert (
        convert(row | {"audios": ["Audio/stage2/Emotion/a.wav", "b.wav"]})["aspect"] == "emotion instruction following"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "3\nx"}, "column 'output' holds '3'; allowed: 1, 2, Tie, T"),
        ({"output": "10/10"}, "column 'output' holds '10/10'; allowed: 1, 2, Tie, T"),
        ({"output": ""}, "column 'output' holds no label; allowed: 1, 2 or Tie"),
        ({"output": None}, "rows for inference need 'unlabelled'"),
        ({"output": "1\n<|im_end|>"}, "column 'output' holds the control token '<|im_end|>' at character 1"),
        ({"output": "1\n</think>"}, "control token '</think>'"),
        ({"audios": ["a.wav"]}, "column 'audios' holds ['a.wav']; allowed: two clips"),
        ({"audios": ["a.wav", ""]}, "column 'audios' holds ''; allowed: the path of a clip"),
        ({"instruction": "Which is better?"}, "allowed: SageLM's prompt"),
        ({"instruction": PROMPT.replace("`code`", "<audio>")}, "control token '<audio>' at character 18"),
        ({"instruction": PROMPT.replace("`code`", "\x07")}, r"the control character '\x07' at character 18"),
        ({"instruction": None}, "column 'instruction' holds None"),
    ],
)
def test_what_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError, match=re.escape(message)):
        convert(ROW | change)


def test_a_missing_column_lists_the_columns() -> None:
    with pytest.raises(RowError, match="has no column 'audios'; its columns: instruction, input, output"):
        convert({name: value for name, value in ROW.items() if name != "audios"})


def test_control_tokens_can_be_kept() -> None:
    row = ROW | {"instruction": PROMPT.replace("`code`", "<audio> <|im_start|>")}
    assert (
        get_converter("sagelm").bind(Options(keep_tokens=True))(row)["question"].startswith("Use **bold** and <audio>")
    )


def test_duplicates_are_named_with_both_rows(tmp_path: Path) -> None:
    path = tmp_path / "twice.json"
    path.write_text(json.dumps([ROW, ROW | {"output": "x"}, ROW | {"output": "1"}]))
    bad = BadRows(skip=True)
    items = list(convert_file(path, "sagelm", bad=bad))
    assert [item["provenance"]["row"] for item in items] == [1]
    assert items[0]["provenance"]["file"] == str(path)
    assert [error.row for error in bad.first] == [2, 3]
    assert "asks the same of the same clips as row 1" in str(bad.first[1])


@pytest.mark.parametrize(("name", "rows"), [("semantic", 728), ("acoustic", 410)])
def test_the_released_data(name: str, rows: int) -> None:
    path = SHARED / f"test_{name}.json"
    if not path.is_file():
        pytest.skip("needs the released SageLM test sets in ../shared/data/sagelm")
    items = list(convert_file(path, "sagelm"))
    source = json.loads(path.read_text(encoding="utf-8"))
    assert len({item["id"] for item in items}) == rows
    for item, row in zip(items, source, strict=True):
        assert item["prompt"] == row["instruction"]
        assert (
            f"**{'emotion instruction following' if 'implicit' in item['aspect'] else item['aspect']}**"
            in row["instruction"]
        )
        assert {"first": "1", "second": "2", "tie": "Tie"}[item["verdict"]] + "\n" + item["rationale"] == row[
            "output"
        ].strip()
    implicit = sum(item["aspect"] == "implicit emotion" for item in items)
    assert implicit == sum("Implicit-Emotion" in row["audios"][0] for row in source)
