"""One row in, one example out, for every formatting."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from earwitness.data.entries import Entry
from earwitness.data.example import Example
from earwitness.data.host_rows import host_example
from earwitness.data.speech_rows import speech_example
from earwitness.errors import RowError
from earwitness.judges.spec import FORMATTINGS


def row_to_example(row: Mapping[str, Any], entry: Entry) -> Example:
    """Turn one row of a dataset into its example; pure, and the same for training and inference.

    Args:
        row: column to value.
        entry: of the dataset.

    Raises:
        RowError: a column is missing, or a value is not allowed; lists what is. File and row are the caller's to add
            (``RowError.at``).
    """
    if entry.converted is not None:
        return entry.converted.example(row)
    return speech_example(row, entry) if entry.formatting in FORMATTINGS else host_example(row, entry)


def training_example(row: Mapping[str, Any], entry: Entry) -> Example:
    """Return the example in the order that the judge's ``order_swap`` shows in training.

    "always" shows every row as B, A; "random" about half of them. Which half depends on the id of the row alone (on
    its content where it has none), so every run, process and machine shows the same one.

    Raises:
        RowError: as ``row_to_example``, and a row to be swapped whose texts cannot be turned around.
    """
    example = row_to_example(row, entry)
    order = example.judge.order_swap
    drawn = hashlib.sha256(f"order {example.id or example.digest}".encode()).digest()[0] % 2 == 1
    if order == "none" or (order == "random" and not drawn):
        return example
    swapped = example.swapped()
    if example.response is not None and swapped.response is None:
        names = " and ".join(map(repr, example.judge.clip_names))
        raise RowError(
            f"order_swap {order!r} shows this row as B, A, but its rationale or thinking cannot be turned around "
            f"safely; name the clips {names} in it, or set order_swap to 'none'",
            example.response,
        )
    return swapped
