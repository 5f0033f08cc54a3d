"""From completions to rewards, advantages and weights over all processes, and to the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object

from earwitness.data.records import Record
from earwitness.rewards.registry import RewardSet
from earwitness.train.grpo.journal import Journal
from earwitness.train.grpo.loss import completion_weights, group_advantages


@dataclass(frozen=True)
class Written:
    """The completions of this process: one entry each in every list."""

    records: Sequence[Record]
    texts: Sequence[str]
    lengths: Sequence[int]
    truncated: Sequence[bool]


class Scorer:
    """Rewards completions, process by process, and compares them with their groups over all of them.

    Attributes:
        latest: journal rows of the last training batch.
        evaluated: journal rows of the current evaluation, each completion once.
    """

    def __init__(self, rewards: RewardSet, arguments: Any, accelerator: Any, journal: Journal) -> None:
        self._rewards, self._arguments, self._accelerator, self._journal = rewards, arguments, accelerator, journal
        self.latest: list[dict[str, Any]] = []
        self.evaluated: list[dict[str, Any]] = []

    def score(self, written: Written, moment: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """Score this process's completions. Every process calls it, with equally many.

        Args:
            written: groups one after the other over the processes; a group may lie in several.
            moment: mode, step and generation, as the journal has them.

        Returns: advantage of each completion; weight of each of its tokens in the loss (``completion_weights``);
            figures of the batch over all processes.

        Raises:
            EvaluatorError: the evaluator failed too often; in every process alike.
        """
        rows: list[dict[str, Any]] = gather_object(self._rewarded(written, moment))
        arguments, group = self._arguments, self._arguments.grpo_num_generations
        found = group_advantages([row["reward"] for row in rows], group, arguments.grpo_scale_rewards)
        for place, (row, advantage) in enumerate(zip(rows, found.values.tolist(), strict=True)):
            row["copy"] = place % group
            row["advantage"] = None if row["reward"] is None else advantage
        lengths = torch.tensor([row["tokens"] for row in rows])
        if arguments.grpo_mask_truncated:
            lengths[torch.tensor([row["truncated"] for row in rows])] = 0
        weights = completion_weights(
            lengths,
            found.scored,
            arguments.grpo_loss_type,
            arguments.grpo_updates_per_generation,
            arguments.grpo_max_new_tokens,
        )
        if moment["mode"] == "train":
            self.latest = rows
        else:
            rows = self._first_seen(rows)
            self.evaluated += rows
        if self._accelerator.is_main_process:
            self._journal.write(rows)
        first = self._accelerator.process_index * len(written.texts)
        mine = slice(first, first + len(written.texts))
        figures = {**summary(self.latest), "frac_reward_zero_std": found.flat}
        if found.deviation == found.deviation:  # not NaN
            figures["reward_std"] = found.deviation
        return found.values[mine], weights[mine], figures

    def _rewarded(self, written: Written, moment: dict[str, Any]) -> list[dict[str, Any]]:
        found = self._rewards([record.prompt for record in written.records], written.texts, written.records)
        self._check_evaluator()
        return [
            {
                **moment,
                "dataset": record.dataset,
                "id": record.id,
                "completion": written.texts[place],
                "tokens": written.lengths[place],
                "truncated": written.truncated[place],
                "rewards": {name: values[place] for name, values in found.values.items()},
                "reward": found.totals[place],
                "unscored": found.reasons[place],
            }
            for place, record in enumerate(written.records)
        ]

    def _check_evaluator(self) -> None:
        if self._rewards.evaluator is None:
            return
        monitor = self._rewards.evaluator.monitor
        counts = torch.tensor([monitor.counts()], device=self._accelerator.device)
        failed, graded = self._accelerator.gather(counts).sum(0).tolist()
        monitor.check((failed, graded))

    def _first_seen(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Leave out rows that the data loader repeats to fill the last batch of an evaluation."""
        seen = Counter((row["dataset"], row["id"]) for row in self.evaluated)
        kept = []
        for row in rows:
            key = (row["dataset"], row["id"])
            if seen[key] < self._arguments.grpo_num_generations:
                seen[key] += 1
                kept.append(row)
        return kept


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Mean rewards over the completions that have one, and the share of completions without a reward."""
    if not rows:
        return {}
    columns = {"reward": [row["reward"] for row in rows]}
    columns |= {f"rewards/{name}": [row["rewards"][name] for row in rows] for name in rows[0]["rewards"]}
    figures = {}
    for name, values in columns.items():
        known = [value for value in values if value is not None]
        if known:
            figures[name] = sum(known) / len(known)
    return figures | {"unscored": sum(row["reward"] is None for row in rows) / len(rows)}
