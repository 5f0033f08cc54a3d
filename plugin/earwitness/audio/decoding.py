"""Turning an open audio file into mono samples, in bounded memory: libsndfile first, FFmpeg (PyAV) for the rest.

Nothing is allocated because a header says so: both decoders deliver blocks, and stop at ``max_samples``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import soundfile

from earwitness.errors import UserError

BLOCK_SAMPLES = 2**20
"""Samples (over all channels) decoded at a time: 4 MiB of float32."""
MIN_RATE, MAX_RATE = 1_000, 768_000
"""Sampling rates (Hz) that occur in audio files; anything else is a broken header."""
MAX_AMPLITUDE = 2.0**32
"""Full scale is 1.0; float files may exceed it, but their power must stay finite in float32."""
UNKNOWN_FRAMES = MAX_RATE * 86_400
"""As many samples as a day can have: a header that announces more does not know."""
LOSSY_SLACK_SECONDS = 0.25
"""A compressed stream may be this much shorter than its container announces (encoder delay, last packet)."""

# Formats whose header states the exact number of frames, as the decoder will deliver them.
EXACT_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "AIFF", "AU", "CAF", "W64"})
EXACT_SUBTYPES = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"},
)
# FFmpeg may only probe containers of media: its playlists, subtitles and scripts would open further files and URLs.
FFMPEG_FORMATS = (
    "3gp,3g2,aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,f4v,flac,flv,m4a,matroska,webm,mj2,mov,mp2,"
    "mp3,mp4,mpc,mpc8,mpeg,mpegts,ogg,rm,tak,tta,voc,w64,wav,wv"
)


@dataclass(frozen=True)
class Header:
    """What a header tells exactly: ``frames`` samples a channel at ``rate`` Hz."""

    frames: int
    rate: int


def read_header(file: BinaryIO, name: str) -> Header | None:
    """Return the exact length of an uncompressed or FLAC file, or None where only decoding tells it.

    Args:
        file: open at its start; rewound before return.
        name: what error messages call it.

    Raises:
        UserError: the file is shorter than its header says.
    """
    try:
        sound = _open_soundfile(file)
    except soundfile.LibsndfileError:
        return None
    finally:
        file.seek(0)
    with sound:
        exact, header = _is_exact(sound), Header(sound.frames, sound.samplerate)
    if not exact:
        return None
    check_rate(header.rate, name)
    _check_riff_size(file, name)
    return header if 0 < header.frames < UNKNOWN_FRAMES else None


def decode(file: BinaryIO, name: str, max_seconds: float) -> tuple[np.ndarray, int]:
    """Decode a whole file to mono (the mean of its channels) at its own rate.

    Args:
        file: open at its start; rewound before return.
        name: what error messages call it.
        max_seconds: longer audio is an error, found without decoding further.

    Returns:
        samples, float32, shape (n,), full scale 1.0; and their sampling rate in Hz.

    Raises:
        UserError: not audio, damaged, truncated, empty, too long, NaN or infinite.
    """
    try:
        samples, rate = _decode_soundfile(file, name, max_seconds) or _decode_ffmpeg(file, name, max_seconds)
    finally:
        file.seek(0)
    check_samples(samples, name)
    return samples, rate


def check_rate(rate: float, name: str) -> None:
    """Refuse a sampling rate that no audio has."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UserError(f"{name}: sampling rate {rate} Hz; must be between {MIN_RATE} and {MAX_RATE} Hz")


def check_duration(samples: int, rate: int, max_seconds: float, name: str) -> None:
    """Refuse more audio than is ever read."""
    if samples > max_seconds * rate:
        raise UserError(f"{name}: longer than {max_seconds:g} s, the most that is read; cut it into clips")


def check_samples(samples: np.ndarray, name: str) -> None:
    """Refuse zero samples, NaN, infinities and amplitudes whose power would overflow."""
    if samples.size == 0:
        raise UserError(f"{name}: holds no samples")
    peak = max(float(samples.max()), -float(samples.min()))
    if not peak <= MAX_AMPLITUDE:  # NaN too: it survives max() and no comparison
        bad = np.flatnonzero(~(np.abs(samples) <= MAX_AMPLITUDE))
        raise UserError(
            f"{name}: {bad.size} of {samples.size} samples are not usable numbers, the first is {samples[bad[0]]} at "
            f"sample {bad[0]}; write the file again with finite samples in -1..1"
        )


def _open_soundfile(file: BinaryIO) -> soundfile.SoundFile:
    # An unbuffered file goes by its descriptor: libsndfile reads it itself, and its name cannot mislead it (".raw").
    if isinstance(file, io.FileIO):
        return soundfile.SoundFile(file.fileno(), closefd=False)
    return soundfile.SoundFile(file)


def _decode_soundfile(file: BinaryIO, name: str, max_seconds: float) -> tuple[np.ndarray, int] | None:
    """Decode with libsndfile, or return None where it does not know the format or the header tells no length.

    Programs that write to a pipe announce no samples, or far too many; libsndfile believes the first and cannot read a
    FLAC of either kind.
    """
    try:
        sound = _open_soundfile(file)
    except soundfile.LibsndfileError:
        return None
    with sound:
        check_rate(sound.samplerate, name)
        announced = sound.frames
        if not 0 < announced < UNKNOWN_FRAMES:
            return None
        try:
            samples = _join(_soundfile_blocks(sound), name, max_seconds, sound.samplerate)
        except soundfile.LibsndfileError as error:
            raise UserError(f"{name}: damaged or truncated: {error.error_string}") from None
        if _is_exact(sound):
            _check_riff_size(file, name)
            if samples.size < announced:
                raise UserError(
                    f"{name}: damaged or truncated: the header announces {announced} samples, {samples.size} decode"
                )
        return samples, sound.samplerate


def _is_exact(sound: soundfile.SoundFile) -> bool:
    return sound.format in EXACT_FORMATS and sound.subtype in EXACT_SUBTYPES


def _soundfile_blocks(sound: soundfile.SoundFile) -> Iterator[np.ndarray]:
    frames = max(1, BLOCK_SAMPLES // sound.channels)
    short = sound.format in ("WAV", "WAVEX") and sound.subtype == "PCM_16"  # numpy scales four times as fast: exactly
    read = frames
    while read == frames:
        block = sound.read(frames, dtype="int16" if short else "float32")
        read = len(block)
        if short:
            block = np.multiply(block, np.float32(2.0**-15), dtype=np.float32)
        yield block if block.ndim == 1 else block.mean(axis=1)


def _decode_ffmpeg(file: BinaryIO, name: str, max_seconds: float) -> tuple[np.ndarray, int]:
    import av

    file.seek(0)
    try:
        with av.open(file, options={"format_whitelist": FFMPEG_FORMATS, "protocol_whitelist": ""}) as container:
            if not container.streams.audio:
                raise UserError(f"{name}: holds no audio stream")
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise UserError(f"{name}: audio in a codec that neither libsndfile nor FFmpeg decodes")
            rate = stream.rate or 0
            check_rate(rate, name)
            announced = _announced_seconds(container, stream)
            samples = _join(_ffmpeg_blocks(container, stream), name, max_seconds, rate)
    except av.FFmpegError as error:
        raise UserError(f"{name}: not a readable audio file ({error.strerror})") from None
    if samples.size / rate < announced - LOSSY_SLACK_SECONDS:
        raise UserError(
            f"{name}: truncated: the header announces {announced:.2f} s, only {samples.size / rate:.2f} s decode"
        )
    return samples, rate


def _announced_seconds(container: Any, stream: Any) -> float:
    """Return the duration that the header of an MP4 or Matroska file states; others only have estimates: 0."""
    import av

    if "mp4" in container.format.name and stream.duration:
        return float(stream.duration * stream.time_base)
    if "matroska" in container.format.name and len(container.streams) == 1 and container.duration:
        return container.duration / av.time_base
    return 0.0


def _ffmpeg_blocks(container: Any, stream: Any) -> Iterator[np.ndarray]:
    import av

    to_float = av.AudioResampler(format="fltp")  # a change of sample format alone: rate and channels stay
    for frame in container.decode(stream):
        for converted in to_float.resample(frame):
            yield converted.to_ndarray().mean(axis=0)


def _join(blocks: Iterator[np.ndarray], name: str, max_seconds: float, rate: int) -> np.ndarray:
    parts, total = [], 0
    for block in blocks:
        parts.append(block)
        total += len(block)
        check_duration(total, rate, max_seconds, name)
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _check_riff_size(file: BinaryIO, name: str) -> None:
    """Refuse a WAV whose data chunk is cut short: libsndfile shortens it without a word.

    A size of 0 or of (nearly) all ones is what a program writes that streams and cannot go back: allowed.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != b"RIFF":
        return
    position = 12
    while position + 8 <= size:
        file.seek(position)
        chunk = file.read(8)
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            held = size - position - 8
            if held < length < 0x7FFF_0000:
                raise UserError(f"{name}: truncated: the header announces {length} bytes of samples, {held} are there")
            return
        position += 8 + length + length % 2
