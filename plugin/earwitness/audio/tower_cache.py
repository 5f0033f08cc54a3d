"""Outputs of a frozen audio tower on disk: a clip is heard once by all epochs, runs and processes.

An output is named by what decides it: the clip's features, the tower's weights and how it computes. So another
checkpoint, extractor or precision finds nothing here, and what is found is what would be computed. Clips that are not
found go through the tower one at a time: what is stored does not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import xxhash

from earwitness.audio.cache import DISK_MB, ArrayStore
from earwitness.audio.tower import TOWERS
from earwitness.errors import UserError

__all__ = ["DISK_MB", "remember_tower_outputs"]

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Of outputs; a stored one carries its index. 16-bit floats are stored in pairs, as the bits of one float32."""


def remember_tower_outputs(model: torch.nn.Module, folder: str | Path, megabytes: int = DISK_MB) -> None:
    """Let the audio tower of a model keep its outputs under ``folder``, and find them there again.

    Args:
        model: Qwen2-Audio or Qwen-Omni (bare, adapter or full), after `earwitness.audio.tower.use_exact_tower`.
        folder: may be shared with other processes, models and the feature cache.
        megabytes: most that the outputs on disk take; the least recently used ones go.

    Raises:
        UserError: the model has no audio tower, or one whose outputs must not be kept; says why.
    """
    towers = [module for module in model.modules() if type(module).__name__ in TOWERS]
    if not towers:
        raise UserError(
            f"tower_cache_dir: a {type(model).__name__} has no audio tower whose outputs can be kept "
            f"({', '.join(TOWERS)}); remove it"
        )
    store = ArrayStore(Path(folder).expanduser() / "tower", megabytes * 2**20)
    for tower in towers:
        _refuse_changing(tower)
        if not isinstance(tower.forward, _RememberingForward):
            tower.forward = _RememberingForward(tower, store)


def _refuse_changing(tower: Any) -> None:
    from transformers.integrations import is_deepspeed_zero3_enabled
    from transformers.integrations.fsdp import is_fsdp_enabled

    named = list(tower.named_parameters())
    trained = [name for name, parameter in named if parameter.requires_grad]
    if trained:
        raise UserError(
            f"tower_cache_dir: the audio tower is trained ({len(trained)} of its {len(named)} tensors, {trained[0]} "
            "first), so its outputs change with every step; set freeze_vision_tower: true, name no module of the tower "
            "in additional_target or freeze_extra_modules, or remove tower_cache_dir"
        )
    dropout = {name: value for name in _DROPOUTS if (value := getattr(tower.config, name, 0.0))}
    reasons = (
        (any("lora_" in name for name, _ in named), "carries an adapter; merge it first (llamafactory-cli export)"),
        (any(not parameter.is_floating_point() for _, parameter in named), "is quantised; load it in 16 or 32 bits"),
        (bool(dropout), f"drops at random in training ({dropout}), so an output kept is not one it would give again"),
        (is_deepspeed_zero3_enabled() or is_fsdp_enabled(), "is split over processes, which would wait for each other"),
    )
    for applies, reason in reasons:
        if applies:
            raise UserError(f"tower_cache_dir: the audio tower {reason}; or remove tower_cache_dir")


_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop")


class _RememberingForward:
    """Stands in for the ``forward`` of a tower."""

    def __init__(self, tower: Any, store: ArrayStore) -> None:
        self._tower = tower
        self._store = store
        self._compute: Callable[..., Any] = tower.forward
        self._parameters = tuple(tower.parameters())
        self._digest = ""
        self._digested: Any = None  # the state of the weights that the digest is of

    def __call__(self, input_features: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if any(parameter.requires_grad for parameter in self._parameters):  # unfrozen since
            return self._compute(input_features, *args, **kwargs)
        hear = self._hear_padded if type(self._tower).__name__ == "Qwen2AudioEncoder" else self._hear_packed
        with torch.no_grad():
            return hear(input_features, *args, **kwargs)

    def _hear_packed(
        self, input_features: torch.Tensor, feature_lens: torch.Tensor, aftercnn_lens: Any = None, **kwargs: Any
    ) -> Any:
        """Qwen-Omni: clips (mel bands, frames) one after the other in, outputs (tokens, width) likewise out."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        clips = input_features.split(feature_lens.tolist(), dim=1)
        outputs = []
        for number, (clip, name) in enumerate(zip(clips, self._names(clips), strict=True)):
            lengths = {"feature_lens": feature_lens[number : number + 1]}
            if aftercnn_lens is not None:
                lengths["aftercnn_lens"] = aftercnn_lens[number : number + 1]
            outputs.append(self._recall(name, None, clip, **lengths, **kwargs))
        return BaseModelOutputWithPooling(last_hidden_state=torch.cat(outputs))

    def _hear_padded(self, input_features: torch.Tensor, attention_mask: Any = None, **kwargs: Any) -> Any:
        """Qwen2-Audio: clips (N, mel bands, 3000) in, outputs (N, 750, width) out; zeros behind a clip's own tokens."""
        from transformers.modeling_outputs import BaseModelOutput

        clips = input_features.split(1)
        outputs = []
        for number, (clip, name) in enumerate(zip(clips, self._names(clips), strict=True)):
            mask, tokens = None, None
            if attention_mask is not None:
                mask = attention_mask[number : number + 1]
                seen = mask == 0 if mask.is_floating_point() else mask.bool()
                tokens = (int(seen.flatten(0, -2).any(0).sum()) - 2) // 2 + 1
            outputs.append(self._recall(f"{name}-{tokens}", tokens, clip, mask, **kwargs))
        whole = outputs[0].new_zeros(len(outputs), self._tower.config.max_source_positions // 2, outputs[0].shape[1])
        for row, output in zip(whole, outputs, strict=True):
            row[: len(output)] = output
        return BaseModelOutput(last_hidden_state=whole)

    def _names(self, clips: Sequence[torch.Tensor]) -> list[str]:
        """Name the output for each clip; in the tower's precision, as it hears them: callers may give more digits."""
        settings = self._settings(clips[0].device)
        heard = (clip.detach().to("cpu", self._tower.dtype) for clip in clips)
        return [f"{xxhash.xxh3_128_hexdigest(_bytes(clip))}-{settings}" for clip in heard]

    def _settings(self, device: torch.device) -> str:
        """Name everything beside the clip that decides an output, to the last digit."""
        tower, kind = self._tower, device.type
        state = [(parameter.data_ptr(), parameter._version) for parameter in self._parameters]
        if state != self._digested:
            self._digest, self._digested = self._digest_weights(), state
        settings = (
            self._digest,
            kind,
            tower.dtype,
            torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None,
            torch.get_float32_matmul_precision(),
            torch.get_num_threads() if kind == "cpu" else torch.cuda.get_device_name(device) if kind == "cuda" else "",
            tower.config._attn_implementation,
            torch.__version__,
        )
        return xxhash.xxh3_64_hexdigest(repr(settings).encode())

    def _digest_weights(self) -> str:
        digest = xxhash.xxh3_128(type(self._tower).__name__.encode())
        for name, tensor in (*self._tower.named_parameters(), *self._tower.named_buffers()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(_bytes(tensor.detach().cpu()))
        sizes = {key: value for key, value in vars(self._tower.config).items() if isinstance(value, int | float)}
        digest.update(repr(sorted(sizes.items())).encode())
        return digest.hexdigest()

    def _recall(self, name: str, tokens: int | None, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the output (tokens, width) of that name, or compute it from these arguments of the tower."""
        found = self._store.get(name)
        if found is not None:
            bits, kind = found
            return torch.from_numpy(bits).view(_DTYPES[kind]).to(self._tower.device)
        output = self._compute(*args, **kwargs).last_hidden_state
        output = output.reshape(-1, output.shape[-1])[:tokens].contiguous()
        self._store.put(name, output.view(torch.float32).cpu().numpy(), _DTYPES.index(output.dtype))
        return output


def _bytes(tensor: torch.Tensor) -> Any:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy()
