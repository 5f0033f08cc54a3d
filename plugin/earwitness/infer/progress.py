"""Progress on stderr with rate and time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, total: int, done: int = 0, quiet: bool = False) -> Iterator[Callable[[int], object]]:
    """Show a bar while the block runs; call the result with the number of rows that were finished.

    Args:
        what: is being done.
        total: rows.
        done: rows that an earlier run finished; they do not count for the rate.
        quiet: show nothing.
    """
    from tqdm import tqdm

    # None hides the bar where stderr is no terminal only if it would be alone there: logs want it now and then.
    with tqdm(total=total, initial=done, desc=what, unit="row", disable=quiet, mininterval=0.5, smoothing=0.1) as bar:
        yield bar.update
