"""Tables in four forms, and the papers' layouts filled from real evaluation reports."""

from __future__ import annotations

import json
import re

import pytest

from earwitness.cli import run
from earwitness.cli.evaluate_detection import main as evaluate_detection
from earwitness.cli.evaluate_pairwise import main as evaluate_pairwise
from earwitness.cli.evaluate_scores import main as evaluate_scores
from earwitness.cli.tables import main
from earwitness.metrics.figures import Figure
from earwitness.report.papers import LAYOUTS, paper_table
from earwitness.report.published import PUBLISHED
from earwitness.report.tables import REASONS, Column, Table, unscored_notes

TABLE = Table(
    [Column("judge"), Column("acc_%", 100, 1, interval=True), Column("remark", left=True)],
    [["a & b", Figure(0.5, 4, ci=(0.25, 0.75)), "fine"], ["c|d", Figure.undefined("no rows", 0), None]],
    "A title",
    ["a note"],
    frozenset({1}),
)


def test_reasons_beyond_ten_are_summed_not_listed():
    few = {f"reason {number}": 20 - number for number in range(REASONS)}
    assert unscored_notes(few)[0] == "unscored: 20 x reason 0"
    assert len(unscored_notes(few)) == REASONS
    *named, rest = unscored_notes({**few, "rare": 1, "common": 99, "rarer": 2})
    assert named[0] == "unscored: 99 x common"
    assert rest == f"unscored: {few[f'reason {REASONS - 1}'] + 3} x 3 other reasons; --json names them"


def test_text_is_aligned_and_undefined_figures_are_dashes():
    assert TABLE.text().splitlines() == [
        "A title",
        "judge              acc_%  remark",
        "--------------------------------",
        "a & b  50.0 [25.0, 75.0]  fine",
        "--------------------------------",
        "c|d                    –  –",
        "a note",
    ]


def test_markdown_and_latex_escape_what_they_must():
    markdown = TABLE.markdown()
    assert r"| c\|d | – | – |" in markdown
    assert "| --- | ---: | --- |" in markdown
    latex = TABLE.latex()
    assert r"a \& b & 50.0 [25.0, 75.0] & fine \\" in latex
    assert r"acc\_\%" in latex
    assert latex.count(r"\midrule") == 2
    assert r"\begin{tabular}{lrl}" in latex


def test_json_keeps_everything_a_figure_carries():
    rows = json.loads(TABLE.json())["rows"]
    assert rows[0]["acc_%"] == {"value": 0.5, "n": 4, "unscored": 0, "ci": [0.25, 0.75]}
    assert rows[1]["acc_%"]["reason"] == "no rows"
    assert Figure.from_json(rows[0]["acc_%"]) == Figure(0.5, 4, ci=(0.25, 0.75))


def test_a_row_must_fit_its_columns():
    with pytest.raises(ValueError, match="2 cells in a table of 3"):
        Table(TABLE.columns, [["a", None]])


def test_every_published_row_fits_its_layout():
    for name, rows in PUBLISHED.items():
        table = paper_table(name, {}, published=True)
        assert len(table.rows) == len(rows)
        printed = [cell for row in table.cells for cell in row if re.fullmatch(r"\d+\.\d+", cell)]
        given = [f"{value:.1f}" for row in rows for value in row[1:] if value is not None]
        assert [f"{float(cell):.1f}" for cell in printed] == given
    assert set(PUBLISHED) <= set(LAYOUTS)


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def reports(tmp_path):
    """A run folder with one report of each kind, written by the scripts themselves."""
    folder = tmp_path / "my run"
    folder.mkdir()
    quick = ["--resamples", "0"]
    clips = [
        {
            "id": f"{i}",
            "label": "real" if i % 2 else "fake",
            "score": 0.9 if i % 3 else 0.2,
            "language": "ja",
            "source": "open",
        }
        for i in range(12)
    ]
    path = write_rows(tmp_path / "clips.jsonl", clips)
    arguments = ["--predictions", path, "--by", "language", "--json", str(folder / "detection.json"), *quick]
    assert run(evaluate_detection, arguments) == 0
    text = "Overall Quality: {}/5\nSpeech Rate: slow"
    rated = [{"response": text.format(1 + i % 5), "labels": text.format(1 + (i + i // 9) % 5)} for i in range(12)]
    path = write_rows(tmp_path / "rated.jsonl", rated)
    assert run(evaluate_scores, ["--predictions", path, "--json", str(folder / "scores.json"), *quick]) == 0
    pairs = [{"id": f"{i}", "aspect": "overall quality", "reference": "first"} for i in range(4)]
    said = [{"id": f"{i}", "predict": "1" if i else "Tie"} for i in range(4)]
    arguments = ["--references", write_rows(tmp_path / "r.jsonl", pairs), "--predictions"]
    arguments += [write_rows(tmp_path / "p.jsonl", said), "--json", str(folder / "pairwise.json"), *quick]
    assert run(evaluate_pairwise, arguments) == 0
    texts = {"assessment": {"lscore": Figure(6.5, 3).to_json(), "sbert": Figure(0.8, 3).to_json()}}
    (folder / "texts.json").write_text(json.dumps({"texts": texts}))
    return folder


def printed(capsys, *arguments):
    capsys.readouterr()
    assert run(main, list(arguments)) == 0
    return capsys.readouterr().out


def test_a_run_folder_fills_the_tables_of_the_papers(reports, capsys):
    out = printed(capsys, f"CoT + GRPO={reports}", "--tables", "speecheval-4,speecheval-5,speecheval-6,speecheval-7")
    assert re.search(r"CoT \+ GRPO +6\.500 +0\.800 +– ", out)
    assert re.search(r"CoT \+ GRPO +0\.\d{3} +0\.750\n", out)
    assert re.search(r"✓ +✓ +6\.500 +– +– +\d+\.\d{3}", out)
    languages = printed(capsys, f"mine={reports}", "--tables", "speecheval-14", "--published")
    assert re.search(r"^Japanese +66\.7 +33\.3 +– +50\.0$", languages, re.MULTILINE)
    assert "Japanese (paper)" in languages


def test_all_prints_only_tables_with_figures(reports, capsys):
    tables = json.loads(printed(capsys, f"mine={reports}", "--tables", "all", "--format", "json"))
    titles = [table["title"] for table in tables]
    assert any("Table 13" in title for title in titles)
    assert not any("SageLM" in title for title in titles)


def test_reports_of_one_model_may_lie_in_several_files_and_go_to_a_file(reports, tmp_path, capsys):
    runs = [f"m={reports / name}.json" for name in ("detection", "scores")]
    out = tmp_path / "out" / "table.md"
    assert printed(capsys, *runs, "--tables", "speecheval-6", "--format", "markdown", "--out", str(out)) == ""
    assert out.read_text().startswith("**SpeechEval, Table 6")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["x", "--tables", "all"], "'x': give NAME=PATH"),
        (["x=nowhere.json", "--tables", "all"], "no such file"),
        (["x={folder}", "--tables", "table-6"], "allowed: speecheval-4"),
        (["x={folder}", "x={folder}/scores.json", "--tables", "all"], "a second report of kind 'scores'"),
        (["x={folder}/other.json", "--tables", "all"], "no report of evaluate_*.py"),
        (["x={folder}", "--tables", "sagelm-semantic", "--published"], "no published figures"),
        (["x={folder}/empty", "--tables", "all"], "holds none of metrics.json"),
    ],
)
def test_wrong_input_is_refused_in_one_line(reports, capsys, arguments, complaint):
    (reports / "other.json").write_text("{}")
    (reports / "empty").mkdir()
    assert run(main, [text.format(folder=reports) for text in arguments]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
