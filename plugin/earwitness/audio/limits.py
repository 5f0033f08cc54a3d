"""How short and how long a clip each model family hears, and what happens to one that is longer."""

from __future__ import annotations

import os
from typing import Any, Literal, get_args

from earwitness.errors import UserError

Family = Literal["qwen2_audio", "qwen2_5_omni", "qwen3_omni"]
Overlong = Literal["error", "skip", "truncate"]

MIN_SAMPLES: dict[Family, int] = {"qwen2_audio": 321, "qwen2_5_omni": 321, "qwen3_omni": 1}
"""Samples at 16 kHz; a shorter clip has no audio token, and the model fails or shifts later clips without a word."""


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
        "cut the clip, or set EARWITNESS_OVERLONG=truncate or skip"
    )
