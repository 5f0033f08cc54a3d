"""The questions of a run: records of its datasets, and their token ids as SFT would have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earwitness.data.overlong import without_overlong
from earwitness.data.records import Record, load_records
from earwitness.errors import RowError, UserError


@dataclass(frozen=True)
class Questions:
    """Records and the host's encoder.

    Attributes:
        records: of all datasets, each in the order of clips that training shows.
        train: indices of the records to train on, as items of a dataset: ``{"prompt": index}``.
        evaluation: likewise for evaluation; a dictionary by name where the host is told to evaluate each dataset.
        encoder: the host's dataset processor.
    """

    records: list[Record]
    train: list[dict[str, int]] | None
    evaluation: list[dict[str, int]] | dict[str, list[dict[str, int]]] | None
    encoder: Any

    def encode(self, index: int) -> np.ndarray:
        """Encode one record's prompt with the host's template, up to where the answer begins.

        Returns: (tokens,) int64, audio tokens expanded.

        Raises:
            RowError: a clip is unreadable, too short or too long, or the prompt is beyond ``cutoff_len``.
        """
        record = self.records[index]
        answer = [{"role": "assistant", "content": record.response}] if record.response else []
        try:
            ids, _ = self.encoder._encode_data_example(
                prompt=[{"role": "user", "content": record.prompt}],
                response=answer,
                system="",
                tools="",
                images=[],
                videos=[],
                audios=list(record.audios),
            )
        except UserError as error:
            raise RowError(str(error), file=f"dataset '{record.dataset}'", row=record.row) from None
        return np.array(ids, dtype=np.int64)


def load_questions(
    data_args: Any, training_args: Any, template: Any, tokenizer: Any, processor: Any, rewards: Any
) -> Questions:
    """Read the datasets of a run and check every row before training: files, clips, length of prompts, rewards.

    Raises:
        UserError: a row is wrong, or an option of the host's cannot be honoured here.
    """
    from llamafactory.data.loader import UnsupervisedDatasetProcessor

    _refuse_unsupported(data_args)
    encoder = UnsupervisedDatasetProcessor(
        template=template, tokenizer=tokenizer, processor=processor, data_args=data_args
    )
    records: list[Record] = []
    train = _load(data_args.dataset or [], data_args, records, processor)
    named = {name: _load([name], data_args, records, processor) for name in data_args.eval_dataset or []}
    evaluation: Any = [item for items in named.values() for item in items] or None
    if data_args.eval_on_each_dataset and named:
        evaluation = named
    if data_args.val_size > 1e-6:
        train, evaluation = _split(train, data_args.val_size, training_args.seed)
    questions = Questions(records, train or None, evaluation, encoder)
    rewards.check(records)
    for index in range(training_args.process_index, len(records), training_args.world_size):
        questions.encode(index)
    return questions


def _refuse_unsupported(data_args: Any) -> None:
    reasons = {
        "streaming": (data_args.streaming, "groups and exact resume need the whole list of rows"),
        "tokenized_path": (data_args.tokenized_path is not None, "rewards need the rows themselves"),
        "packing": (data_args.packing, "completions of one prompt stay apart"),
        "mix_strategy": (data_args.mix_strategy != "concat", "datasets are concatenated and shuffled"),
    }
    for name, (used, reason) in reasons.items():
        if used:
            raise UserError(f"{name}: cannot be used with stage: grpo ({reason}); remove it")


def _load(names: Sequence[str], data_args: Any, records: list[Record], processor: Any) -> list[dict[str, int]]:
    first = len(records)
    for name in names:
        found = load_records(
            name, data_args.dataset_dir, data_args.media_dir, limit=data_args.max_samples, as_trained=True
        )
        records += without_overlong(found, processor)
    return [{"prompt": index} for index in range(first, len(records))]


def _split(items: list[dict[str, int]], size: float, seed: int) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
    """Split as the host's ``split_dataset`` does."""
    from datasets import Dataset

    parts = Dataset.from_list(items).train_test_split(test_size=int(size) if size > 1 else size, seed=seed)
    return parts["train"].to_list(), parts["test"].to_list()
