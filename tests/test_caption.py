"""``earwitness caption`` against a real server on loopback: prompts, files, checks, failures, kill and resume."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openai_server import OpenAIServer, Status, Text, Wait

from earwitness.cli.caption import main
from earwitness.errors import UserError

SEED = Path(__file__).resolve().parents[1].parent / "shared" / "seeds" / "001_3670e4a7800dedd2.txt"
GOOD = {"mos": 4.2, "noi": 4.5, "col": 4.0, "dis": 4.8, "loud": 4.1}
BAD = {"mos": 1.9, "noi": 1.5, "col": 2.5, "dis": 4.0, "loud": 3.3}
FILES = [
    "ab_test.txt",
    "ab_test_summary.txt",
    "audio1_metrics.json",
    "audio1_mos.txt",
    "audio1_mos_diverse.txt",
    "audio2_metrics.json",
    "audio2_mos.txt",
    "audio2_mos_diverse.txt",
]


def kind(body):
    if len(body["messages"]) == 3:
        return "summary"
    return "ab" if "A/B test" in body["messages"][0]["content"] else "mos"


def expert(body):
    """Writes what the ratings in its prompt say, in words that depend on the seed."""
    ratings = [json.loads(found) for found in re.findall(r"\{.*?\}", body["messages"][0]["content"])]
    match kind(body):
        case "mos":
            return f"Speech {body['seed']} at {body['temperature']}. The mos is {ratings[0]['mos']:.1f}."
        case "ab":
            return f"Analysis {body['seed']}: {'A' if ratings[0]['mos'] > ratings[1]['mos'] else 'B'} wins."
    return "[SpeechA]" if "A wins" in body["messages"][1]["content"] else "[SpeechB]"


def two(folder: Path, server: OpenAIServer, *more: str) -> list[str]:
    for number, ratings in enumerate((BAD, GOOD), 1):
        (folder / f"{number}.json").write_text(json.dumps(ratings))
    server_options = ["--base-url", server.url, "--model", "m", "--attempts", "2"]
    return [
        *("--metrics1", str(folder / "1.json"), "--metrics2", str(folder / "2.json")),
        *("--output", str(folder / "out"), *server_options, *more),
    ]


def blocks() -> list[str]:
    if not SEED.is_file():
        pytest.skip(f"the seed's README is not at {SEED}")
    lines = SEED.read_text(encoding="utf-8").split("\n")
    fences = [number for number, line in enumerate(lines) if line.startswith("```")]
    return ["\n".join(lines[a + 1 : b]) for a, b in zip(fences[::2], fences[1::2], strict=True)][-3:]


def test_two_clips_give_the_files_of_the_seed(tmp_path, capsys):
    with OpenAIServer(expert) as server:
        assert main(two(tmp_path, server)) == 0
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == FILES
    assert json.loads((out / "audio1_metrics.json").read_text()) == BAD
    assert (out / "audio1_mos.txt").read_text().endswith("at 1.0. The mos is 1.9.\n")
    assert (out / "audio2_mos_diverse.txt").read_text().endswith("at 1.1. The mos is 4.2.\n")
    assert (out / "ab_test_summary.txt").read_text() == "[SpeechB]\n"
    diverse = [body for body in server.requests if body["temperature"] == 1.1]
    assert len(diverse) == 2
    assert all(body["top_p"] == 0.9 for body in diverse)
    assert "6 requests" in capsys.readouterr().out


def test_prompts_hold_the_protocol_text_byte_for_byte(tmp_path):
    mos, ab, summary = blocks()
    with OpenAIServer(expert) as server:
        assert main(two(tmp_path, server)) == 0
    asked = {kind(body): body["messages"] for body in server.requests}
    factors = mos[: mos.rindex("\n") + 1]
    assert asked["mos"][0]["content"].startswith(mos + "\n\n{")
    assert asked["ab"][0]["content"].startswith(factors + ab + "\n\nSpeechA: {")
    assert json.loads(asked["ab"][0]["content"].split("SpeechB: ")[1]) == GOOD
    assert asked["summary"][2]["content"] == summary


def test_an_analysis_for_the_wrong_clip_is_asked_for_again(tmp_path):
    wrong = iter([True, False])

    def careless(body):
        return "Analysis: A wins." if kind(body) == "ab" and next(wrong) else expert(body)

    with OpenAIServer(careless) as server:
        assert main(two(tmp_path, server)) == 0
    assert sum(kind(body) == "ab" for body in server.requests) == 2
    assert (tmp_path / "out" / "ab_test_summary.txt").read_text() == "[SpeechB]\n"
    assert "B wins" in (tmp_path / "out" / "ab_test.txt").read_text()


def test_what_fails_its_check_is_never_written(tmp_path, capsys):
    def liar(body):
        match kind(body):
            case "mos":
                return f"Speech {body['seed']}. The mos is 3.3."
            case "ab":
                return "A wins."
        return expert(body)

    with OpenAIServer(liar) as server:
        arguments = two(tmp_path, server, "--tries", "2")
        out = tmp_path / "out"
        out.mkdir()
        (out / "ab_test.txt").write_text("of an earlier run")
        assert main(arguments) == 1
        assert sorted(path.name for path in out.iterdir() if path.is_file()) == [
            "audio1_metrics.json",
            "audio2_metrics.json",
        ]
        errors = capsys.readouterr().err
        assert "does not end in the mos 1.9" in errors
        assert "says [SpeechA], but the mos are A 1.9, B 4.2" in errors
        server.answer = expert
        assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == FILES


@pytest.mark.parametrize(
    ("ending", "right"),
    [
        ("The overall mos is 1.9.", True),
        ("Mos: 1.87 out of 5.", True),
        ("I rate it 1.9/5 (on a scale of 1 to 5).", True),
        ("**MOS: 2**", True),
        ("The mos is 2.1.", False),
        ("With noise at 1.9, the mos is 3.", False),
        ("It is poor.", False),
        ("Made with model 1.9b.", False),
    ],
)
def test_a_description_must_end_in_the_mos(ending, right):
    from earwitness.corpus.caption import _wrong_description

    assert (_wrong_description(f"A noisy clip (1.5). {ending}", mos=1.9, other=None) is None) == right


def test_equal_first_and_second_descriptions_are_asked_for_again(tmp_path):
    def dull(body):
        repeated = kind(body) == "mos" and server.requests[:-1].count(body) == 0 and len(server.requests) < 7
        mos = json.loads(re.findall(r"\{.*?\}", body["messages"][0]["content"])[0])["mos"]
        return f"The mos is {mos}." if repeated else expert(body)

    with OpenAIServer(dull) as server:
        assert main(two(tmp_path, server, "--skip-ab-test")) == 0
    first, second = ((tmp_path / "out" / f"audio1_mos{end}.txt").read_text() for end in ("", "_diverse"))
    assert first != second


@pytest.mark.parametrize("trouble", [Status(500), Status(400), Text("cut off", finish="length"), Text("")], ids=repr)
def test_a_failed_answer_is_listed_and_not_stored(tmp_path, trouble, capsys):
    with OpenAIServer(lambda body: trouble if kind(body) == "ab" else expert(body)) as server:
        assert main([*two(tmp_path, server), "--tries", "1"]) == 1
        out = tmp_path / "out"
        assert not (out / "ab_test.txt").exists()
        assert not (out / "ab_test_summary.txt").exists()
        assert (out / "audio1_mos.txt").exists()
        assert "2 texts failed" in capsys.readouterr().err
        asked = len(server.requests)
        server.answer = expert
        assert main([*two(tmp_path, server)]) == 0
        assert len(server.requests) - asked == 2


def manifest(folder: Path, count: int) -> list[str]:
    rows = [{"audio": f"clips/{n}.wav", **GOOD, "mos": 1 + n % 40 / 10} for n in range(count)]
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [{"audio_a": f"clips/{n}.wav", "audio_b": f"clips/{n + 1}.wav"} for n in range(0, count - 1, 2)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return ["--manifest", str(folder / "clips.jsonl"), "--pairs", str(folder / "pairs.jsonl")]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_manifest_gives_training_sets_that_our_own_reader_takes(tmp_path):
    records = pytest.importorskip("earwitness.data.records")
    with OpenAIServer(expert) as server:
        options = [*manifest(tmp_path, 6), "--output", str(tmp_path / "out"), "--base-url", server.url, "--model", "m"]
        assert main(options) == 0
    out = tmp_path / "out"
    mos, ab = lines(out / "alld_mos.jsonl"), lines(out / "alld_ab.jsonl")
    assert (len(mos), len(ab), lines(out / "failures.jsonl")) == (12, 3, [])
    assert len({row["answer"] for row in mos}) == 12
    assert [row["verdict"] for row in ab] == ["second"] * 3
    first = records.load_records("alld_mos", out)[0]
    assert (first.audios[0].endswith("clips/0.wav"), first.response) == (True, mos[0]["answer"])
    pair = records.load_records("alld_ab", out)[0]
    assert pair.reference == "second"
    assert pair.response == f"{ab[0]['rationale']}\n[SpeechB]"


def test_failed_rows_are_left_out_and_listed(tmp_path):
    def picky(body):
        return Status(400, message="no") if '"mos": 1.2' in body["messages"][0]["content"] else expert(body)

    with OpenAIServer(picky) as server:
        options = [*manifest(tmp_path, 6), "--output", str(tmp_path / "out"), "--base-url", server.url, "--model", "m"]
        assert main(options) == 1
    out = tmp_path / "out"
    assert [row["id"] for row in lines(out / "failures.jsonl")] == [
        "clips/2.wav#1",
        "clips/2.wav#2",
        "clips/2.wav|clips/3.wav",
    ]
    assert len(lines(out / "alld_mos.jsonl")) == 10
    assert [row["id"] for row in lines(out / "alld_ab.jsonl")] == ["clips/0.wav|clips/1.wav", "clips/4.wav|clips/5.wav"]


def test_kill_and_repeat_equals_an_uninterrupted_run(tmp_path):
    def run(output: str, url: str) -> list[str]:
        code = "import sys; from earwitness.cli.caption import main; sys.exit(main(sys.argv[1:]))"
        options = ["--output", str(tmp_path / output), "--base-url", url, "--model", "m", "--concurrency", "2"]
        return [sys.executable, "-c", code, *manifest(tmp_path, 20), *options]

    with OpenAIServer(lambda body: Wait(0.01, Text(expert(body)))) as server:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        for _ in range(3):
            before = len(server.requests)
            process = subprocess.Popen(run("killed", server.url), env=environment, stderr=subprocess.DEVNULL)
            while len(server.requests) < before + 12 and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert not (tmp_path / "killed" / "alld_mos.jsonl").exists()
        subprocess.run(run("killed", server.url), env=environment, check=True, capture_output=True)
        spent = len(server.requests)
        subprocess.run(run("whole", server.url), env=environment, check=True, capture_output=True)
        assert spent <= len(server.requests) - spent + 3 * 2  # at most what was in flight at each kill was asked twice
    for name in ("alld_mos.jsonl", "alld_ab.jsonl", "failures.jsonl", "dataset_info.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noi": 7}, "row 1: 'noi' must be a number from 1 to 5, but is 7"),
        ({"col": "good"}, "row 1: 'col' must be a number from 1 to 5, but is 'good'"),
        ({"dis": float("nan")}, "row 1: 'dis' must be a number"),
        ({"mos": None}, "row 1: 'mos' must be a number from 1 to 5, but is missing"),
        ({"audio": ""}, "row 1: no 'audio'"),
        ({"audio": "clips/1.wav"}, "row 2: id 'clips/1.wav' occurs twice"),
    ],
)
def test_bad_manifests_are_named_before_anything_is_asked(tmp_path, change, message):
    options = manifest(tmp_path, 2)
    rows = lines(tmp_path / "clips.jsonl")
    rows[0].update(change)
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with OpenAIServer(expert) as server:
        with pytest.raises(UserError, match=re.escape(message)):
            main([*options, "--output", str(tmp_path / "out"), "--base-url", server.url, "--model", "m"])
        assert not server.requests


def test_pairs_need_known_clips_and_a_winner(tmp_path):
    options = manifest(tmp_path, 2)
    rest = ["--output", str(tmp_path / "out"), "--base-url", "http://127.0.0.1:1/v1", "--model", "m"]
    (tmp_path / "pairs.jsonl").write_text('{"audio_a": "clips/0.wav", "audio_b": "other.wav"}\n')
    with pytest.raises(UserError, match=re.escape("row 1: audio_b 'other.wav' is no clip of the manifest")):
        main([*options, *rest])
    (tmp_path / "pairs.jsonl").write_text('{"audio_a": "clips/0.wav", "audio_b": "clips/0.wav"}\n')
    with pytest.raises(UserError, match="row 1: both clips have mos 1"):
        main([*options, *rest])
    with pytest.raises(UserError, match="either --metrics1 and --metrics2, or --manifest"):
        main(rest)


def test_columns_of_other_names_are_mapped(tmp_path):
    (tmp_path / "nisqa.csv").write_text(
        "file,filepath_deg,mos,noi,col,dis,loud\na,deg/a.wav,3.1,3,3,3,3\nb,deg/b.wav,2.0,2,2,2,2\n"
    )
    with OpenAIServer(expert) as server:
        columns = ["--column", "audio=filepath_deg", "--column", "id=file"]
        options = ["--manifest", str(tmp_path / "nisqa.csv"), *columns, "--output", str(tmp_path / "out")]
        assert main([*options, "--base-url", server.url, "--model", "m"]) == 0
    assert [(row["id"], row["audio"]) for row in lines(tmp_path / "out" / "alld_mos.jsonl")] == [
        ("a#1", "deg/a.wav"),
        ("a#2", "deg/a.wav"),
        ("b#1", "deg/b.wav"),
        ("b#2", "deg/b.wav"),
    ]
    assert not (tmp_path / "out" / "alld_ab.jsonl").exists()
