"""evaluate_text.py and evaluate_lscore.py as a user runs them, on tiny models made here and a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai_server import OpenAIServer, Status

from earwitness.cli import run
from earwitness.cli.evaluate_lscore import main as evaluate_lscore
from earwitness.cli.evaluate_text import main as evaluate_text
from earwitness.cli.tables import main as tables
from earwitness.metrics.evaluator_text import DIMENSIONS

WORDS = "the speech is clear noisy fast slow and voice sounds muffled natural quite very a b better than"


def thought(quality: int, words: str) -> str:
    return f"<think>\nOverall Quality: {quality}/5\nSpeech Rate: suitable\n</think>\n\n<answer>\n{words}\n</answer>"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A sentence encoder and a fluency checker of FENSE's form, both on a tiny BERT with random weights."""
    pytest.importorskip("sentence_transformers", reason="needs the extra [text]")
    pytest.importorskip("aac_metrics", reason="needs the extra [text]")
    import torch
    from aac_metrics.functional.fer import BERTFlatClassifier
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("text models")
    vocabulary = {token: at for at, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()])}
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    encoder = folder / "encoder"
    BertModel(BertConfig(vocab_size=len(vocabulary), **shape)).save_pretrained(encoder)
    BertTokenizerFast(vocab=vocabulary).save_pretrained(encoder)
    word_model = Transformer(str(encoder), max_seq_length=128)
    SentenceTransformer(modules=[word_model, Pooling(32)], device="cpu").save(str(folder / "sbert"))
    checker = BERTFlatClassifier(str(encoder), num_classes=6)
    # It finds every text faulty whose last error score is pushed up by the bias.
    for name, bias in (("strict", 9.0), ("lenient", -9.0)):
        with torch.no_grad():
            checker.clf.bias[-1] = bias
        state = {"model_type": "somewhere/else", "num_classes": 6, "state_dict": checker.state_dict()}
        torch.save(state, folder / f"{name}.ckpt")
    return {"sbert": str(folder / "sbert"), "encoder": str(encoder), "folder": str(folder)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two assessments and two comparisons with annotators' texts, declared as SpeechEval judges."""
    folder = tmp_path / "data"
    folder.mkdir()
    clips = [
        {
            "id": f"s{at}",
            "audio": f"{at}.wav",
            "answer": words,
            "thinking": f"Overall Quality: {score}/5",
            "score": score,
        }
        for at, (score, words) in enumerate([(4, "the speech is clear"), (2, "the voice sounds muffled"), (1, "noisy")])
    ]
    pairs = [
        {"id": f"c{at}", "audio_a": "a.wav", "audio_b": f"{at}.wav", "answer": "a is better than b", "verdict": "A"}
        for at in range(2)
    ]
    for name, rows in (("clips", clips), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = {"type": "speecheval_assessment"}
    entries = {
        "clips": {"file_name": "clips.jsonl", "formatting": "speech_clip", "judge": judge},
        "pairs": {"file_name": "pairs.jsonl", "formatting": "speech_pair", "judge": {"type": "speecheval_comparison"}},
    }
    (folder / "dataset_info.json").write_text(json.dumps(entries))
    return folder


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def report_of(
    command: Any, tmp_path: Path, *arguments: str, status: int = 0, name: str = "texts.json"
) -> dict[str, Any]:
    out = tmp_path / name
    assert run(command, [*arguments, "--json", str(out), "--resamples", "50"]) == status
    return json.loads(out.read_text())


def refusal(capsys: pytest.CaptureFixture[str], command: Any, *arguments: str) -> str:
    assert run(command, list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    return captured.err


def test_likeness_is_that_of_the_answers_and_missing_ones_are_counted(
    models: dict[str, str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"id": "s0", "raw": "The speech is clear!", "order": "ab"},
        {"id": "s1", "raw": "the voice is quite natural", "order": "ab"},
    ]
    predictions = write_rows(tmp_path / "p.jsonl", rows)
    source = ["--predictions", predictions, "--references", "clips", "--dataset-dir", str(data), "--device", "cpu"]
    alone = report_of(evaluate_text, tmp_path, *source, "--sbert", models["sbert"], "--checker", "none")
    figures = alone["texts"]["assessment"]
    assert (figures["sbert"]["n"], figures["sbert"]["unscored"]) == (2, 1)
    assert figures["compared"]["value"] == pytest.approx(2 / 3)
    assert alone["unscored_reasons"] == {"no prediction": 1}
    assert "unscored: 1 x no prediction" in capsys.readouterr().out

    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(models["sbert"], device="cpu")
    given = encoder.encode([row["raw"] for row in rows], normalize_embeddings=True)
    wanted = encoder.encode(["the speech is clear", "the voice sounds muffled"], normalize_embeddings=True)
    assert figures["sbert"]["value"] == pytest.approx(float((given * wanted).sum(1).mean()), abs=1e-6)


@pytest.mark.parametrize(("checker", "kept", "faulty"), [("strict", 0.1, 1.0), ("lenient", 1.0, 0.0)])
def test_fense_takes_nine_tenths_away_where_a_text_is_not_fluent(
    models: dict[str, str], data: Path, tmp_path: Path, checker: str, kept: float, faulty: float
) -> None:
    predictions = write_rows(
        tmp_path / "p.jsonl", [{"id": f"s{at}", "raw": "the voice sounds fast"} for at in range(3)]
    )
    arguments = ["--predictions", predictions, "--references", "clips", "--dataset-dir", str(data), "--device", "cpu"]
    arguments += ["--sbert", models["sbert"], "--checker", f"{models['folder']}/{checker}.ckpt"]
    figures = report_of(evaluate_text, tmp_path, *arguments, "--checker-encoder", models["encoder"])["texts"][
        "assessment"
    ]
    assert figures["fense"]["value"] == pytest.approx(kept * figures["sbert"]["value"])
    assert figures["fluency_errors"]["value"] == faulty
    assert figures["fense"]["params"]["checker"].endswith(f"{checker}.ckpt")


def test_ms_swift_results_carry_both_texts(models: dict[str, str], tmp_path: Path) -> None:
    rows = [
        {"response": thought(2, "the speech is noisy"), "labels": thought(3, "the speech is noisy"), "audios": ["a"]},
        {"response": "<think>never ends", "labels": thought(3, "clear"), "audios": ["b"]},
    ]
    source = ["--predictions", write_rows(tmp_path / "p.jsonl", rows), "--device", "cpu", "--task", "suggestion"]
    report = report_of(evaluate_text, tmp_path, *source, "--sbert", models["sbert"], "--checker", "none")
    assert report["texts"]["suggestion"]["sbert"]["value"] == pytest.approx(1.0)
    assert report["unscored_reasons"] == {"<think> is not closed": 1}


def test_mistakes_are_one_line(
    models: dict[str, str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joined = ["--references", "clips", "--dataset-dir", str(data), "--predictions"]
    unknown = write_rows(tmp_path / "u.jsonl", [{"id": "zz", "raw": "x"}])
    assert "id 'zz' is not in the references" in refusal(capsys, evaluate_text, *joined, unknown)
    twice = write_rows(tmp_path / "t.jsonl", [{"id": "s0", "raw": "x"}, {"id": "s0", "raw": "y"}])
    assert "id 's0' in order 'ab' stands in row 1 already" in refusal(capsys, evaluate_text, *joined, twice)
    mixed = [{"id": "s0", "raw": "x", "model": "m"}, {"id": "s1", "raw": "y", "model": "n"}]
    assert "evaluate one run at a time" in refusal(
        capsys, evaluate_text, *joined, write_rows(tmp_path / "m.jsonl", mixed)
    )
    empty = write_rows(tmp_path / "e.jsonl", [{"id": "s0", "raw": " "}])
    assert "no row has both texts; the first: the answer is empty" in refusal(capsys, evaluate_text, *joined, empty)
    good = write_rows(tmp_path / "g.jsonl", [{"id": "s0", "raw": "x"}])
    nowhere = refusal(capsys, evaluate_text, *joined, good, "--sbert", str(tmp_path / "none"))
    assert "cannot be loaded" in nowhere
    checker = refusal(capsys, evaluate_text, *joined, good, "--sbert", models["sbert"], "--checker", "nothing.ckpt")
    assert "--checker nothing.ckpt: no such file, nor one of echecker_clotho" in checker
    bare = write_rows(tmp_path / "b.jsonl", [{"response": "x", "labels": "y"}])
    assert "names no task; give --task" in refusal(capsys, evaluate_text, "--predictions", bare)


def evaluator(body: dict[str, Any]) -> str:
    """Give the score that the judge's text names; of a comparison, two conclusions."""
    prompt = body["messages"][0]["content"]
    if "response_format" in body:
        said = next(line for line in prompt.splitlines() if line.startswith("> I give"))
        return json.dumps(dict.fromkeys(DIMENSIONS, int(said.split()[-1])) | {"Speech Rate": "fast"})
    if "Conclusion Consistency" in prompt:
        lines = [f"Conclusion Consistency for {name}: Fail" for name in DIMENSIONS]
        lines[0] = lines[0].replace("Fail", "Consistent" if "I like 3" in prompt else "Inconsistent")
        return "Explanation: x\nScore: 5\n" + "\n".join(lines)
    said = next(line for line in prompt.splitlines() if line.startswith("> I give"))
    return f"Explanation: x\nScore: {said.split()[-1]}"


def test_an_evaluator_scores_and_extracts_and_is_asked_once(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": f"s{at}", "raw": f"I give {score}"} for at, score in enumerate((5, 3, 1))]
    predictions = write_rows(tmp_path / "p.jsonl", rows)
    source = ["--predictions", predictions, "--references", "clips", "--dataset-dir", str(data), "--dimensions"]
    with OpenAIServer(evaluator) as server:
        source += ["--base-url", server.url, "--model", "m", "--quiet", "--rows", str(tmp_path / "rows.jsonl")]
        report = report_of(evaluate_lscore, tmp_path, *source, name="lscore.json")
        assert len(server.requests) == 6
        again = report_of(evaluate_lscore, tmp_path, *source, name="again.json")
        assert len(server.requests) == 6
    assert again == report
    assert report["texts"]["assessment"]["lscore"]["value"] == pytest.approx(3.0)
    quality = report["extracted"]["dimensions"]["overall quality"]
    assert (quality["pcc"]["n"], quality["mse"]["value"]) == (3, pytest.approx((1 + 1 + 0) / 3))
    written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["score"] for row in written] == [5.0, 3.0, 1.0]
    assert written[0]["dimensions"]["Speech Rate"] == "fast"
    capsys.readouterr()
    assert run(tables, [f"m={tmp_path / 'lscore.json'}", "--tables", "speecheval-4,speecheval-5"]) == 0
    out = capsys.readouterr().out
    assert " 3.000 " in out
    assert f"{quality['pcc']['value']:.3f}" in out


def test_dimensions_of_ms_swift_results_are_compared_row_by_row(tmp_path: Path) -> None:
    rows = [
        {"response": f"I give {given}", "labels": thought(right, "as it is"), "audios": [f"{given}.wav"]}
        for given, right in ((1, 2), (3, 3), (5, 4))
    ]
    predictions = write_rows(tmp_path / "p.jsonl", rows)
    with OpenAIServer(evaluator) as server:
        source = ["--predictions", predictions, "--task", "assessment", "--dimensions", "--quiet"]
        report = report_of(evaluate_lscore, tmp_path, *source, "--base-url", server.url, "--model", "m")
    extracted = report["extracted"]
    quality = extracted["dimensions"]["overall quality"]
    assert (quality["pcc"]["value"], quality["pcc"]["n"], quality["pcc"]["unscored"]) == (pytest.approx(1.0), 3, 0)
    assert (extracted["speech_rate_accuracy"]["value"], extracted["speech_rate_accuracy"]["n"]) == (0.0, 3)


def test_comparisons_in_both_orders_and_failures_of_the_evaluator(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": f"c{at}", "order": "ab", "raw": f"I like {at + 3}"} for at in range(2)]
    predictions = write_rows(tmp_path / "p.jsonl", rows)
    source = ["--predictions", predictions, "--references", "pairs", "--dataset-dir", str(data), "--quiet"]
    with OpenAIServer(evaluator) as server:
        source += ["--base-url", server.url, "--model", "m", "--attempts", "1"]
        server.script = [Status(500, message="down")]
        first = report_of(evaluate_lscore, tmp_path, *source, "--concurrency", "1", status=1, name="lscore.json")
        assert (first["texts"]["comparison"]["lscore"]["n"], first["texts"]["comparison"]["lscore"]["unscored"]) == (
            1,
            1,
        )
        assert "the same command asks for them again" in capsys.readouterr().err
        report = report_of(evaluate_lscore, tmp_path, *source, name="lscore.json")
    quality = report["extracted"]["aspects"]["overall quality"]["accuracy"]
    assert (quality["value"], quality["n"]) == (0.5, 2)
    assert report["extracted"]["aspects"]["distortion"]["accuracy"]["reason"] == "no rows"
    # The pairwise report of the same run reads the verdict directly, and goes first.
    (tmp_path / "pairwise.json").write_text(json.dumps({"aspects": {"overall quality": {"accuracy": {"value": 0.75}}}}))
    assert run(tables, [f"m={tmp_path}", "--tables", "speecheval-5"]) == 0
    assert "0.750" in capsys.readouterr().out
    assert run(tables, [f"m={tmp_path}", f"m={tmp_path / 'lscore.json'}", "--tables", "speecheval-4"]) == 2
    assert "a second 'graded' of 'comparison' for the same model" in capsys.readouterr().err
