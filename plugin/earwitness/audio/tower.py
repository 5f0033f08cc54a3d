"""Audio towers whose output for a clip does not depend on the clips beside it, and costs no more than it must.

Qwen2.5-Omni's tower builds one mask over all clips of a batch, which grows with the square of the batch. Qwen3-Omni's
drops that mask under SDPA and eager attention (transformers 5.6), so clips attend to each other, and its convolutions
see padding that depends on the longest clip. Both are set right here; FlashAttention-2 is left as it is.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as functional

TOWERS = ("Qwen2AudioEncoder", "Qwen2_5OmniAudioEncoder", "Qwen3OmniMoeAudioEncoder")
"""Classes of transformers that are audio towers of the supported families."""
BLOCK_ATTENTION = "earwitness_blocks"


def block_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    cu_seq_lens_q: torch.Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each block of a packed sequence: FlashAttention's variable-length attention on top of SDPA.

    Args:
        module: the calling attention layer (unused, part of transformers' interface).
        query: (1, heads, length, head size), all blocks one after the other.
        key: likewise.
        value: likewise.
        attention_mask: must be None; the blocks say who sees whom.
        cu_seq_lens_q: (blocks + 1,) where each block starts, and the total length.
        scaling: of the scores, 1/sqrt(head size) by default.
        dropout: of the attention weights.

    Returns: (1, length, heads, head size), None.
    """
    lengths = cu_seq_lens_q.diff()
    inside = torch.arange(int(lengths.max()), device=query.device) < lengths[:, None]

    def to_blocks(packed: torch.Tensor) -> torch.Tensor:
        blocks = packed.new_zeros(*inside.shape, packed.shape[1], packed.shape[3])
        blocks[inside] = packed[0].transpose(0, 1)
        return blocks.transpose(1, 2)

    output = functional.scaled_dot_product_attention(
        to_blocks(query),
        to_blocks(key),
        to_blocks(value),
        attn_mask=None if bool(inside.all()) else inside[:, None, None, :],
        dropout_p=dropout,
        scale=scaling,
    )
    return output.transpose(1, 2)[inside][None], None


def use_exact_tower(model: torch.nn.Module) -> None:
    """Switch the audio tower of a Qwen-Omni model (bare, adapter or full) to per-clip computation, in place.

    Does nothing for models without such a tower, or where FlashAttention is in use for Qwen2.5-Omni.
    """
    modules: list[Any] = list(model.modules())
    for module in modules:
        kind = type(module).__name__
        if kind not in TOWERS[1:]:
            continue
        if module.config._attn_implementation in ("sdpa", "eager"):
            _use_block_attention(module)
        if hasattr(module, "audio_bos_eos_token"):
            # No forward pass reads this embedding, and DDP waits for the gradient of every trainable parameter.
            module.audio_bos_eos_token.requires_grad_(False)
        if kind == "Qwen3OmniMoeAudioEncoder" and not hasattr(module, "_forward_all"):
            module._forward_all = module.forward
            module.forward = MethodType(_forward_clip_by_clip, module)


def _use_block_attention(tower: Any) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(BLOCK_ATTENTION, block_attention)
    tower.config._attn_implementation = BLOCK_ATTENTION
    tower._prepare_attention_mask = lambda *_args, **_kwargs: None


def _forward_clip_by_clip(
    tower: Any, input_features: torch.Tensor, feature_lens: torch.Tensor, aftercnn_lens: Any = None, **kwargs: Any
) -> Any:
    """Run the tower once a clip: what a clip gives alone is what it gives in any batch, bit for bit."""
    outputs = [
        tower._forward_all(clip, feature_lens=length[None], **kwargs)
        for clip, length in zip(input_features.split(feature_lens.tolist(), dim=1), feature_lens, strict=True)
    ]
    first = outputs[0]
    first.last_hidden_state = torch.cat([output.last_hidden_state for output in outputs])
    return first
