"""Exact mel features: what `transformers`' WhisperFeatureExtractor computes in padded batches, clip by clip.

The host pads every clip to the longest the model allows (300 s or 30 s) and throws most of the result away. A log-mel
frame depends on its own `n_fft` samples and, through the floor 8 below the maximum, on the loudest frame of the clip.
Neither needs more zeros than the last window reaches into, so each clip is computed alone with a few frames of
silence behind it: the same numbers, whatever the rest of the batch is.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
import xxhash

from earwitness.audio.cache import disk_store, memory_cache
from earwitness.audio.limits import Family, Overlong, fit_samples, token_count
from earwitness.audio.reading import RESAMPLING_QUALITY, as_array, name_of, open_audio, path_of, read_audio
from earwitness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["batch_features", "batch_features_of", "frame_count", "mel_features", "padded_mel", "token_count"]

MIN_FRAMES = 64
"""Frames computed at least: with very few columns, a matrix product rounds differently from the host's large one."""
BLOCK_FRAMES = 512
"""Frames computed at a time: enough for few calls, few enough for the processor's cache and for bounded memory."""
BANDS_TOGETHER = 16
"""Mel bands in one matrix product: few enough to span few frequency bins, enough to be worth a call."""
MIN_POWER = 1e-10
"""Mel power of silence: its logarithm is -10."""
LOG_RANGE = 8.0
"""Powers of ten below a clip's loudest mel value that are kept; the rest is raised to that floor."""


def frame_count(samples: int, feature_extractor: Any) -> int:
    """Return the number of mel frames of a clip of ``samples`` samples: those that the host's mask keeps."""
    return -(-samples // feature_extractor.hop_length)


def mel_features(waveform: np.ndarray, feature_extractor: Any) -> np.ndarray:
    """Log-mel features of one clip, equal to those the extractor computes in any batch padded to its limit.

    Args:
        waveform: mono samples at the extractor's rate, shape (n,), 1 <= n <= ``feature_extractor.n_samples``.
        feature_extractor: a WhisperFeatureExtractor (its ``n_fft``, ``hop_length``, mel filters and limit are used).

    Returns:
        float32, shape (n_mels, frame_count(n)).

    Raises:
        UserError: the clip is empty or longer than the extractor takes.
    """
    frames = frame_count(len(waveform), feature_extractor)
    return padded_mel(waveform, feature_extractor)[:, :frames].numpy()


def batch_features(waveforms: Sequence[np.ndarray], feature_extractor: Any, family: Family) -> dict[str, torch.Tensor]:
    """Compute features and mask of several clips, as the model wants them.

    Args:
        waveforms: mono clips at the extractor's rate.
        feature_extractor: see `mel_features`.
        family: Qwen2-Audio's tower takes exactly ``nb_max_frames`` (3000) frames; the others the longest of the batch.

    Returns:
        ``input_features``, float32, shape (clips, n_mels, T), and ``feature_attention_mask``, int32, shape (clips, T):
        1 on a clip's own frames. Both equal the host's, cut at T; frames behind a clip hold silence.
    """
    mels = [padded_mel(waveform, feature_extractor) for waveform in waveforms]
    return _stack(mels, [len(waveform) for waveform in waveforms], feature_extractor, family)


def batch_features_of(
    sources: Sequence[Any], feature_extractor: Any, family: Family, overlong: Overlong | None = None
) -> dict[str, torch.Tensor]:
    """Read clips and compute their `batch_features`, or find these in the caches (`earwitness.audio.cache`).

    Args:
        sources: see `earwitness.audio.reading.read_audio`.
        feature_extractor: see `mel_features`.
        family: see `batch_features`.
        overlong: see `earwitness.audio.limits.overlong_policy`, the default.

    Raises:
        UserError: a clip cannot be read, or is too short or too long for the model.
    """
    mels, samples = [], []
    for source in sources:
        mel, length = _cached_mel(source, feature_extractor)
        mels.append(mel)
        samples.append(fit_samples(length, feature_extractor, family, name_of(source), overlong))
    return _stack(mels, samples, feature_extractor, family)


def _stack(
    mels: list[torch.Tensor], samples: list[int], feature_extractor: Any, family: Family
) -> dict[str, torch.Tensor]:
    frames = [frame_count(count, feature_extractor) for count in samples]
    width = feature_extractor.nb_max_frames if family == "qwen2_audio" else max(frames)
    features = torch.empty(len(mels), feature_extractor.feature_size, width)
    mask = torch.zeros(len(mels), width, dtype=torch.int32)
    for row, (mel, own) in enumerate(zip(mels, frames, strict=True)):
        known = min(mel.shape[1], width)
        features[row, :, :known] = mel[:, :known]
        features[row, :, known:] = mel[:, -1:]
        mask[row, :own] = 1
    return {"input_features": features, "feature_attention_mask": mask}


def _cached_mel(source: Any, feature_extractor: Any) -> tuple[torch.Tensor, int]:
    """Return the `padded_mel` of a clip (of its first ``n_samples``), and how many samples the whole clip has."""
    memory, settings = memory_cache(), _settings(feature_extractor).key
    path = path_of(source)
    key: Any = None
    if path is not None and memory.max_bytes:
        with suppress(OSError):  # what is wrong with the file, the reader says
            status = path.stat()
            key = (settings, str(path.absolute()), status.st_size, status.st_mtime_ns)
            found = memory.get(key)
            if found is not None:
                return torch.from_numpy(found[0]), found[1]
    found = _stored_mel(source, feature_extractor)
    if key is not None:
        memory.put(key, found)
    return torch.from_numpy(found[0]), found[1]


def _stored_mel(source: Any, feature_extractor: Any) -> tuple[np.ndarray, int]:
    store = disk_store()
    if store is None or as_array(source, feature_extractor.sampling_rate) is not None:
        return _computed_mel(source, feature_extractor)
    with open_audio(source) as file:
        content = file.read()
    key = f"{xxhash.xxh3_128_hexdigest(content)}-{_settings(feature_extractor).key}"
    found = store.get(key)
    if found is None:
        found = _computed_mel({"bytes": content, "path": name_of(source)}, feature_extractor)
        store.put(key, *found)
    return found


def _computed_mel(source: Any, feature_extractor: Any) -> tuple[np.ndarray, int]:
    waveform = read_audio(source, feature_extractor.sampling_rate)
    return padded_mel(waveform[: feature_extractor.n_samples], feature_extractor).numpy(), len(waveform)


def padded_mel(waveform: np.ndarray, feature_extractor: Any) -> torch.Tensor:
    """Log-mel features of a clip and of the silence behind it.

    Returns:
        float32, shape (n_mels, T). The first frame_count(n) are the clip's; its last windows reach into the next ones;
        the last frame is pure silence, what the host has from there to its limit (unless T is that limit).
    """
    samples, limit = len(waveform), feature_extractor.n_samples
    if not 0 < samples <= limit:
        raise UserError(f"clip of {samples} samples; the feature extractor takes 1 to {limit}")
    if feature_extractor.dither:
        raise UserError(f"the feature extractor's dither is {feature_extractor.dither}; only 0.0 is deterministic")
    n_fft, hop_length = feature_extractor.n_fft, feature_extractor.hop_length
    # A centred window reaches n_fft/2 back: the first frame beyond that is silent. One more keeps the reflection that
    # torch.stft would put at the end of the signal, and the host's extractor has, within the silence.
    reach = n_fft // 2
    tail = -(-reach // hop_length) + 1
    frames = min(max(MIN_FRAMES, frame_count(samples, feature_extractor) + tail), limit // hop_length)
    signal = torch.zeros(reach + frames * hop_length + reach)
    signal[reach : reach + samples] = torch.from_numpy(waveform)
    signal[:reach] = signal[reach + 1 : 2 * reach + 1].flip(0)
    signal[-reach:] = signal[-2 * reach - 1 : -reach - 1].flip(0)

    settings = _settings(feature_extractor)
    log_mel = torch.empty(feature_extractor.feature_size, frames)
    blocks = -(-frames // BLOCK_FRAMES)
    for block in range(blocks):
        first, end = frames * block // blocks, frames * (block + 1) // blocks
        piece = signal[first * hop_length : (end - 1) * hop_length + n_fft]
        spectrum = torch.fft.rfft(piece.unfold(0, n_fft, hop_length) * settings.window)
        _mel_product(settings.filters, _power(spectrum).T, out=log_mel[:, first:end])
    log_mel.clamp_(min=MIN_POWER).log10_()
    loudest = log_mel.numpy().max()  # torch's max() takes three times as long
    return log_mel.clamp_(min=float(loudest - np.float32(LOG_RANGE))).add_(4.0).mul_(0.25)


def _power(spectrum: torch.Tensor) -> torch.Tensor:
    """``spectrum.abs() ** 2`` to the bit, in a third of the time: magnitudes are fast where the numbers lie apart.

    Real and imaginary parts are parted as the halves of 64-bit integers, which numpy cuts in half as it copies.
    """
    numbers = spectrum.numpy().reshape(-1)
    parts = np.empty((2, len(numbers)), np.int32)
    halves = numbers.view(np.int32)
    parts[0] = numbers.view(np.int64)
    parts[1, :-1] = np.ndarray(len(numbers) - 1, np.int64, halves, offset=halves.itemsize)
    parts[1, -1] = halves[-1]
    real, imaginary = torch.from_numpy(parts.view(np.float32))
    return real.hypot_(imaginary).square_().view(spectrum.shape)


class _Part(NamedTuple):
    """A part of the mel product: rows of the filters, the frequency bins they take, their weights."""

    bands: slice
    bins: slice
    weights: torch.Tensor
    adds: bool  # to what an earlier part gave for the same bands


def _mel_product(parts: list[_Part], power: torch.Tensor, out: torch.Tensor) -> None:
    for bands, bins, weights, adds in parts:
        out[bands].addmm_(weights, power[bins], beta=float(adds))


def _filter_parts(filters: torch.Tensor) -> list[_Part]:
    """Split the mel product (bands, bins) into parts that leave out zeros, where that changes no bit on this machine.

    A filter spans a few bins, so most of the dense product multiplies by zero. Adding zeros changes nothing, but a
    matrix product may sum the bins in two halves; parts in which that shows do so too, or take all bins.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = (MIN_FRAMES, 129, 200, BLOCK_FRAMES // 2, BLOCK_FRAMES)
    probes = [(torch.rand(frames, filters.shape[1], generator=generator) ** 8).T for frames in sizes]
    expected = [filters @ probe for probe in probes]
    half = filters.shape[1] // 2
    parts: list[_Part] = []
    for first in range(0, len(filters), BANDS_TOGETHER):
        bands = slice(first, first + BANDS_TOGETHER)
        used = filters[bands].any(0).nonzero()[:, 0].tolist() or [0]
        span, below, above = slice(used[0], used[-1] + 1), slice(used[0], half), slice(half, used[-1] + 1)
        for split in ([span], [below, above], [slice(None)]):
            tried = [_Part(bands, bins, filters[bands, bins].contiguous(), at > 0) for at, bins in enumerate(split)]
            if all(_gives(tried, probe, whole) for probe, whole in zip(probes, expected, strict=True)):
                parts += tried
                break
        else:
            return [_Part(slice(None), slice(None), filters, False)]
    return parts


def _gives(parts: list[_Part], probe: torch.Tensor, expected: torch.Tensor) -> bool:
    out = torch.empty_like(expected)
    _mel_product(parts, probe, out)
    return torch.equal(out[parts[0].bands], expected[parts[0].bands])


@dataclass(frozen=True)
class _Settings:
    """What follows from a feature extractor once and for all."""

    window: torch.Tensor
    filters: list[_Part]
    key: str  # differs wherever the features of a clip, or how they are read or computed, would


_KNOWN_SETTINGS: WeakKeyDictionary[Any, _Settings] = WeakKeyDictionary()
_VERSION = 1  # of the cached features: to be raised when reading or resampling changes


def _settings(feature_extractor: Any) -> _Settings:
    settings = _KNOWN_SETTINGS.get(feature_extractor)
    if settings is None:
        filters = torch.from_numpy(feature_extractor.mel_filters).to(torch.float32).T
        numbers = (
            _VERSION,
            RESAMPLING_QUALITY,
            feature_extractor.sampling_rate,
            feature_extractor.n_samples,
            feature_extractor.n_fft,
            feature_extractor.hop_length,
            xxhash.xxh3_64_intdigest(feature_extractor.mel_filters.tobytes()),
        )
        key = xxhash.xxh3_64_hexdigest(repr(numbers).encode())
        settings = _Settings(torch.hann_window(feature_extractor.n_fft), _filter_parts(filters), key)
        _KNOWN_SETTINGS[feature_extractor] = settings
    return settings
