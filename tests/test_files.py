"""Reading and writing rows: formats, encodings, broken rows, big files, whole or absent."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.errors import RowError, UserError, shorten
from earwitness.files import (
    BadRows,
    atomic_write,
    json_value,
    numbered_rows,
    read_rows,
    sha256_file,
    write_json,
    write_jsonl,
)

ROWS = [{"id": "a", "text": 'say "hi", please\nnow'}, {"id": "b", "text": "日本語 – é"}]


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif ending == "json":
        put(path, json.dumps(ROWS, indent=1, ensure_ascii=False))
    elif ending == "jsonl":
        put(path, "\n\n".join(json.dumps(row) for row in ROWS) + "\n")
    else:
        comma = "," if ending == "csv" else "\t"
        put(path, f'id{comma}text\r\na{comma}"say ""hi"", please\nnow"\r\n\r\nb{comma}日本語 – é\r\n')
    assert list(read_rows(path)) == ROWS


def test_row_numbers_are_lines_in_jsonl_and_rows_elsewhere(tmp_path: Path) -> None:
    assert [n for n, _ in numbered_rows(put(tmp_path / "a.jsonl", '{"a": 1}\n\n{"a": 2}'))] == [1, 3]
    assert [n for n, _ in numbered_rows(put(tmp_path / "a.csv", "a\n1\n\n2\n"))] == [1, 2]


def test_text_lines_and_headed_text(tmp_path: Path) -> None:
    path = put(tmp_path / "protocol.txt", "utteranceId,mean\r\n\r\nx_001,3.5")
    assert list(read_rows(path)) == [{"text": "utteranceId,mean"}, {"text": "x_001,3.5"}]
    assert list(read_rows(path, reading="csv")) == [{"utteranceId": "x_001", "mean": "3.5"}]
    bare = put(tmp_path / "TRAINSET", "s,s-u.wav,3,x,y\n")
    assert list(read_rows(bare, reading="lines")) == [{"text": "s,s-u.wav,3,x,y"}]
    tsv = put(tmp_path / "ASVspoof5.train.tsv", "T_1 T_2 F\n")
    assert list(read_rows(tsv, reading="lines")) == [{"text": "T_1 T_2 F"}]


def test_json_lines_under_the_ending_json(tmp_path: Path) -> None:
    path = put(tmp_path / "out.json", '{"a": 1}\n{"a": 2}\n')
    assert list(read_rows(path)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_a_byte_order_mark_is_skipped(tmp_path: Path, ending: str) -> None:
    text = {"json": '[{"a": "1"}]', "jsonl": '{"a": "1"}', "csv": "a\n1\n"}[ending]
    assert list(read_rows(put(tmp_path / f"x.{ending}", b"\xef\xbb\xbf" + text.encode()))) == [{"a": "1"}]


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE"), ("utf-32", "UTF-32")],
)
@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "txt"])
def test_utf16_is_named_with_the_fix(tmp_path: Path, encoding: str, named: str, ending: str) -> None:
    path = put(tmp_path / f"x.{ending}", '[{"a": "1"}]'.encode(encoding))
    with pytest.raises(UserError) as caught:
        list(read_rows(path))
    assert f"looks like {named}, but must be UTF-8" in str(caught.value)
    assert f"iconv -f {named} -t UTF-8" in str(caught.value)


def test_cp1252_names_row_byte_text_and_fix(tmp_path: Path) -> None:
    path = put(tmp_path / "x.csv", "a\nfine\ncafé\nlast\n".encode("cp1252"))
    with pytest.raises(RowError, match="row 2: byte 0xe9 is not UTF-8; as Windows-1252 it would read 'café'"):
        list(read_rows(path))
    bad = BadRows(skip=True)
    assert list(read_rows(path, bad)) == [{"a": "fine"}, {"a": "last"}]
    assert (bad.count, bad.first[0].row, bad.first[0].value) == (1, 2, "café")


def test_cp1252_in_jsonl_costs_one_row_and_in_a_json_list_the_file(tmp_path: Path) -> None:
    lines = [b'{"a": 1}', '{"a": "café"}'.encode("cp1252"), b'{"a": 3}']
    assert list(read_rows(put(tmp_path / "x.jsonl", b"\n".join(lines)), BadRows(skip=True))) == [{"a": 1}, {"a": 3}]
    with pytest.raises(UserError, match="line 2: byte 0xe9 is not UTF-8"):
        list(read_rows(put(tmp_path / "x.json", b"[" + b",\n".join(lines) + b"]"), BadRows(skip=True)))


def test_bytes_without_meaning_anywhere(tmp_path: Path) -> None:
    with pytest.raises(RowError, match="row 1: byte 0x81 is not UTF-8; save the file as UTF-8"):
        list(read_rows(put(tmp_path / "x.jsonl", b'{"a": "\x81"}')))


def test_broken_json_lines_are_named_skipped_counted_and_listed(tmp_path: Path) -> None:
    path = put(tmp_path / "x.jsonl", '{"a": 1}\n{"a": \n[1]\n"x"\nnull\ntrue\n7\n{"a": 2}\n')
    with pytest.raises(RowError) as caught:
        list(read_rows(path))
    assert str(caught.value) == f'{path}, row 2: broken JSON at column 6: Expecting value: {{"a":'
    log = tmp_path / "bad.jsonl"
    with BadRows(skip=True, log=log, keep=2) as bad:
        assert list(read_rows(path, bad)) == [{"a": 1}, {"a": 2}]
        assert not log.exists()
    listed = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["row"] for entry in listed] == [2, 3, 4, 5, 6, 7]
    assert listed[1] == {"file": str(path), "row": 3, "value": "[1]", "reason": "must be an object, but is a list: [1]"}
    assert "6 bad rows skipped" in bad.summary()
    assert f"and 4 more, see {log}" in bad.summary()


def test_no_list_of_bad_rows_without_bad_rows_or_after_an_error(tmp_path: Path) -> None:
    with BadRows(skip=True, log=tmp_path / "bad.jsonl") as bad:
        pass
    assert (bad.summary(), list(tmp_path.iterdir())) == ("no bad rows", [])

    def stopped() -> None:
        with BadRows(skip=True, log=tmp_path / "bad.jsonl") as bad:
            bad.add(RowError("no good").at("f", 1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stopped()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("7", "begins with '7'"),
        ('[{"a": 1}', "line 1: expected ',' or ']' after a row"),
        ('[{"a": 1},]', "line 1: row 2: Expecting value"),
        ('[{"a": 1}\n{"a": 2}]', "line 2: expected ','"),
        ('[\n{"a": 1},\n{"a" 2}]', "line 3: row 2: Expecting ':' delimiter"),
        ('[{"a": 1}] x', "text after the end of the list"),
        ('[{"a": "x', "row 1: Unterminated string"),
        ("[", "row 1: Expecting value"),
    ],
)
def test_broken_json_lists(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        list(read_rows(put(tmp_path / "x.json", text), BadRows(skip=True)))
    assert message in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=5), st.none() | st.floats() | st.text() | st.lists(st.integers()))),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 2]),
)
def test_json_lists_read_the_same_whatever_the_buffer(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], chunk: int, indent: int | None
) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=True)
    path = put(tmp_path_factory.mktemp("json") / "x.json", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("earwitness.row_formats._CHUNK", chunk)
        assert repr(list(read_rows(path))) == repr(json.loads(text))


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_half_a_character_costs_its_row(tmp_path: Path, ending: str) -> None:
    rows = ['{"id": 1, "text": "\\ud83d\\ude00"}', '{"id": 2, "text": "cut \\ud83d"}', '{"id": 3, "text": "\\\\ud83d"}']
    text = "\n".join(rows) if ending == "jsonl" else f"[{','.join(rows)}]"
    bad = BadRows(skip=True)
    kept = list(read_rows(put(tmp_path / f"x.{ending}", text), bad))
    assert kept == [{"id": 1, "text": "\U0001f600"}, {"id": 3, "text": "\\ud83d"}]
    assert [(error.row, error.value) for error in bad.first] == [(2, "\\ud83d")]
    assert "half of a character" in bad.summary()


@pytest.mark.parametrize("value", ["9" * 5_000, "[" * 100_000])
def test_json_beyond_the_limits_of_python_is_named(tmp_path: Path, value: str) -> None:
    with pytest.raises(RowError, match=r"x\.jsonl, row 1: broken JSON"):
        list(read_rows(put(tmp_path / "x.jsonl", f'{{"a": {value}}}\n')))
    with pytest.raises(UserError, match=r"y\.json: broken JSON at line 1: row 1: "):
        list(read_rows(put(tmp_path / "y.json", f'[{{"a": {value}}}]')))


def test_values_that_json_cannot_hold() -> None:
    strange = {1: math.nan, "b": [math.inf, 0.5, b"abc"], "c": date(2026, 1, 2), "d": (None, True), "e": "cut \ud83d"}
    plain = {"1": None, "b": [None, 0.5, "3 bytes"], "c": "2026-01-02", "d": [None, True], "e": "cut \\ud83d"}
    assert json_value(strange) == plain
    assert json_value(plain) == plain


def test_a_bad_row_of_a_json_list_is_skipped(tmp_path: Path) -> None:
    bad = BadRows(skip=True)
    assert list(read_rows(put(tmp_path / "x.json", '[{"a": 1}, "x", {"a": 2}]'), bad)) == [{"a": 1}, {"a": 2}]
    assert str(bad.first[0]).endswith("row 2: must be an object, but is a string: x")


def test_csv_rows_of_another_width_and_open_quotes(tmp_path: Path) -> None:
    path = put(tmp_path / "x.csv", 'a,b\n1,2\n1,2,3\n"ok",2\n"bad"x,2\n5,6\n')
    bad = BadRows(skip=True)
    assert [row["a"] for row in read_rows(path, bad)] == ["1", "ok", "5"]
    assert [(error.row, error.value) for error in bad.first] == [(2, "1,2,3"), (4, None)]
    assert "has 3 columns, but the header has 2: 1,2,3; quote cells that hold a comma" in str(bad.first[0])
    assert "broken CSV in line 5" in str(bad.first[1])
    with pytest.raises(
        RowError, match="row 1: broken CSV in lines 2 to 3: unexpected end of data; is a quote left open"
    ):
        list(read_rows(put(tmp_path / "y.csv", 'a\n"1\n2\n')))


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), ("a,b,a\n1,2,3\n", "names a column twice: 'a'"), ('"a\n', "broken CSV header")],
)
def test_bad_csv_headers(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read_rows(put(tmp_path / "x.csv", text)))


def test_missing_unknown_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(read_rows(tmp_path / "none.csv"))
    with pytest.raises(UserError, match=r"cannot read rows from '\.xlsx'; allowed endings: \.json, \.jsonl, \.csv"):
        list(read_rows(put(tmp_path / "x.xlsx", "x")))
    with pytest.raises(UserError, match="not a readable Parquet file"):
        list(read_rows(put(tmp_path / "x.parquet", "x")))


PEAK = """
import resource, sys
from earwitness.files import read_rows
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in read_rows(sys.argv[1]))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
"""


@pytest.mark.parametrize("ending", ["jsonl", "csv", "json"])
def test_a_million_rows_in_bounded_memory(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"big.{ending}"
    one = {"json": '{"id": %d, "text": "x"}', "jsonl": '{"id": %d, "text": "x"}', "csv": '%d,"x, y"'}[ending]
    with path.open("w") as file:
        file.write({"json": "[", "jsonl": "", "csv": "id,text\n"}[ending])
        joint = ",\n" if ending == "json" else "\n"
        file.write(joint.join(one % number for number in range(1_000_000)))
        file.write("]" if ending == "json" else "")
    run = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    count, kilobytes = map(int, run.stdout.split())
    assert count == 1_000_000
    assert kilobytes < 40_000


def test_parquet_rows_with_audio_come_in_small_batches(tmp_path: Path) -> None:
    path = tmp_path / "audio.parquet"
    rows = [{"audio": {"bytes": bytes([n]) * 400_000, "path": "x.wav"}} for n in range(100)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, compression="none", use_dictionary=False)
    assert [row["audio"]["bytes"][0] for row in read_rows(path)] == list(range(100))


def test_atomic_write_leaves_nothing_behind_on_error(tmp_path: Path) -> None:
    path = put(tmp_path / "x.jsonl", "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_jsonl(path, iter([{"a": 1}, {"a": float("nan")}]))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

    def stopped() -> None:
        with atomic_write(tmp_path / "y", "wb") as file:
            file.write(b"x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stopped()
    assert list(tmp_path.iterdir()) == [path]


def test_written_rows_read_back(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "new" / "x.jsonl", ROWS)
    write_json(tmp_path / "x.json", ROWS)
    assert list(read_rows(tmp_path / "new" / "x.jsonl")) == list(read_rows(tmp_path / "x.json")) == ROWS
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert sha256_file(put(tmp_path / "e", "")).startswith("e3b0c44298fc1c14")


def _umask() -> int:
    run = subprocess.run([sys.executable, "-c", "import os; print(os.umask(0))"], capture_output=True, check=True)
    return int(run.stdout)


def test_row_errors_pickle_with_their_place() -> None:
    error = RowError("column 'winner' holds 'C'; allowed: A, B", "C").at("x.csv", 3)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == "x.csv, row 3: column 'winner' holds 'C'; allowed: A, B"
    assert (copy.file, copy.row, copy.value, copy.reason) == (error.file, 3, "C", error.reason)
    assert error.at("y", 9) is error


def test_long_values_are_shortened_to_one_line() -> None:
    assert shorten("a\n b" * 100) == ("a b" * 100)[:79] + "…"
