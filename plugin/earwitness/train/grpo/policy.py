"""The policy's forward passes: clips heard once, logits where they are needed, one code for every family.

Two hooks make every family alike: the clips' embeddings replace those of the audio tokens as the token embeddings
leave their layer, and hidden states are cut to the completion as they enter the output head (the Omni thinkers have
no ``logits_to_keep``). All of it runs inside the wrapped model's forward, as DDP and DeepSpeed require.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from earwitness.audio.features import batch_features_of
from earwitness.audio.limits import Family, token_count
from earwitness.infer.model import JudgeModel

_EARS = ("audio_tower", "multi_modal_projector")
"""Modules that turn a clip into embeddings."""


class Policy(JudgeModel):
    """A network in training, driven like a judge: sampling shares the code of inference."""

    def __init__(self, network: Any, family: Family, extractor: Any) -> None:
        """Take the bare network: without DDP, DeepSpeed or PEFT around it.

        Args:
            network: Qwen2-Audio, or the thinker of an Omni model.
            family: of the network.
            extractor: its feature extractor.
        """
        text = network.language_model if family == "qwen2_audio" else network
        self.family = family
        self.extractor = extractor
        self._network, self._text, self._head = network, text.model, text.lm_head
        self.audio_token_id = network.config.audio_token_id
        self.context = network.config.get_text_config().max_position_embeddings
        self.vocabulary = network.config.get_text_config().vocab_size

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where it runs; DeepSpeed moves a network after it was made."""
        return self._network.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the audio tower's weights, which its input must match; some may be quantised."""
        kinds = (parameter.dtype for parameter in self._network.audio_tower.parameters())
        return next(kind for kind in kinds if kind.is_floating_point)

    @property
    def learns_to_hear(self) -> bool:
        """Whether training changes what the network hears."""
        return any(parameter.requires_grad for name in _EARS for parameter in self._parameters_of(name))

    def _parameters_of(self, name: str) -> Iterable[torch.nn.Parameter]:
        module = getattr(self._network, name, None)
        return () if module is None else module.parameters()

    def freeze_unused(self) -> None:
        """Freeze what no clip ever reaches: vision, and the tower's unused token. DDP would wait for its gradients."""
        for name, parameter in self._network.named_parameters():
            if name.startswith("visual.") or "audio_bos_eos_token" in name:
                parameter.requires_grad_(False)

    def embed_clips(self, paths: Sequence[str]) -> list[torch.Tensor]:
        """Run the tower once on all clips together, with gradient where it learns.

        Returns: (tokens, hidden) a clip.
        """
        with torch.autocast("cpu", enabled=False):  # features are exact whatever the network computes in
            # What a clip that is too long means was settled when its prompt was encoded.
            batch = batch_features_of(paths, self.extractor, self.family, "truncate")
        features = batch["input_features"].to(self.device, self.dtype)
        mask = batch["feature_attention_mask"].to(self.device)
        counts = [token_count(frames, self.family) for frames in mask.sum(-1).tolist()]
        if self.family == "qwen2_audio":
            hidden = self._hear_qwen2_audio(features, mask)
        else:
            hidden = self._network.get_audio_features(features, feature_attention_mask=mask).last_hidden_state
        return list(hidden.split(counts))

    def _hear_qwen2_audio(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        from transformers.masking_utils import create_bidirectional_mask

        tower = self._network.audio_tower
        after_convolution, counts = tower._get_feat_extract_output_lengths(mask.sum(-1))
        length = (features.shape[-1] - 2) // 2 + 1
        valid = (torch.arange(length, device=self.device)[None] < after_convolution[:, None]).long()
        attention_mask = create_bidirectional_mask(
            config=tower.config, inputs_embeds=features.new_zeros(len(features), length, 1), attention_mask=valid
        )
        hidden = self._network.multi_modal_projector(tower(features, attention_mask=attention_mask).last_hidden_state)
        return hidden[torch.arange(hidden.shape[1], device=self.device)[None] < counts[:, None]]

    @contextmanager
    def hearing(self, clips: Callable[[], Sequence[torch.Tensor]], keep: int) -> Iterator[None]:
        """Within it, forward passes hear ``clips`` and return logits for the last ``keep`` tokens only.

        Args:
            clips: gives the embeddings of all clips of the batch in the order of their tokens; called in the forward.
            keep: tokens at the end of each row; logits are those that predict them.
        """

        def fill(_module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            places = inputs[0] == self.audio_token_id
            embeddings = torch.cat(list(clips()))
            if int(places.sum()) != len(embeddings):
                raise RuntimeError(f"{int(places.sum())} audio tokens, but the clips give {len(embeddings)} embeddings")
            return output.masked_scatter(places[..., None], embeddings.to(output.dtype))

        def cut(_module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return (inputs[0][:, -keep - 1 : -1], *inputs[1:])

        handles = (
            self._network.get_input_embeddings().register_forward_hook(fill),
            self._network.get_output_embeddings().register_forward_pre_hook(cut),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def token_logps(
        self,
        model: Any,
        ids: torch.Tensor,
        mask: torch.Tensor,
        keep: int,
        clips: Callable[[], Sequence[torch.Tensor]],
        temperature: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute log-probability and entropy (nats) of the last ``keep`` tokens of each row.

        Args:
            model: this network as training wraps it (DDP, DeepSpeed, PEFT).
            ids: (B, L) left-padded prompts followed by right-padded completions.
            mask: (B, L) 1 for tokens.
            keep: length of the completions.
            clips: see ``hearing``.
            temperature: that logits are divided by, as in sampling.

        Returns: (B, keep) with gradient; (B, keep) without.
        """
        from trl.trainer.utils import entropy_from_logits, selective_log_softmax

        positions = (mask.cumsum(1) - 1).clamp(min=0)
        if self.family != "qwen2_audio":  # time, height and width of the rotary position are equal without images
            positions = positions.expand(3, *positions.shape)
        with self.hearing(clips, keep):
            output = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
        logits = output.logits.float() / temperature
        logps = selective_log_softmax(logits, ids[:, -keep:])
        with torch.no_grad():
            return logps, entropy_from_logits(logits)


class ClipBank:
    """Embeddings of the clips in use, from one run of the tower a clip.

    Each clip is embedded alone, so what is kept does not depend on the batch. Keeping ends with ``fill``: it knows the
    clips of the new batch, and with a tower that learns the old embeddings are out of date.
    """

    def __init__(self) -> None:
        self._kept: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def fill(self, policy: Policy, paths: Iterable[str], keep_known: bool) -> None:
        """Embed clips, and forget all others.

        Args:
            policy: who hears; under ZeRO-3 with its parameters gathered.
            paths: of the clips in use from now on.
            keep_known: whether embeddings that are there already still hold.
        """
        known = self._kept if keep_known else {}
        self._kept = {}
        for path in dict.fromkeys(paths):
            found = known.get(path)
            self._kept[path] = policy.embed_clips([path])[0] if found is None else found

    def __getitem__(self, path: str) -> torch.Tensor:
        return self._kept[path]
