"""The expert's prompt on its way from the row to the batch, beside the host's preference data."""

from __future__ import annotations

from typing import Any

from earwitness.errors import RowError, UserError
from earwitness.train.distill.expert import IGNORE, without_clips

SIDES = ("chosen", "rejected")
_ANY_ID = 0  # fills up rows and is masked; an id that every vocabulary has


class ExpertPrompts:
    """Mixin for the host's dataset converters: keeps the column that an entry maps to ``expert_prompt``."""

    dataset_attr: Any

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the host's aligned row, with ``_expert_prompt`` where the entry declares one.

        Raises:
            RowError: the declared column holds no text.
        """
        row: dict[str, Any] = super().__call__(example)  # type: ignore[misc]
        column = (self.dataset_attr.judge_entry.get("columns") or {}).get("expert_prompt")
        if column is not None:
            prompt = example.get(column)
            if not isinstance(prompt, str) or not prompt.strip():
                where = f"dataset '{self.dataset_attr.judge_name}'"
                raise RowError(f"column {column!r} (expert_prompt) must hold text, but holds {prompt!r}", file=where)
            row["_expert_prompt"] = prompt
        return row


class ExpertReads:
    """Mixin for the host's ``PairwiseDatasetProcessor``: encodes each row for the expert too, where there is one."""

    data_args: Any

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Return the host's columns; with an expert also ``expert_{chosen,rejected}_{input_ids,labels}``.

        Raises:
            UserError: a row is no preference about one question, or does not fit the expert; names its clips.
        """
        expert = getattr(self.data_args, "expert", None)
        if expert is not None:
            for index in range(len(examples["_prompt"])):
                if len(examples["_prompt"][index]) != 1 or len(examples["_response"][index]) != 2:
                    raise UserError(
                        f"{_clips(examples, index)}: distillation needs one question with a chosen and a rejected "
                        "response; 'earwitness reject' writes such rows"
                    )
        encoded: dict[str, list[Any]] = super().preprocess_dataset(examples)  # type: ignore[misc]
        if expert is None:
            return encoded
        for index, messages in enumerate(examples["_prompt"]):
            given = examples["_expert_prompt"][index] if "_expert_prompt" in examples else None
            prompt = without_clips(messages[0]["content"]) if given is None else given
            for side, response in zip(SIDES, examples["_response"][index], strict=True):
                judge_ids = [token for token in encoded[f"{side}_labels"][index] if token != IGNORE]
                try:
                    ids, labels = expert.encode(prompt, response["content"], judge_ids)
                except UserError as error:
                    raise UserError(f"{_clips(examples, index)}: {error}") from None
                encoded[f"expert_{side}_input_ids"].append(ids)
                encoded[f"expert_{side}_labels"].append(labels)
        return encoded


def _clips(examples: dict[str, list[Any]], index: int) -> str:
    from earwitness.audio.reading import name_of

    return "row about " + (", ".join(map(name_of, examples["_audios"][index] or [])) or "no clips")


def collate_expert(features: list[dict[str, Any]]) -> dict[str, Any]:
    """Pad what the expert reads: text alone, chosen rows before rejected ones, as in the host's batch.

    Args:
        features: rows of the dataset.

    Returns: ``expert_input_ids``, ``expert_attention_mask`` and ``expert_labels``, each (2 rows, length) int64; nothing
        where the rows are not for an expert.
    """
    import torch

    if not features or "expert_chosen_input_ids" not in features[0]:
        return {}
    ids = [row[f"expert_{side}_input_ids"] for side in SIDES for row in features]
    labels = [row[f"expert_{side}_labels"] for side in SIDES for row in features]
    longest = max(map(len, ids))
    return {
        "expert_input_ids": torch.tensor([row + [_ANY_ID] * (longest - len(row)) for row in ids]),
        "expert_attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids]),
        "expert_labels": torch.tensor([row + [IGNORE] * (longest - len(row)) for row in labels]),
    }
