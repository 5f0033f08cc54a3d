"""Mean opinion scores of single clips: NISQA's CSV, SOMOS lists, and the headerless lists of BVCC and VoiceMOS."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from earwitness.data.converters.fields import NO_OPTIONS, Options, Row, audio, number, text
from earwitness.data.converters.item import Item, new_item
from earwitness.errors import RowError, UserError, shorten

SCALE = (1.0, 5.0)

NISQA_ASPECTS: Mapping[str, str] = {
    "mos": "overall quality",
    "noi": "noise",
    "col": "coloration",
    "dis": "discontinuity",
    "loud": "loudness",
}
"""NISQA's columns and our names of the aspects; 1 to 5, higher is better."""

_NISQA_KNOWN = {
    *("db", "con", "file", "filename_deg", "filename_ref", "source", "lang", "filepath_deg", "filepath_ref"),
    *NISQA_ASPECTS,
}


def nisqa(row: Row, options: Options = NO_OPTIONS) -> Item:
    """Convert one row of a NISQA ``*_file.csv``.

    ``score`` is the overall quality, or the dimension that ``aspect`` declares. ``sentence`` is the reference clip:
    clips degraded from one reference say the same. ``system`` is the condition, which is numbered within a database.

    Raises:
        RowError: a missing column, or a score that is no number from 1 to 5.
    """
    db = text(row, "db", options, needed=True)
    clip = text(row, "filepath_deg", options) or text(row, "filename_deg", options, needed=True)
    name = posixpath.splitext(posixpath.basename(str(clip)))[0]
    aspect = options.aspect or "overall quality"
    scores: dict[str, float | None] = {}
    for short, long in NISQA_ASPECTS.items():
        has = row.get(short) not in (None, "")
        # Live and talk databases rate fewer dimensions; the one that is asked for must be there.
        scores[long] = number(row, short, SCALE) if has or long == aspect else None
    if aspect not in scores:
        raise UserError(f"NISQA has no aspect {aspect!r}; allowed: {', '.join(NISQA_ASPECTS.values())}")
    reference = text(row, "filename_ref", options)
    return new_item(
        id=f"{db}/{name}",
        task="score",
        audios=[audio(clip, "filepath_deg", options)],
        format="nisqa",
        source=options.source or db,
        key=text(row, "file", options),
        aspect=aspect,
        score=scores[aspect],
        scores=scores,
        scale=SCALE,
        sentence=f"{db}/{reference}" if reference else None,
        language=options.language or text(row, "lang", options),
        systems=[f"{db}/{condition}" if (condition := text(row, "con", options)) else None],
        extra={
            "corpus": row.get("source"),
            **{name: row[name] for name in row if name not in _NISQA_KNOWN},
        },
    )


def somos(row: Row, options: Options = NO_OPTIONS) -> Item:
    """Convert one row of a SOMOS ``*_mos_list.txt``: ``utteranceId,mean``.

    An utterance is ``<sentence>_<system>``, such as ``booksent_2012_0005_001``; its clip ``<utterance>.wav``. One
    speaker (LJ Speech), English.

    Raises:
        RowError: a missing column, another form of id, or a mean that is no number from 1 to 5.
    """
    utterance = str(text(row, "utteranceId", options, needed=True)).removesuffix(".wav")
    sentence, separator, system = utterance.rpartition("_")
    if not separator or not sentence or not system:
        raise RowError(f"column 'utteranceId' holds {utterance!r}; allowed: '<sentence>_<system>'", value=utterance)
    return new_item(
        id=utterance,
        task="score",
        audios=[audio(utterance + ".wav", "utteranceId", options)],
        format="somos",
        source=options.source or "SOMOS",
        key=utterance,
        aspect=options.aspect or "naturalness",
        score=number(row, "mean", SCALE),
        scale=SCALE,
        sentence=sentence,
        language=options.language or "en",
        systems=[system],
        speakers=["LJSpeech"],
        extra={name: row[name] for name in row if name not in ("utteranceId", "mean")},
    )


def bvcc(row: Row, options: Options = NO_OPTIONS) -> Item:
    """Convert one line of BVCC / VoiceMOS, without a header.

    ``sysID,sysID-uttID.wav,score,_,listener`` is the rating of one listener (files TRAINSET, DEVSET, TESTSET);
    ``sysID-uttID.wav,score`` the mean over listeners (``*_mos_list.txt``). A listener is
    ``{}_AGERANGE_LISTENERID_GENDER_[ignore]_[ignore]_HEARINGIMPAIRMENT``, whose third part is the rater.

    Raises:
        RowError: another number of fields, a clip that is not of the system, or a score that is no number from 1 to 5.
    """
    line = str(text(row, "text", options, needed=True)).strip()
    fields = line.split(",")
    if len(fields) == 5:
        system, clip, score, _, listener = fields
    elif len(fields) == 2:
        (clip, score), listener = fields, ""
        system = clip.partition("-")[0]
    else:
        raise RowError(
            f"{shorten(line)!r} has {len(fields)} fields; allowed: 'sysID,sysID-uttID.wav,score,_,listener' or "
            "'sysID-uttID.wav,score'",
            value=line,
        )
    if not clip.startswith(f"{system}-") or not system:
        raise RowError(
            f"clip {clip!r} is not of system {system!r}; allowed: '{system or 'sysID'}-uttID.wav'", value=clip
        )
    parts = listener.split("_")
    rater = parts[2] if len(parts) == 7 else listener
    name = posixpath.splitext(clip)[0]
    return new_item(
        id=f"{name}#{rater}" if rater else name,
        task="score",
        audios=[audio(clip, "clip", options)],
        format="bvcc",
        source=options.source or "BVCC",
        key=name,
        aspect=options.aspect or "overall quality",
        score=number({"score": score}, "score", SCALE),
        scale=SCALE,
        language=options.language or "en",
        systems=[system],
        raters=[rater] if rater else [],
        extra={"listener": listener} if listener else {},
    )
