"""Prompts: sandboxed, strict Jinja2 templates, and text of the data made harmless before it enters one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.errors import RowError, UserError

if TYPE_CHECKING:
    from jinja2 import Template

    from earwitness.judges.spec import JudgeSpec

AUDIO_PLACEHOLDER = "<audio>"
"""What LLaMA-Factory replaces by the audio tokens of one clip."""

_PACKAGE = Path(__file__).resolve().parents[1]

_PLACEHOLDER = re.compile(r"<(?=(?:audio|image|video)>)")
_CONTROL_TOKEN = re.compile(
    # Qwen, Llama 3, Phi and most others; Gemma; Llama 2 and Mistral
    r"<(?=\|[^<>\n]{0,64}\|>|(?:start_of_turn|end_of_turn|audio_soft_token|image_soft_token)>|/?s>|(?:bos|eos|pad|unk)>)"
)


def templates_dir() -> Path:
    """Return the folder of the templates.

    ``EARWITNESS_TEMPLATES`` where it is set, else ``templates/`` of the checkout (editable installs), else the copy
    inside the installed package.

    Raises:
        UserError: none of them is a folder.
    """
    override = os.environ.get("EARWITNESS_TEMPLATES")
    candidates = [Path(override)] if override else [_PACKAGE.parents[1] / "templates", _PACKAGE / "_templates"]
    for folder in candidates:
        if (folder if override else folder / "README.md").exists():
            return folder
    raise UserError(
        f"no templates found in {', '.join(map(str, candidates))}; set EARWITNESS_TEMPLATES to the folder of templates"
    )


def find_template(name: str) -> Path:
    """Return the file of a template: a path of the user's own where it ends in ``.jinja``, else one of ours.

    Raises:
        UserError: no such template; lists ours.
    """
    if name.endswith(".jinja"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UserError(f"template {name!r}: no such file (relative paths start at {Path.cwd()})")
        return path
    folder = templates_dir()
    path = folder / f"{name}.jinja"
    if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
        known = ", ".join(sorted(str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.jinja")))
        raise UserError(f"unknown template {name!r}; allowed: {known}, or a path of your own that ends in .jinja")
    return path


def neutralize(text: str) -> str:
    """Break what the host or a tokenizer would take for a placeholder or a control token.

    A space goes after the ``<`` of ``<audio>``, ``<image>``, ``<video>``, of anything of the form ``<|...|>`` and of
    the few control tokens without bars. A space rather than an invisible character: it shows in logs, is one known
    token everywhere, and no tokenizer's normalizer deletes it, as some do with zero-width characters, which would put
    the token together again. Linear in the length of ``text``; text without such tokens is returned as it is.
    """
    return neutralize_control(_PLACEHOLDER.sub("< ", text))


def neutralize_control(text: str) -> str:
    """Do as ``neutralize``, but leave ``<audio>``, ``<image>``, ``<video>``: for prompts rendered by somebody else."""
    return _CONTROL_TOKEN.sub("< ", text)


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return neutralize(value)
    if isinstance(value, Mapping):
        return {key: _harmless(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(item) for item in value]
    return value


@lru_cache(maxsize=64)
def _template(path: Path, _modified: int) -> Template:
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # autoescape: prompts are plain text, not HTML. keep_trailing_newline stays off: the last newline of a file belongs
    # to the file, every other character to the prompt.
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    try:
        return environment.from_string(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save the template as UTF-8") from None
    except TemplateError as error:
        raise UserError(f"{path}, line {getattr(error, 'lineno', '?')}: broken template: {error}") from None


def render(
    spec: JudgeSpec, *, aspect: str | None = None, question: str | None = None, row: Mapping[str, Any] | None = None
) -> str:
    """Render the prompt of one row.

    The template sees ``aspect``, ``question``, ``labels`` (canonical to written), ``menu`` ("1, 2 or Tie"), ``scale``,
    ``aspects``, ``clip_names``, ``chain_of_thought``, ``language`` and ``row`` (every other column). What is None is
    undefined: a template may test it with ``is defined``, and using it otherwise is an error. All text of the data is
    made harmless (``neutralize``) first.

    Returns: the user message; it holds one ``<audio>`` for each clip.

    Raises:
        UserError: the template is missing or broken.
        RowError: it uses a value that the row lacks, or holds another number of ``<audio>`` placeholders than the
            judge has clips.
    """
    from jinja2 import TemplateError, UndefinedError

    path = find_template(spec.template)
    values = {
        "aspect": None if aspect is None else spec.kind.written_aspects.get(aspect, aspect),
        "question": question,
        "row": dict(row or {}),
        "aspects": spec.aspects,
        "labels": dict(spec.labels),
        "menu": either(list(spec.labels.values())),
        "scale": spec.scale,
        "clip_names": spec.clip_names,
        "chain_of_thought": spec.chain_of_thought,
        "language": spec.language,
    }
    template = _template(path, path.stat().st_mtime_ns)
    try:
        prompt = template.render({key: _harmless(value) for key, value in values.items() if value is not None})
    except UndefinedError as error:
        raise RowError(f"template {spec.template!r} needs a value that this row lacks: {error.message}") from None
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise RowError(f"template {spec.template!r} cannot be rendered: {error}") from None
    count = prompt.count(AUDIO_PLACEHOLDER)
    if count != spec.kind.clips:
        raise RowError(
            f"template {spec.template!r} gives {count} {AUDIO_PLACEHOLDER} placeholder(s), "
            f"but judge {spec.type!r} hears {spec.kind.clips} clip(s)"
        )
    return prompt


def either(words: list[str]) -> str:
    """Join a menu the way English does: ``1, 2 or Tie``."""
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
