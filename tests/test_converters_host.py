"""Names of converters as ``formatting``: through LLaMA-Factory's own loader, and as records."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from sft_settings import sft_settings

from earwitness.data.entries import Entry
from earwitness.data.records import load_records
from earwitness.errors import RowError, UserError

NISQA = """db,con,file,filename_deg,filename_ref,source,lang,votes,mos,noi,col,dis,loud,filepath_deg
SIM,1,1,c0.wav,r.wav,x,en,5,2.5,1.5,3.5,4.5,4,c0.wav
SIM,2,2,c1.wav,r.wav,x,en,5,4.25,4.5,4,,4,c1.wav
"""
SPEECHEVAL = [
    {
        "key": "k0",
        "task": "SingleEval",
        "messages": [
            {"role": "user", "content": "<audio> Please evaluate the overall quality of this speech."},
            {"role": "assistant", "content": "<think>\nOverall Quality: 2/5\n</think>\n\n<answer>\nPoor.\n</answer>"},
        ],
        "audios": ["c0.wav"],
    },
    {
        "key": "k1",
        "task": "FakeDetection",
        "messages": [
            {"role": "user", "content": "<audio> Determine if this speech is real or a deepfake."},
            {"role": "assistant", "content": "<think>\n</think>\n\n<answer>\nfake\n</answer>"},
        ],
        "audios": ["c1.wav"],
    },
    {
        "key": "k2",
        "task": "CompareEval",
        "messages": [
            {"role": "user", "content": "Sample A: <audio> Sample B: <audio> Compare the speech quality."},
            {
                "role": "assistant",
                "content": "<think>\nOverall Quality: B is better than A\n</think>\n\n<answer>\nB.\n</answer>",
            },
        ],
        "audios": ["c0.wav", "c1.wav"],
    },
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Clips, files of several formats, and the entries that name them."""
    for number in range(2):
        soundfile.write(tmp_path / f"c{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(8_000), 16_000)
    (tmp_path / "nisqa.csv").write_text(NISQA)
    (tmp_path / "bvcc.txt").write_text("sys1,sys1-c0.wav,4,_,a_b_r1_c_d_e_f\nsys1,sys1-c0.wav,2,_,a_b_r2_c_d_e_f\n")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/sys1-c0.wav").write_bytes((tmp_path / "c0.wav").read_bytes())
    (tmp_path / "speecheval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SPEECHEVAL))
    (tmp_path / "plain.csv").write_text("left,right,won\nc0.wav,c1.wav,L\nc1.wav,c0.wav,R\n")
    info: dict[str, Any] = {
        "mos": {"file_name": "nisqa.csv", "formatting": "nisqa"},
        "noise": {
            "file_name": "nisqa.csv",
            "formatting": "nisqa",
            "converter": {"aspect": "noise"},
            "judge": {"type": "score", "aspects": ["noise"]},
        },
        "bvcc": {"file_name": "bvcc.txt", "formatting": "bvcc", "converter": {"audio_dir": "clips"}},
        "speecheval": {
            "file_name": "speecheval.jsonl",
            "formatting": "speecheval",
            "judge": {"chain_of_thought": True},
        },
        "plain": {
            "file_name": "plain.csv",
            "formatting": "plain",
            "converter": {
                "columns": {"audio_a": "left", "audio_b": "right", "verdict": "won"},
                "verdict_values": {"L": "first", "R": "second"},
                "aspect": "pace",
            },
            "judge": {"type": "pairwise", "labels": {"first": "A", "second": "B"}, "order_swap": "always"},
        },
        "embedded": {
            "file_name": "embedded.parquet",
            "formatting": "speechjudge",
            "converter": {"audio_out": "extracted"},
        },
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    return tmp_path


def host_rows(name: str, folder: Path, streaming: bool = False, processes: int | None = None) -> list[dict[str, Any]]:
    """The aligned rows of a dataset, by LLaMA-Factory's loader with its hooks."""
    from llamafactory.data import loader, parser

    attribute = parser.get_dataset_list([name], str(folder))[0]
    data = SimpleNamespace(
        dataset_dir=str(folder),
        media_dir=str(folder),
        streaming=streaming,
        preprocessing_num_workers=processes,
        max_samples=None,
        overwrite_cache=True,
    )
    model = SimpleNamespace(cache_dir=str(folder / "cache"), hf_hub_token=None)
    training = SimpleNamespace(should_log=True, local_process_index=0, dataloader_num_workers=1)
    return list(loader._load_single_dataset(attribute, model, data, training))


def assert_same(rows: list[dict[str, Any]], records: list[Any]) -> None:
    assert [row["_prompt"][0]["content"] for row in rows] == [record.prompt for record in records]
    assert [[turn["content"] for turn in row["_response"]] for row in rows] == [[one.response] for one in records]
    assert [tuple(row["_audios"]) for row in rows] == [record.audios for record in records]


@pytest.mark.parametrize("name", ["mos", "noise", "bvcc", "speecheval", "plain"])
def test_the_host_trains_on_what_records_ask(name: str, folder: Path) -> None:
    records = load_records(name, folder, as_trained=True)
    rows = host_rows(name, folder)
    assert_same(rows, records)
    assert host_rows(name, folder, streaming=True) == rows
    assert all(Path(audio).is_file() for record in records for audio in record.audios)


def test_rows_are_read_as_declared(folder: Path) -> None:
    noise = load_records("noise", folder)
    assert [(one.id, one.aspect, one.reference, one.response) for one in noise] == [
        ("SIM/c0", "noise", 1.5, "1.5"),
        ("SIM/c1", "noise", 4.5, "4.5"),
    ]
    assert noise[0].meta["language"] == "en"
    assert [one.reference for one in load_records("bvcc", folder)] == [4.0, 2.0]
    pace = load_records("plain", folder)
    assert [(one.reference, one.response) for one in pace] == [("first", "A"), ("second", "B")]


def test_each_task_of_a_mixed_file_has_its_judge(folder: Path) -> None:
    single, fake, pair = load_records("speecheval", folder)
    assert (single.judge.type, fake.judge.type, pair.judge.type) == (
        "speecheval_assessment",
        "speecheval_detection",
        "speecheval_comparison",
    )
    assert (single.reference, fake.reference, pair.reference) == (2.0, "fake", "second")
    assert single.prompt == SPEECHEVAL[0]["messages"][0]["content"]
    assert single.response == SPEECHEVAL[0]["messages"][1]["content"]
    info = {"file_name": "speecheval.jsonl", "formatting": "speecheval", "judge": {"type": "speecheval_detection"}}
    (folder / "dataset_info.json").write_text(json.dumps({"fakes": info}))
    with pytest.raises(RowError, match=r"speecheval\.jsonl, row 1: is of task 'assess', .* its tasks: detect"):
        load_records("fakes", folder)


def test_the_same_question_twice_gets_ids_of_its_own(folder: Path) -> None:
    (folder / "speecheval.jsonl").write_text((json.dumps(SPEECHEVAL[0]) + "\n") * 2)
    assert [record.id for record in load_records("speecheval", folder)] == ["assess:k0", "assess:k0#2"]


@pytest.mark.parametrize("feature", ["struct", "hub"])
def test_embedded_clips_are_written_once_by_many_processes(folder: Path, feature: str) -> None:
    from datasets import Audio, Dataset

    contents = [(folder / f"c{number}.wav").read_bytes() for number in range(2)]
    rows = [
        {
            "index": str(number),
            "subset": "tts",
            "audioA": {"bytes": contents[number % 2], "path": None},
            "audioB": {"bytes": contents[1 - number % 2], "path": "b.wav"},
            "target_text": "Hello.",
            "naturalness_annotation": [],
            "naturalness_label": "AB"[number % 2],
        }
        for number in range(6)
    ]
    table = Dataset.from_list(rows)
    if feature == "hub":  # as published on the hub: the file declares audio, which datasets would decode
        for column in ("audioA", "audioB"):
            table = table.cast_column(column, Audio(decode=False)).cast_column(column, Audio())
    table.to_parquet(str(folder / "embedded.parquet"))
    aligned = host_rows("embedded", folder, processes=2)
    assert len(aligned) == 6
    assert len(list((folder / "extracted").iterdir())) == 2
    first = aligned[0]["_audios"]
    assert [Path(path).read_bytes() for path in first] == contents
    assert_same(aligned, load_records("embedded", folder))
    info = json.loads((folder / "dataset_info.json").read_text())
    del info["embedded"]["converter"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(RowError, match=r"embedded\.parquet, row 1: .* name a folder for clips: converter\.audio_out"):
        load_records("embedded", folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"formatting": "nisqa2"}, "unknown formatting 'nisqa2'; allowed: .*nisqa"),
        ({"columns": {"audio": "x"}}, r"knows its columns; those of 'plain' go into converter\.columns"),
        ({"converter": {"aspects": "x"}}, "unknown option 'aspects'; allowed: "),
        ({"converter": {"scale": [1, 5]}}, "format 'nisqa' takes no option 'scale'; allowed: "),
        ({"converter": {"audio_out": 3}}, r"converter\.audio_out: must be a folder, but is 3"),
        ({"judge": {"type": "pairwise"}}, "'pairwise' does not go with format 'nisqa', whose rows ask for: score"),
        ({"judge": {"type": "scores"}}, "unknown type 'scores'"),
        ({"formatting": "bvcc"}, r"format 'bvcc' is read from files that end in \.txt"),
        ({"formatting": "speech_clip", "converter": {}}, "'converter' does not go with formatting 'speech_clip'"),
    ],
)
def test_a_wrong_entry_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Entry.from_info("mine", {"file_name": "a.csv", "formatting": "nisqa", **change})


def test_a_bad_row_is_named_before_training(folder: Path) -> None:
    (folder / "nisqa.csv").write_text(NISQA.replace("2.5,1.5", "9,1.5"))
    with pytest.raises(RowError, match=r"nisqa\.csv, row 1: column 'mos' holds 9"):
        host_rows("mos", folder)


@pytest.mark.slow
def test_the_command_line_trains_on_files_as_they_stand(folder: Path, tiny_models: dict[str, Path]) -> None:
    from test_host_training import train

    changes = {"cutoff_len": 2048, "preprocessing_num_workers": 2, "per_device_train_batch_size": 3, "max_steps": 3}
    model = tiny_models["qwen2_5_omni"]
    settings = sft_settings(model, folder, folder / "out", dataset="mos,speecheval,plain,bvcc", **changes)
    done = train(folder, settings)
    assert done.returncode == 0, done.stderr[-3000:]
    history = json.loads((folder / "out/trainer_state.json").read_text())["log_history"]
    assert [row["step"] for row in history if "loss" in row] == [1, 2, 3]
