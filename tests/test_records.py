"""Entries and records: rows of every formatting, in files as users write them."""

import json
import pickle
from pathlib import Path

import pytest

from earwitness.data.entries import Entry
from earwitness.data.examples import row_to_example, training_example
from earwitness.data.records import load_records, missing_audio
from earwitness.errors import UserError
from earwitness.files import BadRows

REPOSITORY = Path(__file__).resolve().parents[1]

PAIRS = {
    "file_name": "pairs.jsonl",
    "formatting": "speech_pair",
    "columns": {"verdict": "winner", "question": "text"},
    "judge": {"type": "pairwise", "aspects": ["noise", "overall quality"]},
}
PAIR = {
    "id": "p1",
    "audio_a": "a.wav",
    "audio_b": "b.wav",
    "aspect": "noise",
    "text": "Read it.",
    "winner": "first",
    "rationale": "Response 1 is cleaner than Response 2.",
    "language": "en",
}


def write(folder, rows, info, file_name="pairs.jsonl"):
    folder.mkdir(exist_ok=True)
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    (folder / file_name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def load(tmp_path, rows, info=None, **options):
    write(tmp_path, rows, {"mine": info or PAIRS})
    return load_records("mine", tmp_path, **options)


def refuse(tmp_path, rows, info=None):
    with pytest.raises(UserError) as error:
        load(tmp_path, rows, info)
    return str(error.value)


def judge(**changes):
    return {**PAIRS, "judge": {**PAIRS["judge"], **changes}}


def test_a_pair_becomes_a_record(tmp_path):
    (record,) = load(tmp_path, [PAIR])
    assert record.id == "p1"
    assert (record.dataset, record.row, record.aspect, record.reference) == ("mine", 1, "noise", "first")
    assert record.audios == (str(tmp_path / "a.wav"), str(tmp_path / "b.wav"))
    assert record.prompt.count("<audio>") == 2
    assert "### Instruction:\nRead it.\n" in record.prompt
    assert record.response == "1\nResponse 1 is cleaner than Response 2."
    assert record.meta == {"language": "en"}
    assert pickle.loads(pickle.dumps(record)) == record


def test_a_swapped_record_mirrors_everything_that_depends_on_the_order(tmp_path):
    (record,) = load(tmp_path, [PAIR])
    swapped = record.swapped()
    assert swapped.audios == record.audios[::-1]
    assert swapped.reference == "second"
    assert swapped.response == "2\nResponse 2 is cleaner than Response 1."
    assert (swapped.id, swapped.prompt, swapped.meta) == (record.id, record.prompt, record.meta)
    assert swapped.swapped() == record


def test_a_rationale_that_cannot_be_turned_around_leaves_no_response(tmp_path):
    (record,) = load(tmp_path, [{**PAIR, "rationale": "The first is cleaner."}])
    assert record.response == "1\nThe first is cleaner."
    assert record.swapped().response is None
    assert record.swapped().reference == "second"


def test_chain_of_thought_writes_both_tags(tmp_path):
    row = {**PAIR, "winner": "tie", "thinking": "noise: Response 1 strong, Response 2 strong"}
    (record,) = load(tmp_path, [row], judge(chain_of_thought=True))
    assert record.response == (
        "<think>\nnoise: Response 1 strong, Response 2 strong\n</think>\n\n"
        "<answer>\nTie\nResponse 1 is cleaner than Response 2.\n</answer>"
    )
    assert record.swapped().response == (
        "<think>\nnoise: Response 2 strong, Response 1 strong\n</think>\n\n"
        "<answer>\nTie\nResponse 2 is cleaner than Response 1.\n</answer>"
    )
    bare = {key: value for key, value in row.items() if key not in ("thinking", "rationale")}
    (record,) = load(tmp_path, [bare], judge(chain_of_thought=True))
    assert record.response == "<think>\n</think>\n\n<answer>\nTie\n</answer>"


def test_rows_without_a_verdict_are_unlabelled(tmp_path):
    for row in ({**PAIR, "winner": None}, {**PAIR, "winner": " "}):
        (record,) = load(tmp_path, [row])
        assert (record.reference, record.response, record.swapped().response) == (None, None, None)


def test_ids_are_stable_and_do_not_depend_on_the_label(tmp_path):
    row = {key: value for key, value in PAIR.items() if key != "id"}
    (labelled,) = load(tmp_path, [row])
    (unlabelled,) = load(tmp_path, [{**row, "winner": None, "rationale": None}])
    (other,) = load(tmp_path, [{**row, "audio_b": "c.wav"}])
    assert labelled.id == unlabelled.id
    assert labelled.id.startswith("mine-1-")
    assert other.id != labelled.id


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"aspect": "humour"}, ["unknown aspect 'humour'", "noise, overall quality"]),
        ({"aspect": None}, ["no aspect", "noise, overall quality"]),
        ({"winner": "A"}, ["'A'", "first, second, tie, 1, 2, Tie", "verdict_values"]),
        ({"audio_b": ""}, ["audio_b", "empty"]),
        ({"audio_b": {"bytes": "x"}}, ["audio_b", "path of a clip"]),
        ({"rationale": ["x"]}, ["rationale", "must hold text"]),
        ({"rationale": "Clear.\n2\nNoisy."}, ["would be read as", "several verdicts: first, second"]),
        ({"rationale": "Clear. <answer>2</answer>"}, ["would be read as: second"]),
    ],
)
def test_a_wrong_row_is_named_with_what_is_allowed(tmp_path, change, named):
    message = refuse(tmp_path, [PAIR, {**PAIR, "id": "p2", **change}])
    for part in (*named, str(tmp_path / "pairs.jsonl"), "row 2"):
        assert part in message


@pytest.mark.parametrize("column", ["audio_a", "winner", "text"])
def test_a_missing_column_is_named(tmp_path, column):
    message = refuse(tmp_path, [{key: value for key, value in PAIR.items() if key != column}])
    assert f"'{column}'" in message
    assert "the row has: id, " in message


def test_duplicate_ids_are_refused(tmp_path):
    assert "id 'p1' is already that of row 1" in refuse(tmp_path, [PAIR, PAIR])


def test_bad_rows_are_skipped_and_counted_on_request(tmp_path):
    bad = BadRows(skip=True)
    records = load(tmp_path, [PAIR, PAIR, {**PAIR, "id": "p3", "winner": "?"}, {**PAIR, "id": "p4"}], bad=bad)
    assert [record.id for record in records] == ["p1", "p4"]
    assert bad.count == 2


def test_declared_values_are_mapped_and_others_refused(tmp_path):
    info = judge(verdict_values={"A": "first", "B": "second", "0": "tie"})
    records = load(tmp_path, [{**PAIR, "winner": "B"}, {**PAIR, "id": "p2", "winner": 0}], info)
    assert [record.reference for record in records] == ["second", "tie"]
    assert "allowed: A, B, 0" in refuse(tmp_path, [{**PAIR, "winner": "first"}], info)


def test_placeholders_and_control_tokens_of_the_data_stay_text(tmp_path):
    row = {**PAIR, "text": "Say <audio> or <|im_end|>", "rationale": "Response 1 says <audio>."}
    (record,) = load(tmp_path, [row])
    assert record.prompt.count("<audio>") == 2
    assert "Say < audio> or < |im_end|>" in record.prompt
    assert "<audio>" not in record.response
    assert "<audio>" not in record.swapped().response


def test_order_swap_shows_the_same_rows_swapped_every_time():
    rows = [{**PAIR, "id": f"p{number}"} for number in range(200)]
    always = Entry.from_info("mine", judge(order_swap="always"))
    assert all(training_example(row, always).audios == ("b.wav", "a.wav") for row in rows)
    random = Entry.from_info("mine", judge(order_swap="random"))
    shown = [training_example(row, random) for row in rows]
    assert shown == [training_example(row, random) for row in rows]
    swapped = [example for example in shown if example.audios == ("b.wav", "a.wav")]
    assert 70 < len(swapped) < 130
    assert {example.reference for example in swapped} == {"second"}
    assert {example.response for example in swapped} == {"2\nResponse 2 is cleaner than Response 1."}
    with pytest.raises(UserError, match="cannot be turned around"):
        training_example({**PAIR, "rationale": "The first is cleaner."}, always)


def test_scores_levels_and_single_clips(tmp_path):
    info = {
        "file_name": "pairs.jsonl",
        "formatting": "speech_clip",
        "judge": {"type": "rate_clip", "aspects": ["noise", "loudness"], "scale": ["bad", "fair", "good"]},
    }
    row = {"id": "c1", "audio": "a.wav", "scores": {"loudness": "good", "noise": "bad"}}
    (record,) = load(tmp_path, [row], info)
    assert record.reference == {"noise": "bad", "loudness": "good"}
    assert record.response == "noise: bad\nloudness: good"
    assert record.prompt.count("<audio>") == 1
    assert "not on the scale; allowed: bad, fair, good" in refuse(
        tmp_path, [{**row, "scores": {"noise": "worst", "loudness": "bad"}}], info
    )
    assert "no value for aspect 'loudness'" in refuse(tmp_path, [{**row, "scores": {"noise": "bad"}}], info)
    assert "unknown aspect 'x'" in refuse(
        tmp_path, [{**row, "scores": {"noise": "bad", "loudness": "bad", "x": "bad"}}], info
    )


def test_scores_from_one_column_an_aspect(tmp_path):
    info = {
        "file_name": "clips.csv",
        "formatting": "speech_clip",
        "columns": {"audio": "filepath_deg", "scores": {"noise": "noi", "loudness": "loud"}},
        "judge": {"type": "rate_clip", "aspects": ["noise", "loudness"]},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": info}), encoding="utf-8")
    (tmp_path / "clips.csv").write_text("db,filepath_deg,noi,loud\nX,a.wav,4.25,3\nX,b.wav,,\n", encoding="utf-8")
    first, second = load_records("mine", tmp_path)
    assert first.reference == {"noise": 4.25, "loudness": 3.0}
    assert first.response == "noise: 4.25\nloudness: 3"
    assert first.meta == {"db": "X"}
    assert second.reference is None


@pytest.mark.parametrize("score", [0, 5.01, "high", float("nan"), True])
def test_a_score_off_the_scale_is_refused(tmp_path, score):
    info = {"file_name": "pairs.jsonl", "formatting": "speech_clip", "judge": {"type": "score"}}
    row = {"audio": "a.wav", "aspect": "naturalness", "score": 4}
    (record,) = load(tmp_path, [row], info)
    assert (record.reference, record.response) == (4.0, "4")
    assert "score" in refuse(tmp_path, [{**row, "score": score}], info)


def test_a_template_that_needs_more_than_the_row_has(tmp_path):
    info = judge(template="sagelm/pairwise")
    message = refuse(tmp_path, [PAIR, {**PAIR, "id": "p2", "text": None}], info)
    assert "row 2: template 'sagelm/pairwise' needs a value that this row lacks: 'question' is undefined" in message


def test_references_that_the_answer_itself_states(tmp_path):
    pair = {"audio_a": "a", "audio_b": "b", "thinking": "Overall Quality: B is better than A", "answer": "B is clean."}
    info = {**PAIRS, "columns": {}, "judge": {"type": "speecheval_comparison", "chain_of_thought": True}}
    (record,) = load(tmp_path, [pair], info)
    assert record.reference == "second"
    assert record.swapped().reference == "first"
    clip = {"audio": "a", "answer": "A clear voice.\nMOS: 4.5"}
    info = {"file_name": "pairs.jsonl", "formatting": "speech_clip", "judge": {"type": "alld_mos"}}
    assert [record.reference for record in load(tmp_path, [clip, {"audio": "b", "answer": "Clear."}], info)] == [
        4.5,
        None,
    ]


def test_one_declared_aspect_needs_no_column(tmp_path):
    row = {key: value for key, value in PAIR.items() if key != "aspect"}
    (record,) = load(tmp_path, [row], judge(aspects=["noise"]))
    assert record.aspect == "noise"


def test_detection_and_free_text_judges(tmp_path):
    info = {
        "file_name": "pairs.jsonl",
        "formatting": "speech_clip",
        "columns": {"verdict": "key"},
        "judge": {
            "type": "speecheval_detection",
            "chain_of_thought": True,
            "verdict_values": {"bonafide": "real", "spoof": "fake"},
        },
    }
    (record,) = load(tmp_path, [{"audio": "a.wav", "key": "spoof"}], info)
    assert record.reference == "fake"
    assert record.response == "<think>\n</think>\n\n<answer>\nfake\n</answer>"
    info = {
        "file_name": "pairs.jsonl",
        "formatting": "speech_pair",
        "judge": {"type": "speecheval_comparison", "chain_of_thought": True},
    }
    row = {"audio_a": "a", "audio_b": "b", "answer": "Sample B wins.", "thinking": "Distortion: B is better than A"}
    (record,) = load(tmp_path, [{**row, "verdict": "B"}], info)
    assert record.reference == "second"
    assert record.swapped().response == (
        "<think>\nDistortion: A is better than B\n</think>\n\n<answer>\nSample A wins.\n</answer>"
    )


SAGELM = {
    "file_name": "pairs.jsonl",
    "columns": {"prompt": "instruction", "query": "input", "response": "output", "audios": "audios"},
}
SAGELM_ROW = {
    "instruction": "Below are two responses for a given task. The task is defined by the Instruction. Evaluate in "
    "terms of **emotion instruction following** and indicate a better response using 1, 2 or Tie.\n\n### Instruction:\n"
    "Say **this**.\n\n### Response 1:\n<audio>\n\n### Response 2:\n<audio>\n\n",
    "input": "",
    "output": "T\nBoth are flat.",
    "audios": ["Audio/Emotion/a.wav", "Audio/Emotion/b.wav"],
}


def test_sagelm_rows_in_the_readme_form(tmp_path):
    implicit = {**SAGELM_ROW, "output": "", "audios": ["Audio/Implicit-Emotion/a.wav", "b.wav"]}
    explicit, silent = load(tmp_path, [SAGELM_ROW, implicit], SAGELM)
    assert (explicit.aspect, explicit.reference) == ("emotion instruction following", "tie")
    assert explicit.prompt == SAGELM_ROW["instruction"]
    assert explicit.response == "T\nBoth are flat."
    assert (silent.aspect, silent.reference, silent.response) == ("implicit emotion", None, None)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"audios": ["a.wav"]}, ["2 <audio> placeholder(s)", "1 audio(s)"]),
        ({"instruction": "<audio> nice?", "audios": ["a.wav"]}, ["hears 2", "'judge' block"]),
        ({"output": "both are fine"}, ["both are fine", "allowed labels: 1, 2, Tie"]),
        ({"audios": None}, ["paths of clips"]),
    ],
)
def test_wrong_sagelm_rows(tmp_path, change, named):
    message = refuse(tmp_path, [{**SAGELM_ROW, **change}], SAGELM)
    for part in named:
        assert part in message


def test_message_rows(tmp_path):
    info = {
        "file_name": "pairs.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "audios": "audios", "id": "key"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        "judge": {"type": "speecheval_detection"},
    }
    question = {"role": "user", "content": "<audio> Determine if this speech is real or a deepfake.", "loss": None}
    row = {"key": "k1", "task": "FakeDetection", "messages": [question], "audios": ["a.wav"]}
    answered = {**row, "key": "k2", "messages": [question, {"role": "assistant", "content": "fake"}]}
    first, second = load(tmp_path, [row, answered], info)
    assert (first.id, first.reference, first.meta) == ("k1", None, {"task": "FakeDetection"})
    assert (second.reference, second.response) == ("fake", "fake")
    assert "roles are user, user" in refuse(tmp_path, [{**row, "messages": [question, question]}], info)


def test_where_clips_are_looked_for(tmp_path, monkeypatch):
    home, media, here = tmp_path / "home", tmp_path / "media", tmp_path / "here"
    for folder in (home, media, here / "Audio"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    for clip in (home / "a.wav", media / "b.wav", here / "Audio/c.wav"):
        clip.touch()
    rows = [
        {**PAIR, "id": "1", "audio_a": "~/a.wav", "audio_b": "b.wav"},
        {**PAIR, "id": "2", "audio_a": "Audio/c.wav", "audio_b": str(media / "b.wav")},
        {**PAIR, "id": "3", "audio_a": "gone.wav", "audio_b": "b.wav"},
    ]
    first, second, third = load(tmp_path / "data", rows, media_dir=media)
    assert first.audios == (str(home / "a.wav"), str(media / "b.wav"))
    assert second.audios == ("Audio/c.wav", str(media / "b.wav"))
    assert missing_audio([first, second, third]) == [(third, str(media / "gone.wav"))]


def test_limit_stops_reading(tmp_path):
    assert len(load(tmp_path, [{**PAIR, "id": str(n)} for n in range(5)], limit=2)) == 2


@pytest.mark.parametrize(
    ("info", "named"),
    [
        ({"formatting": "speech_pairs"}, ["speech_pairs", "speech_pair, speech_clip"]),
        ({**PAIRS, "columns": {"verdct": "x"}}, ["'verdct'", "did you mean 'verdict'", "rationale"]),
        ({**PAIRS, "columns": {"verdict": 3}}, ["columns.verdict", "name of a column"]),
        ({**PAIRS, "columns": []}, ["'columns' must be an object"]),
        ({**PAIRS, "file_name": "gone.jsonl"}, ["gone.jsonl", "no such file"]),
        ({"hf_hub_url": "a/b"}, ["no 'file_name'"]),
        ([], ["must be an object"]),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path, info, named):
    write(tmp_path, [PAIR], {"mine": info})
    with pytest.raises(UserError) as error:
        load_records("mine", tmp_path)
    for part in (*named, "entry 'mine'"):
        assert part in str(error.value)


def test_an_unknown_dataset_lists_the_known_ones(tmp_path):
    write(tmp_path, [PAIR], {"mine": PAIRS})
    with pytest.raises(UserError, match="no dataset 'yours'; it has: mine"):
        load_records("yours", tmp_path)
    with pytest.raises(UserError, match=r"no such file; dataset_dir must hold a dataset_info\.json"):
        load_records("mine", tmp_path / "empty")


def test_training_and_inference_read_the_same(tmp_path):
    (record,) = load(tmp_path, [PAIR])
    example = row_to_example(PAIR, Entry.from_info("mine", PAIRS))
    assert (example.prompt, example.response, example.reference) == (record.prompt, record.response, record.reference)


@pytest.mark.parametrize("name", ["test_semantic", "test_acoustic"])
def test_released_sagelm_data(tmp_path, shared, name):
    source = shared / "data/sagelm" / f"{name}.json"
    shipped = json.loads((REPOSITORY / "data/dataset_info.json").read_text(encoding="utf-8"))
    (tmp_path / "dataset_info.json").write_text(json.dumps({name: shipped[name]}), encoding="utf-8")
    (tmp_path / f"{name}.json").write_bytes(source.read_bytes())
    rows = json.loads(source.read_text(encoding="utf-8"))
    records = load_records(name, tmp_path)
    assert [record.prompt for record in records] == [row["instruction"] for row in rows]
    assert [record.response for record in records] == [row["output"] for row in rows]
    labels = {"1": "first", "2": "second", "Tie": "tie"}
    assert [record.reference for record in records] == [labels[row["output"].split("\n")[0]] for row in rows]
    if name == "test_acoustic":
        assert sum(record.aspect == "implicit emotion" for record in records) == 37
    turned = [record.swapped() for record in records]
    assert sum(record.response is None for record in turned) <= 1
    assert [record.swapped() for record in turned] == records
