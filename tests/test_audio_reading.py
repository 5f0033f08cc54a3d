"""Any clip people have is read as mono samples, and its length is known without decoding it where the header tells."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from bad_audio import ffmpeg_encoded
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.audio import lengths
from earwitness.audio.lengths import clip_samples
from earwitness.audio.reading import read_audio, resampled_length
from earwitness.errors import UserError

RATE = 16_000


def tone(rate: int, seconds: float = 1.0, frequency: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency / rate * np.arange(round(rate * seconds)))).astype(np.float32)


def wav(path: Path, samples: np.ndarray, rate: int = RATE, **kind: str) -> str:
    soundfile.write(path, samples, rate, **kind)
    return str(path)


@pytest.mark.parametrize(
    ("format_", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 2**-7),
        ("WAV", "PCM_16", 2**-15),
        ("WAV", "PCM_24", 2**-23),
        ("WAV", "PCM_32", 2**-23),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.02),
        ("WAVEX", "PCM_16", 2**-15),
        ("RF64", "PCM_16", 2**-15),
        ("FLAC", "PCM_16", 2**-15),
        ("AIFF", "PCM_16", 2**-15),
        ("AU", "PCM_16", 2**-15),
    ],
)
def test_lossless_formats(tmp_path: Path, format_: str, subtype: str, tolerance: float) -> None:
    samples = tone(RATE)
    path = wav(tmp_path / "clip", samples, format=format_, subtype=subtype)
    read = read_audio(path)
    assert read.dtype == np.float32
    assert read.shape == samples.shape
    assert np.abs(read - samples).max() <= tolerance
    assert clip_samples(path, RATE) == RATE


@pytest.mark.parametrize(("format_", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_formats(tmp_path: Path, format_: str, subtype: str) -> None:
    path = wav(tmp_path / "clip", tone(48_000), 48_000, format=format_, subtype=subtype)
    read = read_audio(path)
    assert len(read) == RATE == clip_samples(path, RATE)
    assert np.corrcoef(read, tone(RATE))[0, 1] > 0.99


@pytest.mark.parametrize(("ending", "codec"), [("m4a", "aac"), ("aac", "aac"), ("webm", "libopus"), ("mp4", "aac")])
def test_formats_that_ffmpeg_reads(tmp_path: Path, ending: str, codec: str) -> None:
    path = tmp_path / f"clip.{ending}"
    path.write_bytes(ffmpeg_encoded(path, codec))
    read = read_audio(path)
    assert clip_samples(path, RATE) == len(read)
    assert len(read) == pytest.approx(RATE, abs=0.05 * RATE)  # AAC pads its last frame
    middle = read[2_000:14_000]
    assert np.abs(np.fft.rfft(middle)).argmax() * RATE / len(middle) == pytest.approx(440, abs=2)
    assert np.array_equal(read, read_audio(path.read_bytes()))


def test_every_source_gives_the_same_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wav(tmp_path / "clip.wav", tone(24_000), 24_000, subtype="FLOAT")
    content = Path(path).read_bytes()
    expected = read_audio(path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with open(path, "rb") as file, open(path, "rb", buffering=0) as unbuffered:
        sources = [
            Path(path),
            "~/clip.wav",
            content,
            bytearray(content),
            {"bytes": content, "path": None},
            {"bytes": None, "path": path},
            {"array": tone(24_000), "sampling_rate": 24_000},
            {"array": tone(24_000)[None].repeat(2, 0), "sampling_rate": 24_000},
            {"array": tone(24_000).astype(np.float64), "sampling_rate": 24_000},
            io.BytesIO(content),
            file,
            unbuffered,
        ]
        for source in sources:
            for _ in range(2):  # the host reads one file object twice
                assert np.array_equal(read_audio(source), expected), source
            assert clip_samples(source, RATE) == len(expected)
            if hasattr(source, "tell"):
                assert source.tell() == 0
    assert np.array_equal(read_audio(expected), expected)


def test_decoder_objects_of_datasets() -> None:
    class Samples:
        data, sample_rate = np.stack([tone(8_000), np.zeros(8_000, np.float32)]), 8_000

    class Decoder:
        def get_all_samples(self) -> Samples:
            return Samples()

    assert np.array_equal(read_audio(Decoder(), 8_000), tone(8_000) / 2)


@pytest.mark.parametrize(
    ("dtype", "silence", "full"), [(np.int16, 0, 2**14), (np.int32, 0, 2**30), (np.uint8, 128, 192)]
)
def test_integer_arrays_are_scaled(dtype: type, silence: int, full: int) -> None:
    array = np.array([silence, full], dtype)
    assert read_audio({"array": array, "sampling_rate": RATE}).tolist() == [0.0, 0.5]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"array": np.zeros((48_000, 2)), "sampling_rate": RATE},
            r"shape \(48000, 2\); must be .* \(channels, samples",
        ),
        ({"array": np.zeros((1, 1, 9)), "sampling_rate": RATE}, "must be"),
        ({"array": np.array(["a"]), "sampling_rate": RATE}, "must be floats or integers"),
        ({"array": np.zeros(9)}, "needs its sampling_rate"),
        ({"array": np.zeros(9), "sampling_rate": 0}, "sampling rate 0 Hz; must be between"),
        ({"array": np.zeros(0), "sampling_rate": RATE}, "holds no samples"),
        ({"array": np.zeros(5), "sampling_rate": 192_000}, "less than one sample at 16000 Hz"),
        ({"bytes": None, "path": None}, r"empty \(0 bytes\)"),
        (b"", r"empty \(0 bytes\)"),
        (b"RIFF", "<audio of 4 bytes>: not a readable audio file"),
        (3.5, "cannot read audio from float"),
        (None, "cannot read audio from NoneType"),
        ("a\0b.wav", "not a file name"),
    ],
)
def test_sources_that_are_none(source: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_audio(source)
    with pytest.raises(UserError, match=message):
        clip_samples(source, RATE)


def test_errors_can_be_pickled() -> None:
    with pytest.raises(UserError) as error:
        read_audio("nowhere.wav")
    assert str(pickle.loads(pickle.dumps(error.value))) == "nowhere.wav: no such audio file"


def test_longer_than_the_most_that_is_read(tmp_path: Path) -> None:
    path = wav(tmp_path / "clip.wav", tone(RATE, 2))
    assert len(read_audio(path, max_seconds=2)) == 2 * RATE
    for source in (path, {"array": tone(RATE, 2), "sampling_rate": RATE}):
        with pytest.raises(UserError, match=r"longer than 1\.5 s"):
            read_audio(source, max_seconds=1.5)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(RATE), tone(RATE, frequency=1_000)
    path = wav(tmp_path / "clip.wav", np.stack([left, right], 1), subtype="FLOAT")
    assert np.abs(read_audio(path) - (left + right) / 2).max() < 1e-7


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_resampling_keeps_a_tone_and_removes_what_would_alias(tmp_path: Path, rate: int) -> None:
    read = read_audio(wav(tmp_path / "clip.wav", tone(rate), rate, subtype="FLOAT"))
    assert np.abs(read - tone(RATE))[200:-200].max() < 1e-3
    if rate > 32_000:
        aliasing = read_audio(wav(tmp_path / "clip.wav", tone(rate, frequency=11_000), rate, subtype="FLOAT"))
        assert np.abs(aliasing[200:-200]).max() < 1e-4


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 100_000), st.integers(1_000, 192_000), st.sampled_from([8_000, 16_000, 24_000, 48_000]))
def test_soxr_rounds_durations_half_up(samples: int, rate: int, target: int) -> None:
    made = len(soxr.resample(np.zeros(samples, np.float32), rate, target, "HQ"))
    if made == 0:
        with pytest.raises(UserError, match="less than one sample"):
            resampled_length(samples, rate, target, "clip")
    else:
        assert resampled_length(samples, rate, target, "clip") == made


@settings(max_examples=60, deadline=None)
@given(
    st.integers(400, 40_000),
    st.sampled_from([4_000, 8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000]),
    st.sampled_from(["WAV", "FLAC", "OGG", "MP3"]),
    st.integers(1, 3),
)
def test_lengths_equal_what_is_read(samples: int, rate: int, format_: str, channels: int) -> None:
    if format_ == "MP3" and (
        channels > 2 or rate not in (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100)
    ):
        return
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(samples).standard_normal((samples, channels))
    soundfile.write(file, noise, rate, format=format_)
    assert clip_samples(file.getvalue(), RATE) == len(read_audio(file.getvalue(), RATE))


def test_headers_are_enough_where_they_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(lengths, "read_native", refuse)
    for ending in ("wav", "flac", "aiff", "au"):
        assert clip_samples(wav(tmp_path / f"clip.{ending}", tone(44_100), 44_100), RATE) == RATE


def test_lengths_are_counted_once_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    read = lengths.read_native
    monkeypatch.setattr(lengths, "read_native", lambda path, rate: decoded.append(path) or read(path, rate))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EARWITNESS_CACHE_DIR", "~/cache")
    path = wav(tmp_path / "clip.mp3", tone(24_000), 24_000)

    assert [clip_samples(path, RATE), clip_samples(path, 8_000)] == [16_000, 8_000]
    lengths._remembered_length.cache_clear()  # as another process, or the same one tomorrow
    assert clip_samples(path, RATE) == 16_000
    assert len(decoded) == 1
    assert (tmp_path / "cache" / "lengths.sqlite").is_file()

    wav(Path(path), tone(24_000, 2), 24_000)
    assert clip_samples(path, RATE) == 32_000
    assert len(decoded) == 2
