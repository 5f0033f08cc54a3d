"""The mel power of spectra, ``filters @ (spectrum.abs() ** 2).T``, to the bit and in half the time.

torch takes magnitudes slowly where real and imaginary parts lie side by side, writes every stage to memory, and
multiplies mostly by zero: a mel filter spans a few of the frequency bins. Here numba compiles all of it into one loop
over blocks of frames that stay in the processor's cache, operation by operation as torch computes them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_LOGGER = logging.getLogger(__name__)

FRAMES_IN_CACHE = 64
"""Frames at a time: their spectra and powers fit the processor's cache, and fill its vectors."""
FRAMES_TURNED = 32
"""Frames, of those, turned from rows to columns at a time."""
MIN_FRAMES = 64
"""Frames that torch is given at least: with very few, its matrix product rounds as it does not for the host's many."""
PROBED_FRAMES = (MIN_FRAMES, 1_000, 3_001)
"""Frames of the spectra on which the compiled code must equal torch."""
_ONE, _HALF, _MIN_NORMAL, _SCALE = np.float32(1), np.float32(0.5), np.finfo(np.float32).tiny, np.float32(2**24)


class MelPower:
    """The mel power of spectra: torch's numbers on this machine, from compiled code where that gives them.

    A matrix product may sum the bins of a filter in one run or in two, as the machine's library likes. Both are tried
    against torch itself; where neither equals it, torch does the work.

    Args:
        filters: mel filters, float32, shape (n_mels, bins).
    """

    def __init__(self, filters: torch.Tensor) -> None:
        bins = filters.shape[1]
        used = [row.nonzero()[0] for row in filters.numpy()]
        spans = np.array([(row[0], row[-1] + 1) if len(row) else (0, 0) for row in used], np.int64)
        self._filters = filters.contiguous()
        self._spans = spans
        cuts = () if numba.config.DISABLE_JIT else (bins, bins // 2)
        self._cut: int | None = next((cut for cut in cuts if self._equals_torch(cut)), None)
        if self._cut is None:
            reason = "on this machine its matrix product adds up in an order that the compiled code does not know"
            _LOGGER.warning(
                "mel features are computed by torch alone, which takes longer: "
                f"{reason if cuts else 'NUMBA_DISABLE_JIT is set'}"
            )

    def __call__(self, spectrum: torch.Tensor, out: torch.Tensor, column: int = 0) -> None:
        """Write the mel power of ``spectrum`` to ``out``, a frame a column, from ``column`` on.

        Args:
            spectrum: complex64, shape (frames, bins), contiguous.
            out: float32, shape (n_mels, at least column + frames), contiguous.
            column: of the first frame.
        """
        if self._cut is None:
            power = torch.zeros(max(MIN_FRAMES, len(spectrum)), spectrum.shape[1], dtype=torch.float32)
            power[: len(spectrum)] = spectrum.abs().square_()
            out[:, column : column + len(spectrum)] = (self._filters @ power.T)[:, : len(spectrum)]
        else:
            self._run(spectrum, out, column, self._cut)

    def _run(self, spectrum: torch.Tensor, out: torch.Tensor, column: int, cut: int) -> None:
        numbers = spectrum.numpy().view(np.float32)
        _mel_power(numbers, self._filters.numpy(), self._spans, cut, out.numpy(), column)

    def _equals_torch(self, cut: int) -> bool:
        generator = torch.Generator().manual_seed(0)
        for frames in PROBED_FRAMES:
            shape = (frames, self._filters.shape[1])
            spectrum = torch.randn(shape, dtype=torch.complex64, generator=generator)
            spectrum *= 10.0 ** (4 - 12 * torch.rand(shape, dtype=torch.float32, generator=generator))
            spectrum[:2] = 0
            expected = self._filters @ (spectrum.abs() ** 2).T
            found = torch.empty_like(expected)
            self._run(spectrum, found, 0, cut)
            if not torch.equal(found, expected):
                return False
        return True


def _compiled(function: Callable[..., None]) -> Any:
    options: dict[str, Any] = {"error_model": "numpy", "nogil": True}
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError:  # nowhere to keep what is compiled: every process takes a second for it
        return numba.njit(function, **options)


# Numba's decorators have no types of their own.
_inlined: Callable[[Callable[..., Any]], Any] = numba.njit(error_model="numpy", inline="always")
_intrinsic: Callable[[Callable[..., Any]], Any] = intrinsic


@_intrinsic
def _fma(_: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``, rounded once."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


@_inlined
def _magnitude(real: np.float32, imaginary: np.float32) -> np.float32:
    """Length of a complex number, as SLEEF's ``hypotf`` of 0.5 ULP computes it, which torch uses.

    ``longer * sqrt(1 + (shorter / longer) ** 2)`` in pairs of float32: a number and what its rounding left out.
    """
    shorter, longer = min(abs(real), abs(imaginary)), max(abs(real), abs(imaginary))
    n, d = (shorter * _SCALE, longer * _SCALE) if longer < _MIN_NORMAL else (shorter, longer)
    # ratio = n / d
    inverse = _ONE / d
    ratio = n * inverse
    ratio_rest = _fma(ratio, _fma(-d, inverse, _ONE), _fma(inverse, n, -ratio))
    # total = ratio ** 2 + 1
    square = ratio * ratio
    square_rest = _fma(ratio + ratio, ratio_rest, _fma(ratio, ratio, -square))
    total = square + _ONE
    part = total - square
    total_rest = ((square - (total - part)) + (_ONE - part)) + square_rest
    # root = (total + guess ** 2) / guess / 2, a step of Newton's method
    guess = np.sqrt(total + total_rest)
    square = guess * guess
    square_rest = _fma(guess, guess, -square)
    both = total + square
    part = both - total
    both_rest = ((total - (both - part)) + (square - part)) + (total_rest + square_rest)
    inverse = _ONE / guess
    inverse_rest = inverse * _fma(-guess, inverse, _ONE)
    root = both * inverse
    root_rest = _fma(both, inverse_rest, _fma(both_rest, inverse, _fma(both, inverse, -root)))
    root, root_rest = root * _HALF, root_rest * _HALF
    # length = root * longer
    length = root * longer
    length_rest = _fma(root_rest, longer, _fma(root, longer, -length))
    return longer if shorter == 0 else length + length_rest


@_compiled
def _mel_power(spectrum: Any, filters: Any, spans: Any, cut: int, out: Any, column: int) -> None:
    """See `MelPower`; ``spectrum`` has shape (frames, 2 * bins), real and imaginary parts in turn.

    ``spans`` (n_mels, 2) are the bins of each filter; those from ``cut`` on are summed apart.
    """
    frames, bins = len(spectrum), filters.shape[1]
    power = np.zeros(FRAMES_TURNED * bins, np.float32)
    by_bin = np.empty((bins, FRAMES_IN_CACHE), np.float32)
    upper = np.empty(FRAMES_IN_CACHE, np.float32)
    for first in range(0, frames, FRAMES_IN_CACHE):
        count = min(FRAMES_IN_CACHE, frames - first)
        for group in range(0, count, FRAMES_TURNED):
            numbers = spectrum[first + group : first + min(count, group + FRAMES_TURNED)].reshape(-1)
            for index in range(len(numbers) // 2):
                magnitude = _magnitude(numbers[2 * index], numbers[2 * index + 1])
                power[index] = magnitude * magnitude
            for bin in range(bins):  # behind the last frame, what is turned is never used
                for frame in range(FRAMES_TURNED):
                    by_bin[bin, group + frame] = power[frame * bins + bin]
        for mel in range(len(filters)):
            start, end = spans[mel]
            sums = out[mel, column + first : column + first + count]
            sums[:] = 0
            _add(by_bin, filters[mel], start, min(cut, end), sums)
            if cut < end:
                upper[:count] = 0
                _add(by_bin, filters[mel], max(cut, start), end, upper[:count])
                for frame in range(count):
                    sums[frame] += upper[frame]


@_inlined
def _add(by_bin: Any, weights: Any, start: int, end: int, sums: Any) -> None:
    for bin in range(start, end):
        weight, powers = weights[bin], by_bin[bin]
        for frame in range(len(sums)):
            sums[frame] = _fma(weight, powers[frame], sums[frame])
