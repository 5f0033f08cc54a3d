"""SpeechJudge-Data: pairs of synthetic speech with votes on naturalness (Parquet of the hub, or exported rows)."""

from __future__ import annotations

import re

from earwitness.data.converters.fields import NO_OPTIONS, Options, Row, audio, choice, column, text, unlabelled
from earwitness.data.converters.item import Detail, Item, detail, new_item
from earwitness.errors import RowError, shorten

VERDICTS = {"A": "first", "B": "second", "Tie": "tie"}

_VOTE = re.compile(r"^(?:([AB])\+([12])|Tie(?: \((missing reason|both not good|both very good)\))?)$")
_KNOWN = {
    "index",
    "prompt",  # audio that the synthesis imitates; no part of what is judged
    "target_text",
    "audioA",
    "audioB",
    "rater",
    "naturalness_annotation",
    "naturalness_label",
}


def speechjudge(row: Row, options: Options = NO_OPTIONS) -> Item:
    """Convert one pair of SpeechJudge-Data.

    ``language_setting`` is prompt to target, such as ``en2zh``: the language is that of the target. Each vote becomes
    a detail "naturalness" with its rater: a verdict, and how strong (1 or 2), or what kind of tie.

    Raises:
        RowError: a missing column, a label other than A, B or Tie, or a vote of another form.
    """
    index = text(row, "index", options, needed=True)
    verdict = None
    if row.get("naturalness_label") in (None, ""):
        unlabelled("naturalness_label", options, ", ".join(VERDICTS))
    else:
        verdict = choice(row["naturalness_label"], "naturalness_label", VERDICTS)
    setting = text(row, "language_setting", options)
    raters = [str(rater) for rater in _listed(row, "rater")]
    said = text(row, "target_text", options)
    return new_item(
        id=f"speechjudge-{index}",
        task="compare",
        audios=[audio(column(row, name), name, options) for name in ("audioA", "audioB")],
        format="speechjudge",
        source=options.source or "SpeechJudge-Data",
        key=index,
        aspect=options.aspect or "naturalness",
        verdict=verdict,
        text=said,
        language=options.language or (setting.rpartition("2")[2] if setting else None),
        raters=raters,
        details=_votes(row, raters),
        extra={name: row[name] for name in row if name not in _KNOWN},
    )


def _votes(row: Row, raters: list[str]) -> list[Detail]:
    votes = _listed(row, "naturalness_annotation")
    if raters and len(raters) != len(votes):
        raise RowError(f"'rater' names {len(raters)} raters, but 'naturalness_annotation' holds {len(votes)} votes")
    found = []
    for place, vote in enumerate(votes):
        parts = _VOTE.match(str(vote).strip())
        if not parts:
            raise RowError(
                f"column 'naturalness_annotation' holds {shorten(repr(vote))}; allowed: A+1, A+2, B+1, B+2, Tie "
                "(missing reason), Tie (both not good), Tie (both very good)",
                value=vote,
            )
        verdict = VERDICTS[parts[1]] if parts[1] else "tie"
        strength = float(parts[2]) if parts[2] else None
        rater = raters[place] if raters else None
        found.append(detail("naturalness", rater=rater, verdict=verdict, score=strength, text=parts[3]))
    return found


def _listed(row: Row, name: str) -> list[object]:
    values = row.get(name)
    if values is None:
        return []
    if not isinstance(values, list):
        raise RowError(f"column '{name}' holds {shorten(repr(values))}; allowed: a list", value=values)
    return values
