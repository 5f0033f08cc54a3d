"""Exact mel features: what `transformers`' WhisperFeatureExtractor computes in padded batches, without the padding.

The host pads every clip to the longest the model allows (300 s or 30 s) and throws most of the result away. A log-mel
frame depends on its own `n_fft` samples and, through the floor 8 below the maximum, on the loudest frame of the clip.
Neither needs more zeros than the last window reaches into, so each clip is computed with a few frames of silence
behind it: the same numbers, whatever the rest of the batch is.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import xxhash

from earwitness.audio.cache import disk_store, memory_cache
from earwitness.audio.limits import Family, Overlong, fit_samples, token_count
from earwitness.audio.mel_power import MelPower
from earwitness.audio.reading import RESAMPLING_QUALITY, as_array, name_of, open_audio, path_of, read_audio
from earwitness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = ["batch_features", "batch_features_of", "frame_count", "mel_features", "padded_log_mels", "token_count"]

BLOCK_FRAMES = 1024
"""Frames computed at a time: enough for few calls, few enough for the processor's cache and for bounded memory."""
FRAMES_TOGETHER = 4096
"""Frames of several clips computed as one signal, at most: bounded memory, whatever the batch."""
MIN_POWER = 1e-10
"""Mel power of silence: its logarithm is -10."""
LOG_RANGE = 8.0
"""Powers of ten below a clip's loudest mel value that are kept; the rest is raised to that floor."""
_ONE = torch.tensor(1.0, dtype=torch.float32)


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
    (log_mel,) = padded_log_mels([waveform], feature_extractor)
    return _scaled(log_mel[:, :frames]).numpy()


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
    mels = padded_log_mels(waveforms, feature_extractor)
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
    # All are read before any is computed: to and fro between decoder and FFT, a processor forgets the code of each.
    clips = _looked_up(sources, feature_extractor)
    samples = [
        fit_samples(clip.samples, feature_extractor, family, name_of(source), overlong)
        for source, clip in zip(sources, clips, strict=True)
    ]
    _compute(clips, feature_extractor)
    return _stack([torch.from_numpy(clip.mel) for clip in clips], samples, feature_extractor, family)


def _stack(
    mels: list[torch.Tensor], samples: list[int], feature_extractor: Any, family: Family
) -> dict[str, torch.Tensor]:
    frames = [frame_count(count, feature_extractor) for count in samples]
    width = feature_extractor.nb_max_frames if family == "qwen2_audio" else max(frames)
    features = torch.empty(len(mels), feature_extractor.feature_size, width, dtype=torch.float32)
    mask = torch.zeros(len(mels), width, dtype=torch.int32)
    for row, (mel, own) in enumerate(zip(mels, frames, strict=True)):
        known = min(mel.shape[1], width)
        _scaled(mel[:, :known], out=features[row, :, :known])
        if known < width:
            features[row, :, known:] = _scaled(mel[:, -1:])
        mask[row, :own] = 1
    return {"input_features": features, "feature_attention_mask": mask}


def _scaled(log_mel: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """``(log_mel + 4) / 4`` in one pass; a quarter of a number is exact, so it rounds no other way."""
    return torch.add(_ONE, log_mel, alpha=0.25, out=out)


@dataclass
class _Clip:
    """A clip of a batch: its `padded_log_mels` where a cache had it, else the waveform to compute it from.

    Attributes:
        samples: how many the whole clip has; ``mel`` and ``waveform`` hold the extractor's ``n_samples`` at most.
        memory_key, disk_key: where the caches keep it; None where they do not.
    """

    mel: np.ndarray | None
    waveform: np.ndarray | None
    samples: int
    memory_key: Hashable = None
    disk_key: str | None = None


def _looked_up(sources: Sequence[Any], feature_extractor: Any) -> list[_Clip]:
    """Find each clip in the caches, or read it; a file that occurs again is the same object again."""
    clips: list[_Clip] = []
    known: dict[Hashable, _Clip] = {}
    for source in sources:
        key = _memory_key(source, feature_extractor)
        if key is None or key not in known:
            found = None if key is None else memory_cache().get(key)
            clip = _read(source, feature_extractor) if found is None else _Clip(found[0], None, found[1])
            clip.memory_key = key
            known[key] = clip
        else:
            clip = known[key]
        clips.append(clip)
    return clips


def _memory_key(source: Any, feature_extractor: Any) -> Hashable:
    path = path_of(source) if memory_cache().max_bytes else None
    if path is not None:
        with suppress(OSError):  # what is wrong with the file, the reader says
            status = path.stat()
            return (_settings(feature_extractor).key, str(path.absolute()), status.st_size, status.st_mtime_ns)
    return None


def _read(source: Any, feature_extractor: Any) -> _Clip:
    store, key = disk_store(), None
    if store is not None and as_array(source, feature_extractor.sampling_rate) is None:
        with open_audio(source) as file:
            content = file.read()
        key = f"{xxhash.xxh3_128_hexdigest(content)}-{_settings(feature_extractor).key}"
        found = store.get(key)
        if found is not None:
            return _Clip(found[0], None, found[1])
        source = {"bytes": content, "path": name_of(source)}
    waveform = read_audio(source, feature_extractor.sampling_rate)
    return _Clip(None, waveform[: feature_extractor.n_samples], len(waveform), disk_key=key)


def _compute(clips: Sequence[_Clip], feature_extractor: Any) -> None:
    """Give every clip its `padded_log_mels`, and keep it where the caches want it."""
    missing = list({id(clip): clip for clip in clips if clip.mel is None}.values())
    mels = padded_log_mels([clip.waveform for clip in missing if clip.waveform is not None], feature_extractor)
    store = disk_store()
    for clip, mel in zip(missing, mels, strict=True):
        clip.mel, clip.waveform = mel.numpy(), None
        if clip.memory_key is not None:
            clip.mel = np.ascontiguousarray(clip.mel)  # not a part of several clips' features, which would stay too
        if store is not None and clip.disk_key is not None:
            store.put(clip.disk_key, clip.mel, clip.samples)
    for clip in clips:
        if clip.memory_key is not None and clip.mel is not None:
            memory_cache().put(clip.memory_key, (clip.mel, clip.samples))


def padded_log_mels(waveforms: Sequence[np.ndarray], feature_extractor: Any) -> list[torch.Tensor]:
    """Log10 of the mel power of clips, each with that of the silence behind it; features are ``(log10 + 4) / 4``.

    Returns:
        For each clip float32, shape (n_mels, T). The first frame_count(n) frames are the clip's; its last windows reach
        into the next ones; the last frame is pure silence, what the host has from there to its limit (unless T is that
        limit).
    """
    limit, hop_length = feature_extractor.n_samples, feature_extractor.hop_length
    if feature_extractor.dither:
        raise UserError(f"the feature extractor's dither is {feature_extractor.dither}; only 0.0 is deterministic")
    # A centred window reaches n_fft/2 back: the first frame beyond that is silent. One more keeps the reflection that
    # torch.stft would put at the end of the signal, and the host's extractor has, within the silence.
    tail = -(-(feature_extractor.n_fft // 2) // hop_length) + 1
    mels: list[torch.Tensor] = []
    group: list[tuple[np.ndarray, int]] = []
    for waveform in waveforms:
        if not 0 < len(waveform) <= limit:
            raise UserError(f"clip of {len(waveform)} samples; the feature extractor takes 1 to {limit}")
        frames = min(frame_count(len(waveform), feature_extractor) + tail, limit // hop_length)
        if group and sum(count for _, count in group) + frames > FRAMES_TOGETHER:
            mels += _log_mels_of_one_signal(group, feature_extractor)
            group = []
        group.append((waveform, frames))
    return mels + _log_mels_of_one_signal(group, feature_extractor) if group else mels


def _log_mels_of_one_signal(clips: Sequence[tuple[np.ndarray, int]], feature_extractor: Any) -> list[torch.Tensor]:
    """Compute clips, each with its number of frames, one behind the other: short ones would be all calls, no work."""
    n_fft, hop_length = feature_extractor.n_fft, feature_extractor.hop_length
    reach, gap = n_fft // 2, -(-n_fft // hop_length)  # behind a clip's last frame, before the next one's first
    firsts = list(accumulate((frames + gap for _, frames in clips), initial=0))
    signal = np.empty(firsts[-1] * hop_length, np.float32)
    for (waveform, frames), first, after in zip(clips, firsts, firsts[1:], strict=False):
        own = signal[first * hop_length : after * hop_length]
        own[reach : reach + len(waveform)] = waveform
        own[reach + len(waveform) :] = 0
        own[:reach] = own[2 * reach : reach : -1]
        end = frames * hop_length + reach
        own[end : end + reach] = own[end - 2 : end - reach - 2 : -1]

    settings = _settings(feature_extractor)
    windows = torch.from_numpy(signal).unfold(0, n_fft, hop_length)[: firsts[-1] - gap]
    log_mel = torch.empty(feature_extractor.feature_size, len(windows), dtype=torch.float32)
    for first in range(0, len(windows), BLOCK_FRAMES):
        spectrum = torch.fft.rfft(windows[first : first + BLOCK_FRAMES] * settings.window)
        settings.mel_power(spectrum, log_mel, first)
    log_mel.clamp_(min=MIN_POWER).log10_()
    mels = [log_mel[:, first : first + frames] for (_, frames), first in zip(clips, firsts, strict=False)]
    for mel in mels:
        loudest = mel.numpy().max()  # torch's max() takes three times as long
        mel.clamp_(min=float(loudest - np.float32(LOG_RANGE)))
    return mels


@dataclass(frozen=True)
class _Settings:
    """What follows from a feature extractor once and for all."""

    window: torch.Tensor
    mel_power: MelPower
    key: str  # differs wherever the features of a clip, or how they are read or computed, would


_KNOWN_SETTINGS: WeakKeyDictionary[Any, _Settings] = WeakKeyDictionary()
_VERSION = 3  # of what is cached: to be raised when reading, resampling or what is stored changes


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
        settings = _Settings(torch.hann_window(feature_extractor.n_fft, dtype=torch.float32), MelPower(filters), key)
        _KNOWN_SETTINGS[feature_extractor] = settings
    return settings
