"""The embedded corpus: the same bytes every time, severities that are heard as documented, pairs that are balanced."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from earwitness.cli import run
from earwitness.cli.synth import main
from earwitness.data.synth import coloration, noise
from earwitness.data.synth.codecs import CODECS, round_trip
from earwitness.data.synth.corpus import MANIFEST, CorpusSpec, build, make_clip
from earwitness.data.synth.degrade import (
    LOST_SHARE,
    NOMINAL_LUFS,
    QUIETEST_DB,
    Severities,
    active_samples,
    degrade,
    snr_db,
)
from earwitness.data.synth.levels import SAMPLING_RATE, at_loudness, loudness, noise_loudness
from earwitness.data.synth.pairs import DECISION_MARGIN, TIE_BAND, make_pairs
from earwitness.data.synth.sentences import LANGUAGES, SPLITS, sentences
from earwitness.data.synth.source import record
from earwitness.data.synth.text import ASPECTS, DEGRADATIONS, rating, rationale_text, thinking_text
from earwitness.data.synth.voices import ACCENTS, SPEAKERS, Voice, speak
from earwitness.errors import UserError
from earwitness.files import read_rows

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
STEPS = (0.1, 0.3, 0.5, 0.7, 0.9)


def rng(seed=0):
    return np.random.default_rng(seed)


def tree(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def synthetic():
    return record(speak(sentences("en", "train")[0].reading, Voice("gmw/en", "m1")), rng(3))


def real():
    path = SHARED / "data/speecheval/audios/en_BVCC_sysa0656-utta5be39c.wav"
    if not path.is_file():
        pytest.skip("needs the clips of ../shared/data")
    import soundfile

    waveform, rate = soundfile.read(path, dtype="float32")
    assert rate == SAMPLING_RATE
    return waveform


@pytest.fixture(params=[synthetic, real], ids=["synthetic", "real"])
def speech(request):
    return request.param()


def seeds_of_kinds(aspect, kinds):
    """A seed for each kind: ``degrade`` draws the kind itself."""
    found = {}
    for seed in range(200):
        hidden = degrade(rng(0).standard_normal(8000, np.float32), Severities(**{aspect: 0.5}), rng(seed)).causes
        found.setdefault(hidden[aspect], seed)
        if len(found) == len(kinds):
            break
    assert set(found) == set(kinds)
    return found


NOISE_SEEDS = seeds_of_kinds("noise", noise.KINDS)
COLORATION_SEEDS = seeds_of_kinds("coloration", coloration.KINDS)
GAP_SEEDS = seeds_of_kinds("discontinuity", ("dropouts", "stutter"))


class TestVoices:
    def test_an_utterance_does_not_depend_on_those_before_it(self):
        text, voice = sentences("fr", "train")[0].reading, Voice("roa/fr", "f2")
        alone = subprocess.run(
            [sys.executable, "-c", f"import sys, hashlib; from earwitness.data.synth.voices import *; "
             f"print(hashlib.sha256(speak({text!r}, {voice!r}).tobytes()).hexdigest())"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        digests = set()
        for before in ("m3", "croak", "klatt4"):
            speak("まどを しめてください。", Voice("jpx/ja", before))
            digests.add(hashlib.sha256(speak(text, voice).tobytes()).hexdigest())
        assert digests == {alone}

    def test_every_speaker_speaks_every_language(self):
        for split in SPLITS:
            for number, speaker in enumerate(SPEAKERS[split]):
                language = LANGUAGES[number % len(LANGUAGES)]
                for accent in ACCENTS[language]:
                    speech = speak(sentences(language, split)[0].reading, Voice(accent, speaker))
                    assert 0.8 < len(speech) / SAMPLING_RATE < 5
                    assert speech.std() > 0.005

    def test_a_voice_that_does_not_exist_is_an_error(self):
        with pytest.raises(RuntimeError, match="no voice 'gmw/en\\+nobody'"):
            speak("Hello.", Voice("gmw/en", "nobody"))

    def test_splits_share_no_speaker_and_no_sentence(self):
        for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
            assert not set(SPEAKERS[one]) & set(SPEAKERS[other])
            for language in LANGUAGES:
                assert not set(sentences(language, one)) & set(sentences(language, other))

    def test_at_least_60_sentences_a_language_each_with_a_reading(self):
        for language in LANGUAGES:
            texts = [sentence for split in SPLITS for sentence in sentences(language, split)]
            assert len(set(texts)) == len(texts) >= 60
            assert all(sentence.text and sentence.reading for sentence in texts)
        assert all(s.text != s.reading for split in SPLITS for s in sentences("ja", split))


class TestLevels:
    @pytest.mark.parametrize("rate", [16_000, 48_000])
    def test_a_997_hz_sine_of_full_scale_reads_as_bs1770_says(self, rate):
        sine = np.sin(2 * np.pi * 997 / rate * np.arange(3 * rate)).astype(np.float32)
        assert loudness(sine, rate) == pytest.approx(-3.01, abs=0.05)

    def test_pauses_are_gated_out(self):
        tone = np.sin(np.arange(2 * SAMPLING_RATE) * 0.3).astype(np.float32) * 0.1
        assert loudness(np.concatenate([tone, 0 * tone])) == pytest.approx(loudness(tone), abs=0.6)

    def test_silence_and_clips_shorter_than_a_block(self):
        assert loudness(np.zeros(16_000, np.float32)) == loudness(np.zeros(0, np.float32)) == float("-inf")
        assert not at_loudness(np.zeros(16_000, np.float32), -23).any()
        assert np.isfinite(loudness(rng().standard_normal(1000).astype(np.float32)))


class TestDegrade:
    def test_severity_0_touches_nothing_but_the_level(self, speech):
        result = degrade(speech, Severities(), rng())
        assert result.causes == {}
        assert np.allclose(result.waveform, at_loudness(speech, NOMINAL_LUFS), atol=1e-6)

    def test_severities_outside_0_to_1_are_refused(self):
        with pytest.raises(ValueError, match=r"noise is 1.2, allowed: 0 to 1"):
            Severities(noise=1.2)

    def test_loudness_falls_by_the_documented_decibels(self, speech):
        for severity in (*STEPS, 1.0):
            result = degrade(speech, Severities(0.3, 0.4, 0, severity), rng())
            assert loudness(result.waveform) == pytest.approx(NOMINAL_LUFS + QUIETEST_DB * severity, abs=0.1)

    def test_loudness_changes_nothing_else(self, speech):
        loud = degrade(speech, Severities(0.3, 0.4, 0.5, 0), rng(1)).waveform
        quiet = degrade(speech, Severities(0.3, 0.4, 0.5, 0.6), rng(1)).waveform
        assert np.allclose(quiet, loud * 10 ** (QUIETEST_DB * 0.6 / 20), atol=1e-6)

    def test_snr_is_as_documented_for_every_noise_and_behind_every_filter(self, speech):
        colors = {"none": (0.0, 0), **{kind: (0.6, seed) for kind, seed in COLORATION_SEEDS.items() if kind != "coded"}}
        for kind, noise_seed in NOISE_SEEDS.items():
            for color, (strength, seed) in colors.items():
                seed = noise_seed if color == "none" else seed
                clean = degrade(speech, Severities(coloration=strength), rng(seed)).waveform
                for severity in STEPS:
                    sound = degrade(speech, Severities(noise=severity, coloration=strength), rng(seed)).waveform
                    heard = clean * np.dot(sound, clean) / np.dot(clean, clean)
                    measured = loudness(heard) - noise_loudness(sound - heard)
                    assert measured == pytest.approx(snr_db(severity), abs=1.5), (kind, color, severity)

    def test_every_noise_grows_and_leaves_the_loudness_alone(self, speech):
        for kind, seed in NOISE_SEEDS.items():
            clean = at_loudness(speech, NOMINAL_LUFS)
            distances = []
            for severity in STEPS:
                sound = degrade(speech, Severities(noise=severity), rng(seed)).waveform
                assert loudness(sound) == pytest.approx(NOMINAL_LUFS, abs=0.1)
                distances.append(1 - np.corrcoef(clean, sound)[0, 1])
            assert np.all(np.diff(distances) > 0), (kind, distances)

    def test_every_coloration_grows_and_leaves_the_loudness_alone(self, speech):
        for kind, seed in COLORATION_SEEDS.items():
            clean = at_loudness(speech, NOMINAL_LUFS)
            distances = []
            for severity in STEPS:
                result = degrade(speech, Severities(coloration=severity), rng(seed))
                assert loudness(result.waveform) == pytest.approx(NOMINAL_LUFS, abs=0.1)
                distances.append(1 - np.corrcoef(clean, result.waveform)[0, 1])
            # a codec's rungs are uneven, so neighbours may change places; the ends may not
            assert distances[-1] > distances[0], (kind, distances)
            assert kind == "coded" or np.all(np.diff(distances) > 0), (kind, distances)

    def test_every_kind_narrows_the_band_alike(self):
        flat = rng().standard_normal(4 * SAMPLING_RATE).astype(np.float32)
        for severity in STEPS:
            low, high = coloration.CUTOFF_HZ
            cutoff = low * (high / low) ** severity
            frequencies = np.fft.rfftfreq(len(flat), 1 / SAMPLING_RATE)
            for kind in coloration.KINDS:
                spectrum = np.abs(np.fft.rfft(coloration.draw(kind, severity, rng()).filter(flat)))
                beyond = np.square(spectrum[frequencies > 1.5 * cutoff]).sum() / np.square(spectrum).sum()
                assert beyond < 0.05, (kind, severity)
                just_below = spectrum[(frequencies > 0.8 * cutoff) & (frequencies < 0.9 * cutoff)]
                flat_there = np.abs(np.fft.rfft(flat))[(frequencies > 0.8 * cutoff) & (frequencies < 0.9 * cutoff)]
                assert np.square(just_below).sum() > 0.4 * np.square(flat_there).sum(), (kind, severity)

    def test_noise_does_not_hide_the_band(self, speech):
        """Beyond the cutoff there is as little of the noise as of the speech, for every kind of noise."""
        for kind, seed in NOISE_SEEDS.items():
            sound = degrade(speech, Severities(noise=0.9, coloration=0.9), rng(seed)).waveform
            power = np.square(np.abs(np.fft.rfft(sound)))
            frequencies = np.fft.rfftfreq(len(sound), 1 / SAMPLING_RATE)
            assert power[frequencies > 2000].sum() < 0.01 * power.sum(), kind

    @pytest.mark.parametrize("codec", CODECS)
    @pytest.mark.parametrize("severity", [0.0, 0.5, 1.0])
    def test_codecs_keep_length_and_alignment(self, codec, severity):
        speech = synthetic()
        coded = round_trip(speech, codec, severity)
        assert len(coded) == len(speech)
        assert coded.dtype == np.float32
        spectra = np.fft.rfft(coded, 2 * len(speech)) * np.conj(np.fft.rfft(speech, 2 * len(speech)))
        lag = int(np.argmax(np.fft.irfft(spectra)))
        assert min(lag, 2 * len(speech) - lag) <= 3

    def test_the_documented_share_of_active_speech_is_lost(self, speech):
        active = active_samples(at_loudness(speech, NOMINAL_LUFS))
        for kind, seed in GAP_SEEDS.items():
            clean = at_loudness(speech, NOMINAL_LUFS)
            changed = []
            for severity in (*STEPS, 1.0):
                sound = degrade(speech, Severities(discontinuity=severity), rng(seed)).waveform
                changed.append(np.mean((sound[active] == 0) & (clean[active] != 0)))
                assert changed[-1] == pytest.approx(LOST_SHARE * severity, abs=0.02), kind
            assert np.all(np.diff(changed) > 0)

    def test_gaps_silence_the_noise_too(self):
        seed = GAP_SEEDS["dropouts"]
        sound = degrade(synthetic(), Severities(noise=0.9, discontinuity=0.9), rng(seed)).waveform
        assert np.mean(sound == 0) > 0.1

    def test_silence_and_very_short_clips_pass(self):
        everything = Severities(0.5, 0.5, 0.5, 0.5)
        for samples in (400, 1000, 16_000):
            for seed in range(8):
                sound = degrade(np.zeros(samples, np.float32), everything, rng(seed)).waveform
                assert sound.shape == (samples,)
                assert np.isfinite(sound).all()

    def test_overall_is_the_root_mean_square(self):
        assert Severities(1, 1, 1, 1).overall == 1
        assert Severities(0.6, 0, 0, 0.8).overall == pytest.approx(0.5)


def fake_clips(count, seed=0):
    """Rows as of ``clips_*.jsonl``, without sound."""
    draws = rng(seed)
    rows = []
    for index in range(count):
        severities = Severities(*(float(v) for v in np.round(draws.random(4) * (draws.random(4) > 0.15), 4)))
        table = {name: getattr(severities, name) for name in (*DEGRADATIONS, "overall")}
        rows.append(
            {
                "audio": f"{index}.wav",
                "language": LANGUAGES[index % 4],
                "speaker": f"speaker {draws.integers(10)}",
                "sentence": f"sentence {draws.integers(20)}",
                "severities": table,
            }
        )
    return rows


class TestPairs:
    clips = fake_clips(400)
    pairs = make_pairs(clips, 1503, "train", seed=5)

    def test_aspects_classes_positions_and_languages_are_balanced(self):
        assert sorted(Counter(pair["aspect"] for pair in self.pairs).values()) == [300, 300, 301, 301, 301]
        for aspect in ASPECTS:
            rows = [pair for pair in self.pairs if pair["aspect"] == aspect]
            winners = Counter(pair["winner"] for pair in rows)
            assert winners["first"] == winners["second"] == 100
            assert winners["tie"] in (100, 101)
            assert max(Counter(pair["language"] for pair in rows).values()) <= 76

    def test_verdicts_follow_the_severities_and_the_declared_bands(self):
        for pair in self.pairs:
            name = pair["aspect"].split()[0]
            first, second = pair["severity_a"][name], pair["severity_b"][name]
            assert pair["gap"] == pytest.approx(abs(first - second), abs=1e-4)
            if pair["winner"] == "tie":
                assert pair["gap"] <= TIE_BAND
            else:
                assert pair["gap"] >= DECISION_MARGIN
                assert pair["winner"] == ("first" if first < second else "second")

    def test_gaps_reach_from_the_margin_to_the_largest(self):
        for aspect in DEGRADATIONS:
            gaps = [p["gap"] for p in self.pairs if p["aspect"] == aspect and p["winner"] != "tie"]
            counts = np.histogram(gaps, [0.25, 0.4, 0.55, 0.7, 0.85, 1.0])[0]
            assert counts.min() >= 5
            assert counts[0] > len(gaps) / 5  # the small ones are not rare

    def test_the_clips_of_a_pair_differ_and_meet_once_an_aspect(self):
        by_audio = {clip["audio"]: clip for clip in self.clips}
        for pair in self.pairs:
            one, other = by_audio[pair["audio_a"]], by_audio[pair["audio_b"]]
            assert one["sentence"] != other["sentence"]
            assert one["speaker"] != other["speaker"]
            assert one["language"] == other["language"] == pair["language"]
        meetings = Counter((p["aspect"], frozenset((p["audio_a"], p["audio_b"]))) for p in self.pairs)
        assert max(meetings.values()) == 1

    def test_every_clip_comes_up_about_equally_often(self):
        uses = Counter(audio for pair in self.pairs for audio in (pair["audio_a"], pair["audio_b"]))
        assert len(uses) == len(self.clips)
        assert max(uses.values()) <= 4 * np.mean(list(uses.values()))

    def test_irrelevant_degradations_do_not_tell_the_winner(self):
        for aspect in DEGRADATIONS:
            rows = [p for p in self.pairs if p["aspect"] == aspect and p["winner"] != "tie"]
            sign = [1 if p["winner"] == "second" else -1 for p in rows]
            for other in set(DEGRADATIONS) - {aspect}:
                difference = [p["severity_a"][other] - p["severity_b"][other] for p in rows]
                assert abs(np.corrcoef(sign, difference)[0, 1]) < 0.2

    def test_ids_are_unique_and_the_order_is_mixed(self):
        assert len({pair["id"] for pair in self.pairs}) == len(self.pairs)
        assert len({pair["aspect"] for pair in self.pairs[:40]}) == len(ASPECTS)

    def test_the_seed_decides(self):
        assert make_pairs(self.clips, 300, "train", seed=5) == make_pairs(self.clips, 300, "train", seed=5)
        assert make_pairs(self.clips, 300, "train", seed=5) != make_pairs(self.clips, 300, "train", seed=6)

    def test_too_few_clips_is_one_clear_error(self):
        with pytest.raises(UserError, match=r"2 clips of one language are too few .*\(--clips, --pairs, "):
            make_pairs(fake_clips(8), 400, "test", seed=0)
        with pytest.raises(UserError, match="--clips"):
            make_pairs([], 10, "test", seed=0)
        assert make_pairs([], 0, "test", seed=0) == []


GOOD = {"noise": 0.1, "coloration": 0.1, "discontinuity": 0.0, "loudness": 0.3, "overall": 0.17}
BAD = {"noise": 0.9, "coloration": 0.2, "discontinuity": 0.7, "loudness": 0.3, "overall": 0.6}


class TestText:
    def test_the_rationale_names_the_worse_clip_and_the_cause(self):
        assert rationale_text("first", GOOD, BAD, "noise") == "Response 2 has more background noise."
        assert rationale_text("second", BAD, GOOD, "discontinuity") == "Response 1 has more interruptions."
        assert rationale_text("tie", GOOD, BAD, "loudness") == "Both responses have about the same volume."
        overall = rationale_text("first", GOOD, BAD, "overall quality")
        assert overall == "Response 2 has more background noise and more interruptions."

    def test_ratings_turn_severities_round_on_a_grid(self):
        assert rating(dict.fromkeys((*DEGRADATIONS, "overall"), 0.0)) == dict.fromkeys(ASPECTS, 9)
        assert rating(dict.fromkeys((*DEGRADATIONS, "overall"), 1.0)) == dict.fromkeys(ASPECTS, 0)

    def test_on_the_grid_ties_are_one_step_apart_and_winners_two(self):
        levels = np.round(np.arange(0, 1.0001, 0.005), 4)
        grid = {
            float(level): rating(dict.fromkeys((*DEGRADATIONS, "overall"), float(level)))["noise"] for level in levels
        }
        for one, first in grid.items():
            for other, second in grid.items():
                if abs(one - other) <= TIE_BAND:
                    assert abs(first - second) <= 1
                if abs(one - other) >= DECISION_MARGIN:
                    assert abs(first - second) >= 2

    def test_the_thinking_has_the_first_clip_before_the_second(self):
        text = thinking_text(GOOD, BAD, "noise")
        assert text.index("Response 1") < text.index("Response 2")


SPEC = CorpusSpec(clips=(104, 8, 24), pairs=(30, 0, 15), mid=(24, 5), long=(24, 5), seed=3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build(SPEC, tmp_path_factory.mktemp("synth") / "corpus", jobs=2, progress=False)


class TestCorpus:
    def test_rows_and_files(self, corpus):
        import soundfile

        for split, count in zip(SPLITS, SPEC.clips, strict=True):
            clips = list(read_rows(corpus / f"clips_{split}.jsonl"))
            assert len(clips) == count == len(list((corpus / "audio" / split).iterdir()))
            assert Counter(clip["language"] for clip in clips) == dict.fromkeys(LANGUAGES, count // 4)
            for clip in clips:
                assert clip["sentence"] in {s.text for s in sentences(clip["language"], split)}
                assert clip["speaker"] in SPEAKERS[split]
                assert set(clip["causes"]) == {name for name in DEGRADATIONS if clip["severities"][name] > 0}
                info = soundfile.info(corpus / clip["audio"])
                assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
                assert 0.5 < info.duration < 4
        for split, count in zip(SPLITS, SPEC.pairs, strict=True):
            pairs = list(read_rows(corpus / f"pairs_{split}.jsonl"))
            assert len(pairs) == count
            assert all((corpus / pair[key]).is_file() for pair in pairs for key in ("audio_a", "audio_b"))

    @pytest.mark.parametrize(("group", "longest"), [("mid", 13), ("long", 46)])
    def test_longer_clips_are_of_the_training_split_and_come_with_a_question(self, corpus, group, longest):
        import soundfile

        clips = {clip["audio"]: clip for clip in read_rows(corpus / f"clips_{group}.jsonl")}
        pairs = list(read_rows(corpus / f"pairs_{group}.jsonl"))
        assert (len(clips), len(pairs)) == SPEC.groups[group]
        durations = [soundfile.info(corpus / audio).duration for audio in clips]
        assert min(durations) > 1.8
        assert longest / 2 < max(durations) < longest
        assert {clip["speaker"] for clip in clips.values()} <= set(SPEAKERS["train"])
        for pair in pairs:
            assert pair["question"] == f"Say: {clips[pair['audio_a']]['sentence']}"
            assert pair["audio_b"] in clips

    def test_clips_do_not_clip_by_themselves(self, corpus):
        import soundfile

        for path in (corpus / "audio" / "train").iterdir():
            assert np.abs(soundfile.read(path)[0]).max() < 0.999, path

    def test_a_clip_depends_on_its_number_and_the_seed_only(self, corpus):
        import soundfile

        row, waveform = make_clip("test", 17, seed=3)
        assert row == list(read_rows(corpus / "clips_test.jsonl"))[17]
        stored = soundfile.read(corpus / row["audio"], dtype="int16")[0]
        assert np.array_equal(stored, np.round(waveform * 32767).astype(np.int16))
        assert not np.array_equal(make_clip("test", 17, seed=4)[1], waveform)

    def test_killed_and_continued_in_one_process_gives_the_same_bytes(self, corpus, tmp_path):
        out = tmp_path / "corpus"
        arguments = ["--clips", *map(str, SPEC.clips), "--pairs", *map(str, SPEC.pairs)]
        arguments += ["--mid", *map(str, SPEC.mid), "--long", *map(str, SPEC.long), "--seed", "3"]
        command = [
            sys.executable,
            "-m",
            "earwitness.cli.synth",
            "--out",
            str(out),
            *arguments,
            "--jobs",
            "2",
            "--quiet",
        ]
        process = subprocess.Popen(command, start_new_session=True)
        while process.poll() is None and not list(out.glob("parts/*.jsonl")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)  # the parent alone: its workers must end by themselves
        assert process.wait() == -signal.SIGKILL
        assert not json.loads((out / MANIFEST).read_text())["complete"]
        wait_for_group_to_end(process.pid)
        finished = {path: path.stat().st_mtime_ns for path in out.glob("parts/*.jsonl")}
        assert 0 < len(finished) < 5
        assert main(["--out", str(out), *arguments, "--jobs", "1", "--quiet"]) == 0
        assert tree(out) == tree(corpus)
        assert all(path.stat().st_mtime_ns == before for path, before in finished.items())

    def test_a_second_call_changes_nothing_and_a_lost_clip_comes_back(self, corpus):
        before = tree(corpus)
        stamps = {path: path.stat().st_mtime_ns for path in corpus.rglob("*.*")}
        build(SPEC, corpus, jobs=1, progress=False)
        assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*.*")} == stamps
        (corpus / "audio/val/000005.wav").unlink()
        (corpus / "pairs_test.jsonl").unlink()
        build(SPEC, corpus, jobs=1, progress=False)
        assert tree(corpus) == before

    def test_a_folder_with_something_else_is_left_alone(self, corpus, tmp_path, capsys):
        other = ["--out", str(corpus), "--clips", "1", "1", "1", "--pairs", "0", "0", "0"]
        assert run(main, other) == 2
        assert "spec.seed: there 3, wanted 0" in capsys.readouterr().err
        (tmp_path / "thesis.txt").write_text("draft")
        assert run(main, ["--out", str(tmp_path)]) == 2
        assert "holds no corpus of ours" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_impossible_numbers_are_refused(self, tmp_path, capsys):
        assert run(main, ["--out", str(tmp_path / "a"), "--clips", "-1", "0", "0"]) == 2
        assert "three counts of 0 or more" in capsys.readouterr().err
        assert run(main, ["--out", str(tmp_path / "a"), "--jobs", "0"]) == 2
        assert "jobs: 0" in capsys.readouterr().err
        assert not (tmp_path / "a").exists()


def wait_for_group_to_end(group):
    for _ in range(1000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("workers outlive their killed parent by 10 s")
