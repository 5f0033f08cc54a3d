"""Prompts exactly as LLaMA-Factory encodes them for training: its template and its multimodal plugin, with our hooks.

The only module of inference that imports the host. Whatever the host does to a prompt in training it does here too, so
token ids are equal by construction; a test holds them against the host's own processor.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from earwitness.errors import UserError


class HostPrompts:
    """Tokenizer, processor and chat template of a model folder.

    Attributes:
        tokenizer: with the template's end-of-turn token as its end of sequence.
        processor: with the feature extractor.
        stop: ids that end an answer.
    """

    def __init__(self, folder: Path, template: str) -> None:
        """Load what stands in ``folder``.

        Raises:
            UserError: tokenizer or processor is missing, the template is unknown, or the hooks are switched off.
        """
        from earwitness import autoload

        autoload.activate()
        logging.getLogger("llamafactory").setLevel(logging.WARNING)
        from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
        from transformers import AutoProcessor, AutoTokenizer

        from earwitness.audio.plugin import ExactAudio

        if template not in TEMPLATES:
            raise UserError(
                f"unknown chat template {template!r}; for judges: qwen2_audio, qwen2_omni, qwen3_omni_nothink"
            )
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self.processor: Any = AutoProcessor.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder}: tokenizer or processor cannot be loaded: {str(error).strip().splitlines()[0]}"
            ) from None
        arguments = SimpleNamespace(
            template=template,
            train_on_prompt=False,
            tool_format=None,
            default_system=None,
            enable_thinking=True,
            preserve_thinking=False,
        )
        self._template = get_template_and_fix_tokenizer(self.tokenizer, arguments)
        if not isinstance(self._template.mm_plugin, ExactAudio):
            raise UserError(
                f"template {template!r} has no exact audio path here; use one of a supported family, and unset "
                "EARWITNESS_DISABLE if it is set"
            )
        ends = {*self._template.get_stop_token_ids(self.tokenizer), self.tokenizer.pad_token_id}
        self.stop: tuple[int, ...] = tuple(sorted(ends))

    def encode(self, prompt: str, audios: Sequence[Any], expand: bool = True) -> np.ndarray:
        """Encode a user message up to where the answer begins.

        Args:
            prompt: with one ``<audio>`` for each clip.
            audios: what ``read_audio`` reads; of files, only headers are looked at.
            expand: one audio token for each embedding; else one for each clip, for engines that expand it themselves.

        Returns: (tokens,) int64.
        """
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": ""}]
        plugin = copy(self._template.mm_plugin)
        plugin.expand_mm_tokens = expand
        expanded = plugin.process_messages(messages, [], [], list(audios), self.processor)
        ids, _ = self._template.encode_oneturn(self.tokenizer, expanded)
        return np.array(ids, dtype=np.int64)

    def forbidden(self, vocabulary: int) -> np.ndarray:
        """Tell which ids an answer may never hold: special tokens that do not end it, and ids without a token.

        Sampled audio or image tokens would be taken for clips by whoever reads the ids again.

        Returns: (vocabulary,) bool.
        """
        mask = np.zeros(vocabulary, dtype=bool)
        mask[len(self.tokenizer) :] = True
        special = [id_ for id_, token in self.tokenizer.added_tokens_decoder.items() if token.special]
        mask[[id_ for id_ in special if id_ < vocabulary]] = True
        mask[list(self.stop)] = False
        return mask

    def decode(self, ids: Sequence[int]) -> str:
        """Turn an answer's ids into text, special tokens left out."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
