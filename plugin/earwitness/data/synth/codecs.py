"""Lossy codecs through PyAV: encode and decode in memory, same length and alignment."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import soxr

from earwitness.data.synth.levels import SAMPLING_RATE, Waveform

# Bit rates in bit/s, high to low; severity walks down the ladder.
LADDERS = {
    "mp3": (48_000, 40_000, 32_000, 24_000, 16_000, 8_000),
    "opus": (24_000, 20_000, 16_000, 12_000, 9_000, 6_000),
    "amr-nb": (12_200, 10_200, 7_950, 6_700, 5_900, 4_750),
}
# encoder, decoder, coding rate in Hz, sample format, decoded rate in Hz
_CODECS = {
    "mp3": ("libmp3lame", "mp3float", 16_000, "s16p", 16_000),
    "opus": ("libopus", "libopus", 16_000, "s16", 48_000),
    "amr-nb": ("libopencore_amrnb", "libopencore_amrnb", 8_000, "s16", 8_000),
}


def round_trip(speech: Waveform, codec: str, severity: float) -> Waveform:
    """Encode and decode at the rung of the codec's ladder that the severity in 0..1 selects.

    Returns:
        As many samples as given, aligned with the input to within a few milliseconds.
    """
    ladder = LADDERS[codec]
    bit_rate = ladder[min(int(severity * len(ladder)), len(ladder) - 1)]
    encoder_name, decoder_name, rate, sample_format, decoded_rate = _CODECS[codec]
    encoder = av.CodecContext.create(encoder_name, "w")
    encoder.sample_rate, encoder.bit_rate, encoder.layout, encoder.format = rate, bit_rate, "mono", sample_format
    encoder.time_base = Fraction(1, rate)
    encoder.open()
    decoder = av.CodecContext.create(decoder_name, "r")
    decoder.sample_rate, decoder.layout = decoded_rate, "mono"
    peak = max(float(np.abs(speech).max()), 1e-9)
    samples = soxr.resample(speech / peak * 0.7, SAMPLING_RATE, rate)
    integers = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    size = encoder.frame_size or round(0.02 * rate)
    integers = np.pad(integers, (0, -len(integers) % size + 3 * size))  # the tail flushes the codec's delay
    packets = []
    for start in range(0, len(integers), size):
        frame = av.AudioFrame.from_ndarray(integers[None, start : start + size], format=sample_format, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, encoder.time_base
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    frames = [frame for packet in packets for frame in decoder.decode(packet)] + list(decoder.decode(None))
    decoded = np.concatenate([_mono(frame) for frame in frames])
    decoded = soxr.resample(decoded, frames[0].sample_rate, SAMPLING_RATE)
    delay = _delay(speech, decoded)
    decoded = decoded[delay : delay + len(speech)]
    return np.pad(decoded * peak / 0.7, (0, len(speech) - len(decoded))).astype(np.float32)


def _mono(frame: av.AudioFrame) -> Waveform:
    samples = frame.to_ndarray().reshape(-1)
    return samples.astype(np.float32) / 32768 if samples.dtype == np.int16 else samples.astype(np.float32)


def _delay(speech: Waveform, decoded: Waveform) -> int:
    """Samples by which the decoded speech lags, from the cross-correlation."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(len(speech) + len(decoded), real=True)
    correlation = irfft(rfft(decoded, size) * np.conj(rfft(speech, size)), size)
    return int(np.argmax(correlation[: SAMPLING_RATE // 4]))
