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
    import threading

    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its default lock is for several processes, and leaks when this one is killed
    with tqdm(total=total, initial=done, desc=what, unit="row", disable=quiet, mininterval=0.5, smoothing=0.1) as bar:
        yield bar.update
