"""Loading a judge model as inference needs it: tower, text model and head, of every family and kind of folder."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import Cache

    from earwitness.audio.limits import Family

_CLASSES: dict[str, tuple[Family, str]] = {
    "qwen2_audio": ("qwen2_audio", "Qwen2AudioForConditionalGeneration"),
    "qwen2_5_omni": ("qwen2_5_omni", "Qwen2_5OmniThinkerForConditionalGeneration"),
    "qwen2_5_omni_thinker": ("qwen2_5_omni", "Qwen2_5OmniThinkerForConditionalGeneration"),
    "qwen3_omni_moe": ("qwen3_omni", "Qwen3OmniMoeThinkerForConditionalGeneration"),
    "qwen3_omni_moe_thinker": ("qwen3_omni", "Qwen3OmniMoeThinkerForConditionalGeneration"),
}
"""``model_type`` of config.json to family and transformers class. The thinker classes read full Omni folders too, and
leave the talker where it is."""

TEMPLATES = {"qwen2_audio": "qwen2_audio", "qwen2_5_omni": "qwen2_omni", "qwen3_omni": "qwen3_omni_nothink"}
"""The host's chat template of each family."""

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class ModelFiles:
    """Where a judge's files are.

    Attributes:
        path: the folder the user named.
        family: ``qwen2_audio``, ``qwen2_5_omni`` or ``qwen3_omni``.
        class_name: the transformers class that loads ``weights``.
        weights: the folder with the model's own weights; differs from ``path`` for an adapter.
        adapter: the LoRA adapter's folder, or None.
        full: whether ``weights`` holds the whole model; False for a thinker alone.
    """

    path: Path
    family: Family
    class_name: str
    weights: Path
    adapter: Path | None
    full: bool

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder whose content decides the verdicts."""
        return (self.weights,) if self.adapter is None else (self.weights, self.adapter)


def find_model(model: str, base_model: str | None = None) -> ModelFiles:
    """Tell what kind of folder ``model`` is.

    Args:
        model: a model folder (full model, thinker-only checkpoint), a LoRA adapter's folder, or a name on the Hugging
            Face hub.
        base_model: the model under the adapter, where the adapter does not name it.

    Raises:
        UserError: no such folder, no model in it, or a model of another family.
    """
    path = _folder(model)
    adapter = None
    weights = path
    if (path / "adapter_config.json").is_file():
        adapter = path
        named = base_model or _json(path / "adapter_config.json").get("base_model_name_or_path")
        if not named:
            raise UserError(f"{model}: a LoRA adapter that does not name its base model; give it with --base-model")
        weights = _folder(named)
    elif base_model is not None:
        raise UserError(f"{model}: --base-model is for LoRA adapters, but this folder has no adapter_config.json")
    if not (weights / "config.json").is_file():
        raise UserError(f"{weights}: no config.json and no adapter_config.json; give the folder of a trained model")
    kind = _json(weights / "config.json").get("model_type")
    if kind not in _CLASSES:
        raise UserError(f"{weights}: cannot judge with a {kind!r} model; allowed: {', '.join(_CLASSES)}")
    return ModelFiles(path, *_CLASSES[kind], weights, adapter, full=not kind.endswith("_thinker"))


def _folder(model: str) -> Path:
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(model))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{model}: neither a folder here nor a model that the hub gives ({reason})") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: broken JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: must hold a JSON object")
    return value


class JudgeModel:
    """A loaded judge: the parts that inference drives by itself.

    Attributes:
        family: see ``ModelFiles``.
        device: where it runs.
        dtype: of its weights.
        audio_token_id: the id that stands for one audio embedding in a prompt.
        context: the most tokens that prompt and answer may have together.
        vocabulary: rows of the output head.
    """

    _compiled: Any = None
    """The text model as ``torch.compile`` made it; None where it is not compiled."""

    def __init__(
        self,
        files: ModelFiles,
        device: str = "auto",
        dtype: str = "auto",
        tower_cache: str | None = None,
        compiled: bool = False,
    ) -> None:
        """Load weights, merge the adapter where there is one, and switch to inference.

        Args:
            files: from ``find_model``.
            device: ``auto`` takes a GPU where there is one; otherwise what torch understands (``cpu``, ``cuda:1``).
            dtype: one of ``DTYPES``; ``auto`` is the saved one on a GPU and float32 on a CPU.
            tower_cache: folder that keeps the audio tower's outputs (`earwitness.audio.tower_cache`).
            compiled: run the step that writes one token of each answer through ``torch.compile``.

        Raises:
            UserError: weights are missing from the folder, the device is not there, or there is no compiler.
        """
        import torch

        if dtype not in DTYPES:
            raise UserError(f"unknown dtype {dtype!r}; allowed: {', '.join(DTYPES)}")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise UserError(f"device {device!r} asked for, but torch sees no GPU; use --device cpu")
        if dtype == "auto" and device == "cpu":
            dtype = "float32"
        self.family = files.family
        self.device = torch.device(device)
        network = _load(files, dtype).to(self.device).eval().requires_grad_(False)
        if tower_cache is not None:
            from earwitness.audio.tower_cache import remember_tower_outputs

            remember_tower_outputs(network, tower_cache)
        self.dtype = network.dtype
        text = network.language_model if self.family == "qwen2_audio" else network
        self._network, self._text, self._head = network, text.model, text.lm_head
        self._compiled = _compile(self._text) if compiled else None
        config = network.config
        self.audio_token_id: int = config.audio_token_id
        self.context: int = config.get_text_config().max_position_embeddings
        self.vocabulary: int = self._head.weight.shape[0]

    def embed_clip(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run the audio tower on one clip.

        Args:
            features: (n_mels, T) log-mel, as ``earwitness.audio.batch_features`` gives for a batch of this one clip.
            mask: (T,) 1 where a frame is valid.

        Returns: (tokens, hidden) in the model's dtype.
        """
        features, mask = features[None].to(self.device, self.dtype), mask[None].to(self.device)
        if self.family != "qwen2_audio":
            return self._network.get_audio_features(features, feature_attention_mask=mask).last_hidden_state
        return self._embed_qwen2_audio(features, mask)

    def _embed_qwen2_audio(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        import torch
        from transformers.masking_utils import create_bidirectional_mask

        tower = self._network.audio_tower
        after_convolution, tokens = tower._get_feat_extract_output_lengths(mask.sum(-1))
        length = (features.shape[-1] - 2) // 2 + 1
        valid = (torch.arange(length, device=self.device)[None] < after_convolution[:, None]).long()
        attention_mask = create_bidirectional_mask(
            config=tower.config, inputs_embeds=features.new_zeros(1, length, 1), attention_mask=valid
        )
        hidden = self._network.multi_modal_projector(tower(features, attention_mask=attention_mask).last_hidden_state)
        return hidden[0, : int(tokens)]

    def embed_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """Embed token ids (B, L) as (B, L, hidden); audio tokens get their placeholder's embedding."""
        return self._network.get_input_embeddings()(ids)

    def hidden_states(
        self, embeddings: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor, cache: Cache
    ) -> torch.Tensor:
        """Run the text model on new tokens after those in the cache.

        Args:
            embeddings: (B, n, hidden) of the new tokens.
            mask: (B, cached + n) 1 for tokens, 0 for padding; None for plain causal attention over an empty cache.
            positions: (B, n) of the new tokens.
            cache: keys and values so far; extended in place.

        Returns: (B, n, hidden).
        """
        import torch

        if self.family != "qwen2_audio":  # time, height and width of the rotary position are equal without images
            positions = positions.expand(3, *positions.shape)
        text = self._text
        if self._compiled is not None and mask is not None and embeddings.shape[1] == 1:
            # The mask that the model makes of it is one that torch 2.11 writes broken C++ for.
            text, mask = self._compiled, (1 - mask)[:, None, None].to(self.dtype) * torch.finfo(self.dtype).min
        return text(
            inputs_embeds=embeddings, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Turn hidden states (..., hidden) into float32 logits (..., vocabulary)."""
        return self._head(hidden).float()


def _compile(text: Any) -> Any:
    """Wrap a text model so that torch compiles it on its first call, once for all lengths."""
    import torch

    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UserError(f"--compile needs a C++ compiler, and there is no {compiler!r}; install one or leave it out")
    return torch.compile(text, dynamic=True)


def _load(files: ModelFiles, dtype: str) -> Any:
    import transformers
    from transformers.utils.logging import disable_progress_bar

    from earwitness.audio.tower import use_exact_tower

    disable_progress_bar()
    model_class = getattr(transformers, files.class_name)
    try:
        network, info = model_class.from_pretrained(files.weights, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{files.weights}: the model cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    absent = sorted(info["missing_keys"]) + [str(name) for name in info["mismatched_keys"]]
    if absent:
        raise UserError(
            f"{files.weights}: {len(absent)} weights are missing or of another shape, {absent[0]} first; the folder is "
            "incomplete or of another model"
        )
    if files.adapter is not None:
        from peft import PeftModel

        network = PeftModel.from_pretrained(network, str(files.adapter)).merge_and_unload()
    use_exact_tower(network)
    _align(network)
    return network


def _align(network: Any) -> None:
    """Copy weights that lie in a mapped file to addresses that every allocation has.

    Matrix kernels on a CPU round differently at other alignments; equal weights in another file, or merged at another
    place, would give other last digits.
    """
    for parameter in network.parameters():
        if parameter.device.type == "cpu" and parameter.data_ptr() % 64:
            parameter.data = parameter.data.clone()
