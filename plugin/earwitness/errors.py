"""The one kind of error a user is meant to read."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in a file, an option or the environment that the user can mend.

    The message is complete by itself: what is wrong, where (file and row), the offending value, and what is
    allowed or how to fix it. Commands print it as one line without a traceback and exit with status 2.
    """


class RowError(UserError):
    """One row of a file is bad; its neighbours may be fine, so it can be skipped, counted and listed.

    Attributes:
        reason: what is wrong with which value, and what is allowed.
        value: the offending value as text, shortened; None when a value is absent.
        file: the file, once known.
        row: the row, counted from 1, once known.
    """

    def __init__(self, reason: str, value: object = None, file: object = None, row: int | None = None) -> None:
        place = ", ".join([str(file)] * (file is not None) + [f"row {row}"] * (row is not None))
        super().__init__(f"{place}: {reason}" if place else reason)
        self.reason = reason
        self.value = None if value is None else shorten(value)
        self.file = None if file is None else str(file)
        self.row = row

    def at(self, file: object, row: int) -> RowError:
        """The same error with its place; a place that is known already stays."""
        return self if self.row is not None else RowError(self.reason, self.value, file, row)


def shorten(value: object, length: int = 80) -> str:
    """The value as one line of at most ``length`` characters, for messages."""
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 1] + "…"
