"""Training a large judge: how long a step takes, and how long the GPU waits for audio, on the host's path and on ours.

    python benchmarks/audio_gpu.py [--shape 7b] [--seconds 5] [--batch 4] [--steps 20] [--workers 0 8] [--json FILE]

The model is a Qwen2.5-Omni thinker of the published shape with random weights in bfloat16 (15 GB of disk and 24 GB of
GPU for 7b), trained by LoRA. ``--shape tiny`` runs anywhere, on the CPU where there is no GPU. Each side and number of
dataloader workers is a process of its own; ``audio_training.py`` says how the idle share is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from audio import PROMPT, trained, write_pairs

SHAPES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "7b": (
        {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
        },
        {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120},
    ),
    "3b": (
        {
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "vocab_size": 151936,
        },
        {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120},
    ),
    "tiny": ({}, {}),
}
"""Sizes of the text model and of the audio tower, as in the published configurations."""


def build(folder: Path, shape: str) -> Path:
    """Write a thinker of this shape with random weights, and the tiny judge's tokenizer and processor."""
    from transformers import AutoConfig, Qwen2_5OmniForConditionalGeneration

    from earwitness.tiny import build_tiny

    path = build_tiny(folder / shape, corpus=[PROMPT] * 4)
    text, tower = SHAPES[shape]
    if not text:
        return path
    config = AutoConfig.from_pretrained(path)
    thinker = config.thinker_config
    head = text["hidden_size"] // text["num_attention_heads"]
    rope = thinker.text_config.rope_parameters | {"mrope_section": [head // 8, head * 3 // 16, head * 3 // 16]}
    layers = ["full_attention"] * text["num_hidden_layers"]
    for part, sizes in (
        (thinker.text_config, {**text, "rope_parameters": rope, "layer_types": layers}),
        (
            thinker.audio_config,
            {**tower, "num_hidden_layers": tower["encoder_layers"], "output_dim": text["hidden_size"]},
        ),
        (thinker.vision_config, {"out_hidden_size": text["hidden_size"]}),
    ):
        for name, value in sizes.items():
            setattr(part, name, value)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = Qwen2_5OmniForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(default)
    model.save_pretrained(path)
    return path


def main() -> None:
    """Run the benchmark; see the module's text."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shape", choices=SHAPES, default="7b", help="of the model (default 7b)")
    options.add_argument("--seconds", type=float, default=5, help="of a clip (default 5)")
    options.add_argument("--batch", type=int, default=4, help="pairs a step (default 4)")
    options.add_argument("--steps", type=int, default=20, help="a run (default 20)")
    options.add_argument("--workers", type=int, nargs="+", default=[0, 8], help="dataloader workers (default 0 and 8)")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = options.parse_args()

    gpu = torch.cuda.is_available()
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "shape": arguments.shape,
        "seconds": arguments.seconds,
        "batch": arguments.batch,
        "runs": {},
    }
    print(f"{result['device']}, {arguments.shape}, batches of {arguments.batch} pairs of {arguments.seconds:g} s, LoRA")
    print(f"{'side':>5} {'workers':>8} {'tokenised, s':>13} {'step, s':>9} {'idle, %':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = build(folder, arguments.shape)
        write_pairs(folder, arguments.seconds, arguments.batch * arguments.steps)
        for workers in arguments.workers:
            for side in ("ours", "host"):
                figures = trained(
                    side,
                    folder,
                    {
                        "model_name_or_path": str(model),
                        "finetuning_type": "lora",
                        "lora_target": "all",
                        "per_device_train_batch_size": arguments.batch,
                        "max_steps": arguments.steps,
                        "dataloader_num_workers": workers,
                        "bf16": gpu,
                        "use_cpu": not gpu,
                    },
                )
                result["runs"][f"{side}-{workers}"] = figures
                print(
                    f"{side:>5} {workers:>8} {figures['tokenize_seconds']:>13.1f} "
                    f"{figures['warm_step_seconds']:>9.3f} {100 * figures['idle_share']:>8.1f}",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
