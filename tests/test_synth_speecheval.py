"""Synthetic SpeechEval: the truth is in the sound, in the rows, and in what parsers read of the training targets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from earwitness.analysis.signal import SignalEngine
from earwitness.cli.synth_speecheval import main
from earwitness.data.records import load_records
from earwitness.data.synth.source import record
from earwitness.data.synth.voices import Voice, speak
from earwitness.data.synth_speecheval import scenes
from earwitness.data.synth_speecheval.build import TASKS, TasksSpec, build, scene_of
from earwitness.data.synth_speecheval.truth import KINDS, Distortion, Scene, preferences
from earwitness.data.synth_speecheval.vocoder import resynthesise
from earwitness.errors import UserError
from earwitness.files import read_rows
from earwitness.judges import parse

DATA = Path(__file__).resolve().parents[1] / "data"
SPEC = TasksSpec(clips=(80, 4, 40), pairs=(9, 0, 6), detection=(6, 0, 8), mixed=(0, 0, 24), seed=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SPEC, tmp_path_factory.mktemp("synth") / "out", progress=False)


def records(made: Path, task: str, split: str, tmp_path: Path) -> list:
    """Rows as the entries of data/dataset_info.json read them, from another folder."""
    entry = json.loads((DATA / "dataset_info.json").read_text())[f"synth_{task}_{split}"]
    name = Path(entry["file_name"]).name
    (tmp_path / "dataset_info.json").write_text(json.dumps({"it": {**entry, "file_name": str(made / name)}}))
    return load_records("it", tmp_path, media_dir=made)


@pytest.mark.parametrize("task", TASKS)
def test_parsers_read_the_truth_back(made: Path, tmp_path: Path, task: str) -> None:
    found = records(made, task, "test", tmp_path)
    assert len(found) == {"comparison": 6, "detection": 8}.get(task, 40)
    for one in found:
        assert all(Path(audio).is_file() for audio in one.audios)
        read = parse(one.response, one.judge)
        assert read.unscored is None
        assert read.unread == ()
        if task == "assessment":
            scene = scene_of(one.meta)
            assert (read.score, dict(read.scores)) == (one.reference, scene.scores())
            assert read.categories == {"speech rate": scene.rate}
            assert spans(read.distortions, 0) == expected(one.meta["distortions"])
        elif task == "comparison":
            assert read.verdict == one.reference == one.meta["preferences"]["overall quality"]
            assert read.preferences == one.meta["preferences"]
            for clip, letter in enumerate("ab"):
                assert spans(read.distortions, clip) == expected(one.meta[f"distortions_{letter}"])
        elif task == "suggestion":
            assert list(read.areas) == one.meta["areas"]
            assert len(read.suggestions) == max(1, len(one.meta["areas"]))
        else:
            assert read.verdict == one.reference


def spans(distortions, clip: int) -> set:
    return {(one.kind, one.start, one.end) for one in distortions if one.clip == clip}


def expected(distortions) -> set:
    return {(one["kind"], one["start"], one["end"]) for one in distortions}


def test_every_kind_language_and_score_occurs_and_splits_share_no_voice(made: Path) -> None:
    train, test = (list(read_rows(made / f"assessment_{split}.jsonl")) for split in ("train", "test"))
    assert {one["kind"] for row in train for one in row["distortions"]} == set(KINDS)
    assert {row["language"] for row in train} == {"en", "zh", "ja", "fr"}
    assert len({row["score"] for row in train}) >= 4
    for key in ("speaker", "sentence"):
        assert not {row[key] for row in train} & {row[key] for row in test}
    verdicts = [row["verdict"] for row in read_rows(made / "comparison_train.jsonl")]
    assert sorted(verdicts) == ["first"] * 3 + ["second"] * 3 + ["tie"] * 3
    assert [row["verdict"] for row in read_rows(made / "detection_train.jsonl")] == ["real", "fake"] * 3


def test_every_clip_is_rated(made: Path, tmp_path: Path) -> None:
    entry = json.loads((DATA / "dataset_info.json").read_text())["synth_clips"]
    (tmp_path / "dataset_info.json").write_text(
        json.dumps({"it": {**entry, "file_name": str(made / "clips_test.jsonl")}})
    )
    found = load_records("it", tmp_path, media_dir=made)
    assert len(found) == 40 + 24 + 8
    for one in found:
        if "mixed" in one.id:
            continue
        named = {distortion["kind"] for distortion in one.meta.get("distortions", ())}
        if one.meta.get("verdict") == "fake":
            assert one.reference["artifacts"] <= 6
        elif "verdict" in one.meta:
            assert one.reference["artifacts"] == 9
        else:
            assert {kind for kind in KINDS if one.reference[kind] < 9} == named
            assert (one.reference["pace"] == 9) == (one.meta["rate"] == "appropriate")


def test_mixed_clips_have_several_distortions_at_once(made: Path) -> None:
    rows = [row for row in read_rows(made / "clips_test.jsonl") if row["id"].startswith("mixed")]
    assert len(rows) == 24
    counts = {name: sum(row["levels"][name] < 9 for row in rows) for name in (*KINDS, "volume", "pace")}
    assert min(counts.values()) >= 2
    assert max(sum(row["levels"][kind] < 9 for kind in KINDS) for row in rows) >= 3
    assert not any(key in row for row in rows for key in ("distortions", "verdict"))  # in no task


def test_a_distortion_is_where_it_is_said_to_be() -> None:
    speech = record(
        speak("The lighthouse keeper waited for the boat.", Voice("gmw/en", "m3")), np.random.default_rng(0)
    )
    kinds = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        aspect = scenes.ASPECTS[seed % len(scenes.ASPECTS)]
        sound, distortion = scenes._distorted(speech, aspect, 0.8, scenes._stretch(speech, rng), rng)
        assert distortion is not None
        kinds.add(distortion.kind)
        start, stop = (round(second * 16_000) for second in (distortion.start, distortion.end))
        outside = np.r_[0:start, stop : len(speech)]
        assert np.array_equal(sound[outside], speech[outside])
        assert not np.array_equal(sound[start:stop], speech[start:stop])
        assert 0 <= distortion.start < distortion.end <= len(speech) / 16_000
    assert kinds == set(KINDS)


def test_scores_and_areas_follow_from_what_was_done() -> None:
    clean = Scene(2.0, None, 0.0, "appropriate")
    assert set(clean.scores().values()) == {5}
    assert clean.areas() == ()
    broken = Scene(2.0, Distortion("drop / missing", 1.0, 0.0, 2.0), 0.0, "fast")
    assert set(broken.scores().values()) == {1}
    assert broken.areas() == ("drop / missing", "pace")
    brief = Scene(2.0, Distortion("drop / missing", 1.0, 0.0, 0.5), 0.9, "appropriate")
    assert brief.scores() == {"overall quality": 3, "intelligibility": 3, "distortion": 1}
    assert brief.areas() == ("drop / missing", "volume")
    assert preferences(clean, broken) == dict.fromkeys(("overall quality", "intelligibility", "distortion"), "first")
    assert set(preferences(clean, clean).values()) == {"tie"}


def test_the_vocoder_keeps_what_is_said_and_changes_how() -> None:
    speech = record(
        speak("The lighthouse keeper waited for the boat.", Voice("gmw/en", "m3")), np.random.default_rng(0)
    )
    fake = resynthesise(speech, 32, np.random.default_rng(1))
    assert fake.shape == speech.shape
    assert np.square(fake).mean() == pytest.approx(np.square(speech).mean(), rel=1e-3)
    assert np.array_equal(fake, resynthesise(speech, 32, np.random.default_rng(1)))
    envelope = [np.square(sound[: len(sound) // 320 * 320].reshape(-1, 320)).mean(axis=1) for sound in (speech, fake)]
    assert np.corrcoef(np.log(envelope[0] + 1e-7), np.log(envelope[1] + 1e-7))[0, 1] > 0.95
    assert abs(np.corrcoef(speech, fake)[0, 1]) < 0.5
    measured = [SignalEngine().analyse(sound, 16_000).measurements for sound in (speech, fake)]
    assert measured[1]["speech_seconds"] == pytest.approx(measured[0]["speech_seconds"], abs=0.3)
    assert not resynthesise(np.zeros(8_000, np.float32), 32, np.random.default_rng(0)).any()


def test_an_interrupted_run_goes_on_to_the_same_bytes(made: Path, tmp_path: Path) -> None:
    spec = TasksSpec(clips=(60, 0, 0), pairs=(3, 0, 0), detection=(2, 0, 0), mixed=(3, 0, 0), seed=3)
    whole = build(spec, tmp_path / "whole", progress=False)
    cut = build(spec, tmp_path / "cut", progress=False)
    (cut / "parts/rated-train-000050-000060.jsonl").unlink()
    (cut / "audio/train/rated-train-000055.wav").unlink()
    (cut / "comparison_train.jsonl").unlink()
    manifest = json.loads((cut / "manifest.json").read_text())
    (cut / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    build(spec, cut, jobs=2, progress=False)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(cut) for path in cut.rglob("*") if path.is_file())
    assert all((whole / path).read_bytes() == (cut / path).read_bytes() for path in files)


def test_what_cannot_be_made_is_named(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"made as .*'seed': 3.*wanted"):
        main(["--out", str(made), "--quiet"])
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UserError, match="holds no files of ours"):
        main(["--out", str(tmp_path), "--quiet"])
    with pytest.raises(UserError, match="4 clips of train are too few for 50 pairs"):
        build(TasksSpec((4, 0, 0), (50, 0, 0), (0, 0, 0)), tmp_path / "few", progress=False)
