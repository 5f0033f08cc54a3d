"""Reading one clip, whatever holds it: a path, bytes, an open file, a row of `datasets`, an array."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from earwitness.audio.decoding import check_duration, check_rate, check_samples, decode
from earwitness.errors import UserError

SAMPLE_RATE = 16_000
"""Hz; what the audio towers of all families hear."""
MAX_SECONDS = 1_800.0
"""Seconds; the most audio that is ever decoded from one clip: six times what the longest-hearing family takes."""
RESAMPLING_QUALITY = "HQ"
"""soxr's quality: 20-bit precision, linear phase, passband to 0.913 of the lower Nyquist frequency."""
MAX_CHANNELS = 1_024


def read_audio(source: Any, sampling_rate: int = SAMPLE_RATE, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """Read a clip as mono samples at ``sampling_rate``.

    Args:
        source: one of

            * a path (str or PathLike; ``~`` is expanded), in any format that libsndfile or FFmpeg reads;
            * the file's bytes, or a binary file object, which is read from its start and left at its start;
            * ``{"bytes": ..., "path": ...}`` as `datasets` stores audio (the path alone may be given);
            * ``{"array": ..., "sampling_rate": ...}`` or a `datasets` AudioDecoder: shape (n,) or (channels, n);
            * an ndarray of shape (n,), taken to be at ``sampling_rate`` already, as LLaMA-Factory takes it.
        sampling_rate: of the samples returned, in Hz.
        max_seconds: longer audio is an error, not cut.

    Returns:
        float32, shape (n,), n >= 1, full scale 1.0, finite; channels are averaged and rates converted with soxr.
        From m samples at r Hz come ``resampled_length(m, r, sampling_rate)``.

    Raises:
        UserError: the source is missing, unreadable, not audio, damaged, empty, too long or not finite.
    """
    samples, rate = read_native(source, sampling_rate, max_seconds)
    if rate == sampling_rate:
        return samples
    import soxr

    resampled_length(samples.size, rate, sampling_rate, name_of(source))
    return soxr.resample(samples, rate, sampling_rate, RESAMPLING_QUALITY)


def read_native(source: Any, sampling_rate: int, max_seconds: float = MAX_SECONDS) -> tuple[np.ndarray, int]:
    """Read a clip as mono samples at its own rate (an ndarray's is ``sampling_rate``); see `read_audio`."""
    array = as_array(source, sampling_rate)
    if array is not None:
        name = name_of(source)
        samples, rate = _mono(array[0], name), array[1]
        check_rate(rate, name)
        check_duration(samples.size, rate, max_seconds, name)
        check_samples(samples, name)
        return samples, rate
    with open_audio(source) as file:
        return decode(file, name_of(source), max_seconds)


def resampled_length(samples: int, rate: int, sampling_rate: int, name: str) -> int:
    """Return the number of samples that soxr makes of ``samples`` at ``rate`` Hz: the duration, rounded half up.

    Raises:
        UserError: less than half a sample; ``name`` is the clip's.
    """
    length = (2 * samples * sampling_rate + rate) // (2 * rate)
    if length == 0:
        raise UserError(f"{name}: {samples} samples at {rate} Hz are less than one sample at {sampling_rate} Hz")
    return length


def path_of(source: Any) -> Path | None:
    """Return the path that a source is read from, ``~`` expanded, or None where it is read from memory."""
    if isinstance(source, dict) and not source.get("bytes"):
        source = source.get("path")
    return Path(source).expanduser() if isinstance(source, (str, os.PathLike)) else None


def name_of(source: Any) -> str:
    """Name a source for an error message: its path where it has one."""
    if isinstance(source, (str, os.PathLike)):
        return str(source)
    if isinstance(source, dict) and source.get("path"):
        return str(source["path"])
    if isinstance(getattr(source, "name", None), str):
        return source.name
    data = source.get("bytes") if isinstance(source, dict) else source
    if isinstance(data, (bytes, bytearray, memoryview)):
        return f"<audio of {len(data)} bytes>"
    return f"<audio from {type(source).__name__}>"


@contextmanager
def open_audio(source: Any) -> Iterator[BinaryIO]:
    """Open a path, bytes, dict of bytes or path, or file object, at its start; a file object is left at its start.

    Raises:
        UserError: nothing to open there.
    """
    path = path_of(source)
    if path is not None:
        with _open_path(path) as file:
            yield file
        return
    data = source.get("bytes") or b"" if isinstance(source, dict) else source
    if isinstance(data, (bytes, bytearray, memoryview)):
        if len(data) == 0:
            raise UserError(f"{name_of(source)}: empty (0 bytes)")
        yield io.BytesIO(data)
    elif hasattr(source, "read") and hasattr(source, "seek"):
        source.seek(0)
        try:
            yield source
        finally:
            source.seek(0)
    else:
        raise UserError(
            f"cannot read audio from {type(source).__name__}; give a path, bytes, a binary file object, an array, or "
            'a dict {"bytes", "path"} or {"array", "sampling_rate"}'
        )


def _open_path(path: Path) -> BinaryIO:
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{path}: is a directory, not an audio file")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: is not a regular file (a pipe or device has no end)")
        if status.st_size == 0:
            raise UserError(f"{path}: empty file (0 bytes)")
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise UserError(f"{path}: {_why(error, path)}") from None
    except ValueError as error:  # a NUL byte in the name
        if isinstance(error, UserError):
            raise
        raise UserError(f"{str(path)!r}: not a file name: {error}") from None


def _why(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOENT:
        return f"broken link to {os.readlink(path)}" if path.is_symlink() else "no such audio file"
    if error.errno == errno.ELOOP:
        return "a symbolic link that leads back to itself"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission to read this audio file"
    return f"cannot be opened: {error.strerror}"


def as_array(source: Any, sampling_rate: int) -> tuple[Any, int] | None:
    if isinstance(source, np.ndarray):
        return source, sampling_rate
    if isinstance(source, dict) and source.get("array") is not None:
        rate = source.get("sampling_rate")
        if not isinstance(rate, (int, np.integer)):
            raise UserError(f"{name_of(source)}: an array needs its sampling_rate in Hz, not {rate!r}")
        return source["array"], int(rate)
    if hasattr(source, "get_all_samples"):  # datasets >= 4 hands out torchcodec decoders
        decoded = source.get_all_samples()
        return decoded.data, int(decoded.sample_rate)
    return None


def _mono(array: Any, name: str) -> np.ndarray:
    array = np.asarray(array)
    if (array.ndim == 2 and array.shape[0] > MAX_CHANNELS) or array.ndim not in (1, 2):
        raise UserError(f"{name}: array of shape {array.shape}; must be (samples,) or (channels, samples)")
    if array.dtype == np.uint8:
        array = (array.astype(np.float32) - 128.0) / 128.0
    elif np.issubdtype(array.dtype, np.signedinteger):
        array = array.astype(np.float32) / -float(np.iinfo(array.dtype).min)
    elif np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32, copy=False)
    else:
        raise UserError(f"{name}: array of {array.dtype}; must be floats or integers")
    return np.ascontiguousarray(array if array.ndim == 1 else array.mean(axis=0))
