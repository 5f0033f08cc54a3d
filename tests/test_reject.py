"""``earwitness reject``: the expert's texts against the audio LLM's own answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earwitness.cli.reject import main
from earwitness.corpus.caption import Clip, Comparison, Description, Pair, Ratings
from earwitness.corpus.caption_files import write_sets
from earwitness.corpus.preferences import write_preferences
from earwitness.data.records import load_records
from earwitness.errors import RowError, UserError
from earwitness.files import read_rows

RATINGS = (Ratings(4.2, 4.5, 4.0, 4.8, 3.9), Ratings(1.5, 1.2, 2.0, 3.3, 2.5))


@pytest.fixture
def captions(pair_data, tmp_path) -> Path:
    """What ``earwitness caption`` writes for two clips and their pair."""
    clips = [Clip(f"c{index}", str(pair_data / f"clip{index}.wav"), RATINGS[index]) for index in range(2)]
    texts = [Description("A clean clip. mos 4.2", "Clear. mos 4.2"), Description("Hiss. mos 1.5", "Noise. mos 1.5")]
    pair = [Pair("p", *clips)]
    write_sets(tmp_path / "captions", clips, texts, pair, [Comparison("SpeechA has less noise.", "[SpeechA]")])
    return tmp_path / "captions"


def reject(model: Path, dataset: str, folder: Path, out: Path, *options: str) -> list[dict]:
    arguments = [str(model), dataset, str(out), "--dataset-dir", str(folder), "--quiet", "--device", "cpu"]
    assert main([*arguments, "--max-new-tokens", "6", *options]) == 0
    return list(read_rows(out / "preferences.jsonl"))


def test_one_command_writes_preferences_that_dpo_reads(tiny_models, captions, tmp_path):
    out = tmp_path / "out"
    rows = reject(tiny_models["qwen2_5_omni"], "alld_mos", captions, out)
    answers = {row["id"]: row["raw"] for row in read_rows(out / "predictions.jsonl")}
    assert [row["id"] for row in rows] == ["c0#1", "c0#2", "c1#1", "c1#2"]
    assert [row["chosen"] for row in rows] == [
        "A clean clip. mos 4.2",
        "Clear. mos 4.2",
        "Hiss. mos 1.5",
        "Noise. mos 1.5",
    ]
    assert all(row["rejected"].replace("< |", "<|") == answers[row["id"]] for row in rows)
    assert rows[2]["expert_prompt"].endswith(RATINGS[1].to_json())
    assert rows[2]["expert_prompt"].startswith("I will give you a tuple of meta information")
    assert rows[2]["prompt"].startswith("<audio>")
    before = (out / "preferences.jsonl").read_bytes()
    assert reject(tiny_models["qwen2_5_omni"], "alld_mos", captions, out)
    assert (out / "preferences.jsonl").read_bytes() == before


def test_both_orders_of_a_pair_and_a_template_of_ones_own(tiny_models, captions, tmp_path):
    template = tmp_path / "facts.jinja"
    template.write_text("{{ order }} {{ metrics_a }} {{ reference }}\n{{ prompt }}\n")
    options = ("--orders", "both", "--expert-template", str(template))
    ab, ba = reject(tiny_models["qwen2_5_omni"], "alld_ab", captions, tmp_path / "out", *options)
    assert (ab["id"], ba["id"]) == ("p", "p/ba")
    assert ab["audios"] == ba["audios"][::-1]
    assert ab["chosen"] == "SpeechA has less noise.\n[SpeechA]"
    assert ba["chosen"] == "SpeechB has less noise.\n[SpeechB]"
    assert ab["expert_prompt"].startswith(f"ab {RATINGS[0].to_json()} first\nSpeechA: \nSpeechB:")
    assert ba["expert_prompt"].startswith(f"ba {RATINGS[1].to_json()} second\n")


def test_judges_without_a_published_expert_prompt_have_none(tiny_models, pair_data, tmp_path):
    rows = reject(tiny_models["qwen2_5_omni"], "clips", pair_data, tmp_path / "out", "--limit", "2")
    assert all("expert_prompt" not in row for row in rows)
    info = json.loads((tmp_path / "out/dataset_info.json").read_text())
    assert info["preferences"]["ranking"] is True
    assert "expert_prompt" not in info["preferences"]["columns"]


def test_answers_that_give_no_preference_are_counted(pair_data, tmp_path):
    records = load_records("clips", pair_data)
    answers = [{"id": record.id, "order": "ab", "raw": record.response} for record in records[:2]]
    answers += [{"id": records[2].id, "order": "ab", "raw": None}]
    answers += [{"id": records[3].id, "order": "ab", "raw": "<audio> says <|im_end|>"}]
    written = write_preferences(tmp_path, records, answers, None)
    assert written.rows == 1
    assert written.left_out == {"equal to the expert's text": 2, "without an answer": 1}
    assert next(iter(read_rows(tmp_path / "preferences.jsonl")))["rejected"] == "< audio> says < |im_end|>"
    with pytest.raises(UserError, match="no preferences to write: 2 equal to the expert's text"):
        write_preferences(tmp_path, records, answers[:2], None)


def test_mistakes_are_named(tiny_models, pair_data, captions, tmp_path):
    model = str(tiny_models["qwen2_5_omni"])
    with pytest.raises(UserError, match="must be a folder"):
        main([model, "clips", str(tmp_path / "out.jsonl")])
    with pytest.raises(UserError, match="--verdict-only"):
        main([model, "clips", str(tmp_path / "out"), "--verdict-only"])
    records = load_records("clips", pair_data)
    answers = [{"id": records[0].id, "order": "ab", "raw": "text"}]
    with pytest.raises(RowError, match=r"clips.*the expert's prompt cannot be written.*metrics"):
        write_preferences(tmp_path, records, answers, "alld_expert/mos")
    with pytest.raises(UserError, match="unknown template"):
        write_preferences(tmp_path, records, answers, "alld_expert/nothing")
