"""All converters: registry, pickling, worker processes, streaming, bounded memory, swapping of rows."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.data.converters import (
    CONVERTERS,
    Converter,
    Options,
    get_converter,
    register_converter,
    to_row,
)
from earwitness.data.converters.fields import safe
from earwitness.data.converters.item import can_swap, new_item, swapped_row
from earwitness.data.seen_ids import SeenIds
from earwitness.errors import RowError, UserError
from earwitness.judges.prompts import neutralize


def test_the_names() -> None:
    assert list(CONVERTERS) == [
        "sagelm",
        "speecheval",
        "ms_swift",
        "nisqa",
        "somos",
        "bvcc",
        "speechjudge",
        "asvspoof",
        "plain",
    ]
    with pytest.raises(UserError, match="unknown format 'voicemos'; allowed: sagelm, speecheval, ms_swift, nisqa"):
        get_converter("voicemos")


@pytest.mark.parametrize("name", ["nisqa", "alpaca", "speech_pair"])
def test_names_are_taken_once(name: str) -> None:
    with pytest.raises(UserError, match=f"formatting '{name}' exists already; taken: alpaca, sharegpt, openai"):
        register_converter(Converter(name, "", get_converter("nisqa").function, ("score",)))


def test_options_of_another_format_are_refused() -> None:
    with pytest.raises(
        UserError, match="format 'nisqa' takes no option 'columns'; allowed: language, source, audio_dir"
    ):
        get_converter("nisqa").bind(Options(columns={"audio": "x"}))


ASVSPOOF = [{"text": f"LA_1 LA_T_{n} - {'- bonafide' if n < 1200 else 'A01 spoof'}"} for n in range(1600)]


def flat(name: str, **options: Any) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return get_converter(name).flat(Options(**options))


@pytest.mark.parametrize("name", [name for name in CONVERTERS if name != "plain"])
def test_bound_functions_pickle(name: str) -> None:
    function = get_converter(name).bind(Options(language="en"))
    assert pickle.loads(pickle.dumps(function)).keywords == {"options": Options(language="en")}


def test_worker_processes_and_streams_give_the_same_rows() -> None:
    datasets.disable_progress_bars()
    function = flat("asvspoof", audio_dir="flac")
    expected = [function(row) for row in ASVSPOOF]
    data = datasets.Dataset.from_list(ASVSPOOF)
    mapped = data.map(function, num_proc=2, remove_columns="text", load_from_cache_file=False, keep_in_memory=True)
    without_extra = [{key: row[key] for key in row if key != "environment"} for row in mapped]
    assert without_extra == [{key: row[key] for key in row if key != "environment"} for row in expected]
    assert list(data.to_iterable_dataset().map(function, remove_columns="text")) == expected


def test_errors_of_worker_processes_name_the_value() -> None:
    data = datasets.Dataset.from_list([*ASVSPOOF[:3], {"text": "LA_1 LA_T_1 - A01 fake"}])
    with pytest.raises(RowError, match="column 'key' holds 'fake'; allowed: bonafide, spoof"):
        data.map(flat("asvspoof"), num_proc=2, load_from_cache_file=False, keep_in_memory=True)


def test_rows_of_speecheval_load_as_json_although_texts_are_missing_for_long(tmp_path: Path) -> None:
    """Arrow gives a column that is null for its first 10 MB the type null, and then refuses text."""
    columns = {"audio_a": "a", "audio_b": "b", "rationale": "r", "system_a": "s"}
    function = flat("plain", columns=columns, aspect="noise")
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for number in range(4000):
            late = "because" if number > 3900 else None
            row = {"a": f"{number}.wav", "b": "b" * 3000, "r": late, "s": late}
            file.write(json.dumps(function(row)) + "\n")
    assert path.stat().st_size > 11 << 20
    loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert (loaded[0]["rationale"], loaded[3999]["rationale"], loaded[3999]["system_a"]) == ("", "because", "because")


BIG = """
import resource, sys
from earwitness.data.converters import convert_file, to_row
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for item in convert_file(sys.argv[1], "asvspoof"))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
"""


def test_big_files_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "protocol.txt"
    with path.open("w") as file:
        file.writelines(f"LA_0079 LA_T_{number:07d} - A01 spoof\n" for number in range(200_000))
    run = subprocess.run([sys.executable, "-c", BIG, str(path)], capture_output=True, text=True, check=True)
    count, kilobytes = map(int, run.stdout.split())
    assert count == 200_000
    assert kilobytes < 60_000


def test_importing_converters_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pyarrow", "datasets", "jinja2")
    code = f"import sys, earwitness.data.converters; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_seen_ids_are_exact_whatever_their_number() -> None:
    seen = SeenIds()
    assert [seen.add(name, row) for row, name in enumerate(["a", "b", "a", "A", "a "], 1)] == [
        None,
        None,
        1,
        None,
        None,
    ]
    assert [seen.count(name, 9) for name in ("b", "b", "new", "new")] == [2, 3, 1, 2]


def test_clips_must_fit_the_task() -> None:
    with pytest.raises(RowError, match="holds 1 clip\\(s\\), but task 'compare' needs 2"):
        new_item(id="x", task="compare", audios=["a"], format="plain")


def pair(**values: Any) -> dict[str, Any]:
    item = new_item(id="x", task="compare", audios=["a", "b"], format="plain", **values)
    return to_row(item)


@given(st.sampled_from(["first", "second", "tie", None]), st.text(max_size=3), st.text(max_size=3))
def test_swapping_twice_changes_nothing(verdict: str | None, system: str, speaker: str) -> None:
    row = pair(verdict=verdict, systems=[system, "s"], speakers=[None, speaker], extra={"swapped": False, "odd_a": 1})
    swapped = swapped_row(row)
    assert swapped_row(swapped) == row
    assert (swapped["audio_a"], swapped["system_a"], swapped["speaker_a"], swapped["odd_a"]) == ("b", "s", speaker, 1)
    assert swapped["verdict"] == {"first": "second", "second": "first", "tie": "tie", None: ""}[verdict]
    assert swapped["swapped"] is True


@pytest.mark.parametrize("name", ["rationale", "thinking", "answer", "context"])
def test_rows_with_text_about_the_clips_are_not_swapped(name: str) -> None:
    row = pair(verdict="first", **{name: "A is better than B"})
    assert not can_swap(row)
    with pytest.raises(ValueError, match="holds text about A and B"):
        swapped_row(row)


def test_columns_of_the_source_do_not_overwrite_ours() -> None:
    row = pair(verdict="first", extra={"verdict": "A", "noise": 3})
    assert (row["verdict"], row["source_verdict"], row["noise"]) == ("first", "A", 3)


@given(st.text(alphabet=st.sampled_from("<|audio>im_start/thinkswer *#`_\n€日")))
def test_texts_pass_unchanged_or_are_refused_for_a_token(text: str) -> None:
    if neutralize(text) == text and not re.search("</?(think|answer)>", text):
        assert safe(text, "text") == text
    else:
        with pytest.raises(RowError, match="column 'text' holds the control token '<"):
            safe(text, "text")
