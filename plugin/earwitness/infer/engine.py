"""What a run asks an engine, and what an engine gives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from earwitness.data.records import Record

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
