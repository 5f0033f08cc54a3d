"""Bad audio gives the right answer or one clear error: never a hang, a crash, exhausted memory or a wrong number."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bad_audio import Case, make_corpus

from earwitness.audio.reading import read_audio
from earwitness.errors import UserError

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


class Clips:
    def __init__(self, cases: list[Case]) -> None:
        self.paths = [case.path for case in cases]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> int:
        return len(read_audio(self.paths[row]))


def test_messages_survive_a_dataloader_worker(corpus: list[Case]) -> None:
    from torch.utils.data import DataLoader

    batches = iter(DataLoader(Clips(corpus), batch_size=None, num_workers=1, timeout=60))
    for case in corpus:
        if case.error is None:
            assert next(batches) == case.samples
        else:
            with pytest.raises(UserError) as error:
                next(batches)
            assert case.path in str(error.value), case
            assert case.error in str(error.value), case
