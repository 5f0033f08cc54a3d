"""Earwitness: train, run and trust speech judges on top of LLaMA-Factory."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for True; importing typing would cost more than all the rest

__version__ = "0.1.0"
__all__ = ["Judge", "__version__"]

if TYPE_CHECKING:
    from earwitness.api import Judge


def __getattr__(name: str) -> object:
    """Import the Python interface when it is first asked for; ``import earwitness`` alone stays cheap."""
    if name == "Judge":
        from earwitness.api import Judge

        return Judge
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
