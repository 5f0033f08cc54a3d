"""The engine that runs a model folder through transformers, on a GPU or a CPU."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError
from earwitness.infer.engine import Answer, Item
from earwitness.infer.local import LocalEngine
from earwitness.infer.model import JudgeModel, ModelFiles
from earwitness.infer.options import Decoding
from earwitness.infer.places import menu_of, menu_place
from earwitness.judges import parse

if TYPE_CHECKING:
    import numpy as np
    import torch

    from earwitness.infer.decode import Prompt, Sequences
    from earwitness.infer.menu import LabelShares, Menu

KEPT_CLIPS = 256
"""Clips whose tower output is kept: the other aspects and orders of a pair come right after."""


class HFEngine(LocalEngine):
    """A judge model in this process. Weights are loaded when the first batch comes, after all checks."""

    name = "hf"
    alone = False

    def __init__(
        self,
        files: ModelFiles,
        decoding: Decoding,
        *,
        template: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        tower_cache: str | None = None,
        compiled: bool = False,
    ) -> None:
        """Prepare a judge.

        Args:
            files: from ``find_model``.
            decoding: how to answer.
            template: the host's chat template; that of the model's family by default.
            device: see ``JudgeModel``.
            dtype: see ``JudgeModel``.
            tower_cache: see ``JudgeModel``.
            compiled: see ``JudgeModel``; answers are those of the plain model up to float noise.
        """
        super().__init__(files, decoding, template)
        self._device, self._dtype, self._tower_cache, self._compiled = device, dtype, tower_cache, compiled
        self._clips: OrderedDict[str, torch.Tensor] = OrderedDict()

    def with_decoding(self, decoding: Decoding) -> HFEngine:
        """Return an engine on the same loaded model that answers in another way."""
        _ = self.prompts, self.model, self._forbidden  # loaded here, so that the copy shares them
        engine = copy(self)
        engine.decoding = decoding
        return engine

    def forget(self, clip: str) -> None:
        """Forget what is known of a clip, because its file changed."""
        self._clips.pop(clip, None)
        self._counts.pop(clip, None)

    @cached_property
    def model(self) -> JudgeModel:
        """The loaded model."""
        return JudgeModel(self.files, self._device, self._dtype, self._tower_cache, self._compiled)

    @cached_property
    def _forbidden(self) -> torch.Tensor:
        import torch

        return torch.from_numpy(self.prompts.forbidden(self.model.vocabulary)).to(self.model.device)

    def describe(self) -> dict[str, Any]:
        """See ``Engine``."""
        import torch

        from earwitness.audio.limits import overlong_policy

        device = self._device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return {
            "name": self.name,
            "model": self.fingerprint,
            "template": self.template,
            "device": device.split(":")[0],
            "dtype": self._dtype,
            # Sums are split among threads, so their number shows in the last digits.
            "threads": torch.get_num_threads() if device == "cpu" else None,
            "overlong": overlong_policy(),
            **({"compiled": True} if self._compiled else {}),
        }

    def answer(self, batches: Iterable[tuple[int, Sequence[Item]]]) -> Iterator[tuple[int, list[Answer]]]:
        """See ``Engine``. Clips of the next batch are read while the model works on this one."""
        with ThreadPoolExecutor(1) as reader:
            waiting: list[tuple[int, Sequence[Item], Future]] = []
            for number, items in batches:
                waiting.append((number, items, reader.submit(self._read, items)))
                if len(waiting) > 1:
                    yield self._answered(*waiting.pop(0))
            for entry in waiting:
                yield self._answered(*entry)

    def _answered(self, number: int, items: Sequence[Item], read: Future) -> tuple[int, list[Answer]]:
        return number, self._judge(items, read.result())

    def _read(self, items: Sequence[Item]) -> dict[str, Any]:
        """Read the clips of a batch: path to features, or to the error."""
        from earwitness.audio.features import batch_features_of

        extractor = self.prompts.processor.feature_extractor
        read: dict[str, Any] = {}
        for path in dict.fromkeys(path for item in items for path in item.shown.audios):
            if path not in self._clips:
                try:
                    read[path] = batch_features_of([self._source(path)], extractor, self.files.family)
                except UserError as error:
                    read[path] = error
        return read

    def _embed(self, path: str, read: dict[str, Any]) -> torch.Tensor:
        if path not in self._clips:
            from earwitness.audio.features import batch_features_of

            features = read.get(path)
            if features is None:  # it was kept when the batch was read, and has been dropped since
                extractor = self.prompts.processor.feature_extractor
                features = batch_features_of([self._source(path)], extractor, self.files.family)
            if isinstance(features, UserError):
                raise features
            self._clips[path] = self.model.embed_clip(
                features["input_features"][0], features["feature_attention_mask"][0]
            )
            if len(self._clips) > KEPT_CLIPS:
                self._clips.popitem(last=False)
        self._clips.move_to_end(path)
        return self._clips[path]

    def _judge(self, items: Sequence[Item], read: dict[str, Any]) -> list[Answer]:
        import torch

        from earwitness.infer import decode

        prompts: list[Prompt] = []
        answers: list[Answer | None] = []
        with torch.inference_mode():
            for item in items:
                try:
                    clips = tuple(self._embed(path, read) for path in item.shown.audios)
                    ids = self._encode(item, clips)
                except UserError as error:
                    answers.append(Answer(failure=str(error)))
                    continue
                prompts.append(decode.Prompt(ids, clips, item.shown.audios))
                answers.append(None)
            good = [item for item, answer in zip(items, answers, strict=True) if answer is None]
            if good:
                sequences = decode.prefill(self.model, prompts)
                judge = self._pick_labels if self.decoding.verdict_only else self._write
                judged = iter(judge(good, sequences))
                answers = [next(judged) if answer is None else answer for answer in answers]
        return [answer for answer in answers if answer is not None]

    def _encode(self, item: Item, clips: Sequence[torch.Tensor]) -> np.ndarray:
        ids = self._ids(item)
        tokens, given = int((ids == self.model.audio_token_id).sum()), sum(map(len, clips))
        if tokens != given:
            raise UserError(
                f"{', '.join(item.shown.audios)}: the prompt holds {tokens} audio tokens but the clips give {given} "
                "embeddings; a file changed while the run was reading it"
            )
        return ids

    def _pick_labels(self, items: Sequence[Item], sequences: Sequences) -> list[Answer]:
        from earwitness.infer.decode import score_menus

        written = [menu_of(item.shown.judge) for item in items]
        menus = [self._menu(menu) for menu in written]
        scores = score_menus(self.model, sequences, [[]] * len(items), menus)
        return [
            Answer((menu[max(score.probabilities, key=score.probabilities.__getitem__)],), (score,))
            for menu, score in zip(written, scores, strict=True)
        ]

    def _write(self, items: Sequence[Item], sequences: Sequences) -> list[Answer]:
        from earwitness.infer import decode

        samples = self.decoding.samples
        sequences = sequences.repeat(samples)
        written = decode.generate(
            self.model,
            sequences,
            self._picker(items),
            max_new_tokens=self.decoding.max_new_tokens,
            stop=self.prompts.stop,
            forbidden=self._forbidden,
        )
        sequences.rewind(sequences)
        texts = [self.prompts.decode(ids) for ids in written]
        asked = [item for item in items for _ in range(samples)]
        scores = self._score_written(asked, sequences, written, texts)
        return [
            Answer(tuple(texts[first : first + samples]), tuple(scores[first : first + samples]))
            for first in range(0, len(texts), samples)
        ]

    def _picker(self, items: Sequence[Item]) -> Any:
        from earwitness.infer.decode import Sampler, greedy

        if self.decoding.temperature == 0.0:
            return greedy
        seeds = [
            int.from_bytes(
                hashlib.sha256(
                    f"{self.decoding.seed}\0{item.record.id}\0{item.order}\0{item.prompt_hash}\0{sample}".encode()
                ).digest()[:8]
            )
            for item in items
            for sample in range(self.decoding.samples)
        ]
        return Sampler(seeds, self.decoding.temperature, self.decoding.top_p)

    def _score_written(
        self, items: Sequence[Item], sequences: Sequences, written: Sequence[list[int]], texts: Sequence[str]
    ) -> list[LabelShares | None]:
        """Score the menu where each written verdict begins; None where it does not stand as a label of the menu."""
        from earwitness.infer.decode import score_menus

        contexts, menus = [], []
        for item, ids, text in zip(items, written, texts, strict=True):
            context, menu = self._place(item, ids, text)
            contexts.append(context)
            menus.append(menu)
        if not any(menus):
            return [None] * len(items)
        # Rows without a place ride along with any menu at the end of their prompt; their scores are dropped.
        spare = next(menu for menu in menus if menu)
        scores = score_menus(self.model, sequences, contexts, [menu or spare for menu in menus])
        return [score if menu else None for score, menu in zip(scores, menus, strict=True)]

    def _place(self, item: Item, ids: list[int], text: str) -> tuple[list[int], Menu | None]:
        """Return the ids before the result, and the menu as its tokens would stand right there."""
        found = menu_place(text, item.shown.judge, parse(text, item.shown.judge))
        if found is None:
            return [], None
        start, labels = found
        before = self._token_at(ids, start)
        lead = text[len(self.prompts.decode(ids[:before])) : start]
        return ids[:before], self._menu({name: lead + label for name, label in labels.items()})

    def _token_at(self, ids: list[int], place: int) -> int:
        """Return the index of the token whose text covers character ``place`` of the decoded answer."""
        low, high = 0, len(ids) - 1
        while low < high:
            middle = (low + high) // 2
            if len(self.prompts.decode(ids[: middle + 1])) > place:
                high = middle
            else:
                low = middle + 1
        return low
