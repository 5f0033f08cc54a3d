"""Command-line options that say which server answers, the same in every command."""

from __future__ import annotations

import argparse

from earwitness.llm.endpoint import GUIDANCE, Endpoint


def add_endpoint_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``Endpoint``; ``endpoint_of`` reads them back."""
    group = parser.add_argument_group("server (any that speaks the OpenAI chat API)")
    group.add_argument("--base-url", required=True, help="e.g. http://127.0.0.1:8000/v1")
    group.add_argument("--model", required=True, help="name of the model on that server")
    group.add_argument(
        "--api-key-env", metavar="NAME", help="environment variable that holds the key, if one is needed"
    )
    group.add_argument("--concurrency", type=int, default=16, help="requests in flight (default 16)")
    group.add_argument("--attempts", type=int, default=6, help="tries for one request (default 6)")
    group.add_argument("--attempt-timeout", type=float, default=300.0, help="seconds for one try (default 300)")
    group.add_argument(
        "--deadline", type=float, default=900.0, help="seconds for one request, retries in (default 900)"
    )
    group.add_argument("--guidance", choices=GUIDANCE, default="auto", help="how replies are held to a menu")
    group.add_argument("--prompt-price", type=float, default=0.0, help="price of a million prompt tokens (default 0)")
    group.add_argument("--completion-price", type=float, default=0.0, help="price of a million completion tokens")
    group.add_argument("--budget", type=float, help="ask nothing more once this much is spent; needs the prices")


def endpoint_of(arguments: argparse.Namespace, cache_dir: str) -> Endpoint:
    """The server of parsed options, with its request cache in ``cache_dir``.

    Raises:
        UserError: a value out of range; see ``Endpoint``.
    """
    names = ("base_url", "model", "api_key_env", "concurrency", "attempts", "attempt_timeout", "deadline", "guidance")
    prices = ("prompt_price", "completion_price", "budget")
    return Endpoint(cache_dir=cache_dir, **{name: getattr(arguments, name) for name in (*names, *prices)})
