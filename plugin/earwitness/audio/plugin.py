"""The audio half of LLaMA-Factory's multimodal plugins, without the padding.

``register.py`` mixes ``ExactAudio`` into the host's Qwen2-Audio and Qwen-Omni plugins. SFT, preference stages,
predict, chat and API all go through these methods, so they all see the same features and token counts.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from earwitness.audio import features, lengths
from earwitness.audio.limits import Family, Overlong, overlong_policy
from earwitness.errors import UserError

AUDIO_PLACEHOLDER = "<audio>"


EXACT_PROCESSORS: dict[str, Family] = {
    "Qwen2AudioProcessor": "qwen2_audio",
    "Qwen2_5OmniProcessor": "qwen2_5_omni",
    "Qwen3OmniMoeProcessor": "qwen3_omni",
}
"""Class of a processor to the family of its models."""


def family_of(processor: Any) -> Family:
    """Tell the model family (``qwen2_audio``, ``qwen2_5_omni``, ``qwen3_omni``) from the processor's class."""
    name = type(processor).__name__
    if name not in EXACT_PROCESSORS:
        raise UserError(f"no exact audio path for a {name}; supported: {', '.join(EXACT_PROCESSORS)}")
    return EXACT_PROCESSORS[name]


def overlong_of(processor: Any) -> Overlong:
    """Tell what happens to clips beyond the model's limit: ``overlong_audio`` of the run, or `overlong_policy`.

    The host hands the run's settings to its plugins as attributes of the processor (``patch_processor``).
    """
    return getattr(processor, "overlong_audio", None) or overlong_policy()


class ExactAudio:
    """Mixin for a host plugin: header-only token counts, unpadded per-clip features, tokens checked against them."""

    audio_token: str | None
    expand_mm_tokens: bool

    def process_messages(
        self, messages: list[dict[str, str]], images: list, videos: list, audios: list, processor: Any
    ) -> list[dict[str, str]]:
        """Replace each ``<audio>`` by as many audio tokens as its clip has embeddings, read from the header alone."""
        if images or videos:
            return super().process_messages(messages, images, videos, audios, processor)  # type: ignore[misc]
        self._validate_input(processor, images, videos, audios)  # type: ignore[attr-defined]
        placeholders = sum(message["content"].count(AUDIO_PLACEHOLDER) for message in messages)
        if placeholders != len(audios):
            raise UserError(
                f"the prompt has {placeholders} {AUDIO_PLACEHOLDER} placeholders but {len(audios)} audios are given: "
                f"{_shorten(messages)}"
            )
        bos = getattr(self, "audio_bos_token", None) or processor.audio_bos_token
        eos = getattr(self, "audio_eos_token", None) or processor.audio_eos_token
        counts = iter(audio_tokens(audios, processor) if self.expand_mm_tokens else [1] * len(audios))
        messages = deepcopy(messages)
        for message in messages:
            pieces = message["content"].split(AUDIO_PLACEHOLDER)
            message["content"] = (
                pieces[0]
                + "".join(
                    f"{bos}{self.audio_token * next(counts)}{eos}{piece}"  # type: ignore[operator]
                    for piece in pieces[1:]
                )
            )
        return messages

    def get_mm_inputs(
        self,
        images: list,
        videos: list,
        audios: list,
        imglens: list[int],
        vidlens: list[int],
        audlens: list[int],
        batch_ids: list[list[int]],
        processor: Any,
    ) -> dict[str, Any]:
        """Build the model's inputs for a batch; see the host's ``BasePlugin.get_mm_inputs``.

        Raises:
            UserError: a sample's audio tokens differ from its clips' embeddings, which would shift every later clip
                without an error (the file changed after tokenisation, or the prompt was cut by ``cutoff_len``).
        """
        inputs = super().get_mm_inputs(  # type: ignore[misc]
            images, videos, audios, imglens, vidlens, audlens, batch_ids, processor
        )
        if audios:
            self._check_tokens(audios, audlens, batch_ids, inputs["feature_attention_mask"], processor)
        return inputs

    def _get_mm_inputs(self, images: list, videos: list, audios: list, processor: Any, *args: Any) -> dict[str, Any]:
        inputs = super()._get_mm_inputs(images, videos, [], processor, *args)  # type: ignore[misc]
        if audios:
            family, overlong = family_of(processor), overlong_of(processor)
            inputs.update(features.batch_features_of(audios, processor.feature_extractor, family, overlong))
        return inputs

    def _check_tokens(
        self, audios: list, audlens: list[int], batch_ids: list[list[int]], mask: Any, processor: Any
    ) -> None:
        token_id = processor.tokenizer.convert_tokens_to_ids(self.audio_token)
        family, first = family_of(processor), 0
        frames = mask.sum(-1).tolist()
        for ids, clips in zip(batch_ids, audlens, strict=True):
            tokens = list(ids).count(token_id)
            embeddings = sum(features.token_count(count, family) for count in frames[first : first + clips])
            if tokens != embeddings:
                names = ", ".join(lengths.name_of(audio) for audio in audios[first : first + clips])
                raise UserError(
                    f"{names}: the prompt holds {tokens} audio tokens but the clips give {embeddings} embeddings; "
                    "the files changed after tokenisation (set overwrite_cache: true) or cutoff_len cut the prompt"
                )
            first += clips


def audio_tokens(audios: list, processor: Any) -> list[int]:
    """Count the audio tokens of each clip from its header."""
    extractor, family, overlong = processor.feature_extractor, family_of(processor), overlong_of(processor)
    samples = (lengths.checked_samples(audio, extractor, family, overlong) for audio in audios)
    return [features.token_count(features.frame_count(count, extractor), family) for count in samples]


def _shorten(messages: list[dict[str, str]]) -> str:
    text = " ".join(message["content"] for message in messages)
    return repr(text if len(text) <= 160 else f"{text[:157]}...")
