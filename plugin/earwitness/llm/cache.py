"""Replies on disk, one file each, found by the hash of the request."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from earwitness.errors import UserError
from earwitness.llm.chat import Reply


class RequestCache:
    """A folder of replies, ``ab/abcdef....json``, which many processes may read and write at once.

    A file is written beside its place and renamed into it, so a killed process leaves it whole or absent. A file that
    cannot be read as a reply (the machine lost power, a disk fault) counts as absent and is replaced. Requests are
    not stored, only their hashes: the folder holds no prompt and no key.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.folder}: cannot hold the request cache: {error.strerror}") from None

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> Reply | None:
        """The reply stored under ``key``, marked as cached, or None."""
        try:
            entry = json.loads(self._path(key).read_bytes())
            return Reply(
                text=str(entry["text"]),
                model=str(entry["model"]),
                prompt_tokens=int(entry["prompt_tokens"]),
                completion_tokens=int(entry["completion_tokens"]),
                logprobs=entry["logprobs"],
                attempts=0,
                cached=True,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, reply: Reply) -> None:
        """Store a reply.

        Raises:
            UserError: the disk refuses it (full, read-only); the message names the folder.
        """
        names = ("text", "model", "prompt_tokens", "completion_tokens", "logprobs")
        entry = {name: getattr(reply, name) for name in names}
        path = self._path(key)
        try:
            path.parent.mkdir(exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(entry, file)
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise UserError(f"{self.folder}: cannot write the request cache: {error.strerror}") from None

    def drop(self, key: str) -> None:
        """Remove the reply stored under ``key``, if there is one."""
        self._path(key).unlink(missing_ok=True)
