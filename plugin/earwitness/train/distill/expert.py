"""What the expert reads: its own prompt in its own template, and the judge's responses in tokens of its own."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from earwitness.errors import UserError
from earwitness.judges.prompts import AUDIO_PLACEHOLDER

IGNORE = -100


class Expert:
    """The expert's tokenizer and template; encodes rows for it.

    Attributes:
        shared: number of leading token ids that mean the same to judge and expert, where their vocabularies are one
            but for special tokens; None where they are not.
    """

    def __init__(self, tokenizer: Any, template: Any, judge_tokenizer: Any, longest: int) -> None:
        """Compare the vocabularies.

        Args:
            tokenizer: of the expert, fixed for its template by the host.
            template: of the expert, one of the host's.
            judge_tokenizer: of the judge.
            longest: the most tokens the expert reads (``cutoff_len``).
        """
        self.tokenizer, self.template, self.longest = tokenizer, template, longest
        self.shared = shared_ids(judge_tokenizer, tokenizer)

    @classmethod
    def load(cls, model_args: Any, data_args: Any, finetuning_args: Any) -> Expert:
        """Load the tokenizers of expert and judge.

        Args:
            model_args: the host's.
            data_args: the host's.
            finetuning_args: the host's with our fields.

        Raises:
            UserError: the template is unknown, or ``distill_loss: kl`` is asked of two vocabularies.
        """
        from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
        from llamafactory.hparams import ModelArguments
        from llamafactory.model import load_tokenizer

        expert_args = ModelArguments.copyfrom(
            model_args, model_name_or_path=finetuning_args.expert_model, adapter_name_or_path=None
        )
        tokenizer = load_tokenizer(expert_args)["tokenizer"]
        named = copy(data_args)
        named.template = finetuning_args.expert_template or data_args.template
        if named.template is not None and named.template not in TEMPLATES:
            raise UserError(f"expert_template: {named.template!r} is unknown; allowed: {', '.join(sorted(TEMPLATES))}")
        template = get_template_and_fix_tokenizer(tokenizer, named)
        expert = cls(tokenizer, template, load_tokenizer(model_args)["tokenizer"], data_args.cutoff_len)
        if expert.shared is None and finetuning_args.distill_loss == "kl":
            raise UserError(
                f"distill_loss: kl compares next tokens, but {finetuning_args.expert_model} has another vocabulary "
                f"than {model_args.model_name_or_path}; take an expert of the same family, or distill_loss: dpo, which "
                "compares whole responses"
            )
        return expert

    def encode(self, prompt: str, response: str, judge_ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """Encode one row for the expert.

        Args:
            prompt: the expert's; text alone.
            response: chosen or rejected.
            judge_ids: the tokens of that response for the judge, its end included.

        Returns: token ids, and labels of the same length, ``IGNORE`` for the prompt.

        Raises:
            UserError: the prompt holds a clip, the row is too long, or a shared vocabulary gives other tokens.
        """
        if AUDIO_PLACEHOLDER in prompt:
            raise UserError(f"the expert hears no clips, but its prompt holds {AUDIO_PLACEHOLDER}; remove it")
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        prompt_ids, ids = self.template.encode_oneturn(self.tokenizer, messages)
        if self.template.efficient_eos:
            ids = [*ids, self.tokenizer.eos_token_id]
        if len(prompt_ids) + len(ids) > self.longest:
            raise UserError(
                f"the expert's prompt and response take {len(prompt_ids) + len(ids)} tokens, cutoff_len allows "
                f"{self.longest}; raise cutoff_len, or shorten them"
            )
        if self.shared is not None and (list(judge_ids) != list(ids) or max(ids, default=0) >= self.shared):
            raise UserError(
                f"judge and expert share a vocabulary, but the response has {len(judge_ids)} tokens ending in "
                f"{list(judge_ids)[-4:]} for the judge and {len(ids)} ending in {list(ids)[-4:]} for the expert; "
                "choose an expert_template that ends a response as the judge's template does"
            )
        return [*prompt_ids, *ids], [IGNORE] * len(prompt_ids) + list(ids)


def shared_ids(judge: Any, expert: Any) -> int | None:
    """Count the leading token ids that two tokenizers give the same tokens.

    Returns: None unless that covers every ordinary token of both; special tokens may differ, because an audio LLM has
        its own.
    """
    mine, theirs = ({index: token for token, index in one.get_vocab().items()} for one in (judge, expert))
    common = 0
    while common in mine and mine[common] == theirs.get(common):
        common += 1
    ordinary = max(len(set(one.get_vocab()) - set(one.get_added_vocab())) for one in (judge, expert))
    return common if common >= ordinary else None


def without_clips(prompt: str) -> str:
    """Return a judge's prompt as the expert reads it where a row has no ``expert_prompt``."""
    return prompt.replace(AUDIO_PLACEHOLDER, "").strip()
