"""Bad audio gives the right answer or one clear error: never a hang, a crash, exhausted memory or a wrong number."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from bad_audio import Case, make_corpus
from transformers import AutoProcessor, WhisperFeatureExtractor

from earwitness.audio.features import batch_features_of, frame_count, token_count
from earwitness.audio.plugin import audio_tokens
from earwitness.audio.reading import read_audio
from earwitness.cli.check import main as check_main
from earwitness.data.preflight import RUN, Run, check_dataset
from earwitness.errors import UserError

EXTRACTOR = WhisperFeatureExtractor(feature_size=80, chunk_length=30)

READ_ALL = """
import json, resource, sys
from earwitness.audio.lengths import clip_samples
from earwitness.audio.reading import read_audio
from earwitness.errors import UserError

resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))

def outcome(function, path):
    try:
        return function(path)
    except UserError as error:
        return str(error)

for path in json.load(sys.stdin):
    print(json.dumps([outcome(lambda p: len(read_audio(p)), path), outcome(lambda p: clip_samples(p, 16000), path)]))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def outcomes(corpus: list[Case]) -> list[list[int | str]]:
    """What a fresh process with 3 GiB of address space reads, and what it finds in the headers."""
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL],
        input=json.dumps([case.path for case in corpus]),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_right(outcome: int | str, case: Case) -> bool:
    if case.error is None:
        return outcome == case.samples
    return isinstance(outcome, str) and case.path in outcome and case.error in outcome


def test_the_corpus_is_wide(corpus: list[Case]) -> None:
    assert len(corpus) >= 60


def test_reading(corpus: list[Case], outcomes: list[list[int | str]]) -> None:
    wrong = [(case, read) for case, (read, _) in zip(corpus, outcomes, strict=True) if not is_right(read, case)]
    assert not wrong


def test_lengths(corpus: list[Case], outcomes: list[list[int | str]]) -> None:
    wrong = [
        (case, length)
        for case, (_, length) in zip(corpus, outcomes, strict=True)
        if not (length == case.header if case.header is not None else is_right(length, case))
    ]
    assert not wrong


def test_bytes_give_what_paths_give(corpus: list[Case]) -> None:
    for case in corpus:
        path = Path(case.path)
        if len(path.name) > 255 or not path.is_file() or path.stat().st_size > 2**20 or not os.access(path, os.R_OK):
            continue
        content = path.read_bytes()
        if case.error is None:
            assert len(read_audio(content)) == case.samples, case
        else:
            with pytest.raises(UserError):
                read_audio(content)


def test_messages_survive_a_dataloader_worker(corpus: list[Case]) -> None:
    """Collation in a worker, as training does it; Qwen3-Omni takes clips of any length from one sample on."""
    from torch.utils.data import DataLoader

    def frames(paths: list[str]) -> int:
        return batch_features_of(paths, EXTRACTOR, "qwen3_omni")["input_features"].shape[2]

    loader = DataLoader([case.path for case in corpus], collate_fn=frames, num_workers=1, timeout=60)
    batches = iter(loader)
    for case in corpus:
        if case.error is None:
            assert next(batches) == frame_count(case.samples, EXTRACTOR)
        else:
            with pytest.raises(UserError) as error:
                next(batches)
            assert case.path in str(error.value), case
            assert case.error in str(error.value), case


def declare(folder: Path, paths: list[str]) -> Path:
    """Declare a dataset of one clip a row."""
    rows = [{"audio": path, "aspect": "noise", "score": 1 + at % 5} for at, path in enumerate(paths)]
    file = folder / "clips.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = {"type": "score", "scale": [1, 5]}
    entry = {"file_name": file.name, "formatting": "speech_clip", "judge": judge}
    (folder / "dataset_info.json").write_text(json.dumps({"clips": entry}))
    return file


def test_tokenisation_names_file_and_row(corpus: list[Case], tmp_path: Path, tiny_models: dict[str, Path]) -> None:
    """Before a run tokenises anything, each bad clip is an error; where only decoding shows it, the worker says so."""
    processor = AutoProcessor.from_pretrained(tiny_models["qwen3_omni"])
    run = Run(processor, encode=lambda row: None, align=lambda attr, row: row)
    fine = next(case for case in corpus if case.error is None)
    token = RUN.set(run)
    try:
        for case in corpus:
            file = declare(tmp_path, [fine.path, case.path])
            entry = json.loads((tmp_path / "dataset_info.json").read_text())["clips"]
            attr = SimpleNamespace(judge_name="clips", judge_entry=entry, load_from="file", dataset_name=file.name)
            arguments = SimpleNamespace(dataset_dir=str(tmp_path), media_dir=None, max_samples=None, cutoff_len=2048)
            if case.error is None or case.header is not None:
                check_dataset(attr, arguments)
                samples = case.header or case.samples
                assert audio_tokens([case.path], processor) == [token_count(-(-samples // 160), "qwen3_omni")]
            else:
                with pytest.raises(UserError) as error:
                    check_dataset(attr, arguments)
                assert f"{file}, row 2: {case.path}" in str(error.value), case
                assert case.error in str(error.value), case
    finally:
        RUN.reset(token)


def test_check_names_file_and_row(corpus: list[Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = declare(tmp_path, [case.path for case in corpus])
    assert check_main(["clips", "--dataset-dir", str(tmp_path), "--family", "qwen3_omni", "--jobs", "1", "--json"]) == 1
    (dataset,) = json.loads(capsys.readouterr().out)["datasets"]
    said = {found["row"]: found["message"] for found in dataset["findings"] if found["level"] == "error"}
    assert dataset["bad_clips"] == len(said) == sum(case.error is not None for case in corpus)
    for row, case in enumerate(corpus, 1):
        if case.error is not None:
            assert said[row].startswith(f"{file}, row {row}: {case.path}"), case
            assert case.error in said[row], case
