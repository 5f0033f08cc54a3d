"""Lost sound: packets that are missing, and packets that are played again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.analysis.voice import HOP, RATE, frame_count

SHORTEST = RATE // 200  # samples of a gap: 5 ms; a zero crossing of a low voice is shorter
EDGE = RATE // 100  # samples beside a gap whose level says whether the sound was cut
SPEECH_SHARE = 0.1  # of the clip's active level: the sound on one side of a gap that is no pause between words
FADED_SHARE = 0.02  # and that on its other side: in a pause, even of a gated recording, the voice has faded
CUT_SHARE = 0.3  # and that from which it fell to silence at once, as no voice does; a plosive may begin so
LONGEST_PAUSE = RATE // 2  # samples: longer silence is a pause, or the end of the recording
LOOPS = (RATE // 100, RATE // 8)  # samples of a packet that is played again: 10 to 125 ms
BLOCK = RATE // 200  # samples that are compared at once: 5 ms
LEAST_LIKENESS = 0.999  # correlation of a repeated block with the first


@dataclass(frozen=True)
class Gaps:
    """Stretches of lost sound, in samples from the start, in order and disjoint.

    Attributes:
        missing: silence inside sound that was cut off, (n, 2).
        repeated: sound that was heard just before, (m, 2).
    """

    missing: NDArray[np.int64]
    repeated: NDArray[np.int64]

    @property
    def missing_samples(self) -> int:
        """How much is missing."""
        return int((self.missing[:, 1] - self.missing[:, 0]).sum())

    @property
    def repeated_samples(self) -> int:
        """How much is heard again."""
        return int((self.repeated[:, 1] - self.repeated[:, 0]).sum())

    def frames(self, samples: int) -> NDArray[np.bool_]:
        """(frames,): frames whose middle is missing."""
        lost = np.zeros(frame_count(samples), bool)
        for start, stop in self.missing:
            lost[-(-int(start) // HOP) : -(-int(stop) // HOP)] = True
        return lost


def find_gaps(samples: NDArray[np.float32]) -> Gaps:
    """Find lost sound: silence with hard edges inside speech, and what is played again after it.

    A natural pause fades in and out; a lost packet starts and ends while sound of the level of speech is heard, or
    starts in its loudest and ends in the pause behind it.

    Args:
        samples: (n,), 16 kHz.
    """
    level = _active_level(samples)
    missing = []
    for start, stop in _silences(samples):
        if stop - start > LONGEST_PAUSE:
            continue
        before = _level(samples[max(0, start - EDGE) : start])
        after = _level(samples[stop : stop + EDGE])
        inside = max(before, after) > SPEECH_SHARE * level and min(before, after) > FADED_SHARE * level
        cut_off = before > CUT_SHARE * level and stop < len(samples)  # at the end, someone cut the recording
        if inside or cut_off:
            missing.append((start, stop))
    spans = np.array(missing, np.int64).reshape(-1, 2)
    return Gaps(spans, _repetitions(samples, spans))


def _active_level(samples: NDArray[np.float32]) -> float:
    """RMS of the louder half of the 10 ms frames that are not silent."""
    frames = len(samples) // EDGE
    power = np.square(samples[: frames * EDGE], dtype=np.float64).reshape(frames, EDGE).mean(axis=1)
    power = np.sort(power[power > 0])
    return float(np.sqrt(power[len(power) // 2 :].mean())) if len(power) else 0.0


def _level(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean())) if len(samples) else 0.0


def _silences(samples: NDArray[np.float32]) -> NDArray[np.int64]:
    """Runs of digital silence, (n, 2), of at least ``SHORTEST`` samples."""
    silent = np.abs(samples) < 1.5 / 32768
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.view(np.int8), [0]])))
    runs = edges.reshape(-1, 2)
    return runs[runs[:, 1] - runs[:, 0] >= SHORTEST]


def _repetitions(samples: NDArray[np.float32], missing: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sound around each gap that was heard before: right after it, and right before it where it loops on."""
    found: list[tuple[int, int]] = []
    for place, (start, stop) in enumerate(missing):
        free = int(missing[place - 1, 1]) if place else 0
        end = int(missing[place + 1, 0]) if place + 1 < len(missing) else len(samples)
        length = _loop(samples[max(free, start - LOOPS[1]) : start], samples[stop : min(end, stop + BLOCK)])
        if not length:
            continue
        first = start - 2 * length  # the same packet may have been played once more before the gap
        if first >= free and _alike(samples[first : start - length], samples[start - length : start]):
            found.append((start - length, start))
        again = 0
        while again < length and stop + again < end:
            size = min(BLOCK, length - again, end - stop - again)
            source = start - length + again
            if not _alike(samples[source : source + size], samples[stop + again : stop + again + size]):
                break
            again += size
        found.append((stop, stop + again))
    return np.array(found, np.int64).reshape(-1, 2)


def _loop(before: NDArray[np.float32], after: NDArray[np.float32]) -> int:
    """How many samples before a gap the sound after it begins to repeat; 0 where it does not."""
    if len(after) < BLOCK or len(before) < LOOPS[0] or not after.any():
        return 0
    windows = np.lib.stride_tricks.sliding_window_view(before.astype(np.float64), BLOCK)
    scale = np.sqrt(np.square(windows).sum(axis=1) * np.square(after, dtype=np.float64).sum())
    likeness = windows @ after.astype(np.float64) / np.maximum(scale, 1e-12)
    alike = np.flatnonzero(likeness[: len(before) - LOOPS[0] + 1] > LEAST_LIKENESS)
    return len(before) - int(alike[-1]) if len(alike) else 0  # the shortest: a loop repeats at its multiples as well


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    first, second = one.astype(np.float64), other.astype(np.float64)
    scale = float(np.sqrt(first @ first * (second @ second)))
    return scale > 0 and float(first @ second) > LEAST_LIKENESS * scale
