"""What each model family makes of a clip's length: its tokens, how short or long it may be, and what then happens."""

from __future__ import annotations

import os
from typing import Any, Literal, get_args

from earwitness.errors import UserError

Family = Literal["qwen2_audio", "qwen2_5_omni", "qwen3_omni"]
Overlong = Literal["error", "skip", "truncate"]

MIN_SAMPLES: dict[Family, int] = {"qwen2_audio": 321, "qwen2_5_omni": 321, "qwen3_omni": 1}
"""Samples at 16 kHz; a shorter clip has no audio token, and the model fails or shifts later clips without a word."""


MAX_SECONDS: dict[Family, float] = {"qwen2_audio": 30.0, "qwen2_5_omni": 300.0, "qwen3_omni": 300.0}
"""Seconds that the released models' feature extractors take; where one is at hand, its ``n_samples`` counts."""

HOP_LENGTH = 160
"""Samples from one mel frame to the next: 10 ms at 16 kHz, the same in all families."""
QWEN3_CHUNK_FRAMES, QWEN3_CHUNK_TOKENS = 100, 13
"""Qwen3-Omni convolves chunks of 100 frames (1 s) into 13 tokens each."""


def token_count(frames: int, family: Family) -> int:
    """Return the number of audio tokens (= embeddings) of a clip of ``frames`` mel frames.

    Two convolutions of stride 2 (Qwen2-Audio, Qwen2.5-Omni; the second is a pooling), or three for Qwen3-Omni, chunk
    by chunk: `Qwen2AudioPlugin` and `Qwen2OmniPlugin` of LLaMA-Factory.
    """
    if family == "qwen3_omni":
        chunks, rest = divmod(frames, QWEN3_CHUNK_FRAMES)
        for _ in range(3):
            rest = (rest - 1) // 2 + 1
        return chunks * QWEN3_CHUNK_TOKENS + rest
    return max(0, ((frames - 1) // 2 + 1 - 2) // 2 + 1)


class ClipTooLongError(UserError):
    """A clip beyond the model's limit, apart from other mistakes so that callers can skip and count it."""


def overlong_policy() -> Overlong:
    """Return what ``EARWITNESS_OVERLONG`` says about clips beyond the model's limit: ``error`` if unset.

    ``error`` stops; ``truncate`` keeps the first ``n_samples``; ``skip`` raises `ClipTooLongError` here, as ``error``
    does, and whoever reads rows drops and counts the row.
    """
    policy: Any = os.environ.get("EARWITNESS_OVERLONG", "error")
    if policy not in get_args(Overlong):
        raise UserError(f"EARWITNESS_OVERLONG is {policy!r}; allowed: {', '.join(get_args(Overlong))}")
    return policy


def fit_samples(
    samples: int, feature_extractor: Any, family: Family, name: str, overlong: Overlong | None = None
) -> int:
    """Return how many of a clip's samples the model gets.

    Args:
        samples: of the clip, at the extractor's sampling rate.
        feature_extractor: its ``n_samples`` (300 s for Qwen2.5-Omni, 30 s for Qwen2-Audio) is the limit.
        family: of the model; tells the shortest clip.
        name: of the clip, for the message.
        overlong: see `overlong_policy`, the default.

    Raises:
        UserError: too short. ClipTooLongError: too long, and the policy is not ``truncate``.
    """
    if samples < MIN_SAMPLES[family]:
        raise UserError(
            f"{name}: {samples} samples at {feature_extractor.sampling_rate} Hz are too short; "
            f"a {family} model needs at least {MIN_SAMPLES[family]}"
        )
    limit = feature_extractor.n_samples
    if samples <= limit:
        return samples
    if (overlong or overlong_policy()) == "truncate":
        return limit
    rate = feature_extractor.sampling_rate
    raise ClipTooLongError(
        f"{name}: {samples / rate:.2f} s, but a {family} model with this feature extractor hears {limit / rate:g} s; "
        "cut the clip, or set overlong_audio to truncate or skip (outside training EARWITNESS_OVERLONG)"
    )
