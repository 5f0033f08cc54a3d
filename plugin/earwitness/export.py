"""Trained judges as folders that other tools load: the thinker back inside its full Omni model, adapters merged.

LLaMA-Factory trains the thinker of an Omni model and saves it alone; vLLM, transformers' full classes and the talker
want the published layout. Tensors are exchanged file by file, so a model never has to fit into memory twice, and
whatever is not the thinker's stays bit for bit.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError

if TYPE_CHECKING:
    import torch

    from earwitness.infer.model import ModelFiles

THINKER = "thinker."
"""What the names of the thinker's tensors begin with in a full Omni model."""

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = ("float32", "bfloat16", "float16")


@dataclass
class Exported:
    """What was written.

    Attributes:
        folder: the full model.
        replaced: tensors of the judge.
        kept: tensors of the full model that are not the thinker's.
        dtype: of the judge's floating-point tensors.
    """

    folder: Path
    replaced: int = 0
    kept: int = 0
    dtype: str = ""
    _kinds: set[str] = field(default_factory=set, repr=False)


def export_judge(
    judge: str,
    out: str | Path,
    *,
    full_model: str | None = None,
    base_model: str | None = None,
    dtype: str | None = None,
) -> Exported:
    """Write a judge as a full model.

    Args:
        judge: a thinker-only checkpoint, or a LoRA adapter of any family.
        out: folder to write; must not exist. It appears whole or not at all.
        full_model: the full Omni model that gets the thinker; for an adapter by default the model under it.
        base_model: the model under an adapter that does not name it.
        dtype: one of ``DTYPES`` for the judge's tensors; as they were saved by default.

    Raises:
        UserError: the folders are not what is needed, or their tensors do not fit each other.
    """
    from earwitness.infer.model import find_model

    out = Path(out)
    if dtype not in (None, *DTYPES):
        raise UserError(f"unknown dtype {dtype!r}; allowed: {', '.join(DTYPES)}")
    if out.exists():
        raise UserError(f"{out}: exists already; choose a folder that does not")
    files = find_model(judge, base_model)
    target = _target(files, full_model)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with _own_weights(files, partial / "judge") as weights:
            done = _write(weights, target, partial / "model", "" if files.family == "qwen2_audio" else THINKER, dtype)
        (partial / "model").rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    done.folder = out
    return done


def _target(files: ModelFiles, full_model: str | None) -> Path:
    """Return the folder of the model that the judge's tensors go into."""
    from earwitness.infer.model import find_model

    if files.adapter is None and files.full:
        raise UserError(f"{files.path}: is a full model already; it needs no export")
    if full_model is None:
        if files.full:
            return files.weights
        raise UserError(
            f"{files.weights}: holds a thinker alone; name the full model that it was trained from with --full-model"
        )
    target = find_model(full_model)
    if target.family != files.family or not target.full or target.adapter is not None:
        raise UserError(f"{full_model}: is no full {files.family} model; give the one that training started from")
    return target.weights


@contextmanager
def _own_weights(files: ModelFiles, scratch: Path) -> Iterator[Path]:
    """Yield a folder with the judge's own tensors, the adapter merged into them."""
    if files.adapter is None:
        yield files.weights
        return
    import transformers
    from peft import PeftModel

    network = getattr(transformers, files.class_name).from_pretrained(files.weights, dtype="auto")
    PeftModel.from_pretrained(network, str(files.adapter)).merge_and_unload().save_pretrained(scratch)
    yield scratch


def _write(weights: Path, target: Path, out: Path, prefix: str, dtype: str | None) -> Exported:
    from safetensors import safe_open
    from safetensors.torch import save_file

    mine = {prefix + name: file for name, file in _tensors(weights).items()}
    theirs = _tensors(target)
    _check_names(mine, theirs, weights, target, prefix)
    _copy_others(target, out, set(theirs.values()))
    done, size = Exported(out), 0
    for file in sorted(set(theirs.values())):
        shard: dict[str, torch.Tensor] = {}
        with safe_open(target / file, framework="pt") as source:
            for name in (name for name, place in theirs.items() if place == file):
                tensor = source.get_tensor(name)
                if name in mine:
                    tensor = _judges(weights / mine[name], name, prefix, tensor, dtype, done)
                    done.replaced += 1
                else:
                    done.kept += 1
                shard[name] = tensor.contiguous()
                size += tensor.nbytes
        save_file(shard, out / file, metadata={"format": "pt"})
    if (out / INDEX).exists():
        index = json.loads((out / INDEX).read_text(encoding="utf-8"))
        index["metadata"] = {**index.get("metadata", {}), "total_size": size}
        (out / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    # One dtype in config.json decides what all tensors are loaded as: the widest of the judge's, so none is rounded.
    done.dtype = next(kind for kind in DTYPES if kind in done._kinds)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    config = _with_dtype(config, done.dtype)
    for part in (config, config.get("thinker_config")):
        if part is not None:  # the thinker's classes read its part alone
            part.pop("torch_dtype", None)
            part["dtype"] = done.dtype
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return done


def _tensors(folder: Path) -> dict[str, str]:
    """Map each tensor of a model folder to the file that holds it."""
    from safetensors import safe_open

    if (folder / INDEX).is_file():
        found: dict[str, str] = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        return found
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder}: holds no {WEIGHTS} and no {INDEX}; only safetensors are exported")
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        return dict.fromkeys(file.keys(), WEIGHTS)


def _check_names(mine: Mapping[str, str], theirs: Mapping[str, str], weights: Path, target: Path, prefix: str) -> None:
    unknown = sorted(set(mine) - set(theirs))
    absent = sorted(name for name in theirs if name.startswith(prefix) and name not in mine)
    for names, has, lacks in ((unknown, weights, target), (absent, target, weights)):
        if names:
            raise UserError(
                f"{has}: {len(names)} tensors are not in {lacks}, {names[0]} first; was the judge trained "
                "from this model?"
            )


def _copy_others(target: Path, out: Path, weights: set[str]) -> None:
    out.mkdir()
    for path in target.iterdir():
        if path.is_file() and path.name not in weights:
            shutil.copyfile(path, out / path.name)


def _judges(
    file: Path, name: str, prefix: str, original: torch.Tensor, dtype: str | None, done: Exported
) -> torch.Tensor:
    import torch
    from safetensors import safe_open

    with safe_open(file, framework="pt") as source:
        tensor: torch.Tensor = source.get_tensor(name.removeprefix(prefix))
    if tensor.shape != original.shape:
        raise UserError(
            f"{file}: {name} has shape {list(tensor.shape)}, but {list(original.shape)} in the full model; export to "
            "the model that training started from"
        )
    if tensor.is_floating_point():
        tensor = tensor if dtype is None else tensor.to(getattr(torch, dtype))
        done._kinds.add(str(tensor.dtype).removeprefix("torch."))
    return tensor


def _with_dtype(config: Any, dtype: str) -> Any:
    if not isinstance(config, dict):
        return config
    return {
        key: dtype if key in ("dtype", "torch_dtype") and isinstance(value, str) else _with_dtype(value, dtype)
        for key, value in config.items()
    }
