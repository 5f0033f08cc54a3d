"""Clips that are inside a file of rows: written out, named by their content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from earwitness.data.converters.item import Audio
from earwitness.errors import RowError
from earwitness.files import atomic_write

_SOUNDS = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff\xfb": ".mp3", b"\xff\xf3": ".mp3"}


def extract(audio: Audio, folder: str | os.PathLike[str]) -> Path | None:
    """Write an embedded clip, if it is one; processes that write the same clip do not disturb each other.

    Args:
        audio: a path, or ``{"bytes", "path"}``.
        folder: where clips go, as ``<20 digits of SHA-256><ending>``.

    Returns:
        Where the clip lies; None for a path, which is left alone.

    Raises:
        RowError: the bytes are of no format known here.
    """
    if isinstance(audio, str):
        return None
    content = audio["bytes"]
    ending = next((ending for magic, ending in _SOUNDS.items() if content.startswith(magic)), None)
    if ending is None:
        raise RowError(f"the embedded clip begins with {content[:4]!r}; allowed: wav, flac, ogg, mp3", content[:4])
    path = Path(folder, f"{hashlib.sha256(content).hexdigest()[:20]}{ending}")
    if not path.exists():
        with atomic_write(path, "wb") as file:
            file.write(content)
    return path
