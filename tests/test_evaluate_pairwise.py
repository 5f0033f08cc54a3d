"""evaluate_pairwise.py as a user runs it: golden files, broken files, joins, both orders, two judges."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.cli import run
from earwitness.cli.evaluate_pairwise import main
from earwitness.errors import UserError
from earwitness.metrics.breakdown import Breakdown
from earwitness.metrics.verdicts import MIRRORED

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
GOLDEN, SAGELM = SHARED / "golden" / "sagelm", SHARED / "data" / "sagelm"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="golden figures are not at hand")
QUICK = ["--resamples", "200"]


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def evaluate(tmp_path, references, predictions, *options):
    out = tmp_path / "metrics.json"
    status = run(
        main, ["--references", str(references), "--predictions", str(predictions), "--json", str(out), *QUICK, *options]
    )
    assert status == 0
    return json.loads(out.read_text())


def assert_figures(section, expected):
    assert section["accuracy"]["n"] == expected["n"]
    assert 100 * section["accuracy"]["value"] == pytest.approx(expected["accuracy"], abs=1e-6)
    assert 100 * section["agreement"]["value"] == pytest.approx(expected["agreement"], abs=1e-6)


@needs_golden
def test_semantic_golden_figures(tmp_path):
    report = evaluate(tmp_path, SAGELM / "test_semantic.json", GOLDEN / "semantic_predictions.jsonl")
    expected = json.loads((GOLDEN / "semantic_expected.json").read_text())
    assert set(report["aspects"]) == set(expected["unrounded"])
    for aspect, figures in expected["unrounded"].items():
        assert_figures(report["aspects"][aspect], figures)
    assert_figures(report["overall"], expected["all_rows_pooled"])
    short = {"first": "1", "second": "2", "tie": "T"}
    table = {
        f"{short[a]}->{short[b]}": n
        for a, row in report["overall"]["confusion"].items()
        for b, n in row.items()
        if b != "unscored"
    }
    assert table == expected["confusion_label_then_predicted"]
    low, high = report["overall"]["accuracy"]["ci"]
    assert low < report["overall"]["accuracy"]["value"] < high


@needs_golden
def test_acoustic_golden_figures_count_all_410_rows_and_split_tts_from_qa(tmp_path):
    report = evaluate(tmp_path, SAGELM / "test_acoustic.json", GOLDEN / "acoustic_predictions.jsonl")
    expected = json.loads((GOLDEN / "acoustic_expected.json").read_text())
    for column, figures in expected["unrounded_all_rows_counted"].items():
        assert_figures(report["splits"][column], figures)
    assert set(report["splits"]) == set(expected["unrounded_all_rows_counted"])
    assert_figures(report["aspects"]["implicit emotion"], expected["unrounded_all_rows_counted"]["implicit_emotion"])
    assert_figures(report["overall"], expected["all_rows_pooled"])


@needs_golden
def test_every_malformed_prediction_is_counted_as_its_correct_reading_says(tmp_path):
    cases = json.loads((GOLDEN / "malformed_cases.json").read_text())["value_cases"]
    references = json.loads((SAGELM / "test_semantic.json").read_text())
    predictions = rows_of(GOLDEN / "semantic_predictions.jsonl")
    first_rows = {"1": 8, "2": 0, "Tie": 24}
    for strict in (False, True):
        reading = "correct_verdict_strict" if strict else "correct_verdict_lenient"
        verdicts = {"1": "first", "2": "second", "Tie": "tie", None: None}
        for label, row in first_rows.items():
            group, answers = [], []
            for case in cases:
                answer = {key: value for key, value in predictions[row].items() if key != "prompt"}
                answer["predict"] = case["predict"]
                if case["key_absent"]:
                    del answer["predict"]
                group.append(references[row])
                answers.append(answer)
            (tmp_path / "references.json").write_text(json.dumps(group))
            write_rows(tmp_path / "predictions.jsonl", answers)
            options = ["--strict"] if strict else []
            report = evaluate(tmp_path, tmp_path / "references.json", tmp_path / "predictions.jsonl", *options)
            expected = [verdicts[case[reading]] for case in cases]
            counts = report["overall"]["confusion"][verdicts[label]]
            for verdict in ("first", "second", "tie"):
                assert counts[verdict] == expected.count(verdict), (label, strict, verdict)
            assert counts["unscored"] == expected.count(None)


class FileCase:
    """The golden files under one operation."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.references = json.loads((SAGELM / f"test_{name}.json").read_text())
        self.predictions = rows_of(GOLDEN / f"{name}_predictions.jsonl")

    def evaluate(self, *options):
        references = self.folder / "references.json"
        references.write_text(json.dumps(self.references))
        predictions = write_rows(self.folder / "predictions.jsonl", self.predictions)
        return evaluate(self.folder, references, predictions, *options)


@pytest.fixture
def semantic(tmp_path):
    if not GOLDEN.is_dir():
        pytest.skip("golden figures are not at hand")
    return FileCase(tmp_path, "semantic")


@pytest.fixture
def acoustic(tmp_path):
    if not GOLDEN.is_dir():
        pytest.skip("golden figures are not at hand")
    return FileCase(tmp_path, "acoustic")


POOLED = json.loads((GOLDEN / "semantic_expected.json").read_text())["all_rows_pooled"] if GOLDEN.is_dir() else {}


def test_fewer_rows_are_reported_and_counted_as_unscored(semantic, capsys):
    dropped = semantic.predictions.pop()
    right = dropped["predict"].startswith(dropped["label"])
    report = semantic.evaluate()
    assert report["overall"]["accuracy"]["n"] == 728
    assert report["overall"]["accuracy"]["unscored"] == 1
    assert report["overall"]["accuracy"]["value"] == pytest.approx((POOLED["correct"] - right) / 728)
    assert report["join"]["missing"] == [728]
    assert "row 728 of the references" in capsys.readouterr().err


def test_a_slice_divides_each_aspect_by_its_own_rows(semantic):
    del semantic.references[6:], semantic.predictions[6:]
    report = semantic.evaluate()
    assert [section["accuracy"]["n"] for section in report["aspects"].values()] == [2, 2, 1, 1]
    assert all(section["accuracy"]["value"] <= 1 for section in report["aspects"].values())


@pytest.mark.parametrize("operation", ["reverse", "swap two"])
def test_reordered_rows_with_a_row_key_give_the_same_figures(semantic, operation, capsys):
    rows = semantic.predictions
    if operation == "reverse":
        rows.reverse()
    else:
        rows[2], rows[3] = rows[3], rows[2]
    assert_figures(semantic.evaluate()["overall"], POOLED)
    assert "row named in the prompt" in capsys.readouterr().err


def test_one_aspect_alone_makes_a_table_of_one_aspect(semantic):
    semantic.references, semantic.predictions = semantic.references[::4], semantic.predictions[::4]
    report = semantic.evaluate()
    assert list(report["aspects"]) == ["helpfulness"]
    assert report["overall"]["accuracy"]["value"] == pytest.approx(133 / 182)


def test_blank_lines_and_a_byte_order_mark_change_nothing(semantic):
    path = semantic.folder / "marked.jsonl"
    text = "\n\n".join(json.dumps(row) for row in semantic.predictions)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\n\n")
    report = evaluate(semantic.folder, SAGELM / "test_semantic.json", path)
    assert_figures(report["overall"], POOLED)


def test_a_wrong_label_column_is_warned_of_and_not_believed(semantic, capsys):
    for row in semantic.predictions:
        row["label"] = "1"
    assert_figures(semantic.evaluate()["overall"], POOLED)
    assert "470 of 728 labels" in capsys.readouterr().err


def test_an_absent_group_is_absent_from_the_table(acoustic):
    kept = [
        row
        for row, reference in enumerate(acoustic.references)
        if "/Gender/" not in reference["audios"][0]
        or len({clip.rsplit("/", 1)[1].split("-")[2] for clip in reference["audios"]}) == 1
    ]
    acoustic.references = [acoustic.references[row] for row in kept]
    acoustic.predictions = [acoustic.predictions[row] for row in kept]
    report = acoustic.evaluate()
    assert "gender_qa" not in report["splits"]
    assert report["splits"]["gender"]["accuracy"]["n"] == report["splits"]["gender_tts"]["accuracy"]["n"]


def test_a_row_without_aspect_is_counted_and_named(acoustic, capsys):
    acoustic.references[0]["instruction"] = (
        "Which is better?\n\n### Response 1:\n<audio>\n\n### Response 2:\n<audio>\n\n"
    )
    report = acoustic.evaluate()
    assert report["overall"]["accuracy"]["n"] == 410
    assert report["aspects"]["(no aspect)"]["accuracy"]["n"] == 1
    assert "row 1" in capsys.readouterr().err


def host_prompt(instruction):
    clip = "<|audio_bos|>" + "<|AUDIO|>" * 20 + "<|audio_eos|>"
    user = instruction.replace("<audio>", clip)
    return f"<|im_start|>system\nYou judge.<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


def test_real_prompts_tell_rows_apart_where_they_differ(acoustic, capsys):
    for reference, row in zip(acoustic.references, acoustic.predictions, strict=True):
        row["prompt"] = host_prompt(reference["instruction"])
    straight = acoustic.evaluate()
    assert "paired by order, checked by prompts and labels" in capsys.readouterr().err
    acoustic.predictions.reverse()
    assert acoustic.evaluate()["aspects"] == straight["aspects"]
    assert "paired by prompt" in capsys.readouterr().err


def refusal(capsys, arguments):
    assert run(main, arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_reordered_rows_that_share_prompts_are_refused(semantic, capsys):
    for reference, row in zip(semantic.references, semantic.predictions, strict=True):
        row["prompt"] = host_prompt(reference["instruction"])
    semantic.predictions.reverse()
    path = write_rows(semantic.folder / "reversed.jsonl", semantic.predictions)
    arguments = ["--references", str(SAGELM / "test_semantic.json"), "--predictions", path]
    message = refusal(capsys, arguments)
    assert "asks the question of reference row" in message
    assert "--join order" in message
    assert run(main, [*arguments, "--join", "order", *QUICK]) == 0
    assert "unchecked as asked" in capsys.readouterr().err


def run_row(id, verdict, order="ab", **more):
    shown = MIRRORED[verdict] if verdict and order == "ba" else verdict
    row = {"id": id, "aspect": "noise", "order": order, "verdict": verdict, "shown_verdict": shown, "model": "m"}
    return {**row, "unscored": None if verdict else "the answer is empty", **more}


@pytest.fixture
def files(tmp_path):
    verdicts = ["first", "second", "tie", "first"]
    references = [{"id": f"r{i}", "aspect": "noise", "reference": v, "gap": i / 4} for i, v in enumerate(verdicts)]
    write_rows(tmp_path / "references.jsonl", references)
    return tmp_path


def test_ids_join_whatever_the_order(files, capsys):
    rows = [run_row("r3", "first"), run_row("r0", "first"), run_row("r2", None), run_row("r1", "tie")]
    report = evaluate(files, files / "references.jsonl", write_rows(files / "p.jsonl", rows))
    assert report["overall"]["accuracy"]["value"] == 0.5
    assert report["overall"]["accuracy"]["unscored"] == 1
    assert report["overall"]["accuracy_scored"]["value"] == pytest.approx(2 / 3)
    assert report["unscored_reasons"] == {"the answer is empty": 1}
    assert report["references"] == report["rows"] == 4
    assert "paired by id" in capsys.readouterr().err


def test_both_orders_give_swap_consistency_and_position_bias(files):
    rows = [run_row(f"r{i}", "first", order) for i in range(4) for order in ("ab", "ba")]
    rows[5] = run_row("r2", "second", "ba")
    report = evaluate(files, files / "references.jsonl", write_rows(files / "p.jsonl", rows))
    assert report["swap_consistency"]["value"] == 0.75
    assert report["swap_consistency"]["n"] == 4
    assert report["overall"]["accuracy"]["n"] == 8
    assert report["overall"]["accuracy"]["params"]["clusters"] == 4
    assert report["orders"]["ab"]["accuracy"]["value"] == 0.5
    assert report["position_bias"]["compared_with"] == "the other order"
    # Row r2 said "first" of either order as shown: it leans to the clip heard first.
    assert (report["position_bias"]["toward_first"], report["position_bias"]["toward_second"]) == (1, 0)


def test_a_partial_run_in_both_orders_misses_the_other_order_too(files):
    rows = [run_row("r0", "first"), run_row("r0", "first", "ba"), run_row("r1", "second")]
    report = evaluate(files, files / "references.jsonl", write_rows(files / "p.jsonl", rows))
    assert report["rows"] == 8
    assert report["overall"]["accuracy"]["unscored"] == 5
    assert report["join"]["missing"] == [2, 3, 4]


def test_probabilities_give_calibration_and_breakdowns_follow_columns(files):
    rows = [run_row(f"r{i}", "first", probabilities={"first": 0.8, "second": 0.1, "tie": 0.1}) for i in range(4)]
    path = write_rows(files / "p.jsonl", rows)
    report = evaluate(files, files / "references.jsonl", path, "--by", "gap:0.5", "--by", "gap")
    assert report["calibration"]["ece"]["value"] == pytest.approx(0.3)
    assert report["risk_coverage"]["area"]["value"] == pytest.approx(0.5)
    assert {name: section["accuracy"]["value"] for name, section in report["by"]["gap:0.5"].items()} == {
        "< 0.5": 0.5,
        ">= 0.5": 0.5,
    }
    assert list(report["by"]["gap"]) == ["0", "0.25", "0.5", "0.75"]


def test_disagreements_are_listed_by_confidence(files):
    sure = {"first": 0.9, "second": 0.05, "tie": 0.05}
    rows = [
        run_row("r0", None),
        run_row("r1", "first"),
        run_row("r2", "first", probabilities=sure),
        run_row("r3", "first"),
    ]
    out = files / "differ.jsonl"
    path = write_rows(files / "p.jsonl", rows)
    evaluate(files, files / "references.jsonl", path, "--disagreements", str(out))
    differing = rows_of(out)
    assert [(row["id"], row["confidence"]) for row in differing] == [("r2", 0.9), ("r1", None), ("r0", None)]
    assert differing[-1]["unscored"] == "the answer is empty"


def test_another_judge_is_compared_on_the_same_rows(files):
    good = write_rows(
        files / "good.jsonl", [run_row(f"r{i}", v) for i, v in enumerate(["first", "second", "tie", "first"])]
    )
    bad = write_rows(files / "bad.jsonl", [run_row(f"r{i}", "first") for i in range(4)])
    duel = evaluate(files, files / "references.jsonl", good, "--compare", bad)["duel"]
    assert duel["accuracy"]["value"] == 0.5
    assert (duel["mcnemar"]["only_first"], duel["mcnemar"]["only_second"]) == (2, 0)
    assert duel["rows"] == 4


def test_raters_set_the_human_ceiling(files):
    references = rows_of(files / "references.jsonl")
    for row in references:
        row["votes"] = [row["reference"], row["reference"], "tie", None]
    write_rows(files / "references.jsonl", references)
    path = write_rows(files / "p.jsonl", [run_row(f"r{i}", "first") for i in range(4)])
    raters = evaluate(files, files / "references.jsonl", path, "--raters", "votes")["raters"]
    assert raters["human"]["accuracy"]["n"] == raters["judge"]["accuracy"]["n"] == 6
    assert raters["alpha"]["value"] is not None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda rows: rows.append(run_row("r0", "first")), "row 5: id 'r0' in order 'ab' stands in row 1 already"),
        (lambda rows: rows.append(run_row("r9", "first")), "row 5: id 'r9' is not in the references"),
        (
            lambda rows: rows[1].update(verdict="B"),
            "row 2: verdict 'B' is not allowed; allowed: first, second, tie, null",
        ),
        (lambda rows: rows[1].update(model="other"), 'row 2: \'model\' is "other", but "m" in row 1'),
        (
            lambda rows: rows[2].update(aspect="loudness"),
            "was judged in aspect 'loudness', but reference row 3 is about 'noise'",
        ),
        (lambda rows: rows[2].pop("id"), "row 3: has no id"),
        (lambda rows: rows[2].update(order="aa"), "order 'aa' is not allowed"),
        (lambda rows: rows[0].update(probabilities={"first": 7}), "row 1: probabilities"),
        (lambda rows: rows.clear(), "holds no rows"),
    ],
)
def test_predictions_that_do_not_fit_are_refused_in_one_line(files, capsys, change, complaint):
    rows = [run_row(f"r{i}", "first") for i in range(4)]
    change(rows)
    path = write_rows(files / "p #1.jsonl", rows)
    assert complaint in refusal(capsys, ["--references", str(files / "references.jsonl"), "--predictions", path])


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"id": "r1", "reference": "maybe"}, "row 5: reference 'maybe' is not in the menu"),
        ({"id": "r1", "winner": 0}, "row 5: winner 0 is not in the menu"),
        ({"id": "r1", "aspect": "noise"}, "row 5: holds no verdict"),
        ({"id": "r1", "reference": "tie"}, "row 5: id 'r1' is already that of row 2"),
        ({"reference": "tie"}, "row 5: has no id"),
    ],
)
def test_references_that_cannot_be_believed_are_refused(files, capsys, row, complaint):
    path = write_rows(files / "bad.jsonl", [*rows_of(files / "references.jsonl"), row])
    predictions = write_rows(files / "p.jsonl", [run_row("r0", "first")])
    assert complaint in refusal(capsys, ["--references", path, "--predictions", predictions])


def test_columns_that_are_not_there_are_named(files, capsys):
    path = write_rows(files / "p.jsonl", [run_row("r0", "first")])
    base = ["--references", str(files / "references.jsonl"), "--predictions", path]
    assert "their columns: gap" in refusal(capsys, [*base, "--by", "gpa"])
    assert "--cluster 'speaker'" in refusal(capsys, [*base, "--cluster", "speaker"])
    assert "--raters 'votes'" in refusal(capsys, [*base, "--raters", "votes"])
    assert "must lie between 0 and 1" in refusal(capsys, [*base, "--level", "95"])
    assert "unrecognized arguments" in refusal(capsys, [*base, "--nonsense"])


def test_an_unfinished_run_folder_says_what_to_do(files, capsys):
    (files / "run").mkdir()
    (files / "run" / "journal.log").write_text("")
    base = ["--references", str(files / "references.jsonl"), "--predictions", str(files / "run")]
    assert "run the same infer.sh command again" in refusal(capsys, base)
    write_rows(files / "run" / "predictions.jsonl", [run_row(f"r{i}", "first") for i in range(4)])
    assert run(main, [*base, *QUICK]) == 0


def test_a_dataset_entry_is_a_reference_and_its_menu_reads_the_texts(tmp_path):
    judge = {
        "aspects": ["overall quality"],
        "labels": {"first": "A", "second": "B", "tie": "Same"},
        "verdict_values": {"1": "first", "-1": "second", "0": "tie"},
    }
    entry = {
        "pairs": {
            "file_name": "pairs.csv",
            "formatting": "speech_pair",
            "judge": judge,
            "columns": {"verdict": "winner"},
        }
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(entry))
    (tmp_path / "pairs.csv").write_text(
        "id,audio_a,audio_b,winner\np1,a.wav,b.wav,1\np2,a.wav,c.wav,0\np3,b.wav,c.wav,-1\n"
    )
    rows = [{"id": "p2", "predict": "Same"}, {"id": "p1", "predict": "B\nless noise"}, {"id": "p3", "predict": "B"}]
    path = write_rows(tmp_path / "p.jsonl", rows)
    report = evaluate(tmp_path, "pairs", path, "--dataset-dir", str(tmp_path))
    assert report["overall"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert report["overall"]["confusion"]["first"]["second"] == 1


def test_a_run_of_the_same_rows_under_another_dataset_name_joins_by_row_clips_and_aspect(semantic, capsys):
    references = semantic.references[:8]
    (semantic.folder / "references.json").write_text(json.dumps(references))
    aspects = ["helpfulness", "honesty", "instruction_following", "truthfulness"] * 2
    rows = [
        run_row(
            f"other-{number}-00000000",
            "first",
            row=number,
            aspect=aspects[number - 1],
            audios=["/media/" + clip for clip in reference["audios"]],
        )
        for number, reference in enumerate(references, 1)
    ]
    path = write_rows(semantic.folder / "p.jsonl", rows)
    report = evaluate(semantic.folder, semantic.folder / "references.json", path)
    assert report["rows"] == 8
    assert "paired by row, checked by clips and aspect" in capsys.readouterr().err
    rows[3]["audios"] = ["x.wav", "y.wav"]
    path = write_rows(semantic.folder / "p.jsonl", rows)
    arguments = ["--references", str(semantic.folder / "references.json"), "--predictions", path]
    assert "1 of 8 ids are not" in refusal(capsys, arguments)


@pytest.mark.parametrize("text", ["", ":1", "gap:b", "gap:2,1", "gap:nan"])
def test_breakdowns_are_checked(text):
    with pytest.raises(UserError, match="COLUMN"):
        Breakdown.parse(text)


def test_breakdown_cuts_many_numbers_at_quartiles_and_keeps_unknown_rows():
    rows = [{"gap": i / 100} for i in range(100)] + [{}]
    groups = Breakdown("gap").groups(rows)
    assert list(groups) == ["< 0.25", "0.25 to 0.5", "0.5 to 0.75", ">= 0.75", "unknown"]
    assert [len(group) for group in groups.values()] == [25, 25, 25, 25, 1]
    assert list(Breakdown("lang").groups([{"lang": "zh"}, {"lang": "en"}])) == ["en", "zh"]


def test_the_script_runs_and_prints_a_table(files):
    path = write_rows(files / "p.jsonl", [run_row(f"r{i}", "first") for i in range(4)])
    script = [sys.executable, str(ROOT / "scripts" / "my_infer" / "evaluate_pairwise.py")]
    done = subprocess.run(
        [*script, "--references", str(files / "references.jsonl"), "--predictions", path, *QUICK],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "overall" in done.stdout
    assert "50.00" in done.stdout
    wrong = subprocess.run([*script, "--references", "x"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr == (
        "error: evaluate_pairwise.py: the following arguments are required: --predictions; "
        "see evaluate_pairwise.py --help\n"
    )


def test_systems_are_ranked_by_the_judge_and_by_people(tmp_path, capsys):
    pytest.importorskip("evalica")
    systems = ["x", "y", "z"]
    references, rows = [], []
    for i in range(60):
        a, b = systems[i % 3], systems[(i + 1 + i // 30) % 3]
        verdict = "tie" if i % 5 == 0 else "first" if (a < b) != (i % 7 == 0) else "second"
        references.append({"id": f"r{i}", "reference": verdict, "system_a": a, "system_b": b})
        rows.append(run_row(f"r{i}", verdict if i % 9 else "tie", aspect=None))
    paths = write_rows(tmp_path / "r.jsonl", references), write_rows(tmp_path / "p.jsonl", rows)
    ranking = evaluate(tmp_path, *paths, "--systems", "system_a,system_b")["ranking"]
    assert [standing["system"] for standing in ranking["judge"]["systems"]] == systems
    assert ranking["srcc"]["value"] == pytest.approx(1.0)
    assert "people's rating" in capsys.readouterr().out
    base = ["--references", paths[0], "--predictions", paths[1]]
    assert "--systems 'model_a'" in refusal(capsys, [*base, "--systems", "model_a,model_b"])
    assert "give two columns" in refusal(capsys, [*base, "--systems", "system_a"])
