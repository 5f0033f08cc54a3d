"""What engines share that run a model folder on this machine: files, prompts, lengths, identity."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError
from earwitness.infer.engine import Item
from earwitness.infer.manifest import hash_of, model_hash
from earwitness.infer.model import TEMPLATES, ModelFiles
from earwitness.infer.options import Decoding

if TYPE_CHECKING:
    import numpy as np

    from earwitness.infer.menu import Menu
    from earwitness.infer.prompting import HostPrompts

_TOKEN_BYTES = 3
"""Bytes of prompt text for one token, roughly; orders items by cost, decides nothing."""
KEPT_COUNTS = 100_000
"""Clips whose number of tokens is remembered; a run over millions reads the header of the others again."""


class LocalEngine:
    """A model folder and the prompts it is asked with.

    Attributes:
        files: what is loaded.
        decoding: how it answers.
        template: the host's chat template.
        sources: clip name to what ``read_audio`` reads, for clips that are not files of that name.
    """

    name = "local"

    def __init__(self, files: ModelFiles, decoding: Decoding, template: str | None = None) -> None:
        """Name what is asked; nothing is loaded yet.

        Args:
            files: from ``find_model``.
            decoding: how to answer.
            template: the host's chat template; that of the model's family by default.
        """
        self.files, self.decoding = files, decoding
        self.template = template or TEMPLATES[files.family]
        self.sources: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._menus: dict[tuple[tuple[str, str], ...], Menu] = {}

    @cached_property
    def prompts(self) -> HostPrompts:
        """Tokenizer, processor and template."""
        from earwitness.infer.prompting import HostPrompts

        folder = self.files.path if (self.files.path / "tokenizer_config.json").is_file() else self.files.weights
        return HostPrompts(folder, self.template)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the folders that decide the verdicts."""
        return hash_of(model_hash(folder) for folder in self.files.folders)

    def label(self) -> dict[str, str]:
        """See ``Engine``."""
        return {"engine": self.name, "path": str(self.files.path), "sha256": self.fingerprint[:16]}

    def size(self, item: Item) -> int:
        """See ``Engine``; reads the headers of the clips."""
        audio = sum(self._count(path) for path in item.shown.audios)
        bound = self._around + audio + len(item.shown.prompt.encode())
        limit = self._context - (1 if self.decoding.verdict_only else self.decoding.max_new_tokens)
        if bound > limit and (tokens := len(self._ids(item))) > limit:
            raise UserError(
                f"the prompt takes {tokens} tokens ({audio} of them audio), the model has room for {limit} beside the "
                "answer; shorten the clips or the text, or lower --max-new-tokens"
            )
        return audio + (bound - audio) // _TOKEN_BYTES

    @cached_property
    def _around(self) -> int:
        """Tokens that the chat template puts around a prompt."""
        return len(self.prompts.encode("", []))

    @cached_property
    def _context(self) -> int:
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(self.files.weights).get_text_config().max_position_embeddings

    def _count(self, path: str) -> int:
        if path not in self._counts:
            from earwitness.audio.plugin import audio_tokens

            if len(self._counts) == KEPT_COUNTS:
                self._counts.pop(next(iter(self._counts)))

            self._counts[path] = audio_tokens([self._source(path)], self.prompts.processor)[0]
        return self._counts[path]

    def _source(self, clip: str) -> Any:
        return self.sources.get(clip, clip)

    def _ids(self, item: Item) -> np.ndarray:
        return self.prompts.encode(item.shown.prompt, [self._source(clip) for clip in item.shown.audios])

    def _menu(self, labels: Mapping[str, str]) -> Menu:
        from earwitness.infer.menu import Menu

        key = tuple(labels.items())
        if key not in self._menus:
            encode = self.prompts.tokenizer.encode
            self._menus[key] = Menu({name: encode(text, add_special_tokens=False) for name, text in key})
        return self._menus[key]
