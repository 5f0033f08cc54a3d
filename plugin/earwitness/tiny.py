"""Tiny judges with random weights: real architectures, a tokenizer of their own, a few hundred kilobytes.

They exist so that every path (training, inference, serving, export) can be run for real, offline and on a CPU. The
embedded default trains one of them into a judge that hears; see ``examples/judge/tiny_sft.yaml``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FAMILIES = ("qwen2_5_omni", "qwen2_audio", "qwen3_omni")

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Role of each token in the processor -> its text, as the published tokenizers of each family write it.
_QWEN2_5_TOKENS = {
    "image_token": "<|IMAGE|>",
    "audio_token": "<|AUDIO|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
_QWEN3_TOKENS = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
MEDIA_TOKENS = {"qwen2_5_omni": _QWEN2_5_TOKENS, "qwen2_audio": _QWEN2_5_TOKENS, "qwen3_omni": _QWEN3_TOKENS}

INIT_GAIN = 4.0
"""On the published deviation of initial weights, 0.02, which suits widths of thousands; a width of 96 needs more."""

MAX_SECONDS = {"qwen2_5_omni": 300, "qwen2_audio": 30, "qwen3_omni": 300}


@dataclass(frozen=True)
class TinyShape:
    """Sizes of a tiny judge. The default has about half a million parameters."""

    hidden: int = 96
    text_layers: int = 2
    text_heads: int = 4
    text_ffn: int = 256
    tower_hidden: int = 96
    tower_layers: int = 1
    tower_heads: int = 4
    tower_ffn: int = 256
    vocab: int = 640

    def __post_init__(self) -> None:
        for width, heads in ((self.hidden, self.text_heads), (self.tower_hidden, self.tower_heads)):
            if width % heads or (width // heads) % 2:
                raise UserError(f"a width of {width} does not divide into {heads} heads of even size")


def build_tiny(
    path: str | Path,
    family: str = "qwen2_5_omni",
    *,
    corpus: Iterable[str] = (),
    shape: TinyShape | None = None,
    seed: int = 0,
) -> Path:
    """Write a tiny judge (model, tokenizer, processor) that LLaMA-Factory and transformers load like a real one.

    Args:
        path: the folder to write. It appears whole or not at all; an existing one is replaced.
        family: one of ``FAMILIES``.
        corpus: texts for the byte-level BPE tokenizer; any other text still tokenizes, byte by byte.
        shape: sizes; ``TinyShape()`` by default.
        seed: of the random weights; equal arguments give equal files.

    Returns: ``path``.

    Raises:
        UserError: unknown family.
    """
    if family not in FAMILIES:
        raise UserError(f"unknown model family {family!r}; allowed: {', '.join(FAMILIES)}")
    path, shape = Path(path), shape or TinyShape()
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tokenizer = _tokenizer(corpus, family, shape.vocab)
    _processor(tokenizer, family).save_pretrained(partial)
    _model(tokenizer, family, shape, seed).save_pretrained(partial)
    if family == "qwen2_5_omni":
        _write_speakers(partial)
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)
    return path


def _tokenizer(corpus: Iterable[str], family: str, vocab: int) -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2TokenizerFast

    media = MEDIA_TOKENS[family]
    specials = [*SPECIAL_TOKENS, *media.values()]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(specials), initial_alphabet=alphabet, show_progress=False, min_frequency=1
    )
    bpe.train_from_iterator(corpus, trainer)
    state = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2TokenizerFast(
        vocab=state["vocab"],
        merges=[tuple(merge) for merge in state["merges"]],
        unk_token=None,
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=media,
    )
    # A dict of extra_special_tokens names the tokens without making ids of all of them (transformers 5.6).
    tokenizer.add_special_tokens({"additional_special_tokens": specials}, replace_extra_special_tokens=False)
    for token in specials:
        if len(tokenizer.encode(token)) != 1:
            raise AssertionError(f"{token} is not one token of the tiny tokenizer")
    return tokenizer


def _processor(tokenizer: Any, family: str) -> Any:
    import transformers

    extractor = transformers.WhisperFeatureExtractor(
        feature_size=128, sampling_rate=16000, hop_length=160, n_fft=400, chunk_length=MAX_SECONDS[family]
    )
    if family == "qwen2_audio":
        return transformers.Qwen2AudioProcessor(
            feature_extractor=extractor,
            tokenizer=tokenizer,
            audio_token=_QWEN2_5_TOKENS["audio_token"],
            audio_bos_token=_QWEN2_5_TOKENS["audio_bos_token"],
            audio_eos_token=_QWEN2_5_TOKENS["audio_eos_token"],
        )
    processors = {"qwen2_5_omni": "Qwen2_5OmniProcessor", "qwen3_omni": "Qwen3OmniMoeProcessor"}
    patch = _vision_patch(family)
    return getattr(transformers, processors[family])(
        image_processor=transformers.Qwen2VLImageProcessor(patch_size=patch),
        video_processor=transformers.Qwen2VLVideoProcessor(patch_size=patch),
        feature_extractor=extractor,
        tokenizer=tokenizer,
    )


def _vision_patch(family: str) -> int:
    return 16 if family == "qwen3_omni" else 14


def _model(tokenizer: Any, family: str, shape: TinyShape, seed: int) -> Any:
    import torch
    import transformers

    builder = {"qwen2_5_omni": _qwen2_5_omni, "qwen2_audio": _qwen2_audio, "qwen3_omni": _qwen3_omni}[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = builder(transformers, tokenizer, shape)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "visual" not in name:
                parameter.mul_(INIT_GAIN)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def _text(tokenizer: Any, shape: TinyShape) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.hidden,
        "intermediate_size": shape.text_ffn,
        "num_hidden_layers": shape.text_layers,
        "num_attention_heads": shape.text_heads,
        "num_key_value_heads": shape.text_heads,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    }


def _omni_text(tokenizer: Any, shape: TinyShape) -> dict[str, Any]:
    text = _text(tokenizer, shape)
    text["tie_word_embeddings"] = False  # as published; vLLM believes this entry, and would drop the trained head
    text["rope_parameters"]["mrope_section"] = _mrope_section(shape.hidden // shape.text_heads)
    return text


def _mrope_section(head_dim: int) -> list[int]:
    """Split the rotary half of a head among time, height and width: height and width 3/8 each, as published."""
    half = head_dim // 2
    side = half * 3 // 8
    return [half - 2 * side, side, side]


def _tower(shape: TinyShape) -> dict[str, Any]:
    return {
        "d_model": shape.tower_hidden,
        "encoder_layers": shape.tower_layers,
        "encoder_attention_heads": shape.tower_heads,
        "encoder_ffn_dim": shape.tower_ffn,
        "num_mel_bins": 128,
    }


def _media_ids(tokenizer: Any, family: str) -> dict[str, int]:
    names = {role: tokenizer.convert_tokens_to_ids(token) for role, token in MEDIA_TOKENS[family].items()}
    return {
        "audio_token_id": names["audio_token"],
        "image_token_id": names["image_token"],
        "video_token_id": names["video_token"],
        "audio_start_token_id": names["audio_bos_token"],
        "audio_end_token_id": names["audio_eos_token"],
        "vision_start_token_id": names["vision_bos_token"],
        "vision_end_token_id": names["vision_eos_token"],
    }


def _qwen2_5_omni(transformers: Any, tokenizer: Any, shape: TinyShape) -> Any:
    ids = _media_ids(tokenizer, "qwen2_5_omni")
    thinker = {
        "audio_config": {**_tower(shape), "output_dim": shape.hidden, "n_window": 100},
        "vision_config": {
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": shape.hidden,
            "fullatt_block_indexes": [0],
        },
        "text_config": _omni_text(tokenizer, shape),
        "audio_token_index": ids.pop("audio_token_id"),
        "image_token_index": ids.pop("image_token_id"),
        "video_token_index": ids.pop("video_token_id"),
        "pad_token_id": tokenizer.pad_token_id,
        **ids,
    }
    config = transformers.Qwen2_5OmniConfig(thinker_config=thinker, enable_audio_output=False)
    return transformers.Qwen2_5OmniForConditionalGeneration(config)


def _write_speakers(path: Path) -> None:
    """Qwen2.5-Omni reads its voices from ``spk_dict.pt`` even when it does not speak; a judge has none."""
    import torch

    torch.save({}, path / "spk_dict.pt")


def _qwen2_audio(transformers: Any, tokenizer: Any, shape: TinyShape) -> Any:
    config = transformers.Qwen2AudioConfig(
        audio_config={**_tower(shape), "max_source_positions": 1500},
        text_config={"model_type": "qwen2", **_text(tokenizer, shape)},
        audio_token_index=tokenizer.convert_tokens_to_ids(_QWEN2_5_TOKENS["audio_token"]),
    )
    return transformers.Qwen2AudioForConditionalGeneration(config)


def _qwen3_omni(transformers: Any, tokenizer: Any, shape: TinyShape) -> Any:
    text = {
        **_omni_text(tokenizer, shape),
        "head_dim": shape.hidden // shape.text_heads,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": shape.text_ffn // 4,
    }
    text["rope_parameters"]["mrope_interleaved"] = True
    thinker = {
        "audio_config": {
            **_tower(shape),
            "output_dim": shape.hidden,
            "n_window": 50,
            "n_window_infer": 400,
            "downsample_hidden_size": 32,
        },
        "vision_config": {
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": shape.hidden,
            "image_size": 64,
            "apply_vit_abs_pos_embed": True,  # as published; vLLM asks for it
            "patch_size": 16,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [],
        },
        "text_config": text,
        **_media_ids(tokenizer, "qwen3_omni"),
    }
    config = transformers.Qwen3OmniMoeConfig(thinker_config=thinker, enable_audio_output=False)
    return transformers.Qwen3OmniMoeForConditionalGeneration(config)
