"""A corpus of audio files that people really have: broken, odd and hostile ones, each with what must come of it."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile

RATE = 16_000
SECOND = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """One file: ``samples`` at 16 kHz if it must be read, else a piece of the one error message it must give.

    ``header`` is the length that its header states where only decoding finds the error.
    """

    name: str
    path: str
    samples: int | None = None
    error: str | None = None
    header: int | None = None


def riff(
    data: bytes,
    *,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    tag: int = 1,
    announced: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """Build a WAV by hand, right or wrong."""
    align = min(channels * bits // 8, 65535)
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate, min(rate * align, 2**32 - 1), align, bits)
    size = len(data) if announced is None else announced
    body = before + fmt + struct.pack("<4sI", b"data", size) + data + after
    return struct.pack("<4sI4s", b"RIFF", min(4 + len(body), 2**32 - 1), b"WAVE") + body


PCM = (SECOND * 32767).astype("<i2").tobytes()


def encoded(path: Path, samples: np.ndarray = SECOND, rate: int = RATE, **kind: str) -> bytes:
    soundfile.write(path, samples, rate, **kind)
    content = path.read_bytes()
    path.unlink()
    return content


def with_length(flac: bytes, samples: int) -> bytes:
    """Write another number of samples into STREAMINFO (36 bits)."""
    return flac[:21] + bytes([flac[21] & 0xF0 | samples >> 32]) + (samples % 2**32).to_bytes(4, "big") + flac[26:]


def ffmpeg_encoded(path: Path, codec: str, rate: int = 48_000, seconds: int = 1) -> bytes:
    """Encode a stereo tone with FFmpeg; ``path`` names the container."""
    tone = (0.3 * np.sin(2 * np.pi * 440 / rate * np.arange(rate * seconds))).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
        frame.rate, frame.pts = rate, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    content = path.read_bytes()
    path.unlink()
    return content


def silent_video(path: Path) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    path.unlink()
    return content


def make_corpus(folder: Path) -> list[Case]:
    """Write the corpus under ``folder`` and say what each file must give."""
    cases: list[Case] = []

    def add(
        name: str,
        content: bytes | None = None,
        *,
        samples: int | None = None,
        error: str | None = None,
        header: int | None = None,
        make: Callable[[Path], object] | None = None,
    ) -> None:
        path = folder / name
        if content is not None:
            path.write_bytes(content)
        if make is not None:
            make(path)
        cases.append(Case(name, str(path), samples, error, header))

    flac, ogg = encoded(folder / "a.flac"), encoded(folder / "a.ogg")
    mp3 = encoded(folder / "a.mp3")
    m4a, webm = ffmpeg_encoded(folder / "a.m4a", "aac"), ffmpeg_encoded(folder / "a.webm", "libopus")
    wav = riff(PCM)
    nan, inf, huge = (SECOND.copy() for _ in range(3))
    nan[5], inf[7:9], huge[11] = np.nan, -np.inf, 1e30

    # Nothing there to read
    add("missing.wav", error="no such audio file")
    add("directory.wav", make=Path.mkdir, error="is a directory")
    add("empty.wav", b"", error="empty file")
    add("dangling.wav", make=lambda path: path.symlink_to("nowhere.wav"), error="broken link to nowhere.wav")
    add("loop.wav", make=lambda path: path.symlink_to(path.name), error="leads back to itself")
    add("pipe.wav", make=os.mkfifo, error="not a regular file")
    add("device.wav", make=lambda path: path.symlink_to("/dev/zero"), error="not a regular file")
    add("name" * 100 + ".wav", error="File name too long")
    add("https:/example.org/a.wav", error="no such audio file")
    locked = {"samples": RATE} if os.geteuid() == 0 else {"error": "no permission"}  # root may read everything
    add("locked.wav", wav, make=lambda path: path.chmod(0), **locked)

    # Not audio
    add("text.wav", b"This is not audio.\n" * 40, error="not a readable audio file")
    add("page.mp3", b"<!doctype html><html><body>404 Not Found</body></html>", error="not a readable audio file")
    add("rows.wav", b'[{"audio_a": "a.wav"}]', error="not a readable audio file")
    add("noise.mp3", np.random.default_rng(1).bytes(20_000), error="not a readable audio file")
    add("zeros.wav", bytes(100_000), error="not a readable audio file")
    add("picture.wav", b"\x89PNG\r\n\x1a\n" + bytes(200), error="not a readable audio file")
    add("packed.wav", gzip.compress(wav), error="not a readable audio file")
    add("headerless.raw", PCM, error="not a readable audio file")
    add("playlist.m4a", f"#EXTM3U\n#EXTINF:1,\n{folder / 'stereo.wav'}\n".encode(), error="not a readable audio file")
    add("script.wav", f"ffconcat version 1.0\nfile {folder / 'stereo.wav'}\n".encode(), error="not a readable audio")
    add("video.mp4", silent_video(folder / "v.mp4"), error="holds no audio stream")

    # Cut short
    add("header_cut.wav", wav[:20], error="not a readable audio file")
    add("header_only.wav", riff(b""), error="holds no samples")
    add("cut.wav", wav[: len(wav) // 2], error="truncated: the header announces 32000 bytes")
    add("cut_in_a_frame.wav", wav[:-1], error="truncated")
    add("cut.flac", flac[: len(flac) // 2], error="damaged or truncated", header=RATE)
    add("header_only.flac", flac[:42], error="damaged or truncated", header=RATE)
    add("header_only.ogg", ogg[:58], error="not a readable audio file")
    add("cut.m4a", m4a[: len(m4a) // 2], error="not a readable audio file")
    add("cut.webm", webm[: len(webm) // 2], error="truncated: the header announces 1.")
    add("no_samples.flac", b"fLaC\x80" + with_length(flac, 0)[5:42], error="")
    add("no_samples.mp3", mp3[:30], error="not a readable audio file")

    # Headers that lie
    add("0_hz.wav", riff(PCM, rate=0), error="not a readable")
    add("4_ghz.wav", riff(PCM, rate=4_000_000_000), error="not a readable")
    add("900_khz.wav", riff(PCM, rate=900_000), error="sampling rate 900000 Hz")
    add("0_channels.wav", riff(PCM, channels=0), error="not a readable")
    add("65535_channels.wav", riff(PCM, channels=65535), error="not a readable")
    add("unknown_codec.wav", riff(PCM, tag=0x4321), error="codec that neither libsndfile nor FFmpeg")
    add("absurd.wav", riff(PCM, announced=0x7FFE_0000), error="truncated: the header announces 2147352576 bytes")
    add("streamed_ff.wav", riff(PCM, announced=0xFFFF_FFFF), samples=RATE)
    add("streamed_0.wav", riff(PCM, announced=0), samples=RATE)
    add("streamed.flac", with_length(flac, 0), samples=RATE)
    add("unknown.flac", with_length(flac, 2**36 - 1), samples=RATE)
    add("absurd.flac", with_length(flac, 2**34), error="")
    add("doubled.flac", with_length(flac, 2 * RATE), error="damaged or truncated", header=2 * RATE)
    add(
        "endless.wav",
        make=lambda path: _sparse(path, riff(b"", announced=0x7FF0_0000), 2**31),
        error="longer than 1800",
    )

    # Samples that are no numbers
    add("nan.wav", encoded(folder / "n.wav", nan, subtype="FLOAT"), error="1 of 16000 samples are not", header=RATE)
    add("inf.wav", encoded(folder / "n.wav", inf, subtype="FLOAT"), error="2 of 16000 samples are not", header=RATE)
    add("huge.wav", encoded(folder / "n.wav", huge, subtype="FLOAT"), error="sample 11;", header=RATE)

    # Odd but right
    add("one_sample.wav", riff(PCM[:2]), samples=1)
    add("silence.wav", riff(bytes(2 * RATE)), samples=RATE)
    add("wrong_ending.wav", flac, samples=RATE)
    add("wrong_ending.mp3", ogg, samples=RATE)
    add("wrong_ending.raw", wav, samples=RATE)
    add("no_ending", mp3, samples=RATE)
    add("stereo.wav", encoded(folder / "n.wav", np.stack([SECOND, -SECOND], 1)), samples=RATE)
    add("64_channels.wav", encoded(folder / "n.wav", np.stack([SECOND] * 64, 1)), samples=RATE)
    add("junk_first.wav", riff(PCM, before=struct.pack("<4sI", b"JUNK", 7) + bytes(8)), samples=RATE)
    add("list_last.wav", riff(PCM, after=struct.pack("<4sI", b"LIST", 4) + b"INFO"), samples=RATE)
    add("name with\nnewline, é, 声.wav", wav, samples=RATE)
    (folder / "inner").mkdir()
    add("inner/../outside.wav", wav, samples=RATE)
    add("linked.wav", make=lambda path: path.symlink_to("outside.wav"), samples=RATE)
    return cases


def _sparse(path: Path, head: bytes, size: int) -> None:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
