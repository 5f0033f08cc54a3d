"""Prompts to text LLMs, from ``templates/``; text of the data is quoted so that it cannot speak for the prompt."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError
from earwitness.judges.prompts import find_template, neutralize

if TYPE_CHECKING:
    from jinja2 import Template


def render(name: str, **values: Any) -> str:
    """Render ``templates/<name>.jinja``.

    Values that are None are undefined in the template. The filter ``quote`` is for every text that a person, a model
    or a file wrote.

    Raises:
        UserError: the template is missing, broken, or uses a value not given.
    """
    from jinja2 import TemplateError

    path = find_template(name)
    try:
        template = _template(path, path.stat().st_mtime_ns)
        return template.render({key: value for key, value in values.items() if value is not None})
    except TemplateError as error:
        raise UserError(f"{path}, line {getattr(error, 'lineno', '?')}: {error}") from None


@lru_cache(maxsize=32)
def _template(path: Path, _modified: int) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["quote"] = quote
    return environment.from_string(path.read_text(encoding="utf-8"))


def quote(text: str) -> str:
    """Put ``> `` before every line and break control tokens: no line of ``text`` can pass for one of the prompt."""
    return "\n".join(f"> {line}" for line in neutralize(text).splitlines() or [""])
