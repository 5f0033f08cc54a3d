"""Qwen3-Omni in vLLM with features of ours: in 0.22.1 its model takes them, and what reads its clips does not.

vLLM's tower cuts clips into seconds, pads all pieces to the longest, and hears the padding. A clip of a second or more
has a whole piece itself; what becomes of a shorter one depends on the clips beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.model_executor.models.qwen2_5_omni_thinker import Qwen2_5OmniThinkerProcessingInfo
from vllm.model_executor.models.qwen3_omni_moe_thinker import (
    Qwen3OmniMoeThinkerDummyInputsBuilder,
    Qwen3OmniMoeThinkerForConditionalGeneration,
    Qwen3OmniMoeThinkerMultiModalProcessor,
    Qwen3OmniMoeThinkerProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY


class _Info(Qwen3OmniMoeThinkerProcessingInfo):
    """Reads clips by the rules of Qwen2.5-Omni, whose fields the model has; vLLM's own go by those of Qwen2-Audio."""

    get_data_parser = Qwen2_5OmniThinkerProcessingInfo.get_data_parser


class _Processor(Qwen3OmniMoeThinkerMultiModalProcessor):
    def _call_hf_processor(
        self, prompt: str, mm_data: Mapping[str, Any], mm_kwargs: Mapping[str, Any], tok_kwargs: Mapping[str, Any]
    ) -> Any:
        """Process waveforms; features are processed already.

        vLLM asks for a text with places for them all the same, which transformers' processor of Qwen2.5-Omni leaves
        alone and that of Qwen3-Omni fails at.
        """
        return super()._call_hf_processor(prompt if mm_data else "", mm_data, mm_kwargs, tok_kwargs)


def accept_features() -> None:
    """Make the Qwen3-Omni models that this process starts in vLLM accept features."""
    MULTIMODAL_REGISTRY.register_processor(_Processor, info=_Info, dummy_inputs=Qwen3OmniMoeThinkerDummyInputsBuilder)(
        Qwen3OmniMoeThinkerForConditionalGeneration
    )
