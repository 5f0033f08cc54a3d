"""What a run was made of, so that a run folder never mixes two models, data sets or settings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from earwitness import __version__
from earwitness.errors import UserError
from earwitness.files import write_json

_HASHED_ENDINGS = (".safetensors", ".bin", ".pt", ".json", ".jinja", ".txt", ".model")
_REMEMBER_ABOVE = 1 << 24
"""Files of more bytes than this are hashed once; later runs trust name, size and modification time."""
_PACKAGES = ("llamafactory", "transformers", "torch", "peft", "numpy", "soundfile", "soxr")


def model_hash(folder: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of the contents of a model folder's own files (weights, configuration, tokenizer).

    Training leftovers (optimizer states, checkpoints in sub-folders, logs) do not count. The hash of a large file is
    kept in ``$EARWITNESS_CACHE_DIR/fingerprints.json`` under its path, size, modification time and inode.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        if path.is_file() and path.suffix in _HASHED_ENDINGS and not _leftover(path.name):
            digest.update(f"{path.name}\0{_file_hash(path)}\0".encode())
    return digest.hexdigest()


def _leftover(name: str) -> bool:
    return name.startswith(
        ("optimizer", "scheduler", "rng_state", "trainer_", "training_", "all_results", "train_")
    ) or (name.endswith("_results.json"))


def _file_hash(path: Path) -> str:
    status = path.stat()
    if status.st_size <= _REMEMBER_ABOVE:
        return _digest(path)
    key = f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
    memory = cache_dir() / "fingerprints.json"
    try:
        known: dict[str, str] = json.loads(memory.read_text())
    except (OSError, ValueError):
        known = {}
    if key not in known:
        known[key] = _digest(path)
        write_json(memory, known)
    return known[key]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """Return the folder for things that can be made again: ``EARWITNESS_CACHE_DIR``, else the user's cache folder."""
    base = os.environ.get("EARWITNESS_CACHE_DIR")
    if base:
        return Path(base).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earwitness"


def clip_state(path: str | os.PathLike[str]) -> str:
    """Return size and modification time of a clip, by which a changed clip is told; ``absent`` when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return "absent"
    return f"{status.st_size}:{status.st_mtime_ns}"


def hash_of(values: Iterable[Any]) -> str:
    """Return the SHA-256 of a sequence of JSON values."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False).encode() + b"\n")
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide a verdict's last digits."""
    found = {"earwitness": __version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def check_manifest(path: str | os.PathLike[str], wanted: dict[str, Any]) -> None:
    """Write the manifest of a new run, or compare it with that of the run that lies there.

    Args:
        path: the manifest file.
        wanted: what this run is made of: names to JSON values; nested objects are compared entry by entry.

    Raises:
        UserError: the run that lies there was made of something else; the message names every difference.
    """
    path = Path(path)
    if not path.exists():
        write_json(path, wanted)
        return
    try:
        present = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{path}: not a manifest; start anew with --overwrite") from None
    differences = [
        f"{name}: {_short(there)} -> {_short(here)}"
        for name, there, here in _differences(present, json.loads(json.dumps(wanted)))
    ]
    if differences:
        raise UserError(
            f"{path.parent}: holds a run made of something else ({'; '.join(differences)}); choose another OUT "
            "or start anew with --overwrite"
        )


def _differences(there: Any, here: Any, name: str = "") -> Iterable[tuple[str, Any, Any]]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            yield from _differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
    elif there != here:
        yield name, there, here


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:16]}..."
