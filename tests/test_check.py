"""``earwitness check`` finds what makes a dataset unfit, names file and row, and leaves good data alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earwitness.cli.check import main
from earwitness.data.records import load_records
from earwitness.errors import UserError

RATE = 16_000
VERDICTS = ("first", "second", "tie")


def speech(seed: int, seconds: float = 0.5) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return np.round(3000 * noise).clip(-32000, 32000).astype(np.int16)


class Folder:
    """A folder of clips and datasets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Any] = {}
        for index in range(24):
            self.clip(f"{index}.wav", speech(index))

    def clip(self, name: str, samples: np.ndarray, rate: int = RATE) -> str:
        soundfile.write(self.path / name, samples, rate)
        return name

    def pairs(self, name: str, rows: list[dict[str, Any]] | None = None, **judge: Any) -> list[dict[str, Any]]:
        """Declare a dataset; without rows of 12 pairs, four a verdict."""
        rows = rows if rows is not None else [
            {"audio_a": f"{i}.wav", "audio_b": f"{i + 12}.wav", "aspect": "noise", "verdict": VERDICTS[i % 3]}
            for i in range(12)
        ]  # fmt: skip
        (self.path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        judge = {"type": "pairwise", "aspects": ["noise", "loudness"], **judge}
        self.entries[name] = {"file_name": f"{name}.jsonl", "formatting": "speech_pair", "judge": judge}
        self.save()
        return rows

    def save(self) -> None:
        (self.path / "dataset_info.json").write_text(json.dumps(self.entries))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


Check = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def check(folder: Folder, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run the command on datasets of the folder; its status and JSON."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        status = main([*arguments, "--dataset-dir", str(folder.path), "--jobs", "1", "--json"])
        return status, json.loads(capsys.readouterr().out)

    return run


def findings(report: dict[str, Any], dataset: int = -1) -> list[tuple[str, str, int | None]]:
    return [(found["level"], found["kind"], found["row"]) for found in report["datasets"][dataset]["findings"]]


def messages(report: dict[str, Any]) -> str:
    return "\n".join(found["message"] for dataset in report["datasets"] for found in dataset["findings"])


def test_good_data(folder: Folder, check: Check) -> None:
    folder.pairs("good")
    status, report = check("good")
    assert status == 0
    assert (report["errors"], report["warnings"], report["skipped"]) == (0, 0, [])
    (dataset,) = report["datasets"]
    assert dataset["rows"] == dataset["labelled"] == 12
    assert dataset["clips"] == dataset["distinct_sounds"] == 24
    assert dataset["labels"] == {name: {"first": 4, "second": 4, "tie": 4} for name in ("all", "noise")}
    assert dataset["first_wins"] == {"value": 0.5, "n": 8}
    assert dataset["seconds"]["median"] == 0.5
    assert dataset["seconds"]["total"] == 12.0
    assert dataset["audio_tokens"]["max"] == 2 * 12  # 50 frames: 25, then 12
    assert sum(bin_["count"] for bin_ in dataset["audio_tokens"]["histogram"]) == 12
    assert dataset["row_tokens"] is None


def test_every_kind_of_bad_clip_and_row(folder: Folder, check: Check) -> None:
    good = {"audio_a": "0.wav", "audio_b": "1.wav", "aspect": "noise", "verdict": "first"}
    folder.clip("silent.wav", np.zeros(RATE, np.int16))
    folder.clip("clipped.wav", np.clip(20 * speech(1), -30_000, 30_000))
    folder.clip("offset.wav", speech(1) + np.int16(3_000))
    folder.clip("short.wav", speech(1, 0.02))
    folder.clip("long.wav", speech(1, 30.1))
    (folder.path / "text.wav").write_text("not audio")
    folder.pairs(
        "bad",
        [
            {**good, "verdict": "second"},
            {**good, "audio_a": "none.wav"},
            {**good, "audio_a": "text.wav"},
            {**good, "audio_a": "silent.wav"},
            {**good, "audio_b": "clipped.wav", "verdict": "tie"},
            {**good, "audio_b": "offset.wav"},
            {**good, "audio_a": "short.wav"},
            {**good, "audio_a": "long.wav"},
            {**good, "verdict": "A"},
            {**good, "aspect": "beauty"},
            {**good, "audio_b": "none.wav"},
        ],
    )
    status, report = check("bad", "--family", "qwen2_audio")
    assert status == 1
    assert findings(report) == [
        ("error", "row", 9),
        ("error", "row", 10),
        ("error", "clip", 2),
        ("error", "clip", 3),
        ("warning", "silent", 4),
        ("warning", "clipped", 5),
        ("warning", "DC offset", 6),
        ("error", "too short", 7),
        ("error", "too long", 8),
    ]
    text = messages(report)
    assert f"bad.jsonl, row 2: {folder.path / 'none.wav'}: no such audio file (and in 1 more row)" in text
    assert "30.10 s, the model hears 30 s" in text
    assert "allowed" in text
    dataset = report["datasets"][0]
    assert (dataset["rows"], dataset["bad_rows"], dataset["bad_clips"]) == (11, 2, 2)

    status, report = check("bad", "--family", "qwen2_audio", "--overlong", "truncate")
    assert ("warning", "too long", 8) in findings(report)


def test_placeholders_that_do_not_match(folder: Folder, check: Check) -> None:
    rows = [
        {"instruction": f"<audio><audio>In terms of **noise**{extra}", "output": label, "audios": ["0.wav", "1.wav"]}
        for extra, label in (("", "1"), (" <audio>", "2"), ("!", "Tie"))
    ]
    (folder.path / "sagelm.json").write_text(json.dumps(rows))
    columns = {"prompt": "instruction", "response": "output", "audios": "audios"}
    folder.entries = {"sagelm": {"file_name": "sagelm.json", "columns": columns}}
    folder.save()
    status, report = check("sagelm")
    assert status == 1
    assert findings(report) == [("error", "row", 2)]
    assert "3 <audio> placeholder(s), but the row has 2 audio(s)" in messages(report)


@pytest.mark.parametrize(
    ("verdicts", "judge", "expected"),
    [
        (["first"] * 12, {}, [("error", "one label", None)]),
        (["first"] * 12, {"order_swap": "random"}, [("warning", "one label", None)]),
        (["tie"] * 12, {}, [("error", "one label", None)]),
        (["first"] * 11 + ["tie"], {}, [("warning", "label balance", None)]),
        (["first"] * 10 + ["second"] * 2, {}, []),
        (["first"], {}, []),
        ([None] * 12, {}, []),
        ([], {}, [("error", "dataset", None)]),
    ],
)
def test_labels_that_measure_nothing(
    folder: Folder, check: Check, verdicts: list[str | None], judge: dict[str, str], expected: list[Any]
) -> None:
    rows = [
        {"audio_a": f"{i}.wav", "audio_b": f"{i + 12}.wav", "aspect": "noise", "verdict": verdict}
        for i, verdict in enumerate(verdicts)
    ]
    folder.pairs("labels", rows, **judge)
    status, report = check("labels")
    assert [found for found in findings(report) if found[1] != "position balance"] == expected
    assert status == any(level == "error" for level, *_ in expected)


def test_the_whole_dataset_info_is_validated(folder: Folder, check: Check) -> None:
    folder.pairs("good")
    folder.pairs("typo")
    folder.entries["typo"]["num_samples"] = 0
    folder.entries["other"] = {"file_name": "x.jsonl", "formating": "alpaca"}
    folder.save()
    status, report = check("good")
    assert (status, report["errors"], report["warnings"]) == (0, 0, 2)
    assert "entry 'other'" in report["other_problems"][1]
    assert "'formating' was unexpected" in report["other_problems"][1]
    status, report = check("typo")
    assert status == 1
    assert findings(report) == [("error", "entry", None)]
    folder.entries["typo"] = {**folder.entries["good"], "judge": {"type": "nobody"}}
    folder.save()
    status, report = check("typo")
    assert [found[1] for found in findings(report)] == ["dataset"]  # said once


def test_rows_without_a_label_among_labelled_ones(folder: Folder, check: Check) -> None:
    rows = folder.pairs("some")
    folder.pairs("some", [{**row, "verdict": None} if at in (4, 7) else row for at, row in enumerate(rows)])
    status, report = check("some")
    assert (status, report["datasets"][0]["labelled"]) == (0, 10)
    assert findings(report) == [("warning", "unlabelled", 5)]
    assert "row 5: 2 of 12 rows have no label" in messages(report)
    folder.pairs("none", [{**row, "verdict": ""} for row in rows])
    assert findings(check("none")[1]) == []


def test_one_label_for_one_aspect(folder: Folder, check: Check) -> None:
    rows = folder.pairs("aspects")
    rows += [{**row, "aspect": "loudness", "verdict": "tie"} for row in rows]
    folder.pairs("aspects", rows)
    status, report = check("aspects")
    assert status == 0
    assert findings(report) == [("warning", "one label", None)]
    assert "aspect 'loudness': all 12 labels are 'tie'" in messages(report)


def test_scores_that_are_all_the_same(folder: Folder, check: Check) -> None:
    rows = [{"audio": f"{i}.wav", "aspect": "noise", "score": 3} for i in range(5)]
    (folder.path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = {"type": "score", "scale": [1, 5]}
    folder.entries = {"scores": {"file_name": "scores.jsonl", "formatting": "speech_clip", "judge": judge}}
    folder.save()
    status, report = check("scores")
    assert status == 1
    assert "all 5 labels are 3" in messages(report)


def test_the_first_wins_too_often(folder: Folder, check: Check) -> None:
    rows = [
        {"audio_a": f"{i % 23}.wav", "audio_b": f"{i % 23 + 1}.wav", "aspect": "noise", "verdict": verdict}
        for i, verdict in enumerate(["first"] * 30 + ["second"] * 10)
    ]
    folder.pairs("position", rows)
    _, report = check("position")
    assert ("warning", "position balance", None) in findings(report)
    assert report["datasets"][0]["first_wins"] == {"value": 0.75, "n": 40}
    assert "the first clip wins 30 of 40 decided pairs (75%)" in messages(report)


def test_repeated_questions_and_pairs_of_one_sound(folder: Folder, check: Check) -> None:
    rows = folder.pairs("repeats")
    folder.clip("copy.flac", speech(0))
    rows += [
        {**rows[0], "audio_a": "copy.flac", "verdict": "tie"},
        {**rows[0], "audio_b": "copy.flac"},
    ]
    folder.pairs("repeats", rows)
    status, report = check("repeats")
    assert status == 0
    assert findings(report) == [("warning", "repeated", 13), ("warning", "same clips", 14)]
    assert "asks what row 1 asks about the same sound, another answer" in messages(report)
    assert (report["datasets"][0]["clips"], report["datasets"][0]["distinct_sounds"]) == (25, 24)


@pytest.mark.parametrize(("names", "level"), [(("my_train", "my_test"), "error"), (("one", "two"), "warning")])
def test_leaks_between_datasets(folder: Folder, check: Check, names: Sequence[str], level: str) -> None:
    first, second = names
    folder.pairs(first)
    folder.clip("renamed.flac", speech(3))
    rows = [
        {"audio_a": "a.wav", "audio_b": "b.wav", "aspect": "noise", "verdict": "first"},
        {"audio_a": "b.wav", "audio_b": "renamed.flac", "aspect": "noise", "verdict": "second"},
    ]
    folder.clip("a.wav", speech(100))
    folder.clip("b.wav", speech(101))
    folder.pairs(second, rows)
    status, report = check(first, second)
    assert status == (level == "error")
    assert findings(report) == [(level, "shared clips", None)]
    expected = f"{second} shares 1 clip with {first}: {folder.path / 'renamed.flac'}, there {folder.path / '3.wav'}"
    assert expected in messages(report)


def test_all_datasets(folder: Folder, check: Check) -> None:
    folder.pairs("good")
    folder.entries["text"] = {"file_name": "text.json"}
    folder.entries["hub"] = {"hf_hub_url": "someone/speech", "columns": {"audios": "audios"}}
    folder.entries["wrong"] = {**folder.entries["good"], "judge": {"type": "pairwyse"}}
    folder.entries["gone"] = {**folder.entries["good"], "file_name": "gone.jsonl"}
    folder.save()
    status, report = check("--all")
    assert status == 1
    assert report["skipped"] == ["text", "hub"]
    assert [dataset["name"] for dataset in report["datasets"]] == ["good", "wrong", "gone"]
    assert [dataset["errors"] for dataset in report["datasets"]] == [0, 1, 1]
    assert "pairwyse" in messages(report)
    assert "gone.jsonl" in messages(report)


def test_tokens_are_those_that_the_host_trains_on(folder: Folder, check: Check, tiny_models: dict[str, Path]) -> None:
    from earwitness.data.records import load_records
    from earwitness.infer.model import TEMPLATES
    from earwitness.infer.prompting import HostPrompts

    folder.pairs("good")
    for family, model in tiny_models.items():
        prompts = HostPrompts(model, TEMPLATES[family])
        lengths = []
        for record in load_records("good", folder.path):
            messages_ = [
                {"role": "user", "content": record.prompt},
                {"role": "assistant", "content": record.response},
            ]
            plugin = prompts._template.mm_plugin
            expanded = plugin.process_messages(messages_, [], [], list(record.audios), prompts.processor)
            lengths.append(sum(map(len, prompts._template.encode_oneturn(prompts.tokenizer, expanded))))
        status, report = check("good", "--model", str(model), "--cutoff-len", str(max(lengths)))
        assert status == 0
        tokens = report["datasets"][0]["row_tokens"]
        assert (tokens["min"], tokens["max"], tokens["total"]) == (min(lengths), max(lengths), sum(lengths))
    status, report = check("good", "--model", str(model), "--cutoff-len", str(max(lengths) - 1))
    assert status == 1
    assert ("error", "cut by cutoff_len") in {found[:2] for found in findings(report)}


def preferences(folder: Folder, rows: list[dict[str, Any]], **entry: Any) -> None:
    (folder.path / "preferences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {name: name for name in ("prompt", "chosen", "rejected", "audios")}
    folder.entries["preferences"] = {"file_name": "preferences.jsonl", "ranking": True, "columns": columns, **entry}
    folder.save()


def test_preferences_about_any_number_of_clips(folder: Folder, check: Check, tiny_models: dict[str, Path]) -> None:
    one = {"prompt": "<audio>\nDescribe.", "chosen": "Clean. MOS: 4", "audios": ["0.wav"]}
    rows = [{**one, "rejected": "Bad."}, {**one, "rejected": "I do not know, really not."}]
    rows += [{**rows[0], "prompt": "A: <audio>\nB: <audio>", "audios": ["1.wav", "2.wav"]}]
    preferences(folder, rows)
    status, report = check("preferences", "--model", str(tiny_models["qwen2_5_omni"]))
    assert (status, report["errors"], report["warnings"]) == (0, 0, 0)
    (dataset,) = report["datasets"]
    assert (dataset["rows"], dataset["clips"], dataset["labelled"]) == (3, 3, 0)
    assert dataset["row_tokens"]["n"] == 3
    assert dataset["row_tokens"]["max"] > dataset["audio_tokens"]["max"]
    with pytest.raises(UserError, match=r"'preferences': holds preferences.*'judge' block"):
        load_records("preferences", folder.path)
    folder.entries["preferences"]["judge"] = {"type": "alld_mos"}
    folder.save()
    assert check("preferences")[0] == 0
    with pytest.raises(UserError, match=r"row 3: the row has 2 audio\(s\), but judge 'alld_mos' hears 1"):
        load_records("preferences", folder.path)
    assert [record.prompt for record in load_records("preferences", folder.path, limit=2)] == [one["prompt"]] * 2


def test_bad_preferences(folder: Folder, check: Check) -> None:
    good = {"prompt": "<audio>", "chosen": "Clean.", "rejected": "Noisy.", "audios": ["0.wav"]}
    rows = [good, {**good, "rejected": ""}, {**good, "prompt": "Describe."}, {**good, "audios": ["none.wav"]}]
    rows += [good, {**good, "rejected": "Clean. "}, {"prompt": "<audio>", "audios": ["0.wav"], "rejected": "x"}]
    preferences(folder, rows)
    status, report = check("preferences")
    assert status == 1
    found = [("error", "row", 2), ("error", "row", 3), ("error", "row", 7), ("error", "clip", 4)]
    assert findings(report) == [*found, ("warning", "repeated", 5), ("warning", "same texts", 6)]
    assert "row 2: column 'rejected' (rejected) must hold text, but holds None" in messages(report)
    assert "holds 0 <audio> placeholder(s)" in messages(report)
    del folder.entries["preferences"]["columns"]["chosen"]
    folder.save()
    assert "the entry's columns name no 'chosen'" in messages(check("preferences")[1])


def test_audio_alone_beyond_cutoff_len(folder: Folder, check: Check) -> None:
    folder.pairs("good")
    status, report = check("good", "--cutoff-len", "23")
    assert status == 1
    assert "takes 24 audio tokens alone, cutoff_len allows 23" in messages(report)


def test_text_for_people_in_several_processes(folder: Folder) -> None:
    folder.pairs("my_train")
    folder.pairs("my_test")
    command = [sys.executable, "-m", "earwitness.cli.main", "check", "--all", "--jobs", "2"]
    done = subprocess.run([*command, "--dataset-dir", str(folder.path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == ""  # no progress bar where nobody watches
    for line in (
        "  12 rows, 12 labelled; 24 clips, 24 different",
        "  labels, noise: first 4 (33%), second 4 (33%), tie 4 (33%)",
        "  first clip wins 50.0% of 8 decided pairs",
        "  error: shared clips (1)",
        "1 error, 0 warnings",
    ):
        assert line in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name datasets, or give --all"),
        (["good", "--all"], "name datasets, or give --all"),
        (["bood"], "no dataset 'bood'; it has: "),
        (["good", "--jobs", "0"], "--jobs is 0; must be 1 or more"),
        (["good", "--template", "qwen2_omni"], "--template needs --model"),
        (["good", "--model", "no/such/model"], "no/such/model"),
    ],
)
def test_wrong_use(folder: Folder, arguments: list[str], message: str) -> None:
    folder.pairs("good")
    with pytest.raises(UserError, match=message):
        main([*arguments, "--dataset-dir", str(folder.path)])
