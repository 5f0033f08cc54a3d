"""The journal and the manifest of a run: what survives which accident."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.errors import UserError
from earwitness.infer.journal import Journal, locked
from earwitness.infer.manifest import check_manifest, model_hash


def rows(*numbers: int) -> list[tuple[int, str]]:
    return [(number, json.dumps({"id": number, "raw": "é " * number})) for number in numbers]


def filled(path: Path) -> Journal:
    journal = Journal(path, 5)
    journal.append(7, rows(3, 0))
    journal.append(2, rows(1))
    return journal


def test_rows_are_merged_in_their_own_order(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal")
    journal.append(1, rows(4, 2))
    journal.merge(tmp_path / "out.jsonl")
    assert [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [0, 1, 2, 3, 4]


def test_a_journal_cut_at_any_byte_keeps_its_whole_batches_and_goes_on(tmp_path: Path) -> None:
    filled(tmp_path / "journal").close()
    whole = (tmp_path / "journal").read_bytes()
    first = whole.index(b"\n= 7") + 1
    first = whole.index(b"\n", first) + 1
    for cut in range(len(whole) + 1):
        (tmp_path / "cut").write_bytes(whole[:cut])
        journal = Journal(tmp_path / "cut", 5)
        assert journal.batches == ({7, 2} if cut == len(whole) else {7} if cut >= first else set())
        if 2 not in journal.batches:
            journal.append(2, rows(1))
        if 7 not in journal.batches:
            journal.append(7, rows(3, 0))
        journal.append(1, rows(4, 2))
        journal.merge(tmp_path / "out.jsonl")
        journal.close()
        merged = (tmp_path / "out.jsonl").read_text().splitlines()
        assert [json.loads(line)["id"] for line in merged] == [0, 1, 2, 3, 4]


def test_a_torn_tail_of_zeros_is_cut_off(tmp_path: Path) -> None:
    filled(tmp_path / "journal").close()
    whole = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(whole + b"\0" * 512)
    assert Journal(tmp_path / "journal", 5).done == 3
    assert (tmp_path / "journal").read_bytes() == whole


def test_damage_in_the_middle_is_an_error_not_a_loss(tmp_path: Path) -> None:
    filled(tmp_path / "journal").close()
    whole = bytearray((tmp_path / "journal").read_bytes())
    whole[5] ^= 1
    (tmp_path / "journal").write_bytes(whole)
    with pytest.raises(UserError, match=r"damaged after byte 0.*--overwrite"):
        Journal(tmp_path / "journal", 5)


def test_a_row_never_stands_twice(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal")
    with pytest.raises(UserError, match="row 3"):
        journal.append(9, rows(3))


def test_merging_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="row 2 was never judged"):
        filled(tmp_path / "journal").merge(tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_full_disk_is_said_and_the_finished_rows_are_safe(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal")
    size = (tmp_path / "journal").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
    try:
        with pytest.raises(UserError, match="3 finished rows are safe"):
            journal.append(1, rows(4, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    journal.close()
    again = Journal(tmp_path / "journal", 5)
    assert again.batches == {7, 2}
    again.append(1, rows(4, 2))
    assert again.done == 5


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    script = (
        "import sys, time; from earwitness.infer.journal import locked\n"
        "with locked(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another process"), locked(tmp_path):
        pass
    other.kill()
    other.wait()
    with locked(tmp_path):
        pass


def test_a_manifest_names_every_difference(tmp_path: Path) -> None:
    made_of = {"dataset": "a" * 64, "decoding": {"seed": 0, "samples": 1}, "versions": {"torch": "2.11.0"}}
    check_manifest(tmp_path / "manifest.json", made_of)
    check_manifest(tmp_path / "manifest.json", made_of)
    changed = {"dataset": "b" * 64, "decoding": {"seed": 1, "samples": 1}, "versions": {"torch": "2.12.0"}}
    with pytest.raises(UserError) as error:
        check_manifest(tmp_path / "manifest.json", changed)
    for part in (
        "dataset: aaaa",
        "-> bbbb",
        "decoding.seed: 0 -> 1",
        "versions.torch: 2.11.0 -> 2.12.0",
        "--overwrite",
    ):
        assert part in str(error.value)
    assert "samples" not in str(error.value)


def test_the_model_hash_sees_contents_not_dates_or_training_leftovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    big = folder / "model.safetensors"
    big.write_bytes(bytes(1 << 25))
    before = model_hash(folder)
    (folder / "trainer_state.json").write_text("{}")
    os.utime(big, (1, 1))
    assert model_hash(folder) == before
    with big.open("r+b") as file:
        file.write(b"x")
    assert model_hash(folder) != before
