"""``earwitness analyze``: what is measured, what is rated, which files it takes, and what ``caption`` makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from openai_server import OpenAIServer

from earwitness.analysis import fit
from earwitness.analysis.gaps import find_gaps
from earwitness.analysis.profile import NAMES
from earwitness.analysis.ratings import DIMENSIONS
from earwitness.analysis.run import find_clips
from earwitness.analysis.signal import NO_SPEECH, SignalEngine, Weights, fitted_weights
from earwitness.analysis.voice import analyse
from earwitness.audio.reading import read_audio
from earwitness.cli.analyze import main
from earwitness.data.synth.degrade import Severities, degrade
from earwitness.data.synth.source import record
from earwitness.data.synth.voices import Voice, speak
from earwitness.errors import UserError

SENTENCE = "The lighthouse keeper waited for the boat from the village."


def clean(seed: int = 0) -> np.ndarray:
    """About 2 s of a clean recording."""
    return record(speak(SENTENCE, Voice("gmw/en", "m3")), np.random.default_rng(seed))


def rate(samples: np.ndarray, rate: int = 16_000) -> dict[str, float]:
    return dict(SignalEngine().analyse(samples.astype(np.float32), rate).ratings)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clean, a noisy and a silent clip, and a file that is no audio."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "deep").mkdir()
    soundfile.write(folder / "clean.wav", clean(), 16_000)
    noisy = degrade(clean(), Severities(noise=0.9), np.random.default_rng(1)).waveform
    soundfile.write(folder / "deep" / "noisy.flac", noisy, 16_000)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    return folder


# ------------------------------------------------------------------------------------------------- known severities


def test_ratings_follow_their_own_severity_and_no_other() -> None:
    found = fit.check(list(fit.known_clips("test", 200, seed=99)))
    assert min(found.follows.values()) >= 0.85, found.to_json()
    assert max(found.leakage.values()) <= 0.3, found.to_json()
    assert found.unheard <= 10  # at an SNR of about 0 dB and below, coloured and interrupted besides


def test_ratings_follow_on_real_speech_too(shared: Path) -> None:
    recordings = [read_audio(source.path) for source in find_clips([str(shared / "data")])]
    found = fit.check(list(fit.degraded_clips(recordings, 150, seed=1)))
    assert min(found.follows.values()) >= 0.8, found.to_json()
    assert max(found.leakage.values()) <= 0.35, found.to_json()


def test_sounds_without_speech_are_at_the_bottom() -> None:
    for name, sound in fit.extremes().items():
        analysis = SignalEngine().analyse(sound, 16_000)
        assert set(analysis.ratings.values()) == {1.0}, name
        assert analysis.note == NO_SPEECH


def test_one_degradation_lowers_one_rating() -> None:
    untouched = rate(clean())
    assert min(untouched.values()) > 4
    for name, aspect in zip(DIMENSIONS[1:], ("noise", "coloration", "discontinuity", "loudness"), strict=True):
        ratings = rate(degrade(clean(), Severities(**{aspect: 0.9}), np.random.default_rng(2)).waveform)
        assert ratings[name] < untouched[name] - 1.5
        assert ratings["mos"] < untouched["mos"] - 0.5
        others = [other for other in DIMENSIONS[1:] if other != name]
        fallen = {other: untouched[other] - ratings[other] for other in DIMENSIONS}
        assert all(fallen[other] < fallen[name] - 0.7 for other in others), (aspect, ratings)


def test_fitting_again_gives_working_weights() -> None:
    weights = fit.fit(list(fit.known_clips("train", 180, seed=5)))
    again = Weights.from_json(json.loads(json.dumps(weights.to_json())))
    found = fit.check(list(fit.known_clips("val", 60, seed=5)), again)
    assert min(found.follows.values()) > 0.6


def test_weights_of_another_profile_are_refused() -> None:
    value = fitted_weights().to_json()
    assert len(value["noise"]) == 1 + 2 * len(NAMES)
    with pytest.raises(ValueError, match="another profile"):
        Weights.from_json({**value, "profile": value["profile"][:-1]})


# ------------------------------------------------------------------------------------------------------ measurements


def test_speech_is_found_where_it_is_in_noise_too() -> None:
    speech = clean()
    rng = np.random.default_rng(3)
    for snr in (40, 15, 5):
        padded = np.pad(speech, 24_000)
        noise = rng.standard_normal(len(padded)) * np.sqrt(np.square(speech).mean()) * 10 ** (-snr / 20)
        frames = analyse((padded + noise).astype(np.float32))
        assert frames.has_speech
        assert frames.active[:130].mean() < 0.1
        assert frames.active[-130:].mean() < 0.1
        assert frames.active[150:-150].mean() > 0.6


def test_gaps_are_found_to_the_sample_and_pauses_are_none() -> None:
    speech = clean()
    assert len(find_gaps(np.pad(speech, 8_000)).missing) == 0
    paused = np.concatenate([speech * np.linspace(1, 0, len(speech)) ** 2, np.zeros(4_000), speech]).astype(np.float32)
    assert len(find_gaps(paused).missing) == 0
    loud = int(np.convolve(np.square(speech), np.ones(3_000), "valid").argmax())
    broken = speech.copy()
    broken[loud + 500 : loud + 1_100] = 0
    gaps = find_gaps(broken)
    assert len(gaps.missing) == 1
    assert abs(gaps.missing[0] - [loud + 500, loud + 1_100]).max() <= 2
    broken[loud + 1_100 : loud + 1_740] = broken[loud - 140 : loud + 500]  # the packet before is played again
    gaps = find_gaps(broken)
    assert abs(gaps.repeated_samples - 640) <= 80
    # Cut off at its loudest: lost where something follows, however quiet; at the end of a recording someone cut it.
    before, quiet = speech[: loud + 500], (0.01 * speech[loud:]).astype(np.float32)
    (gap,) = find_gaps(np.concatenate([before, np.zeros(2_000, np.float32), quiet])).missing
    assert abs(gap - [loud + 500, loud + 2_500]).max() <= 40
    assert len(find_gaps(np.pad(before, (0, 4_000))).missing) == 0


def test_measurements_are_in_their_units() -> None:
    speech = clean()
    engine = SignalEngine()
    one = engine.analyse(speech, 16_000)
    half = engine.analyse(speech / 2, 16_000)
    assert one.measurements["loudness_lufs"] == pytest.approx(-23, abs=0.5)
    assert half.measurements["loudness_lufs"] == pytest.approx(one.measurements["loudness_lufs"] - 6.02, abs=0.05)
    assert half.measurements["snr_db"] == pytest.approx(one.measurements["snr_db"], abs=0.3)
    assert half.ratings["noi"] == pytest.approx(one.ratings["noi"], abs=0.1)
    overdriven = np.clip(speech, -0.2 * np.abs(speech).max(), 0.2 * np.abs(speech).max())
    assert engine.analyse(overdriven, 16_000).measurements["clipped_share"] > 0.01
    spectrum = np.fft.rfft(speech)
    spectrum[np.fft.rfftfreq(len(speech), 1 / 16_000) > 2_000] = 0
    muffled = engine.analyse(np.fft.irfft(spectrum, len(speech)).astype(np.float32), 16_000)
    assert 1_700 < muffled.measurements["high_hz"] < 2_500


def test_a_clip_at_another_rate_is_rated_alike() -> None:
    import soxr

    speech = clean()
    upsampled = soxr.resample(speech, 16_000, 48_000)
    one, other = rate(speech), rate(upsampled, 48_000)
    assert all(abs(one[name] - other[name]) < 0.6 for name in DIMENSIONS)


def test_the_shortest_clips_are_rated() -> None:
    for samples in (1, 10, 321, 1_600):
        assert SignalEngine().analyse(np.full(samples, 0.1, np.float32), 16_000).ratings["mos"] == 1.0


# --------------------------------------------------------------------------------------------------------- command


def test_table_and_json_of_a_folder(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(clips), "--jobs", "1"]) == 0
    table = capsys.readouterr().out
    assert "SNR dB" in table
    assert f"silent.wav: {NO_SPEECH}" in table
    assert main([str(clips), "--json", "--jobs", "2"]) == 0
    parallel = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main([str(clips), "--json", "--jobs", "1"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == parallel
    assert [Path(row["audio"]).name for row in rows] == ["clean.wav", "noisy.flac", "silent.wav"]
    assert all(1 <= row[name] <= 5 for row in rows for name in DIMENSIONS)
    assert rows[0]["noi"] > rows[1]["noi"] + 1.5
    assert rows[2]["mos"] == 1.0
    assert rows[2]["measurements"]["loudness_lufs"] is None


def test_manifests_name_clips_and_pairs(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clips / "pairs.jsonl").write_text(json.dumps({"audio_a": "clean.wav", "audio_b": "deep/noisy.flac"}) + "\n")
    (tmp_path / "list.csv").write_text("id,audio\none,clean.wav\n")
    assert main([str(clips / "pairs.jsonl"), "--json", "--jobs", "1"]) == 0
    assert [json.loads(line)["audio"] for line in capsys.readouterr().out.splitlines()] == [
        "clean.wav",
        "deep/noisy.flac",
    ]
    assert main([str(tmp_path / "list.csv"), "--media-dir", str(clips), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "one"
    (tmp_path / "bad.csv").write_text("name\nclean.wav\n")
    with pytest.raises(UserError, match=r"bad\.csv, row 1: no clip; allowed: a column audio"):
        main([str(tmp_path / "bad.csv")])


def test_a_broken_clip_is_named_and_the_others_are_rated(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFFnonsense")
    out = tmp_path / "out.jsonl"
    status = main([str(broken), str(clips / "clean.wav"), "gone.wav", "--out", str(out), "--jobs", "1"])
    assert status == 1
    errors = capsys.readouterr().err
    assert str(broken) in errors
    assert "gone.wav" in errors
    assert len(out.read_text().splitlines()) == 1


def test_wrong_options_are_named(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no audio file"):
        main([str(tmp_path)])
    with pytest.raises(UserError, match="--weights goes with"):
        main([str(clips), "--weights", "x"])
    with pytest.raises(UserError, match=r"must end in \.jsonl"):
        main([str(clips), "--out", "x.csv"])


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from earwitness.cli.analyze import parser; parser().format_help(); print('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_caption_takes_what_analyze_writes(clips: Path, tmp_path: Path) -> None:
    from test_caption import expert

    from earwitness.cli.caption import main as caption

    manifest = tmp_path / "clips.jsonl"
    assert main([str(clips), "--out", str(manifest), "--jobs", "1"]) == 0
    with OpenAIServer(expert) as server:
        arguments = ["--manifest", str(manifest), "--output", str(tmp_path / "sets")]
        assert caption([*arguments, "--base-url", server.url, "--model", "m"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "sets" / "alld_mos.jsonl").read_text().splitlines()]
    rated = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert len(rows) == 6
    assert [row["noi"] for row in rows[::2]] == [row["noi"] for row in rated]
    one = tmp_path / "one.json"
    one.write_text(json.dumps(rated[0]))
    two = tmp_path / "two.json"
    two.write_text(json.dumps(rated[1]))
    with OpenAIServer(expert) as server:
        arguments = ["--metrics1", str(one), "--metrics2", str(two), "--output", str(tmp_path / "two")]
        assert caption([*arguments, "--base-url", server.url, "--model", "m"]) == 0
    assert (tmp_path / "two" / "ab_test_summary.txt").read_text() == "[SpeechA]\n"
