"""A tiny text LLM with the vocabulary of a tiny judge: it plays the expert where distillation runs without a GPU."""

from __future__ import annotations

import shutil
from pathlib import Path

from earwitness.tiny import TinyShape


def build_tiny_text(path: str | Path, judge: str | Path, *, shape: TinyShape | None = None, seed: int = 0) -> Path:
    """Write a Qwen2 with random weights and the tokenizer of ``judge``.

    Args:
        path: the folder to write; it appears whole or not at all, an existing one is replaced.
        judge: folder of a model of ``tiny.build_tiny``.
        shape: sizes of the text model; ``TinyShape()`` by default.
        seed: of the weights.

    Returns: ``path``.
    """
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    path, shape = Path(path), shape or TinyShape()
    tokenizer = AutoTokenizer.from_pretrained(judge)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.text_ffn,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        num_key_value_heads=shape.text_heads,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.08,  # 0.02 suits widths of thousands
    )
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        Qwen2ForCausalLM(config).save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(path, ignore_errors=True)
    return partial.rename(path)
