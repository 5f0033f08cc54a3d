"""Folders as training leaves them, made of tiny models: thinkers, LoRA adapters, full models in several files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml
from safetensors.torch import load_file, save_file

from earwitness.infer.model import find_model

TALKER = "talker.codec_head.weight"


def full_model(tiny: Path, folder: Path) -> Path:
    """Copy a tiny model into two files of weights; an Omni one gets a tensor that is not the thinker's."""
    shutil.copytree(tiny, folder)
    tensors = load_file(folder / "model.safetensors")
    if find_model(str(tiny)).family != "qwen2_audio":
        tensors[TALKER] = torch.arange(6.0).reshape(2, 3)
    names = sorted(tensors)
    files = {
        name: f"model-0000{1 + (place * 2 >= len(names))}-of-00002.safetensors" for place, name in enumerate(names)
    }
    for file in set(files.values()):
        save_file({name: tensors[name] for name in names if files[name] == file}, folder / file, {"format": "pt"})
    (folder / "model.safetensors").unlink()
    index = {"metadata": {"total_size": 0}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def thinker(folder: Path) -> Any:
    """The network that is trained."""
    files = find_model(str(folder))
    return getattr(transformers, files.class_name).from_pretrained(files.weights, dtype="auto").eval()


def trained(network: Any, seed: int = 0) -> Any:
    """The network after training: every weight is another."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
    return network


def adapter(network: Any, folder: Path, base: str | None, scale: float = 0.05) -> Any:
    """Save a LoRA adapter of tower and text model, every weight another; return the network with the adapter on."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = get_peft_model(network, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "fc1"]))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, scale)
    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": base}))
    return model.eval()


def host(command: str, folder: Path, **settings: Any) -> Path:
    """Run ``llamafactory-cli train`` or ``export``; return the folder it writes."""
    config = folder / f"{command}.yaml"
    config.write_text(yaml.safe_dump(settings))
    environment = {**os.environ, "HF_DATASETS_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "llamafactory.cli", command, config],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Path(settings["output_dir" if command == "train" else "export_dir"])
