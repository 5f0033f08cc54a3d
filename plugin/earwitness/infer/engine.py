"""What a run needs from an engine, and the units of work between the two."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from earwitness.data.records import Record
from earwitness.errors import UserError

if TYPE_CHECKING:
    from earwitness.infer.menu import LabelShares


@dataclass(frozen=True)
class Item:
    """One question: a record shown in one order.

    Attributes:
        number: place of its row in the final file.
        record: in its own order.
        order: "ab" as the record stands, "ba" with the clips exchanged.
        shown: the record as the model sees it.
    """

    number: int
    record: Record
    order: str
    shown: Record

    @property
    def prompt_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the prompt's text."""
        return hashlib.sha256(self.shown.prompt.encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Where the record stands, for messages."""
        return f"{self.record.dataset}, row {self.record.row} (id {self.record.id})"


@dataclass(frozen=True)
class Answer:
    """What an engine gives for an item.

    Attributes:
        texts: one a sample; in verdict-only mode the label's text.
        shares: how the labels compare at the verdict's place, in the order shown, one a sample; None where the answer
            has no such place or the engine cannot tell.
        failure: why there is no answer; texts are empty then. The row is asked again by the next run.
        unscored: why the answer that came cannot be used; texts are empty then. The row stays without verdict.
    """

    texts: tuple[str, ...] = ()
    shares: tuple[LabelShares | None, ...] = ()
    failure: str | None = None
    unscored: str | None = None


class Engine(Protocol):
    """Something that answers items.

    Attributes:
        name: as in ``--engine``.
        alone: whether every item is a batch of its own, because batch-mates have no bearing on an answer.
    """

    name: str
    alone: bool

    def describe(self) -> dict[str, Any]:
        """What decides its answers, for the manifest: model, device, template."""
        ...

    def label(self) -> Any:
        """What rows carry as ``model``."""
        ...

    def size(self, item: Item) -> int:
        """Tokens of prompt and answer, an estimate that orders items by cost.

        Raises:
            UserError: the item cannot be judged (bad clip, over-long clip or prompt); says why and what to do.
        """
        ...

    def answer(self, batches: Iterable[tuple[int, Sequence[Item]]]) -> Iterator[tuple[int, list[Answer]]]:
        """Answer numbered batches; they may come back in any order.

        An answer may depend on its batch alone, never on other batches.
        """
        ...


@dataclass(frozen=True)
class Plan:
    """Work of one run, composed the same way every time.

    Attributes:
        items: every item, in the order of the final file.
        batches: items that are answered together, expensive ones first.
        bad: item number to the reason why it cannot be judged.
    """

    items: Sequence[Item]
    batches: Sequence[Sequence[Item]]
    bad: Mapping[int, str]


def make_items(records: Iterable[Record], orders: Sequence[str]) -> list[Item]:
    """Return one item a record and order; orders of a record stand together.

    Raises:
        UserError: an exchange of clips is asked of a judge of single clips.
    """
    items: list[Item] = []
    for record in records:
        for order in orders:
            if order == "ba" and len(record.audios) != 2:
                raise UserError(
                    f"{record.dataset}, row {record.row}: --orders {'ba' if len(orders) == 1 else 'both'} needs two "
                    f"clips, this row has {len(record.audios)}; use --orders ab"
                )
            items.append(Item(len(items), record, order, record if order == "ab" else record.swapped()))
    return items


def make_plan(
    items: Sequence[Item], sizes: Mapping[int, int], bad: Mapping[int, str], batch_size: int, budget: int
) -> Plan:
    """Compose batches: alike in length, questions about the same clips together.

    Args:
        items: of the whole run.
        sizes: item number to tokens; items that are not in it are in ``bad``.
        bad: see ``Plan``.
        batch_size: the most items of a batch.
        budget: the most tokens of a batch, padding included; a longer item is a batch of its own.
    """
    about: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        if item.number in sizes:
            about.setdefault(tuple(sorted(item.record.audios)), []).append(item)
    groups = sorted(about.values(), key=lambda group: (-max(sizes[item.number] for item in group), group[0].number))
    batches: list[list[Item]] = []
    longest = 0
    for group in groups:
        for item in sorted(group, key=lambda item: (item.shown.audios, item.shown.prompt, item.number)):
            longest = max(longest, sizes[item.number])
            if not batches or len(batches[-1]) >= batch_size or (len(batches[-1]) + 1) * longest > budget:
                batches.append([])
                longest = sizes[item.number]
            batches[-1].append(item)
    return Plan(items, batches, bad)
