"""``overlong_audio`` in the plain ``llamafactory-cli``: an error that names the row, rows dropped, or clips cut."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import grpo_runs
import numpy as np
import pytest
import soundfile
from test_host_training import train

from earwitness.audio.limits import ClipTooLongError
from earwitness.data.overlong import drop_overlong, without_overlong
from earwitness.data.records import load_records
from earwitness.errors import UserError

LONG_ROW = 3


@pytest.fixture
def data(tmp_path) -> Path:
    """Four pairs; one clip of the third is 31 s long, Qwen2-Audio hears 30 s."""
    folder = tmp_path / "data"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 31 * 16000)
    for name, seconds in (("a", 0.5), ("b", 0.6), ("long", 31)):
        soundfile.write(folder / f"{name}.wav", noise[: int(seconds * 16000)], 16000)
    clips = [("a", "b"), ("b", "a"), ("a", "long"), ("b", "b")]
    rows = [{"audio_a": f"{a}.wav", "audio_b": f"{b}.wav", "aspect": "noise", "verdict": "tie"} for a, b in clips]
    sagelm = [
        {
            "instruction": "<audio><audio> Which?",
            "output": "Tie",
            "audios": [f"{folder}/{a}.wav", f"{folder}/{b}.wav"],
            "liked": a == "a",
        }
        for a, b in clips
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "host.json").write_text(json.dumps(sagelm))
    entries = {
        "pairs": {
            "file_name": "pairs.jsonl",
            "formatting": "speech_pair",
            "judge": {"type": "pairwise", "aspects": ["noise"]},
        },
        "host": {
            "file_name": "host.json",
            "columns": {"prompt": "instruction", "response": "output", "audios": "audios"},
        },
        "liked": {
            "file_name": "host.json",
            "columns": {"prompt": "instruction", "response": "output", "audios": "audios", "kto_tag": "liked"},
        },
    }
    (folder / "dataset_info.json").write_text(json.dumps(entries))
    return folder


@pytest.fixture
def settings(tiny_models, data, tmp_path) -> dict:
    return {
        "model_name_or_path": str(tiny_models["qwen2_audio"]),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "q_proj",
        "dataset": "pairs",
        "dataset_dir": str(data),
        "template": "qwen2_audio",
        "cutoff_len": 2048,
        "output_dir": str(tmp_path / "out"),
        "per_device_train_batch_size": 1,
        "num_train_epochs": 1,
        "save_strategy": "no",
        "report_to": "none",
        "overwrite_cache": True,
    }


def steps(folder: Path) -> int:
    return json.loads((folder / "trainer_state.json").read_text())["global_step"]


def test_by_default_it_is_an_error_that_names_the_row(settings, tmp_path):
    result = train(tmp_path, settings)
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert f"pairs.jsonl, row {LONG_ROW}: " in last
    assert "long.wav: 31.00 s, but a qwen2_audio model with this feature extractor hears 30 s" in last
    assert "overlong_audio" in last
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dataset", ["pairs", "host"])
def test_skip_drops_counts_and_lists(settings, tmp_path, dataset):
    result = train(tmp_path, settings | {"overlong_audio": "skip", "dataset": dataset})
    assert result.returncode == 0, result.stderr[-3000:]
    assert "1 of 4 rows skipped, their clips are too long:" in result.stderr
    assert f", row {LONG_ROW}: " in result.stderr
    assert steps(tmp_path / "out") == 3


def test_truncate_counts(settings, tmp_path):
    result = train(tmp_path, settings | {"overlong_audio": "truncate", "preprocessing_num_workers": 2})
    assert result.returncode == 0, result.stderr[-3000:]
    assert "1 clips truncated, they are too long: " in result.stderr
    assert steps(tmp_path / "out") == 4


def test_a_row_beyond_cutoff_len_is_named(settings, tmp_path):
    result = train(tmp_path, settings | {"overlong_audio": "truncate", "cutoff_len": 700, "dataset": "host"})
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert f"host.json, row {LONG_ROW}: " in last
    assert "cutoff_len allows 700" in last


def test_kto_follows_too(settings, tmp_path):
    settings |= {"overlong_audio": "skip", "stage": "kto", "dataset": "liked", "max_steps": 1}
    done = train(tmp_path, settings)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "1 of 4 rows skipped" in done.stderr
    cut = train(tmp_path, settings | {"cutoff_len": 20, "overwrite_output_dir": True})
    assert "host.json, row 1: " in cut.stderr.strip().splitlines()[-1]
    assert "cutoff_len allows 20" in cut.stderr


def test_an_unknown_policy_is_refused(settings):
    from llamafactory.hparams import get_train_args

    with pytest.raises(UserError, match="overlong_audio: 'chunk' is unknown; allowed: error, skip, truncate"):
        get_train_args(settings | {"overlong_audio": "chunk"})


@pytest.mark.parametrize(("policy", "rows"), [("skip", 3), ("truncate", 4)])
def test_grpo_follows_the_policy(tiny_models, data, tmp_path, policy, rows):
    changes = {"template": "qwen2_audio", "cutoff_len": 2048, "overlong_audio": policy, "max_steps": rows}
    changes |= {"gradient_accumulation_steps": 1, "grpo_max_new_tokens": 2}
    trainer = grpo_runs.run(grpo_runs.settings(tiny_models["qwen2_audio"], data, tmp_path, **changes))
    assert len(trainer.questions.records) == rows
    asked = {row["id"] for row in grpo_runs.journal(trainer.args.output_dir)}
    assert len(asked) == rows


@pytest.fixture
def processor(tiny_models):
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(tiny_models["qwen2_audio"])


def test_streams_are_filtered_too(data, processor):
    from datasets import Dataset

    processor.overlong_audio = "skip"
    rows = [{"_audios": [str(data / f"{name}.wav")], "number": n} for n, name in enumerate(("a", "long", "b"))]
    dataset = Dataset.from_list([*rows, {"_audios": None, "number": 3}])
    for kind in (dataset, dataset.to_iterable_dataset()):
        assert [row["number"] for row in drop_overlong(kind, processor)] == [0, 2, 3]
    processor.overlong_audio = "truncate"
    assert drop_overlong(dataset, processor) is dataset


def test_nothing_left_is_an_error(data, processor):
    processor.overlong_audio = "skip"
    records = load_records("pairs", data)
    with pytest.raises(UserError, match=r"every row has a clip that is too long.*row 3: .*long\.wav: 31\.00 s"):
        without_overlong([records[LONG_ROW - 1]], processor)


def test_models_of_unknown_limits_keep_all(data):
    records = load_records("pairs", data)
    other = SimpleNamespace(overlong_audio="skip")
    assert without_overlong(records, other) == records


def test_the_error_is_apart_from_others():
    assert issubclass(ClipTooLongError, UserError)
