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
from earwitness.errors import UserError
from earwitness.metrics.figures import Figure
from earwitness.report.papers import LAYOUTS, paper_table
from earwitness.report.published import NOTES, PUBLISHED
from earwitness.report.tables import REASONS, WRITERS, Column, Table, unscored_notes

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
        table = paper_table(name, {}, published=PUBLISHED)
        assert len(table.rows) == len(rows)
        printed = [cell for row in table.cells for cell in row if re.fullmatch(r"\d+\.\d+", cell)]
        given = [f"{value:.1f}" for row in rows for value in row[1:] if value is not None]
        assert [f"{float(cell):.1f}" for cell in printed] == given
    assert set(PUBLISHED) | set(NOTES) == set(LAYOUTS)


def test_a_layout_with_neither_rows_nor_a_note_is_an_error():
    with pytest.raises(UserError, match="'alld-ab' has no published figures here; there are some for alld-mos"):
        paper_table("alld-ab", {}, published={"alld-mos": PUBLISHED["alld-mos"]})


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
        (["x={folder}", "--tables", "alld-ab", "--published-file", "nowhere.json"], "nowhere.json: No such file"),
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


def write_published(tmp_path, value):
    path = tmp_path / "papers.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("flags", [["--published", "x={folder}"], ["x={folder}", "--published"]])
def test_published_takes_no_run_for_its_value(reports, capsys, flags):
    flags = [text.format(folder=reports) for text in flags]
    out = printed(capsys, "--tables", "speecheval-6", *flags)
    assert "SQ-LLM (paper)" in out
    assert re.search(r"^x +\d+\.\d{3} ", out, re.MULTILINE)


@pytest.mark.parametrize("style", WRITERS)
def test_without_rows_the_table_has_a_note_of_what_the_abstract_says(reports, capsys, style):
    shared = [f"mine={reports}", "--tables", "sagelm-semantic", "--format", style]
    assert "82.79" not in printed(capsys, *shared)
    out = printed(capsys, *shared, "--published")
    said = " ".join(json.loads(out)[0]["notes"]) if style == "json" else out
    assert all(part in said for part in ("82.79", "7.42", "26.20", "--published-file FILE"))
    assert "mine Accuracy" in out
    if style == "latex":
        notes = [line for line in out.splitlines() if "82.79" in line or "--published-file" in line]
        assert all(line.startswith("% ") for line in notes)


SEMANTIC = [["SageLM Accuracy", 83.1, None, 70, 64.25], ["SageLM Agreement", 90.55, 1e1, 80, None]]


def test_rows_of_a_file_stand_above_ours_as_printed(reports, tmp_path, capsys):
    file = write_published(tmp_path, {"sagelm-semantic": SEMANTIC})
    out = printed(capsys, f"mine={reports}", "--tables", "sagelm-semantic", "--published-file", file)
    rows = [re.split(" {2,}", line) for line in out.splitlines()[3:]]
    assert rows[0] == ["SageLM Accuracy (paper)", "83.10", "–", "70.00", "64.25"]
    assert rows[1] == ["SageLM Agreement (paper)", "90.55", "10.00", "80.00", "–"]
    assert set(rows[2][0]) == {"-"}
    assert [row[0] for row in rows[3:]] == ["mine Accuracy", "mine Agreement"]
    assert "82.79" not in out


def test_a_table_in_the_file_takes_its_rows_only_and_others_keep_theirs(reports, tmp_path, capsys):
    file = write_published(tmp_path, "\ufeff" + json.dumps({"speecheval-6": [["Other", 1.5, 0.125, None]]}))
    asked = ["--tables", "speecheval-6,speecheval-5,sagelm-acoustic", "--format", "json"]
    six, five, sagelm = json.loads(printed(capsys, f"m={reports}", *asked, "--published", "--published-file", file))
    assert [row["MODEL"] for row in six["rows"]] == ["Other (paper)", "m"]
    assert six["rows"][0]["EER(%)"]["value"] == pytest.approx(0.015)
    assert six["rows"][0]["EER(%)"]["params"] == {"source": "published"}
    assert six["rows"][0]["ACC(%)"] is None
    assert "SQ-LLM (paper)" in [row["MODEL"] for row in five["rows"]]
    assert "82.79" in " ".join(sagelm["notes"])


def test_marks_of_table_7_come_from_the_names_in_the_file(reports, tmp_path, capsys):
    file = write_published(tmp_path, {"speecheval-7": [["grpo", 1, 2, 3, 4], ["Neither", 5, 6, 7, 8]]})
    out = printed(capsys, f"m={reports}", "--tables", "speecheval-7", "--published-file", file)
    assert re.search(r"^ +✓ +1\.000", out, re.MULTILINE)
    assert re.search(r"^ +5\.000", out, re.MULTILINE)


def test_names_of_the_file_are_escaped(reports, tmp_path, capsys):
    file = write_published(tmp_path, {"alld-ab": [["50%_a & {b}\\|\n\nc$", 98.6, None, None]]})
    shared = [f"m={reports}", "--tables", "alld-ab", "--published-file", file, "--format"]
    assert r"50\%\_a \& \{b\}\textbackslash{}| c\$ (paper) & 98.60 & -- & -- \\" in printed(capsys, *shared, "latex")
    assert r"| 50%_a & {b}\\\| c$ (paper) | 98.60 | – | – |" in printed(capsys, *shared, "markdown")


COLUMNS = "Helpfulness, Truthfulness, Instruction_following, Honesty"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("{", "line 1: broken JSON"),
        ("[1]", "holds [1]; allowed: an object of tables"),
        ("{}", "holds {}; allowed: an object of tables"),
        ('{"alld-ab": [], "alld-ab": []}', "'alld-ab' twice"),
        ({"sagelm": []}, "no table 'sagelm'; allowed: speecheval-4, "),
        ({"sagelm-semantic": []}, "table 'sagelm-semantic' holds []; allowed: a list of at least one row"),
        ({"sagelm-semantic": {"a": 1}}, """table 'sagelm-semantic' holds {"a": 1}; allowed: a list"""),
        ({"sagelm-semantic": [SEMANTIC[0], 5]}, f"""row 2: 5 is no row; allowed: ["name", {COLUMNS}]"""),
        ({"sagelm-semantic": [[]]}, "row 1: [] is no row"),
        ({"sagelm-semantic": [[1, 2, 3, 4, 5]]}, "row 1: [1, 2, 3, 4, 5] is no row"),
        ({"sagelm-semantic": [[" ", 2, 3, 4, 5]]}, """row 1: [" ", 2, 3, 4, 5] is no row"""),
        ({"sagelm-semantic": [["SageLM", 1, 2, 3, 4]]}, "row 1: the name 'SageLM' is allowed only with ' Accuracy'"),
        ({"sagelm-semantic": [["Accuracy", 1, 2, 3, 4]]}, "the name 'Accuracy' is allowed only with ' Accuracy'"),
        ({"speecheval-7": [["SQ-LLM", 1, 2, 3, 4]]}, "'CoT', 'GRPO', 'CoT + GRPO' or 'neither'"),
        ({"sagelm-semantic": [["X Accuracy", 1, 2, 3]]}, f"row 1, 'X Accuracy': 3 figures instead of 4: {COLUMNS}"),
        ({"alld-ab": [["X", 1, True, 2]]}, "row 1, 'X', scored only(%): true is not allowed; allowed: a finite number"),
        ({"alld-ab": [["X", 1, "2", 2]]}, """row 1, 'X', scored only(%): "2" is not allowed"""),
        ('{"alld-ab": [["X", 1, 2, NaN]]}', "'X', coverage(%): NaN is not allowed"),
        ('{"alld-ab": [["X", 1e999, 2, 3]]}', "'X', Accuracy(%): Infinity is not allowed"),
        ({"alld-ab": [["X", 10**400, 2, 3]]}, "'X', Accuracy(%): 1000"),
        ({"alld-ab": [["X", 1, 2, 3], ["X ", 1, 2, 4]]}, "row 2: a second 'X'; the first is row 1"),
    ],
)
def test_a_wrong_file_of_published_rows_is_refused_in_one_line(reports, tmp_path, capsys, value, complaint):
    file = write_published(tmp_path, value)
    capsys.readouterr()
    assert run(main, [f"x={reports}", "--tables", "speecheval-6", "--published-file", file]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {file}")
    assert complaint in error
    assert error.count("\n") == 1


def test_published_rows_that_are_not_utf_8_are_refused(reports, tmp_path, capsys):
    file = tmp_path / "papers.json"
    file.write_bytes(b'{"alld-ab": [["\xe9", 1, 2, 3]]}')
    assert run(main, [f"x={reports}", "--tables", "alld-ab", "--published-file", str(file)]) == 2
    assert "papers.json: not UTF-8 (byte 15)" in capsys.readouterr().err
