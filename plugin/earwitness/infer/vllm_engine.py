"""The engine that runs a model folder through vLLM's offline interface: many sequences in flight, prefixes cached.

Written against vLLM's documented offline API (``LLM``, ``SamplingParams``, token prompts with ``multi_modal_data``).
The project's own machines have no GPU that runs it, so only its inputs and outputs are tested, against a stand-in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from earwitness.errors import UserError
from earwitness.infer.engine import Answer, Item
from earwitness.infer.listed import label_shares
from earwitness.infer.local import LocalEngine
from earwitness.infer.model import ModelFiles
from earwitness.infer.options import Decoding
from earwitness.infer.places import menu_of

WINDOW = 1024
"""Items handed to vLLM at once; it schedules them itself."""

TOP_LOGPROBS = 20
"""Likeliest tokens listed at each place; vLLM's default limit."""

_CLIPS = 2


class VLLMEngine(LocalEngine):
    """A judge model in vLLM. Items do not depend on each other, so every item is a batch of its own.

    vLLM's sums depend on what else is in flight, so probabilities agree between runs up to float noise only.
    """

    name = "vllm"
    alone = True

    def __init__(
        self,
        files: ModelFiles,
        decoding: Decoding,
        *,
        template: str | None = None,
        dtype: str = "auto",
        tensor_parallel: int = 1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare a judge.

        Args:
            files: from ``find_model``; thinker-only checkpoints must be merged back into the full model first.
            decoding: how to answer.
            template: see ``LocalEngine``.
            dtype: vLLM's ``dtype``.
            tensor_parallel: GPUs that share the model.
            options: further arguments of ``vllm.LLM``, such as ``gpu_memory_utilization``.

        Raises:
            UserError: vLLM is not installed, or the folder is of a kind that it does not load.
        """
        super().__init__(files, decoding, template)
        try:
            import vllm
        except ImportError as error:
            raise UserError(
                f"--engine vllm needs vLLM ({error}); install it where there is a GPU: pip install 'earwitness[vllm]'"
            ) from None
        if files.class_name != "Qwen2AudioForConditionalGeneration" and not files.full:
            raise UserError(
                f"{files.weights}: vLLM loads the full Omni model, not its thinker alone; put the thinker back into "
                "the full model first"
            )
        self._vllm = vllm
        self._dtype, self._tensor_parallel, self._options = dtype, tensor_parallel, dict(options or {})

    def describe(self) -> dict[str, Any]:
        """See ``Engine``."""
        return {
            "name": self.name,
            "model": self.fingerprint,
            "template": self.template,
            "dtype": self._dtype,
            "tensor_parallel": self._tensor_parallel,
            "options": self._options,
            "vllm": self._vllm.__version__,
        }

    @cached_property
    def _llm(self) -> Any:
        adapter = {"enable_lora": True, "max_lora_rank": 64} if self.files.adapter else {}
        return self._vllm.LLM(
            **{
                "model": str(self.files.weights),
                "tokenizer": str(self.files.path),
                "dtype": self._dtype,
                "tensor_parallel_size": self._tensor_parallel,
                "limit_mm_per_prompt": {"audio": _CLIPS, "image": 0, "video": 0},
                "enable_prefix_caching": True,
                **adapter,
                **self._options,
            }
        )

    @cached_property
    def _adapter(self) -> Any:
        if self.files.adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest("judge", 1, str(self.files.adapter))

    def answer(self, batches: Iterable[tuple[int, Sequence[Item]]]) -> Iterator[tuple[int, list[Answer]]]:
        """See ``Engine``."""
        numbered = iter(batches)
        while chunk := list(islice(numbered, WINDOW)):
            prompts, asked = [], []
            for number, (item,) in chunk:
                try:
                    prompts.append(self._prompt(item))
                except UserError as error:
                    yield number, [Answer(failure=str(error))]
                else:
                    asked.append((number, item))
            outputs = self._llm.generate(
                prompts, [self._sampling(item) for _, item in asked], lora_request=self._adapter, use_tqdm=False
            )
            for (number, item), output in zip(asked, outputs, strict=True):
                yield number, [self._answer(item, output)]

    def _prompt(self, item: Item) -> dict[str, Any]:
        from earwitness.audio.reading import read_audio

        rate = self.prompts.processor.feature_extractor.sampling_rate
        ids = self.prompts.encode(item.shown.prompt, item.shown.audios, expand=False)
        clips = [(read_audio(self._source(clip), rate), rate) for clip in item.shown.audios]
        return {"prompt_token_ids": ids.tolist(), "multi_modal_data": {"audio": clips}}

    def _sampling(self, item: Item) -> Any:
        decoding = self.decoding
        menu = [self._label_ids(label) for label in menu_of(item.shown.judge).values()]
        only = {}
        if decoding.verdict_only:
            only = {"allowed_token_ids": sorted({token for ids in menu for token in ids} | set(self.prompts.stop))}
        return self._vllm.SamplingParams(
            n=decoding.samples,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            seed=decoding.seed if decoding.temperature else None,
            max_tokens=max(map(len, menu)) if decoding.verdict_only else decoding.max_new_tokens,
            stop_token_ids=list(self.prompts.stop),
            skip_special_tokens=True,
            logprobs=TOP_LOGPROBS if menu else None,
            **only,
        )

    def _label_ids(self, label: str) -> list[int]:
        return self.prompts.tokenizer.encode(label, add_special_tokens=False)

    def _answer(self, item: Item, output: Any) -> Answer:
        texts = tuple(sample.text for sample in output.outputs)
        shares = tuple(
            label_shares(sample.text, {"content": _listed(sample)}, item.shown.judge) for sample in output.outputs
        )
        return Answer(texts, shares)


def _listed(sample: Any) -> list[dict[str, Any]]:
    """Return a sample's tokens in OpenAI's form."""
    content = []
    for token, candidates in zip(sample.token_ids, sample.logprobs or [], strict=False):
        top = [
            {"token": candidate.decoded_token or "", "logprob": candidate.logprob} for candidate in candidates.values()
        ]
        chosen = candidates[token]
        content.append({"token": chosen.decoded_token or "", "logprob": chosen.logprob, "top_logprobs": top})
    return content
