"""evaluate_raters.py as a user runs it: judge, evaluator and people side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from earwitness.cli import run
from earwitness.cli.evaluate_raters import main
from earwitness.metrics.agreement import cohen_kappa, krippendorff_alpha
from earwitness.metrics.intervals import Bootstrap

PEOPLE = [
    {"ann": "first", "ben": "first", "cho": "first"},
    {"ann": "first", "ben": "second", "cho": "first"},
    {"ann": "tie", "ben": "second", "cho": None},
    {"ann": "second", "ben": "second", "cho": "second"},
    {"ann": "first", "ben": "tie", "cho": "tie"},
    {"ann": "second", "ben": "first", "cho": "second"},
]
JUDGE = ["first", "second", "second", "second", None, "first"]
CONFIDENCE = [0.9, 0.6, 0.7, 0.8, None, 0.95]
EVALUATOR = ["first", "first", "second", "second", "tie", "second"]
NONE = Bootstrap(0)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    references = [{"id": f"p{at}", "reference": "first", "votes": votes} for at, votes in enumerate(PEOPLE)]
    judge = [
        {
            "id": f"p{at}",
            "order": "ab",
            "verdict": verdict,
            "unscored": None if verdict else "the answer is empty",
            "probabilities": None
            if verdict is None
            else {name: share if name == verdict else (1 - share) / 2 for name in ("first", "second", "tie")},
        }
        for at, (verdict, share) in enumerate(zip(JUDGE, CONFIDENCE, strict=True))
    ]
    evaluator = [{"id": f"p{at}", "verdict": verdict, "order": "ab"} for at, verdict in enumerate(EVALUATOR)]
    return [
        *("--references", write_rows(tmp_path / "r.jsonl", references), "--raters", "votes"),
        *("--model", f"judge={write_rows(tmp_path / 'j.jsonl', judge)}"),
        *("--model", f"evaluator={write_rows(tmp_path / 'e.jsonl', evaluator)}"),
    ]


def report_of(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    assert run(main, [*arguments, "--json", str(tmp_path / "out.json"), "--resamples", "50"]) == 0
    return json.loads((tmp_path / "out.json").read_text())


def test_every_two_are_compared_and_people_one_by_one(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(tmp_path, *files, "--disagreements", str(tmp_path / "d.jsonl"))
    pairs = {(pair["a"], pair["b"]): pair for pair in report["pairs"]}
    assert set(pairs) == {
        *(("judge", other) for other in ("evaluator", "ann", "ben", "cho", "a person", "people's majority")),
        *(("evaluator", other) for other in ("ann", "ben", "cho", "a person", "people's majority")),
        *((("ann", "ben"), ("ann", "cho"), ("ben", "cho"), ("a person", "another person"))),
    }
    both = pairs["judge", "evaluator"]
    assert (both["agreement"]["value"], both["agreement"]["n"], both["agreement"]["unscored"]) == (0.6, 5, 1)
    ann = [votes["ann"] for votes in PEOPLE]
    kappa = cohen_kappa(EVALUATOR, ann, labels=("first", "second", "tie"), bootstrap=NONE)
    assert pairs["evaluator", "ann"]["kappa"]["value"] == pytest.approx(kappa.value)
    # Single ratings of the judge's five scored items: 3 + 3 + 2 + 3 + 3.
    person = pairs["judge", "a person"]["agreement"]
    assert (person["n"], person["unscored"]) == (14, 3)
    assert person["value"] == pytest.approx((3 + 1 + 1 + 3 + 1) / 14)
    majority = pairs["evaluator", "people's majority"]["agreement"]
    assert (majority["value"], majority["n"]) == (1.0, 5)  # item 3 has no majority
    people = pairs["a person", "another person"]["agreement"]
    assert (people["value"], people["n"]) == (pytest.approx((6 + 2 + 0 + 6 + 2 + 2) / 32), 32)
    alpha = krippendorff_alpha([list(votes.values()) for votes in PEOPLE], bootstrap=NONE)
    assert report["alpha"]["people"]["value"] == pytest.approx(alpha.value)
    assert set(report["ceiling"]) == {"a person", "judge", "evaluator"}

    rows = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["p5", "p1", "p4"]
    assert [row["confidence"] for row in rows] == [0.95, 0.6, None]
    assert rows[0]["models"] == {"judge": "first", "evaluator": "second"}
    out = capsys.readouterr().out
    assert "3 of 3 disagreements, judge's most confident first" in out
    assert "second, first, second" in out


def test_a_run_in_both_orders_is_one_observer_and_raters_may_have_no_names(tmp_path: Path) -> None:
    references = [{"id": "a", "reference": "first", "votes": ["first", "tie"]}]
    shares = [{"first": 0.8, "second": 0.1, "tie": 0.1}, {"first": 0.2, "second": 0.6, "tie": 0.2}]
    rows = [
        {"id": "a", "order": order, "verdict": max(share, key=share.__getitem__), "probabilities": share}
        for order, share in zip(("ab", "ba"), shares, strict=True)
    ]
    arguments = ["--references", write_rows(tmp_path / "r.jsonl", references), "--raters", "votes"]
    arguments += ["--model", f"judge={write_rows(tmp_path / 'j.jsonl', rows)}", "--disagreements"]
    report = report_of(tmp_path, *arguments, str(tmp_path / "d.jsonl"))
    assert [(pair["a"], pair["b"]) for pair in report["pairs"]] == [
        ("judge", "a person"),
        ("judge", "people's majority"),
        ("a person", "another person"),
    ]
    assert report["pairs"][0]["agreement"]["value"] == 0.5
    assert report["pairs"][1]["agreement"]["reason"] == "no rows"  # nobody leads


def test_scores_are_compared_as_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = [[1, 2, 1], [3, 3, 4], [5, 4, 5], [2, 2, None]]
    references = [{"id": f"c{at}", "score": sum(filter(None, each)) / 3, "by": each} for at, each in enumerate(people)]
    given = [{"id": f"c{at}", "score": score} for at, score in enumerate((1.0, 4.0, 5.0))]
    arguments = ["--references", write_rows(tmp_path / "r.jsonl", references), "--raters", "by", "--scores"]
    arguments += ["--model", f"judge={write_rows(tmp_path / 'j.jsonl', given)}"]
    report = report_of(tmp_path, *arguments)
    judge, mean, between = report["pairs"]
    assert (judge["pcc"]["n"], judge["pcc"]["unscored"]) == (9, 2)
    assert mean["mse"]["value"] == pytest.approx(((1 - 4 / 3) ** 2 + (4 - 10 / 3) ** 2 + (5 - 14 / 3) ** 2) / 3)
    assert between["pcc"]["value"] > 0.8
    assert report["alpha"]["people and judge"]["n"] == 4
    # The greatest distance first, what is unscored last.
    out = capsys.readouterr().out
    assert out.index(" c1 ") < out.index(" c0 ") < out.index("unscored  2, 2")


def test_mistakes_are_one_line(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(*arguments: str) -> str:
        assert run(main, list(arguments)) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        return told

    assert "no reference has a value in this column; their columns: votes" in refusal(*files, "--raters", "nobody")
    assert "'judge' is named twice" in refusal(*files, "--model", "judge=x")
    assert "give NAME=RUN" in refusal(*files, "--model", "judge")
    assert "--dimension goes with --scores" in refusal(*files, "--dimension", "noise")
    wrong = write_rows(tmp_path / "w.jsonl", [{"id": "p0", "reference": "first", "votes": ["first", "neither"]}])
    told = refusal("--references", wrong, "--raters", "votes", *files[4:6])
    assert "p1' is not in the references" in told or "rater 2 in 'votes' gave 'neither'" in told
