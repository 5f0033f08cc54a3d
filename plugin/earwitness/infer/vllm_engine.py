"""The engine that runs a model folder through vLLM's offline interface: many sequences in flight, prefixes cached.

Run with vLLM 0.22.1 on a CPU, against the ``hf`` engine (`tests/test_vllm_engine.py`, docs/judging.md); no GPU was at
hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
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
"""Likeliest tokens listed at each place of a written answer; vLLM's default limit."""

_SET_BY = {
    "model": "MODEL",
    "tokenizer": "MODEL",
    "dtype": "--dtype",
    "tensor_parallel_size": "--tensor-parallel",
    "data_parallel_size": "--data-parallel",
    "enable_lora": "MODEL",
}
"""Arguments of ``vllm.LLM`` that are not for ``--vllm-options``, and what sets them."""

_CLIPS = 2
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM allows as ``max_lora_rank``."""


class VLLMEngine(LocalEngine):
    """A judge model in vLLM. Items do not depend on each other, so every item is a batch of its own.

    In verdict-only mode the labels are scored as the ``hf`` engine scores them, branch by branch of their tokens; the
    prompt before them is in the prefix cache. Of written answers the likeliest tokens are listed where the label
    stands; a label that is not among them counts as 0.

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
            files: from ``find_model``; thinker-only checkpoints must be put back into the full model first.
            decoding: how to answer.
            template: see ``LocalEngine``.
            dtype: vLLM's ``dtype``.
            tensor_parallel: GPUs that share the model.
            options: further arguments of ``vllm.LLM``, such as ``gpu_memory_utilization``.

        Raises:
            UserError: vLLM is not installed, the folder is of a kind that it does not load, the model cannot be
                shared by so many GPUs, or an option has a place of its own.
        """
        super().__init__(files, decoding, template)
        _check_options(files, tensor_parallel, options or {})
        try:
            import vllm
        except ImportError as error:
            raise UserError(
                f"--engine vllm needs vLLM ({error}); install it where there is a GPU: pip install 'earwitness[vllm]'"
            ) from None
        if files.family != "qwen2_audio" and not files.full:
            raise UserError(
                f"{files.weights}: vLLM loads the full Omni model, not its thinker alone; make one with "
                "earwitness export"
            )
        if files.adapter is not None:
            _check_adapter(files)
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
        adapter = {}
        if self.files.adapter is not None:
            rank = _adapter_rank(self.files.adapter)
            adapter = {"enable_lora": True, "max_lora_rank": next(allowed for allowed in _RANKS if allowed >= rank)}
        own = (self.files.path / "tokenizer_config.json").is_file()
        arguments = {
            "model": str(self.files.weights),
            "tokenizer": str(self.files.path if own else self.files.weights),
            "dtype": self._precision(),
            "tensor_parallel_size": self._tensor_parallel,
            "limit_mm_per_prompt": {"audio": _CLIPS, "image": 0, "video": 0},
            "enable_mm_embeds": self.files.family != "qwen2_audio",  # features instead of waveforms, see _clips
            "enable_prefix_caching": True,
            **_untied(self.files.weights),
            **adapter,
            **self._options,
        }
        if self.files.family == "qwen3_omni":
            from earwitness.infer.vllm_qwen3_omni import accept_features

            accept_features()
        try:
            return self._vllm.LLM(**arguments)
        except (TypeError, ValueError) as error:  # what vLLM raises for arguments and models that it does not take
            raise UserError(f"vLLM does not start: {' '.join(str(error).split())}") from error

    def _precision(self) -> str:
        """Return ``dtype``; on a CPU ``auto`` is float32, as in the hf engine (vLLM would round it to bfloat16)."""
        from vllm.platforms import current_platform

        return "float32" if self._dtype == "auto" and current_platform.is_cpu() else self._dtype

    @cached_property
    def _context(self) -> int:
        own = super()._context
        return min(own, int(self._options.get("max_model_len") or own))

    @cached_property
    def _forbidden(self) -> dict[int, float]:
        """Special tokens that no answer may hold, as in the hf engine, with the lowest bias that vLLM allows."""
        return dict.fromkeys(self.prompts.forbidden(len(self.prompts.tokenizer)).nonzero()[0].tolist(), -100.0)

    @cached_property
    def _adapter(self) -> Any:
        if self.files.adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        self._renamed = TemporaryDirectory(prefix="earwitness-adapter-")
        return LoRARequest("judge", 1, str(rename_adapter(self.files.adapter, Path(self._renamed.name))))

    def answer(self, batches: Iterable[tuple[int, Sequence[Item]]]) -> Iterator[tuple[int, list[Answer]]]:
        """See ``Engine``."""
        numbered = iter(batches)
        judge = self._pick_labels if self.decoding.verdict_only else self._write
        while chunk := list(islice(numbered, WINDOW)):
            prompts, asked = [], []
            for number, (item,) in chunk:
                try:
                    prompts.append(self._prompt(item))
                except UserError as error:
                    yield number, [Answer(failure=str(error))]
                else:
                    asked.append((number, item))
            for (number, _), answer in zip(asked, judge([item for _, item in asked], prompts), strict=True):
                yield number, [answer]

    def _prompt(self, item: Item) -> dict[str, Any]:
        ids = self.prompts.encode(item.shown.prompt, item.shown.audios, expand=False)
        return {"prompt_token_ids": ids.tolist(), "multi_modal_data": {"audio": self._clips(item)}}

    def _clips(self, item: Item) -> Any:
        """Return an item's clips as vLLM takes them.

        The Omni models take features: ours, those of training. vLLM would compute its own over 300 s a clip
        (Qwen2.5-Omni), or without the silence that the last windows reach into (Qwen3-Omni). Qwen2-Audio takes
        waveforms, which vLLM pads to 30 s as training does.
        """
        extractor, family = self.prompts.processor.feature_extractor, self.files.family
        if family == "qwen2_audio":
            from earwitness.audio.limits import fit_samples
            from earwitness.audio.reading import read_audio

            rate = extractor.sampling_rate
            waves = [(clip, read_audio(self._source(clip), rate)) for clip in item.shown.audios]
            return [(wave[: fit_samples(len(wave), extractor, family, clip)], rate) for clip, wave in waves]
        import torch

        from earwitness.audio.features import batch_features_of

        heard = [batch_features_of([self._source(clip)], extractor, family) for clip in item.shown.audios]
        frames = [int(clip["feature_attention_mask"].sum()) for clip in heard]
        return {
            "input_audio_features": torch.cat(
                [clip["input_features"][0, :, :own] for clip, own in zip(heard, frames, strict=True)], dim=1
            ),
            "audio_feature_lengths": torch.tensor(frames),
            "feature_attention_mask": [torch.ones(own, dtype=torch.long) for own in frames],
        }

    def _ask(self, prompts: Sequence[dict[str, Any]], sampling: Sequence[Any]) -> list[Any]:
        if not prompts:
            return []
        return list(self._llm.generate(list(prompts), list(sampling), lora_request=self._adapter, use_tqdm=False))

    def _pick_labels(self, items: Sequence[Item], prompts: Sequence[dict[str, Any]]) -> Iterator[Answer]:
        """Score the labels: one request a branch of their tokens, for the next token's probabilities alone."""
        labels = [menu_of(item.shown.judge) for item in items]
        menus = [self._menu(menu) for menu in labels]
        asked = [
            ({**prompt, "prompt_token_ids": [*prompt["prompt_token_ids"], *node]}, menu.children(node))
            for prompt, menu in zip(prompts, menus, strict=True)
            for node in menu.branches
        ]
        outputs = iter(
            self._ask(
                [prompt for prompt, _ in asked],
                [
                    self._vllm.SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=tokens, detokenize=False)
                    for _, tokens in asked
                ],
            )
        )
        for menu, texts in zip(menus, labels, strict=True):
            found = {node: next(outputs).outputs[0].logprobs[0] for node in menu.branches}
            share = menu.shares(lambda node, token, found=found: float(found[node][token].logprob))  # type: ignore[misc]
            yield Answer((texts[max(share.probabilities, key=share.probabilities.__getitem__)],), (share,))

    def _write(self, items: Sequence[Item], prompts: Sequence[dict[str, Any]]) -> Iterator[Answer]:
        outputs = self._ask(prompts, [self._sampling(item) for item in items])
        for item, output in zip(items, outputs, strict=True):
            # Not sample.text: it lacks the bytes of a character that was not finished.
            texts = tuple(self.prompts.decode(sample.token_ids) for sample in output.outputs)
            shares = tuple(
                label_shares(text, {"content": _listed(sample)}, item.shown.judge)
                for text, sample in zip(texts, output.outputs, strict=True)
            )
            yield Answer(texts, shares)

    def _sampling(self, item: Item) -> Any:
        decoding = self.decoding
        # Every row has a stream of its own, as in the hf engine; vLLM derives one a sample from it.
        stream = f"{decoding.seed}\0{item.record.id}\0{item.order}\0{item.prompt_hash}"
        seed = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4])
        return self._vllm.SamplingParams(
            n=decoding.samples,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            seed=seed if decoding.temperature else None,
            max_tokens=decoding.max_new_tokens,
            stop_token_ids=list(self.prompts.stop),
            logit_bias=self._forbidden,
            skip_special_tokens=True,
            logprobs=TOP_LOGPROBS if menu_of(item.shown.judge) else None,
        )


def _check_options(files: ModelFiles, tensor_parallel: int, options: Mapping[str, Any]) -> None:
    """Refuse what vLLM would refuse later, or overrule without a word."""
    for name in options:
        if name in _SET_BY:
            raise UserError(f"--vllm-options: {name} is not for here; {_SET_BY[name]} sets it")
    if tensor_parallel == 1:
        return
    if tensor_parallel < 1:
        raise UserError(f"--tensor-parallel is {tensor_parallel}; must be at least 1")
    from transformers import AutoConfig

    heads = AutoConfig.from_pretrained(files.weights).get_text_config().num_attention_heads
    if heads % tensor_parallel:
        allowed = ", ".join(str(number) for number in range(1, heads + 1) if heads % number == 0)
        raise UserError(
            f"--tensor-parallel {tensor_parallel}: the model's {heads} attention heads cannot be shared evenly; "
            f"allowed: {allowed}"
        )


def _untied(weights: Path) -> dict[str, Any]:
    """Return the options that make vLLM read the output head of a full Omni model.

    vLLM asks the text model's part of ``config.json`` whether the head is the embedding, transformers asks the
    thinker's. transformers 5 writes True into the first by default: vLLM then leaves a trained head out, silently.
    """
    import json

    thinker = json.loads((weights / "config.json").read_text(encoding="utf-8")).get("thinker_config") or {}
    if thinker.get("tie_word_embeddings") or not thinker.get("text_config", {}).get("tie_word_embeddings"):
        return {}
    return {"hf_overrides": {"thinker_config": {"text_config": {"tie_word_embeddings": False}}}}


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


def _check_adapter(files: ModelFiles) -> None:
    """Refuse adapters that vLLM would reject, or leave out in part without a word."""
    merge = "merge it with earwitness export"
    if files.family != "qwen2_5_omni":
        raise UserError(f"{files.adapter}: vLLM takes no LoRA adapter for {files.family}; {merge}")
    assert files.adapter is not None
    outside = next((name for name in _adapter_names(files.adapter) if ".model.layers." not in f".{name}"), None)
    if outside is not None:
        raise UserError(
            f"{files.adapter}: adapts {outside}, and vLLM applies LoRA to the text model's layers alone; {merge}"
        )
    if _adapter_rank(files.adapter) > _RANKS[-1]:
        raise UserError(f"{files.adapter}: rank {_adapter_rank(files.adapter)} is above vLLM's {_RANKS[-1]}; {merge}")


def _adapter_rank(adapter: Path) -> int:
    import json

    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return max([int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())])


def _adapter_names(adapter: Path) -> list[str]:
    """Names of the adapted weights, without PEFT's prefix."""
    from safetensors import safe_open

    path = adapter / "adapter_model.safetensors"
    if not path.is_file():
        raise UserError(f"{adapter}: holds no adapter_model.safetensors; save the adapter with a current PEFT")
    with safe_open(path, framework="pt") as file:
        return [name.removeprefix("base_model.model.") for name in file.keys()]  # noqa: SIM118 - not a mapping


def rename_adapter(adapter: Path, out: Path) -> Path:
    """Copy an adapter under the names that its weights have in the full Omni model.

    LLaMA-Factory trains the thinker by itself, whose layers are called ``model.layers...``; vLLM knows them as
    ``thinker.model.layers...``, and runs an adapter of other names without applying it.
    """
    import shutil

    from safetensors.torch import load_file, save_file

    prefix = "base_model.model."
    weights = {
        name if name.startswith(f"{prefix}thinker.") else f"{prefix}thinker.{name.removeprefix(prefix)}": value
        for name, value in load_file(adapter / "adapter_model.safetensors").items()
    }
    save_file(weights, out / "adapter_model.safetensors", metadata={"format": "pt"})
    shutil.copy(adapter / "adapter_config.json", out)
    return out
