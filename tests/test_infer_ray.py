"""Judging on a Ray cluster: the bytes of a run on one machine, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from infer_data import records_of, write_pairs

from earwitness.errors import UserError
from earwitness.infer.hf_engine import HFEngine
from earwitness.infer.model import find_model
from earwitness.infer.options import Decoding
from earwitness.infer.ray_engine import RayEngine
from earwitness.infer.run import RunOptions, judge_records

ray = pytest.importorskip("ray", reason="needs the extra [ray]")
psutil = pytest.importorskip("psutil", reason="needs psutil to find the workers")

WORKER = "MapBatches(_Worker)"


def command(model: Path, data: Path, out: Path, *options: str) -> list[str]:
    arguments = [str(model), "plain", str(out), "--dataset-dir", str(data), "--device", "cpu", "--orders", "both"]
    return [
        *(sys.executable, "-m", "earwitness.cli.infer", *arguments, "--batch-size", "2", "--max-new-tokens", "48"),
        *("--quiet", *options),
    ]


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    """Processes of Ray below ``process`` that hold an engine."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if WORKER in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_two_workers_one_killed_give_the_bytes_of_one_machine(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    data = tmp_path / "data with spaces #1"
    data.mkdir()
    write_pairs(data, pairs=24)
    model, here, there = tiny_models["qwen2_5_omni"], tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    subprocess.run(command(model, data, here), check=True, capture_output=True, cwd=tmp_path)
    journal = tmp_path / "there.jsonl.run" / "journal.log"
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        command(model, Path(os.path.relpath(data, tmp_path)), there, "--ray-workers", "2"),
        cwd=tmp_path,
        stdout=log,
        stderr=log,
    )
    try:
        while process.poll() is None and not (journal.exists() and journal.stat().st_size):
            time.sleep(0.02)
        running = workers_of(process)
        assert len(running) == 2, f"{len(running)} workers were running: {log.seek(0) or log.read()}"
        running[0].send_signal(signal.SIGKILL)
        done = journal.read_bytes().count(b"\n= ")
        assert process.wait(300) == 0, log.seek(0) or log.read()
    finally:
        process.kill()
        log.close()
    assert done < 48, "the worker was killed after its work was done"
    assert there.read_bytes() == here.read_bytes().replace(str(data).encode(), os.path.relpath(data, tmp_path).encode())


@pytest.mark.slow
def test_a_run_that_began_here_goes_on_there_and_a_vanished_clip_is_said(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    write_pairs(tmp_path, pairs=8)
    decoding = Decoding(verdict_only=True)
    here = partial(HFEngine, find_model(str(tiny_models["qwen2_5_omni"])), decoding, device="cpu")
    options, out = RunOptions(batch_size=4, quiet=True), str(tmp_path / "out.jsonl")
    records = records_of(tmp_path)
    whole = judge_records(records, here(), str(tmp_path / "whole.jsonl"), decoding, options)
    there = RayEngine(here, workers=2)
    gone, check = tmp_path / "clip8.wav", there.size
    content, times = gone.read_bytes(), gone.stat()

    def check_then_vanish(item):
        size = check(item)
        if item.number == len(records) - 1:
            gone.unlink()
        return size

    there.size = check_then_vanish  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"rows failed, first plain, row .*clip8.wav.* are safe"):
        judge_records(records, there, out, decoding, options)
    gone.write_bytes(content)
    os.utime(gone, ns=(times.st_atime_ns, times.st_mtime_ns))
    finished = judge_records(records, here(), out, decoding, options)
    assert 0 < finished.resumed < finished.rows
    assert finished.predictions.read_bytes() == whole.predictions.read_bytes()


def test_gpus_that_are_not_there_are_said_and_not_waited_for(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make = partial(HFEngine, find_model(str(tiny_models["qwen2_5_omni"])), Decoding(verdict_only=True), device="cpu")
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 2.0})
    RayEngine(make, workers=2, gpus=1)._check_gpus()
    told = r"--ray-workers 4 with 1 GPUs each \(--ray-gpus\) need 4 GPUs, "
    with pytest.raises(UserError, match=told + "this machine has 2"):
        RayEngine(make, workers=4, gpus=1)._check_gpus()
    assert capsys.readouterr().err == ""
    RayEngine(make, workers=4, gpus=1, address="auto")._check_gpus()
    assert "the cluster has 2 now; Ray waits for more" in capsys.readouterr().err


def test_what_cannot_run_on_a_cluster_is_said(tmp_path: Path, tiny_models: dict[str, Path]) -> None:
    write_pairs(tmp_path, pairs=2)
    out, model = tmp_path / "out.jsonl", tiny_models["qwen2_5_omni"]
    for options, told in (
        (["--ray-workers", "-1"], "--ray-workers is -1; must be at least 1"),
        (["--ray-gpus", "1"], "--ray-address and --ray-gpus go with --ray-workers"),
        (["--data-parallel", "2", "--engine", "api", "--base-url", "http://x"], "raise --concurrency instead"),
    ):
        done = subprocess.run(command(model, tmp_path, out, *options), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert told in done.stderr
