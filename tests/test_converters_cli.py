"""``earwitness convert``: files written whole, the printed entry works as it is, bad rows are counted and listed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from earwitness.cli.convert import main
from earwitness.data.records import Record, load_records
from earwitness.errors import RowError, UserError
from earwitness.files import read_rows, sha256_file

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
VOTES = "left,right,best,said\na.wav,b.wav,A,Hi\nc.wav,d.wav,tie,\ne.wav,f.wav,?,x\ng.wav,h.wav,B,<audio>\n"
PLAIN = ["--columns", "audio_a=left,audio_b=right,verdict=best,text=said", "--values", "A=first,B=second,tie=tie"]
SCORES = "db,con,file,filename_deg,filename_ref,source,lang,votes,mos,noi,col,dis,loud,filepath_deg\n" + "".join(
    f"V,{n % 3},{n},c{n}.wav,r{n % 4}.wav,AUS,en,5,{1 + n % 5},3,3,3,3,V/deg/c{n}.wav\n" for n in range(40)
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("votes.csv").write_text(VOTES)
    Path("nisqa.csv").write_text(SCORES)
    return tmp_path


def convert(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[dict[str, Any], str]:
    """Run the command; the printed entries, as pasted into dataset_info.json, and what went to standard error."""
    assert main(argv) == 0
    captured = capsys.readouterr()
    entries = json.loads(captured.out)
    Path("data/dataset_info.json").write_text(json.dumps(entries))
    return entries, captured.err


def records(name: str) -> list[Record]:
    return load_records(name, "data")


def test_bad_rows_stop_or_are_counted_and_listed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plain", "votes.csv", "--out", "data/votes.jsonl", *PLAIN, "--aspect", "noise"]
    with pytest.raises(RowError, match=r"votes\.csv, row 3: column 'best' holds '\?'; allowed: A, B, tie"):
        main(arguments)
    assert list(Path("data").iterdir()) == []
    entries, told = convert(capsys, *arguments, "--skip-bad")
    judge = {"type": "pairwise", "aspects": ["noise"]}
    assert entries == {"votes": {"file_name": "votes.jsonl", "formatting": "speech_pair", "judge": judge}}
    assert "data/votes.jsonl: 2 rows" in told
    assert "2 bad rows skipped:" in told
    assert "row 4: column 'said' holds the control token '<audio>'" in told
    assert [row["row"] for row in read_rows("data/votes.bad.jsonl")] == [3, 4]
    assert [(one.reference, one.aspect, one.meta["text"]) for one in records("votes")] == [
        ("first", "noise", "Hi"),
        ("tie", "noise", ""),
    ]
    manifest = json.loads(Path("data/votes.manifest.json").read_text())
    assert manifest["bad_rows"] == 2
    assert manifest["input"] == {"file": "votes.csv", "sha256": sha256_file("votes.csv")}
    assert manifest["files"] == {"votes.jsonl": {"rows": 2, "sha256": sha256_file("data/votes.jsonl")}}
    assert manifest["options"]["verdict_values"] == {"A": "first", "B": "second", "tie": "tie"}


def test_tokens_can_be_kept_because_prompts_disarm_them(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("votes.csv").write_text(VOTES.replace("?", "B"))
    convert(capsys, "plain", "votes.csv", "--out", "data/votes.jsonl", *PLAIN, "--aspect", "noise", "--keep-tokens")
    assert [one.prompt.count("<audio>") for one in records("votes")] == [2, 2, 2, 2]


def test_a_menu_without_a_tie(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("votes.csv").write_text("left,right,best\na.wav,b.wav,-1\na.wav,c.wav,1\n")
    columns = ["--columns", "audio_a=left,audio_b=right,verdict=best", "--values=-1=first,1=second", "--aspect=pace"]
    entries, _ = convert(capsys, "plain", "votes.csv", "--out", "data/v.jsonl", *columns)
    assert entries["v"]["judge"] == {
        "type": "pairwise",
        "aspects": ["pace"],
        "labels": {"first": "1", "second": "2"},
    }
    assert [one.response for one in records("v")] == ["1", "2"]


def test_scored_clips_and_pairs_of_them(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries, _ = convert(capsys, "nisqa", "nisqa.csv", "--out", "data/mos.jsonl", "--name", "nisqa_val")
    assert entries["nisqa_val"]["judge"] == {"type": "score", "aspects": ["overall quality"], "scale": [1.0, 5.0]}
    assert [one.reference for one in records("nisqa_val")] == [1.0 + n % 5 for n in range(40)]
    rule = ["--pairs", "--margin", "1", "--tie-band", "0", "--sentence", "same", "--seed", "5"]
    entries, told = convert(capsys, "nisqa", "nisqa.csv", "--out", "data/pairs.jsonl", *rule)
    assert entries["pairs"]["judge"] == {"type": "pairwise", "aspects": ["overall quality"]}
    found = records("pairs")
    scores = [(one.meta["score_a"], one.meta["score_b"], one.reference) for one in found]
    assert all(verdict == {1: "first", -1: "second", 0: "tie"}[(a > b) - (a < b)] for a, b, verdict in scores)
    assert f"first {[s[2] for s in scores].count('first')}" in told
    recorded = json.loads(Path("data/pairs.manifest.json").read_text())["pairing"]
    assert (recorded["pairs"], recorded["rule"]["sentence"], recorded["rule"]["seed"]) == (len(found), "same", 5)
    before = Path("data/pairs.jsonl").read_bytes()
    convert(capsys, "nisqa", "nisqa.csv", "--out", "data/pairs.jsonl", *rule)
    assert Path("data/pairs.jsonl").read_bytes() == before


def test_clips_inside_the_file_are_written_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"index": n, "target_text": "Hi", "audioA": sound("a", n), "audioB": sound("b", n), "naturalness_label": "A"}
        for n in range(3)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), "sj.parquet")
    arguments = ["speechjudge", "sj.parquet", "--out", "data/sj.jsonl"]
    with pytest.raises(UserError, match="the clips are inside the file; say where to write them"):
        main(arguments)
    convert(capsys, *arguments, "--audio-out", "data/clips")
    found = records("sj")
    assert [Path(one.audios[0]).read_bytes() for one in found] == [row["audioA"]["bytes"] for row in rows]
    assert {Path(audio).suffix for one in found for audio in one.audios} == {".wav", ".flac"}
    assert all(row["audio_a"].startswith("clips/") for row in read_rows("data/sj.jsonl"))
    convert(capsys, *arguments, "--audio-out", "elsewhere")
    assert all(Path(row["audio_a"]).is_absolute() for row in read_rows("data/sj.jsonl"))


def sound(clip: str, number: int) -> dict[str, Any]:
    magic = {"a": b"RIFF", "b": b"fLaC"}[clip]
    return {"bytes": magic + f"{clip}{number}".encode(), "path": None}


def test_an_embedded_clip_of_an_unknown_format_is_named(data: Path) -> None:
    row = {"index": 1, "audioA": {"bytes": b"nope", "path": None}, "audioB": sound("b", 1), "naturalness_label": "B"}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), "sj.parquet")
    with pytest.raises(
        RowError, match=r"sj\.parquet, row 1: the embedded clip begins with b'nope'; allowed: wav, flac"
    ):
        main(["speechjudge", "sj.parquet", "--out", "data/sj.jsonl", "--audio-out", "data/clips"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mp3", "votes.csv", "--out", "x.jsonl"], "unknown format 'mp3'; allowed: sagelm, speecheval, ms_swift"),
        (["plain", "votes.csv", "--out", "x.csv"], r"x\.csv: must end in \.jsonl"),
        (["nisqa", "none.csv", "--out", "x.jsonl"], r"none\.csv: no such file"),
        (
            ["plain", "votes.csv", "--out", "x.jsonl", "--columns", "audio"],
            "--columns: 'audio' is not allowed; give name=",
        ),
        (["plain", "votes.csv", "--out", "x.jsonl", "--scale", "5"], "--scale: '5' is not allowed; give LOW:HIGH"),
        (["nisqa", "nisqa.csv", "--out", "x.jsonl", "--pairs"], "--pairs needs --margin"),
        (["sagelm", "x.json", "--out", "x.jsonl", "--pairs", "--margin", "1"], "format 'sagelm' gives no scores"),
        (["sagelm", "x.json", "--out", "x.jsonl", "--scale", "1:5"], "format 'sagelm' takes no option 'scale'"),
        (["nisqa", "votes.csv", "--out", "x.jsonl", "--skip-bad"], "no row could be converted; 4 bad rows skipped"),
        (["sagelm", "x.jsonl", "--out", "x.jsonl"], r"x\.jsonl: is the input; name another file"),
    ],
)
def test_what_is_refused(data: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(arguments)
    assert not Path("x.jsonl").exists()


def test_help_is_quick_to_load() -> None:
    code = "import sys; import earwitness.cli.convert; print(sorted(m for m in sys.modules if 'earwitness' in m))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "['earwitness', 'earwitness.cli', 'earwitness.cli.convert', 'earwitness.errors']\n"


@pytest.mark.parametrize("name", ["semantic", "acoustic"])
def test_released_sagelm_rows_mean_the_same_converted_or_not(
    data: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source = SHARED / "data" / "sagelm" / f"test_{name}.json"
    if not source.is_file():
        pytest.skip("needs the released SageLM test sets in ../shared/data/sagelm")
    entries, _ = convert(capsys, "sagelm", str(source), "--out", "data/converted.jsonl")
    assert entries["converted"]["judge"] == {"type": f"sagelm_{name}"}
    entries["released"] = {"file_name": str(source), "judge": {"type": f"sagelm_{name}"}}
    entries["released"]["columns"] = {
        "prompt": "instruction",
        "query": "input",
        "response": "output",
        "audios": "audios",
    }
    Path("data/dataset_info.json").write_text(json.dumps(entries))
    for ours, theirs in zip(records("converted"), records("released"), strict=True):
        assert ours.prompt == theirs.prompt
        assert (ours.aspect, ours.audios, ours.reference) == (theirs.aspect, theirs.audios, theirs.reference)
        assert ours.response is not None
        assert ours.response.strip() == (theirs.response or "").strip()


def test_released_speecheval_rows_load_as_records(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = SHARED / "data" / "speecheval" / "example_inputs.jsonl"
    if not source.is_file():
        pytest.skip("needs ../shared/data/speecheval")
    entries, _ = convert(capsys, "speecheval", str(source), "--out", "data/se.jsonl", "--unlabelled")
    assert list(entries) == ["se_detect", "se_assess", "se_compare", "se_suggest"]
    for name, clips in zip(entries, (1, 1, 2, 1), strict=True):
        (one,) = records(name)
        assert (len(one.audios), one.reference, one.response) == (clips, None, None)


def test_thinking_makes_a_judge_that_thinks(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = "<think>\nOverall Quality: B is better than A\n</think>\n\n<answer>\nSample B sounds cleaner.\n</answer>"
    messages = [{"role": "user", "content": "A: <audio> B: <audio>?"}, {"role": "assistant", "content": answer}]
    row = {"key": "k", "task": "CompareEval", "messages": messages, "audios": ["a.wav", "b.wav"]}
    Path("train.jsonl").write_text(json.dumps(row))
    entries, _ = convert(capsys, "speecheval", "train.jsonl", "--out", "data/se.jsonl")
    assert entries["se_compare"]["judge"] == {"type": "speecheval_comparison", "chain_of_thought": True}
    (one,) = records("se_compare")
    assert (one.reference, one.response) == ("second", answer)
