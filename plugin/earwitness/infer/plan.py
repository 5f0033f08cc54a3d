"""The work of a run: its questions, and which of them are answered together.

A run may have millions of questions. Only numbers are kept of each; the question itself is made when it is asked for,
from records that may be packed (``data/packed.py``).
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import xxhash

from earwitness.data.records import Record
from earwitness.errors import UserError
from earwitness.infer.engine import Item


class Items(Sequence[Item]):
    """One item a record and order; orders of a record stand together."""

    def __init__(self, records: Sequence[Record], orders: Sequence[str]) -> None:
        self._records, self._orders = records, tuple(orders)

    def __len__(self) -> int:
        return len(self._records) * len(self._orders)

    @overload
    def __getitem__(self, number: int) -> Item: ...
    @overload
    def __getitem__(self, number: slice) -> list[Item]: ...
    def __getitem__(self, number: int | slice) -> Item | list[Item]:
        """Return an item, or a list of items."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number %= len(self)
        record, order = divmod(number, len(self._orders))
        return self._item(number, self._records[record], self._orders[order])

    def __iter__(self) -> Iterator[Item]:
        number = 0
        for record in self._records:
            for order in self._orders:
                yield self._item(number, record, order)
                number += 1

    @staticmethod
    def _item(number: int, record: Record, order: str) -> Item:
        return Item(number, record, order, record if order == "ab" else record.swapped())


class Batches:
    """Items that are answered together, batch by batch."""

    def __init__(self, items: Sequence[Item], numbers: array[int], ends: array[int]) -> None:
        """Name the batches.

        Args:
            items: of the whole run.
            numbers: those of the items, one batch after the other.
            ends: for each batch where its numbers end.
        """
        self._items, self._numbers, self._ends = items, numbers, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: int) -> list[Item]:
        if not 0 <= place < len(self):
            raise IndexError(place)
        start = self._ends[place - 1] if place else 0
        return [self._items[number] for number in self._numbers[start : self._ends[place]]]

    def __iter__(self) -> Iterator[list[Item]]:
        return map(self.__getitem__, range(len(self)))


@dataclass(frozen=True)
class Plan:
    """Work of one run, composed the same way every time.

    Attributes:
        items: every item, in the order of the final file.
        batches: items that are answered together, expensive ones first.
        bad: item number to the reason why it cannot be judged.
    """

    items: Sequence[Item]
    batches: Batches
    bad: Mapping[int, str]


def make_items(records: Sequence[Record], orders: Sequence[str]) -> Items:
    """Return one item a record and order; orders of a record stand together.

    Raises:
        UserError: an exchange of clips is asked of a judge of single clips.
    """
    for record in records if "ba" in orders else ():
        if len(record.audios) != 2:
            raise UserError(
                f"{record.dataset}, row {record.row}: --orders {'ba' if len(orders) == 1 else 'both'} needs two "
                f"clips, this row has {len(record.audios)}; use --orders ab"
            )
    return Items(records, orders)


def make_plan(
    items: Sequence[Item], sizes: Sequence[int], bad: Mapping[int, str], batch_size: int, budget: int
) -> Plan:
    """Compose batches: alike in length, questions about the same clips together.

    Groups of items about the same clips come by their largest item, longest first; in a group, each order of the
    clips by itself, and in that equal prompts together. What is equal keeps the order of the records.

    Args:
        items: of the whole run.
        sizes: tokens of each item; those of items in ``bad`` do not count.
        bad: see ``Plan``.
        batch_size: the most items of a batch.
        budget: the most tokens of a batch, padding included; a longer item is a batch of its own.
    """
    order = _in_order(items, np.asarray(sizes, np.int64), bad)
    numbers, ends, longest = array("q"), array("q"), 0
    first = 0  # item of the batch
    for number in order:
        longest = max(longest, sizes[number])
        count = len(numbers) - first
        if count and (count >= batch_size or (count + 1) * longest > budget):
            ends.append(len(numbers))
            first, longest = len(numbers), sizes[number]
        numbers.append(number)
    if numbers:
        ends.append(len(numbers))
    return Plan(items, Batches(items, numbers, ends), bad)


def _in_order(items: Sequence[Item], sizes: np.ndarray, bad: Collection[int]) -> array[int]:
    """Return the numbers of the good items as ``make_plan`` batches them."""
    good, turned, clips, prompts = array("q"), array("b"), array("Q"), array("Q")
    for item in items:
        if item.number not in bad:
            shown, same = item.shown.audios, tuple(sorted(item.shown.audios))
            good.append(item.number)
            turned.append(shown != same)
            clips.append(_hash(*same))
            prompts.append(_hash(item.shown.prompt))
    if not good:
        return good
    numbers = np.asarray(good)
    group, earliest = _numbered(clips)
    largest = np.zeros(len(earliest), np.int64)
    np.maximum.at(largest, group, sizes[numbers])
    prompt, first_asked = _numbered(prompts)
    keys = (numbers, first_asked[prompt], np.asarray(turned), earliest[group], -largest[group])
    return array("q", numbers[np.lexsort(keys)].tobytes())


def _hash(*texts: str) -> int:
    """64 bits of some texts. Should two that differ ever share them, they are batched as if they were alike."""
    return xxhash.xxh3_64_intdigest("\0".join(texts).encode(errors="surrogatepass"))


def _numbered(values: array[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return for each value which of the distinct ones it is, and for each of those where it is first."""
    _, first, place = np.unique(np.asarray(values), return_index=True, return_inverse=True)
    return place, first
