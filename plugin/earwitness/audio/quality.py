"""What is wrong with the sound of a clip that can be read: silence, clipping, a DC offset. Heuristics, for warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash

from earwitness.audio.reading import SAMPLE_RATE, name_of, read_native, resampled_length
from earwitness.errors import UserError

SILENT_DBFS = -65.0
"""A clip is silent whose RMS around its mean stays below this level (dB relative to full scale)."""
DC_SHARE = 0.02
"""A mean beyond this share of full scale is an offset: speech is symmetric to a few thousandths."""
CLIPPED_SHARE = 0.001
"""A clip is clipped where more than this share of its samples lies flat at its peak."""
FLAT_RUN = 3
"""Samples in a row that must reach the peak to count as flat: a sine wave at its top rarely has as many."""
FLAT_TOLERANCE = 1e-4
"""Share of the peak by which samples of a flat run may stay below it."""


@dataclass(frozen=True)
class Quality:
    """Signal measures of one clip; levels are relative to full scale 1.0."""

    peak: float
    rms_dbfs: float  # around the mean; -inf for digital silence
    dc: float
    clipped_share: float

    @property
    def findings(self) -> tuple[str, ...]:
        """What a person should look at, in words."""
        if self.rms_dbfs < SILENT_DBFS:
            return (f"silent: RMS {self.rms_dbfs:.0f} dBFS",)
        found = []
        if self.clipped_share > CLIPPED_SHARE:
            found.append(f"clipped: {self.clipped_share:.1%} of the samples lie flat at the peak of {self.peak:.3g}")
        if abs(self.dc) > DC_SHARE:
            found.append(f"DC offset: the mean is {self.dc:+.3f} of full scale")
        return tuple(found)


def measure_quality(samples: np.ndarray) -> Quality:
    """Measure a clip; its own rate is best, because resampling rounds flat tops.

    Args:
        samples: float32, shape (n,), n >= 1, finite.
    """
    mean = float(samples.mean(dtype=np.float64))
    rms = float(np.sqrt(np.mean(np.square(samples - np.float32(mean)), dtype=np.float64)))
    magnitudes = np.abs(samples)
    peak = float(magnitudes.max())
    flat = 0
    if peak > 0:
        at_peak = magnitudes >= peak * (1 - FLAT_TOLERANCE)
        edges = np.flatnonzero(np.diff(at_peak, prepend=False, append=False))
        runs = edges[1::2] - edges[::2]
        flat = int(runs[runs >= FLAT_RUN].sum())
    return Quality(peak, 20 * float(np.log10(rms)) if rms > 0 else -np.inf, mean, flat / samples.size)


@dataclass(frozen=True)
class ClipReport:
    """One clip, read whole: what is wrong with it, or how long it is and whether it sounds right."""

    name: str
    error: str | None = None
    samples: int = 0  # at 16 kHz
    digest: str = ""  # of the decoded samples: equal for the same sound in another file or lossless format
    findings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE


def inspect_clip(source: Any) -> ClipReport:
    """Decode a clip and report on it; a clip that cannot be read is reported too, not raised."""
    name = name_of(source)
    try:
        samples, rate = read_native(source, SAMPLE_RATE)
        length = resampled_length(samples.size, rate, SAMPLE_RATE, name)
    except UserError as error:
        return ClipReport(name, error=str(error))
    digest = f"{rate}-{xxhash.xxh3_128_hexdigest(samples.data)}"
    return ClipReport(name, None, length, digest, measure_quality(samples).findings)
