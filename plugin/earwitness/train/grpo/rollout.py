"""Everything about one batch of completions between sampling and the loss, as plain data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from earwitness.errors import UserError

Batch = dict[str, Any]
"""Tensors with completions as first dimension, and ``rows``: the record index of each completion."""


def pad_rows(rows: Sequence[Sequence[int]], value: int, left: bool, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack rows of ids (N, L) with their mask, padded on one side."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), value, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[number, place] = torch.as_tensor(row, dtype=torch.long)
        mask[number, place] = 1
    return ids.to(device), mask.to(device)


def split(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into equal parts, in order: completions of one prompt stay together as far as they fit."""
    size = len(batch["rows"]) // parts
    return [{name: value[part * size : (part + 1) * size] for name, value in batch.items()} for part in range(parts)]


@dataclass
class Progress:
    """What a checkpoint must hold beyond the host's, so that a resumed run goes on as if it had not stopped.

    Attributes:
        step: micro-steps so far (trl's ``_step``).
        buffer: the batches of completions still in use, one a micro-step; None between generations.
        metrics: figures since the last log.
    """

    step: int
    buffer: list[Batch] | None
    metrics: dict[str, list[float]]

    def save(self, folder: str | Path, process: int, processes: int) -> None:
        """Write this process's part into a checkpoint folder."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        torch.save(vars(self), Path(folder, _file_name(process)))
        if process == 0:
            Path(folder, "grpo_progress.json").write_text(json.dumps({"processes": processes}), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, process: int, processes: int, device: Any) -> Progress:
        """Read it back.

        Raises:
            UserError: not a checkpoint of this stage, or of another number of processes.
        """
        path, summary = Path(folder, _file_name(process)), Path(folder, "grpo_progress.json")
        if not summary.is_file():
            raise UserError(f"{folder}: is no checkpoint of stage: grpo; give another output_dir")
        saved = json.loads(summary.read_text(encoding="utf-8"))["processes"]
        if saved != processes or not path.is_file():
            raise UserError(f"{folder}: was written by {saved} processes and cannot be resumed by {processes}")
        progress = cls(**torch.load(path, map_location="cpu", weights_only=True))
        if progress.buffer is not None:
            progress.buffer = [_to(device, batch) for batch in progress.buffer]
        return progress


def _to(device: Any, batch: Batch) -> Batch:
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def _file_name(process: int) -> str:
    return f"grpo_progress_{process}.pt"
