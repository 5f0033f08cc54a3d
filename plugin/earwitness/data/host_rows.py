"""Rows in LLaMA-Factory's own formats, whose prompts are rendered already: SageLM's alpaca rows, and messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from earwitness.data.entries import Entry
from earwitness.data.example import Example, Reference, as_mirror, cell, stated_reference
from earwitness.errors import RowError
from earwitness.judges import parse
from earwitness.judges.answers import mirror_answer
from earwitness.judges.mirror import mirror_text
from earwitness.judges.prompts import AUDIO_PLACEHOLDER, neutralize_control
from earwitness.judges.sagelm import IMPLICIT_EMOTION
from earwitness.judges.spec import SAGELM, JudgeSpec
from earwitness.judges.text import listed
from earwitness.judges.verdicts import Verdict, parse_verdict

_ASPECT = re.compile(r"\*\*([^*\n]+)\*\*")
_QUESTION = "### Instruction:"
_IMPLICIT_FOLDER = "Implicit-Emotion"


def host_example(row: Mapping[str, Any], entry: Entry) -> Example:
    """Turn one row of an alpaca, sharegpt or openai dataset into its example.

    The prompt is what LLaMA-Factory makes of the row, except that control tokens in it are broken
    (``neutralize_control``). The aspect is the first ``**...**`` before ``### Instruction:``, because instructions
    hold Markdown of their own; implicit emotion is told by the folder of the first clip alone.

    Raises:
        RowError: a column is missing, placeholders and clips differ in number, an aspect or label is not allowed.
    """
    judge = entry.judge or SAGELM
    prompt, audios, response = host_question(row, entry)
    if len(audios) != judge.kind.clips:
        raise RowError(
            f"the row has {len(audios)} audio(s), but judge {judge.type!r} hears {judge.kind.clips}; "
            "declare the entry's judge in its 'judge' block",
            listed(audios),
        )
    id_column = entry.columns.get("id", "id")
    used = {id_column, *entry.columns.values()}
    identity = cell(row, id_column)
    reference, mirrored = _labels(response, judge)
    return Example(
        judge=judge,
        id=None if identity is None else str(identity),
        aspect=_aspect(prompt, audios, judge),
        prompt=prompt,
        audios=audios,
        reference=reference,
        response=response,
        mirror=as_mirror(mirrored),
        meta={key: value for key, value in row.items() if key not in used},
    )


def host_question(row: Mapping[str, Any], entry: Entry) -> tuple[str, tuple[str, ...], str | None]:
    """Return prompt, clips and response of a row, whatever it asks.

    Raises:
        RowError: a column is missing, or placeholders and clips differ in number.
    """
    prompt, response = _alpaca(row, entry) if entry.formatting == "alpaca" else _messages(row, entry)
    prompt = neutralize_control(prompt)
    audios = _audios(row, entry)
    placeholders = prompt.count(AUDIO_PLACEHOLDER)
    if placeholders != len(audios):
        raise RowError(
            f"the prompt holds {placeholders} {AUDIO_PLACEHOLDER} placeholder(s), but the row has "
            f"{len(audios)} audio(s); each clip needs one",
            prompt,
        )
    return prompt, audios, response


def _column(row: Mapping[str, Any], entry: Entry, key: str, required: bool = False) -> Any:
    column = entry.columns.get(key)
    if column is None or column not in row:
        if required:
            missing = f"column {column!r}" if column else f"an entry for columns.{key}"
            raise RowError(f"{missing} is missing; the row has: {listed(row)}")
        return None
    return cell(row, column)


def _alpaca(row: Mapping[str, Any], entry: Entry) -> tuple[str, str | None]:
    """Return prompt and response as the host's alpaca converter joins them."""
    for key in ("history", "system"):
        if _column(row, entry, key):
            raise RowError(f"a judge is asked once, without {key}; leave columns.{key} out", row[entry.columns[key]])
    parts = [_column(row, entry, "prompt", required=True), _column(row, entry, "query")]
    response = _column(row, entry, "response")
    if not isinstance(response, str | None):
        raise RowError(
            f"column {entry.columns['response']!r} (response) must hold text, but holds {response!r}", response
        )
    return "\n".join(str(part) for part in parts if part is not None), response


def _messages(row: Mapping[str, Any], entry: Entry) -> tuple[str, str | None]:
    """Return the user's message and, where there is one, the assistant's."""
    messages = _column(row, entry, "messages", required=True)
    role, content = entry.tags["role_tag"], entry.tags["content_tag"]
    user, assistant = entry.tags["user_tag"], entry.tags["assistant_tag"]
    if not isinstance(messages, list) or not all(
        isinstance(message, Mapping) and isinstance(message.get(content), str) for message in messages
    ):
        raise RowError(f"column {entry.columns['messages']!r} must hold a list of {{{role!r}, {content!r}}}", messages)
    roles = [message.get(role) for message in messages]
    if roles not in ([user], [user, assistant]):
        raise RowError(
            f"roles are {listed(roles)}; allowed: {user}, or {user} then {assistant} "
            "(the names are declared in the entry's 'tags')",
            roles,
        )
    return messages[0][content], messages[1][content] or None if len(messages) > 1 else None


def _audios(row: Mapping[str, Any], entry: Entry) -> tuple[str, ...]:
    audios = _column(row, entry, "audios", required=True)
    audios = [audios] if isinstance(audios, str) else audios
    if not isinstance(audios, list) or not all(isinstance(audio, str) and audio for audio in audios):
        column = entry.columns["audios"]
        raise RowError(f"column {column!r} (audios) must hold paths of clips, but holds {audios!r}", audios)
    return tuple(audios)


def _aspect(prompt: str, audios: tuple[str, ...], judge: JudgeSpec) -> str | None:
    found = _ASPECT.search(prompt.partition(_QUESTION)[0])
    aspect = found[1].strip() if found else None
    if aspect == "emotion instruction following" and _IMPLICIT_FOLDER in audios[0].split("/")[:-1]:
        aspect = IMPLICIT_EMOTION
    if judge.kind.needs_aspect and aspect is None:
        raise RowError(f"the prompt names no aspect as **aspect** before {_QUESTION!r}", prompt)
    if aspect is not None and judge.aspects and aspect not in judge.aspects:
        raise RowError(f"unknown aspect {aspect!r}; allowed: {listed(judge.aspects)}", aspect)
    return aspect


def _labels(response: str | None, judge: JudgeSpec) -> tuple[Reference | None, str | None]:
    """Return the truth that a labelled row states, and its response for the clips in the other order."""
    if response is None:
        return None, None
    if judge.kind.target not in ("verdict", "verdict_last"):
        reference = stated_reference(response, judge)
        if reference is None and judge.kind.target != "text":
            raise RowError(f"response is not labelled: {parse(response, judge).unscored}", response)
        return reference, mirror_text(response, judge.clip_names) if judge.kind.clips == 2 else None
    found = parse_verdict(response, judge, strict=True)
    verdict = found.verdict
    if verdict is None and "tie" in judge.labels and response.strip().partition("\n")[0].strip() == "T":
        verdict, found = "tie", Verdict(rationale=response.strip().partition("\n")[2])  # so in SageLM's data
    if verdict is None:
        allowed = listed(judge.labels.values())
        raise RowError(f"response is not labelled: {found.unscored}; allowed labels: {allowed}", response)
    if judge.kind.clips == 1:
        return verdict, None
    return verdict, mirror_answer(judge, verdict, found.rationale, found.thinking)
