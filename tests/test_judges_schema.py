"""The schema of dataset_info.json, the entries that are shipped, and the documentation of both."""

import json
import re
import shutil

import pytest
from conftest import REPOSITORY

from earwitness.data.entries import load_entries
from earwitness.data.records import load_records
from earwitness.data.schema import problems_of, schema
from earwitness.errors import UserError
from earwitness.judges import parse
from earwitness.judges.registry import JUDGE_TYPES
from earwitness.judges.spec import JUDGE_KEYS

DATA = REPOSITORY / "data"
PAIRS = {"file_name": "rows.jsonl", "formatting": "speech_pair"}
CLIPS = {"file_name": "rows.jsonl", "formatting": "speech_clip"}


def test_the_shipped_schema_is_that_of_the_code():
    assert json.loads((DATA / "dataset_info.schema.json").read_text(encoding="utf-8")) == schema()


def test_the_schema_is_one():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_shipped_entries_are_right():
    assert problems_of(load_entries(DATA)) == {}
    entries = json.loads((DATA / "dataset_info.json").read_text(encoding="utf-8"))
    assert {"test_semantic", "test_acoustic", "demo_clips", "demo_pairs_train", "demo_pairs_test"} <= entries.keys()


@pytest.mark.parametrize(
    "entry",
    [
        {
            **PAIRS,
            "columns": {"verdict": "w"},
            "judge": {"labels": {"first": "A", "second": "B"}, "order_swap": "random"},
        },
        {
            **CLIPS,
            "columns": {"scores": {"x": "c"}},
            "judge": {"type": "rate_clip", "aspects": ["x"], "scale": ["a", "b"]},
        },
        {**CLIPS, "judge": {"type": "speecheval_detection", "verdict_values": {"spoof": "fake", "bonafide": "real"}}},
        {"file_name": "a.json", "columns": {"prompt": "instruction", "audios": "audios"}, "ranking": True},
        {"file_name": "a.json", "formatting": "sharegpt", "tags": {"role_tag": "role"}, "judge": {"type": "alld_ab"}},
        {"hf_hub_url": "a/b", "split": "train"},
    ],
)
def test_right_entries_have_no_problems(entry):
    assert problems_of({"mine": entry}) == {}


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({**PAIRS, "judge": {"tempalte": "x"}}, ["'tempalte'", "did you mean 'template'", "chain_of_thought"]),
        ({**PAIRS, "colums": {}}, ["'colums'", "did you mean 'columns'"]),
        ({"file_name": "a", "colums": {}}, ["colums"]),
        ({"file_name": "a", "columns": {"promt": "x"}}, ["promt", "prompt"]),
        ({"file_name": "a", "split": 3}, ["split", "3"]),
        ({**CLIPS, "judge": {"type": "pairwise"}}, ["hears 2 clip"]),
        ({**PAIRS, "num_samples": 0}, ["num_samples"]),
        ("rows.jsonl", ["must be an object"]),
    ],
)
def test_wrong_entries_are_named(entry, named):
    ((problem, *_),) = problems_of({"right": PAIRS, "mine": entry}).values()
    for part in (*named, "'mine'"):
        assert part in problem


def test_all_problems_of_a_file_are_found_together():
    entries = {"one": {**PAIRS, "judge": {"type": "x"}}, "two": {**PAIRS, "columns": {"y": "z"}}, "right": PAIRS}
    problems = problems_of(entries)
    assert list(problems) == ["one", "two"]
    assert "entry 'one'" in problems["one"][0]
    assert "entry 'two'" in problems["two"][0]


def test_the_readme_documents_every_field_and_judge():
    text = (DATA / "README.md").read_text(encoding="utf-8")
    for name in JUDGE_KEYS:
        assert f"| `judge.{name}` |" in text
    for kind in JUDGE_TYPES.values():
        assert f"| `{kind.name}` | {kind.clips} | `{kind.template}` |" in text
        for column in kind.columns:
            assert f"`{column}`" in text


def test_the_tables_of_the_readme_name_exactly_what_the_schema_allows():
    """Fields of an entry, columns, and options of converters; a name on one side alone is an error."""
    fields, columns, _, options = (
        {name for cell in _first_cells(table) for name in re.findall(r"`([\w.]+)`", cell)}
        for table in re.split(r"\n\n", (DATA / "README.md").read_text(encoding="utf-8"))
        if table.startswith("|")
    )
    entry, judge = schema()["$defs"]["entry"], schema()["$defs"]["judge"]
    assert fields == {*entry["properties"], *(f"judge.{name}" for name in judge["properties"])}
    assert options == set(entry["properties"]["converter"]["properties"])
    allowed: set[str] = set()
    for branch in entry["allOf"]:
        mapped = branch["then"]["properties"]["columns"]
        allowed |= set(mapped.get("properties", mapped.get("propertyNames", {}).get("enum", ())))
    assert columns == allowed


def _first_cells(table: str) -> list[str]:
    return [line.split("|")[1] for line in table.splitlines()[2:]]


def test_the_readme_of_the_templates_names_each_of_ours():
    text = (REPOSITORY / "templates/README.md").read_text(encoding="utf-8")
    for kind in JUDGE_TYPES.values():
        family, name = kind.template.split("/")
        assert family in text
        assert re.search(rf"\b{name}\b", text)
    for line in text.splitlines():
        assert "\t" not in line


def test_the_tutorial_works_as_it_is_printed(tmp_path, monkeypatch):
    text = (DATA / "README.md").read_text(encoding="utf-8").split("## A judge of your own")[1]
    entry, template = re.search(r"```json\n(.*?)```.*?```\n(.*?)```", text, re.DOTALL).groups()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_templates").mkdir()
    (tmp_path / "my_templates/pace.jinja").write_text(template, encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text(f"{{{entry}}}", encoding="utf-8")
    (tmp_path / "pace.csv").write_text("left,right,faster,speaker\na.wav,b.wav,R,Anna\n", encoding="utf-8")
    assert problems_of(load_entries(tmp_path)) == {}
    (record,) = load_records("pace", tmp_path)
    assert record.prompt == (
        "Sample A: <audio>\nSample B: <audio>\nAnna reads the same text twice. Which sample is faster? Answer A or B."
    )
    assert (record.reference, record.response, record.aspect) == ("second", "B", "pace")
    assert parse("Sample A is better", record.judge).verdict == "first"
    assert parse("Tie", record.judge).verdict is None


def test_the_pair_of_the_first_example_works_as_it_is_printed(tmp_path):
    text = (DATA / "README.md").read_text(encoding="utf-8")
    entry, row = re.findall(r"```json\n(.*?)```", text, re.DOTALL)[:2]
    (tmp_path / "dataset_info.json").write_text(f"{{{entry}}}", encoding="utf-8")
    (tmp_path / "my_pairs.jsonl").write_text(row, encoding="utf-8")
    (record,) = load_records("my_pairs", tmp_path)
    assert record.response == "2\nResponse 1 hisses."


def test_installed_templates_are_found_without_a_checkout(tmp_path, monkeypatch):
    from earwitness.judges import prompts

    package = tmp_path / "site-packages/earwitness"
    shutil.copytree(REPOSITORY / "templates", package / "_templates")
    monkeypatch.setattr(prompts, "_PACKAGE", package)
    assert prompts.templates_dir() == package / "_templates"
    shutil.rmtree(package)
    with pytest.raises(UserError, match="no templates found"):
        prompts.templates_dir()
