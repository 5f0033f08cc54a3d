"""Lossy codecs through PyAV: encode and decode in memory, same length and alignment."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import av
import numpy as np
import soxr

from earwitness.data.synth.levels import SAMPLING_RATE, Waveform

HEADROOM = 0.7  # peak of what is encoded


@dataclass(frozen=True)
class Codec:
    """How one codec is run.

    Attributes:
        encoder, decoder: FFmpeg names.
        rate: coding rate in Hz.
        sample_format: what the encoder takes, 16 bit.
        delay: of encoder and decoder together, in samples at 16 kHz.
        bit_rates: bit/s, high to low; severity walks down.
        options: the quick settings: at these bit rates what is lost is decided by the bit rate.
    """

    encoder: str
    decoder: str
    rate: int
    sample_format: str
    delay: int
    bit_rates: tuple[int, ...]
    options: dict[str, str] = field(default_factory=dict)


CODECS = {
    "mp3": Codec(
        *("libmp3lame", "mp3float", 16_000, "s16p", 0),
        (48_000, 40_000, 32_000, 24_000, 16_000, 8_000),
        {"compression_level": "9"},
    ),
    "opus": Codec(
        *("libopus", "libopus", 16_000, "s16", 104),
        (24_000, 20_000, 16_000, 12_000, 9_000, 6_000),
        {"compression_level": "0"},
    ),
    "amr-nb": Codec(
        *("libopencore_amrnb", "libopencore_amrnb", 8_000, "s16", 79),
        (12_200, 10_200, 7_950, 6_700, 5_900, 4_750),
    ),
}


def round_trip(speech: Waveform, name: str, severity: float) -> Waveform:
    """Encode and decode, at the bit rate that a severity in 0..1 selects from the codec's list.

    Returns:
        As many samples as given, at the same level, aligned with the input to within a few samples.
    """
    codec = CODECS[name]
    bit_rate = codec.bit_rates[min(int(severity * len(codec.bit_rates)), len(codec.bit_rates) - 1)]
    encoder = cast(av.AudioCodecContext, av.CodecContext.create(codec.encoder, "w"))
    encoder.sample_rate, encoder.bit_rate, encoder.layout = codec.rate, bit_rate, "mono"
    encoder.format, encoder.time_base, encoder.options = codec.sample_format, Fraction(1, codec.rate), codec.options
    encoder.open()
    decoder = cast(av.AudioCodecContext, av.CodecContext.create(codec.decoder, "r"))
    decoder.sample_rate, decoder.layout = codec.rate, "mono"
    gain = HEADROOM / max(float(np.abs(speech).max(initial=0)), 1e-9)
    samples = soxr.resample(speech * gain, SAMPLING_RATE, codec.rate)
    integers = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    size = encoder.frame_size
    integers = np.pad(integers, (0, -len(integers) % size + 3 * size))  # the tail flushes the codec's delay
    packets = []
    for start in range(0, len(integers), size):
        block = integers[None, start : start + size]
        frame = av.AudioFrame.from_ndarray(block, format=codec.sample_format, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = codec.rate, start, encoder.time_base
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    frames = [frame for packet in packets for frame in decoder.decode(packet)] + list(decoder.decode(None))
    decoded = np.concatenate([_mono(frame) for frame in frames])
    decoded = soxr.resample(decoded, frames[0].sample_rate, SAMPLING_RATE)
    return (decoded[codec.delay : codec.delay + len(speech)] / gain).astype(np.float32)


def _mono(frame: av.AudioFrame) -> Waveform:
    samples = frame.to_ndarray().reshape(-1)
    return samples.astype(np.float32) / np.float32(32768 if samples.dtype == np.int16 else 1)
