"""Whole runs: killed and gone on with, refused when something changed, and started from the command line."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from infer_data import records_of, write_pairs

from earwitness.cli.infer import main as infer
from earwitness.errors import UserError
from earwitness.infer.hf_engine import HFEngine
from earwitness.infer.model import find_model
from earwitness.infer.options import Decoding
from earwitness.infer.run import RunOptions, Summary, judge_records

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data with spaces #1"
    folder.mkdir()
    return write_pairs(folder)


@pytest.fixture
def model(tiny_models: dict[str, Path]) -> str:
    return str(tiny_models["qwen2_5_omni"])


def judged(model: str, data: Path, out: Path, *, name: str = "plain", **options: Any) -> Summary:
    """Run in this process, without a progress bar."""
    decoding = options.pop("decoding", Decoding(verdict_only=True))
    engine = HFEngine(find_model(model), decoding, device="cpu")
    settings = RunOptions(**{"orders": "both", "batch_size": 4, "quiet": True, **options})
    return judge_records(records_of(data, name), engine, str(out), decoding, settings)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_run_leaves_one_row_a_record_and_order_in_their_order(model: str, data: Path, tmp_path: Path) -> None:
    summary = judged(model, data, tmp_path / "out.jsonl")
    rows = lines(tmp_path / "out.jsonl")
    assert [(row["id"], row["order"]) for row in rows] == [
        (record.id, order) for record in records_of(data) for order in ("ab", "ba")
    ]
    assert (summary.rows, summary.skipped, summary.unscored) == (32, 0, 0)
    for row in rows:
        assert row["verdict"] in ("first", "second", "tie")
        assert sum(row["probabilities"].values()) == pytest.approx(1.0, abs=2e-6)
        assert row["unscored"] is None
        assert row["meta"] == {"gap": int(row["id"][0]) / 10}
    assert not (tmp_path / "out.jsonl.run" / "journal.log").exists()


def test_columns_of_the_data_that_json_cannot_hold_are_null(model: str, data: Path, tmp_path: Path) -> None:
    rows = data / "pairs.jsonl"
    rows.write_text(rows.read_text().replace('"gap": 0.0', '"gap": NaN'))
    judged(model, data, tmp_path / "out.jsonl", orders="ab")
    assert [row["meta"]["gap"] for row in lines(tmp_path / "out.jsonl")][:3] == [None, None, 0.1]


def run_again(model: str, data: Path, out: Path, decoding: Decoding) -> None:
    judged(model, data, out, decoding=decoding)


def batches_in(journal: Path) -> int:
    try:
        return journal.read_bytes().count(b"\n= ")
    except FileNotFoundError:  # not begun, or just merged
        return 0


def killed_until_done(model: str, data: Path, out: Path, decoding: Decoding, kills: int) -> list[int]:
    """Kill a run at random moments, before, between and while batches are written; then let it finish.

    Returns: how many batches each killed process left behind.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_infer_run", "earwitness.infer.prompting", "llamafactory.data.template"])
    moments = random.Random(0)
    journal = out.with_name(out.name + ".run") / "journal.log"
    left = []
    while not out.exists():
        process = context.Process(target=run_again, args=(model, data, out, decoding))
        process.start()
        if len(left) < kills:
            enough = batches_in(journal) + moments.choice((0, 0, 1, 1, 2))
            while process.is_alive() and batches_in(journal) < enough:
                time.sleep(0.0005)
            time.sleep(moments.uniform(0.0, 0.03))
            process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            left.append(batches_in(journal))
        else:
            assert process.exitcode == 0
    return left


@pytest.mark.parametrize(
    "decoding", [Decoding(verdict_only=True), Decoding(max_new_tokens=24)], ids=["labels", "texts"]
)
def test_killed_at_random_moments_a_run_ends_with_the_same_bytes(
    model: str, data: Path, tmp_path: Path, decoding: Decoding
) -> None:
    judged(model, data, tmp_path / "whole.jsonl", decoding=decoding)
    left = killed_until_done(model, data, tmp_path / "killed.jsonl", decoding, kills=8)
    assert max(left, default=0) > 0, f"no kill fell between batches: {left}"
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.slow
def test_killed_twenty_times_a_run_ends_with_the_same_bytes(model: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_pairs(data, pairs=24)
    decoding = Decoding(max_new_tokens=24)
    judged(model, data, tmp_path / "whole.jsonl", decoding=decoding)
    left = killed_until_done(model, data, tmp_path / "killed.jsonl", decoding, kills=20)
    print(f"batches left behind by {len(left)} killed processes: {left}")
    assert len(left) >= 15, f"the run was done after {len(left)} kills: {left}"
    assert max(left) > 0
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_an_engine_that_crashes_loses_nothing_that_was_finished(
    model: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged(model, data, tmp_path / "whole.jsonl")
    out, judge, calls = tmp_path / "out.jsonl", HFEngine._judge, []
    command = [model, "plain", str(out), "--dataset-dir", str(data), "--device", "cpu", "--quiet"]
    command += ["--orders", "both", "--batch-size", "4", "--verdict-only"]

    def crash(self: HFEngine, items: Any, read: Any) -> Any:
        calls.append(len(items))
        if len(calls) == 4:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return judge(self, items, read)

    monkeypatch.setattr(HFEngine, "_judge", crash)
    assert infer(command) == 1
    told = capsys.readouterr().err
    assert "illegal memory access" in told
    assert (
        told.splitlines()[-1] == "error: the engine failed; finished rows are safe, the same command goes on from there"
    )
    assert not out.exists()
    assert infer(command) == 0
    assert "12 were there already" in capsys.readouterr().out
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_finished_run_is_not_judged_again(model: str, data: Path, tmp_path: Path) -> None:
    judged(model, data, tmp_path / "run")
    before = (tmp_path / "run" / "predictions.jsonl").stat().st_mtime_ns
    assert judged(model, data, tmp_path / "run").resumed == 32
    assert (tmp_path / "run" / "predictions.jsonl").stat().st_mtime_ns == before


def test_what_changed_under_a_run_is_said(model: str, data: Path, tmp_path: Path, tiny_models: dict[str, Path]) -> None:
    out = tmp_path / "run"
    judged(model, data, out)
    with pytest.raises(UserError, match=r"decoding.seed: 0 -> 1"):
        judged(model, data, out, decoding=Decoding(verdict_only=True, seed=1))
    with pytest.raises(UserError, match=r"batches.size: 4 -> 8"):
        judged(model, data, out, batch_size=8)
    other = shutil.copytree(model, tmp_path / "other")
    (other / "generation_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"engine.model: \w"):
        judged(str(other), data, out)
    clip = data / "clip1.wav"
    content = clip.read_bytes()
    clip.write_bytes(content[:-2] + b"\x01\x01")
    with pytest.raises(UserError, match=r"\(clips: \w+... -> \w+...\)"):
        judged(model, data, out)
    rows = (data / "pairs.jsonl").read_text()
    (data / "pairs.jsonl").write_text(rows.replace("Say it", "Sing it"))
    with pytest.raises(UserError, match=r"dataset: \w"):
        judged(model, data, out)
    assert judged(model, data, out, overwrite=True).resumed == 0


def test_a_file_that_no_run_wrote_is_not_overwritten(model: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("precious\n")
    with pytest.raises(UserError, match="no run of ours"):
        judged(model, data, tmp_path / "mine.jsonl")
    assert (tmp_path / "mine.jsonl").read_text() == "precious\n"


def spoil(folder: Path) -> None:
    """Break five of the nine clips, each in another way; clips 0, 1, 7 and 8 stay good."""
    (folder / "clip2.wav").unlink()
    (folder / "clip3.wav").write_bytes(b"")
    (folder / "clip4.wav").write_text("I am no sound")
    (folder / "clip5.wav").write_bytes((folder / "clip5.wav").read_bytes()[:2000])
    (folder / "clip6.wav").write_bytes((folder / "clip6.wav").read_bytes()[:44])


def test_bad_clips_stop_a_run_before_it_starts_naming_row_and_file(model: str, data: Path, tmp_path: Path) -> None:
    spoil(data)
    with pytest.raises(UserError) as error:
        judged(model, data, tmp_path / "out.jsonl", orders="ab")
    told = str(error.value).splitlines()
    for clip, line in zip((2, 2, 2, 2, 3, 3, 4, 4), told, strict=False):
        assert f"clip{clip}.wav" in line
        assert line.startswith("plain, row ")
    assert "12 of 16 rows cannot be judged" in told[-1]
    assert "--skip-bad" in told[-1]
    assert not (tmp_path / "out.jsonl").exists()
    write_pairs(data)
    assert judged(model, data, tmp_path / "out.jsonl", orders="ab").rows == 16


def test_skipped_rows_are_in_the_file_unscored_with_the_reason(model: str, data: Path, tmp_path: Path) -> None:
    whole = lines(judged(model, data, tmp_path / "whole.jsonl", orders="ab").predictions)
    spoil(data)
    summary = judged(model, data, tmp_path / "out.jsonl", orders="ab", skip_bad=True)
    rows = lines(summary.predictions)
    assert (summary.rows, summary.skipped, summary.unscored) == (16, 12, 12)
    for row, before in zip(rows, whole, strict=True):
        assert row["id"] == before["id"]
        if row["id"][0] in "07":
            assert row["verdict"] == before["verdict"]
            assert row["probabilities"] == pytest.approx(before["probabilities"], abs=1e-6)
        else:
            assert row["verdict"] is row["raw"] is row["probabilities"] is None
            assert row["unscored"].startswith("not judged: ")
            assert ".wav" in row["unscored"]


def test_a_clip_that_vanishes_while_a_run_goes_on_is_said_and_costs_nothing_else(
    model: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = HFEngine.size
    gone = data / "clip5.wav"
    content = gone.read_bytes()
    stat = gone.stat()

    def check_then_vanish(self: HFEngine, item: Any) -> int:
        size = check(self, item)
        if item.number == 31:
            gone.unlink(missing_ok=True)
        return size

    monkeypatch.setattr(HFEngine, "size", check_then_vanish)
    with pytest.raises(UserError, match=r"8 of 32 rows failed, first plain, row .*clip5.wav.*24 are safe"):
        judged(model, data, tmp_path / "out.jsonl")
    monkeypatch.setattr(HFEngine, "size", check)
    with pytest.raises(UserError, match="clips: "):
        judged(model, data, tmp_path / "out.jsonl")
    gone.write_bytes(content)
    os.utime(gone, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert judged(model, data, tmp_path / "out.jsonl").resumed == 24
    judged(model, data, tmp_path / "whole.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_modes_that_a_judge_cannot_serve_are_refused(model: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--verdict-only cannot serve.*thinks before its verdict"):
        judged(model, data, tmp_path / "out.jsonl", name="thinks")
    with pytest.raises(UserError, match="equal answers; set --temperature"):
        Decoding(samples=3)
    with pytest.raises(UserError, match="--top-p is 0"):
        Decoding(top_p=0.0)
    with pytest.raises(UserError, match="unknown --orders 'both ways'"):
        RunOptions(orders="both ways")


def test_abstaining_and_the_tie_band_change_verdicts_as_they_say(model: str, data: Path, tmp_path: Path) -> None:
    plain = lines(judged(model, data, tmp_path / "plain.jsonl").predictions)
    confidences = sorted(max(row["probabilities"].values()) for row in plain)
    threshold = confidences[len(confidences) // 2]
    decoding = Decoding(verdict_only=True, abstain=threshold)
    for row in lines(judged(model, data, tmp_path / "abstain.jsonl", decoding=decoding).predictions):
        sure = max(row["probabilities"].values()) > threshold + 1e-5
        unsure = max(row["probabilities"].values()) < threshold - 1e-5
        assert not (sure and row["verdict"] is None)
        assert not unsure or (row["verdict"] is None and row["unscored"].startswith("abstained: the likeliest label"))
        assert row["shown_verdict"] is not None
    decoding = Decoding(verdict_only=True, tie_band=1.0)
    rows = lines(judged(model, data, tmp_path / "band.jsonl", decoding=decoding).predictions)
    assert Counter(row["verdict"] for row in rows) == {"tie": 32}


def test_a_judge_of_scores_gives_the_expected_score_too(model: str, data: Path, tmp_path: Path) -> None:
    rows = lines(judged(model, data, tmp_path / "out.jsonl", name="scores", orders="ab").predictions)
    assert len(rows) == 9
    for row in rows:
        assert list(row["probabilities"]) == ["1", "2", "3", "4", "5"]
        assert row["score"] == float(max(row["probabilities"], key=row["probabilities"].get))
        expected = sum(float(label) * share for label, share in row["probabilities"].items())
        assert row["expected_score"] == pytest.approx(expected, abs=1e-5)
        assert row["verdict"] is row["unscored"] is None
    with pytest.raises(UserError, match="--orders both needs two clips"):
        judged(model, data, tmp_path / "both.jsonl", name="scores")


def infer_sh(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(REPOSITORY / "scripts" / "my_infer" / "infer.sh"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_the_command_line_judges_a_file_and_explains_itself(model: str, data: Path, tmp_path: Path) -> None:
    told = infer_sh("-h")
    assert told.returncode == 0
    for option in (
        "MODEL",
        "DATASET",
        "OUT",
        "--orders",
        "--verdict-only",
        "--max-new-tokens",
        "--skip-bad",
        "default: 256",
    ):
        assert option in told.stdout
    out = tmp_path / "out.jsonl"
    done = infer_sh(model, data / "pairs.jsonl", out, "--device", "cpu", "--max-new-tokens", "4", "--limit", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}: 5 rows, {sum(row['verdict'] is None for row in lines(out))} unscored\n"
    assert "row/s" in done.stderr
    assert all(isinstance(row["raw"], str) for row in lines(out))


PLAIN = ["{model}", "plain", "{out}", "--dataset-dir", "{data}"]
VLLM = [*PLAIN, "--engine", "vllm"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["{model}", "nothing", "{out}", "--dataset-dir", "{data}"],
            "no dataset 'nothing'; it has: plain, scores, thinks",
        ),
        (["{model}", "{data}/none.jsonl", "{out}"], "none.jsonl: no such file"),
        (["{data}", "plain", "{out}", "--dataset-dir", "{data}"], "no config.json"),
        (["{model}", "plain", "{out}", "--dataset-dir", "{data}", "--temperature", "-1"], "--temperature is -1.0"),
        ([*PLAIN, "--tensor-parallel", "2"], "--tensor-parallel and --vllm-options are for engine vllm, not hf"),
        ([*VLLM, "--compile"], "--compile is for engine hf; engine vllm decides that by itself"),
        ([*VLLM, "--tensor-parallel", "0"], "--tensor-parallel is 0; must be at least 1"),
        ([*VLLM, "--tensor-parallel", "3"], "4 attention heads cannot be shared evenly; allowed: 1, 2, 4"),
        (
            [*VLLM, "--vllm-options", '{{"data_parallel_size": 2}}'],
            "data_parallel_size is not for here; --data-parallel",
        ),
        ([*VLLM, "--vllm-options", '{{"dtype": "float16"}}'], "dtype is not for here; --dtype sets it"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    arguments: list[str], expected: str, model: str, data: Path, tmp_path: Path
) -> None:
    filled = [argument.format(model=model, data=data, out=tmp_path / "out.jsonl") for argument in arguments]
    command = [sys.executable, "-m", "earwitness.cli.infer", *filled]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
