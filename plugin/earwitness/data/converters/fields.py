"""Reading single columns of a row: present, of the right kind, in the menu, and safe to put into a prompt."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from earwitness.data.converters.item import Audio, finite
from earwitness.errors import RowError, UserError, shorten
from earwitness.judges.prompts import neutralize

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Options:
    """What a user declares about a file that the file itself does not say.

    Attributes:
        columns: our column name to the file's, for the format ``plain``.
        verdict_values: a value in the file to our verdict, for the format ``plain``: ``{"A": "first", ...}``.
        scale: lowest and highest score that the file may hold; a score outside is an error.
        aspect: the aspect that the file is about; for NISQA which of its five dimensions is the score.
        task: the task of every row, where a format has several and its rows may not say which.
        language: the language of the clips, where the file does not say it.
        source: the name of the data set, where the file does not say it.
        audio_dir: put before audio paths that are relative.
        unlabelled: rows without a label are wanted (for inference) instead of being an error.
        keep_tokens: control tokens in texts are kept (prompts make them harmless) instead of being an error.
    """

    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    verdict_values: Mapping[str, str] = field(default_factory=dict, hash=False)
    scale: tuple[float, float] | None = None
    aspect: str | None = None
    task: str | None = None
    language: str | None = None
    source: str | None = None
    audio_dir: str = ""
    unlabelled: bool = False
    keep_tokens: bool = False

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> Options:
        """Read options as they stand in JSON or YAML.

        Raises:
            UserError: an unknown option, or a value of another kind; names both and what is allowed.
        """
        readers: dict[str, Callable[[str, Any], Any]] = {
            **dict.fromkeys(("columns", "verdict_values"), _names),
            **dict.fromkeys(("aspect", "task", "language", "source", "audio_dir"), _word),
            **dict.fromkeys(("unlabelled", "keep_tokens"), _flag),
            "scale": _scale,
        }
        for name in given:
            if name not in readers:
                raise UserError(f"unknown option '{name}'; allowed: {', '.join(readers)}")
        return cls(**{name: readers[name](name, value) for name, value in given.items()})


def _names(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(target, str) for target in value.values()):
        raise UserError(f"option '{name}' is {value!r}; allowed: an object of names to names")
    return {str(key): target for key, target in value.items()}


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UserError(f"option '{name}' is {value!r}; allowed: a text")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"option '{name}' is {value!r}; allowed: true, false")
    return value


def _scale(name: str, value: Any) -> tuple[float, float]:
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = (finite(bound, name) for bound in value)
        if low < high:
            return low, high
    raise UserError(f"option '{name}' is {value!r}; allowed: [lowest, highest]")


NO_OPTIONS = Options()

_TAG = re.compile(r"</?(?:think|answer)>")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[\ud800-\udfff]")


def column(row: Row, name: str) -> Any:
    """The value of a column that must be there.

    Raises:
        RowError: there is no such column; lists those that there are.
    """
    if name not in row:
        raise RowError(f"has no column '{name}'; its columns: {', '.join(map(str, row)) or 'none'}")
    return row[name]


def text(row: Row, name: str, options: Options = NO_OPTIONS, *, needed: bool = False) -> str | None:
    """A text, kept as it is (Markdown too); None when absent or blank and not needed.

    Raises:
        RowError: not a text, missing though needed, or not safe in a prompt (see ``safe``).
    """
    value = column(row, name) if needed else row.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        if needed:
            raise RowError(f"column '{name}' is empty; allowed: a text")
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # a spreadsheet column of names that look like numbers
    if not isinstance(value, str):
        raise RowError(f"column '{name}' holds {shorten(repr(value))}; allowed: a text", value=value)
    return safe(value, name, options)


def safe(value: str, name: str, options: Options = NO_OPTIONS, *, tags: bool = False) -> str:
    """The text itself, when nothing in it can be mistaken for a placeholder, a control token or an answer's tag.

    Args:
        value: the text.
        name: its column, for the message.
        options: ``keep_tokens`` lets placeholders, control tokens and tags pass.
        tags: the text is a whole answer, whose ``<think>`` and ``<answer>`` tags are its own.

    Raises:
        RowError: names the token and where it stands.
    """
    if found := _CONTROL.search(value):
        raise RowError(
            f"column '{name}' holds the control character {found[0]!r} at character {found.start() + 1}; "
            "allowed: text, tabs and line ends",
            value=found[0].encode("unicode_escape").decode(),
        )
    if options.keep_tokens:
        return value
    if (harmless := neutralize(value)) != value:
        place = next(index for index, (one, other) in enumerate(zip(value, harmless, strict=False)) if one != other) - 1
        token = value[place : value.index(">", place) + 1]
    elif not tags and (found := _TAG.search(value)):
        place, token = found.start(), found[0]
    else:
        return value
    raise RowError(
        f"column '{name}' holds the control token {token!r} at character {place + 1}: "
        f"{shorten(value[max(0, place - 20) : place + 40])!r}; allowed: text without placeholders and control tokens "
        "(Markdown is fine); remove it, skip bad rows, or keep tokens, which prompts then make harmless",
        value=token,
    )


def number(row: Row, name: str, scale: Sequence[float] | None = None) -> float:
    """A finite number, on the scale where there is one.

    Raises:
        RowError: the column is missing, holds no finite number, or one outside the scale.
    """
    value = column(row, name)
    if value is None or value == "":
        raise RowError(f"column '{name}' is empty; allowed: a finite number{_on(scale)}")
    score = finite(value, name)
    if scale is not None and not scale[0] <= score <= scale[1]:
        raise RowError(f"column '{name}' holds {score:g}; allowed: a number{_on(scale)}", value=value)
    return score


def _on(scale: Sequence[float] | None) -> str:
    return "" if scale is None else f" from {scale[0]:g} to {scale[1]:g}"


def choice(value: object, name: str, menu: Mapping[str, str]) -> str:
    """What a value stands for, by a declared menu; white space around it does not count.

    Raises:
        RowError: the value is not in the menu; lists the menu.
    """
    written = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    if written not in menu:
        raise RowError(f"column '{name}' holds {shorten(repr(written))}; allowed: {', '.join(menu)}", value=value)
    return menu[written]


def unlabelled(name: str, options: Options, allowed: str) -> None:
    """Accept that a row has no label, where the user said so.

    Raises:
        RowError: the user did not.
    """
    if not options.unlabelled:
        raise RowError(f"column '{name}' holds no label; allowed: {allowed}; rows for inference need 'unlabelled'")


def audio(value: object, name: str, options: Options = NO_OPTIONS, *, ending: str = "") -> Audio:
    """A path, with ``audio_dir`` before it when relative, or embedded audio ``{"bytes", "path"}``.

    Args:
        value: what the row holds.
        name: its column, for the message.
        options: ``audio_dir``.
        ending: added to a path without one of its own, for protocols that name clips without their ending.

    Raises:
        RowError: neither.
    """
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes) and value["bytes"]:
        return {"bytes": value["bytes"], "path": value.get("path")}
    path = value.get("path") if isinstance(value, dict) else value
    if not isinstance(path, str) or not path.strip() or _CONTROL.search(path) or "\n" in path:
        raise RowError(
            f"column '{name}' holds {shorten(repr(value))}; allowed: the path of a clip, or its bytes", value=value
        )
    if ending and not posixpath.splitext(path)[1]:
        path += ending
    return posixpath.join(options.audio_dir, path)


def audio_name(value: Audio) -> str:
    """A clip's name for ids: its path, or nothing for audio that has none."""
    return value if isinstance(value, str) else str(value.get("path") or "")
