"""SageLM rows (JSON list): ``{instruction, input, output, audios: [a, b]}``, two spoken responses to one question."""

from __future__ import annotations

import posixpath
import re

from earwitness.data.converters.fields import (
    NO_OPTIONS,
    Options,
    Row,
    audio,
    audio_name,
    choice,
    column,
    safe,
    unlabelled,
)
from earwitness.data.converters.item import Item, new_item, stable_id
from earwitness.errors import RowError, shorten

VERDICTS = {"1": "first", "2": "second", "Tie": "tie", "T": "tie"}
"""The first line of ``output``; "T" occurs beside "Tie" in results."""

# The released data have one newline before "### Instruction:", the README shows a blank line. The question may hold
# anything, Markdown included: it ends at the last response block, and the aspect is the first bold text.
_INSTRUCTION = re.compile(
    r"\A\s*Below are two responses for a given task\. The task is defined by the Instruction\. "
    r"Evaluate in terms of \*\*(?P<aspect>[^*\n]+)\*\* and indicate a better response using 1, 2 or Tie\.\n\n?"
    r"### Instruction:\n(?P<question>.*)\n\n### Response 1:\n<audio>\n\n### Response 2:\n<audio>\s*\Z",
    re.DOTALL,
)


def sagelm(row: Row, options: Options = NO_OPTIONS) -> Item:
    """Convert one SageLM row.

    ``source`` is the folder of the first clip, which alone tells implicit emotion: its aspect is "implicit emotion",
    though the prompt asks for "emotion instruction following".

    Raises:
        RowError: another instruction than SageLM's, not two clips, another verdict, or no output where one is needed.
    """
    prompt = column(row, "instruction")
    if row.get("input"):
        prompt = f"{prompt}\n{row['input']}"
    parts = _INSTRUCTION.match(prompt) if isinstance(prompt, str) else None
    if not parts:
        raise RowError(
            f"column 'instruction' holds {shorten(repr(prompt))}; allowed: SageLM's prompt ('Below are two responses "
            "...', '### Instruction:', '### Response 1:', '### Response 2:', each response '<audio>')",
            value=prompt,
        )
    question = safe(parts["question"], "instruction", options)
    clips = column(row, "audios")
    if not isinstance(clips, list) or len(clips) != 2:
        raise RowError(f"column 'audios' holds {shorten(repr(clips))}; allowed: two clips", value=clips)
    audios = [audio(clip, "audios", options) for clip in clips]
    verdict, rationale = _output(row, options)
    folder = posixpath.dirname(audio_name(audios[0])) or None
    aspect = "implicit emotion" if folder and posixpath.basename(folder) == "Implicit-Emotion" else parts["aspect"]
    return new_item(
        id=stable_id("sagelm", prompt, *map(audio_name, audios)),
        task="compare",
        audios=audios,
        format="sagelm",
        source=options.source or folder,
        aspect=aspect.strip(),
        verdict=verdict,
        question=question,
        prompt=prompt,
        rationale=rationale,
        language=options.language,
        extra={name: row[name] for name in row if name not in ("instruction", "input", "output", "audios")},
    )


def _output(row: Row, options: Options) -> tuple[str | None, str | None]:
    output = row.get("output")
    if output is None or (isinstance(output, str) and not output.strip()):
        unlabelled("output", options, "1, 2 or Tie, then optionally a line end and a rationale")
        return None, None
    label, _, rationale = str(output).partition("\n")
    verdict = choice(label, "output", VERDICTS)
    return verdict, safe(rationale, "output", options).strip() or None
