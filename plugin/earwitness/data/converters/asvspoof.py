"""Protocols of ASVspoof 2019 and ASVspoof 5: one clip a line, fields separated by white space, bonafide or spoof."""

from __future__ import annotations

from collections.abc import Mapping

from earwitness.data.converters.fields import NO_OPTIONS, Options, Row, audio, choice, text
from earwitness.data.converters.item import Item, new_item
from earwitness.errors import RowError, shorten

VERDICTS = {"bonafide": "real", "spoof": "fake"}

LAYOUTS: Mapping[int, tuple[str, ...]] = {
    5: ("speaker", "clip", "environment", "attack", "key"),
    6: ("speaker", "clip", "gender", "-", "attack", "key"),
    10: ("speaker", "clip", "gender", "codec", "codec_q", "codec_seed", "attack_tag", "attack", "key", "-"),
}
"""Number of fields to their names: 2019 (LA and PA), ASVspoof 5 as first handed out, ASVspoof 5 as released."""

_NAMES = {5: "ASVspoof 2019", 6: "ASVspoof 5", 10: "ASVspoof 5"}


def asvspoof(row: Row, options: Options = NO_OPTIONS) -> Item:
    """Convert one line of a protocol, such as ``LA_0079 LA_T_1138215 - - bonafide``.

    ``system`` is the attack (A01, ...), None for bona fide speech. Clips are ``<name>.flac``, in ``audio_dir``.

    Raises:
        RowError: another number of fields, or a key other than bonafide and spoof.
    """
    line = str(text(row, "text", options, needed=True)).strip()
    fields = line.split()
    if len(fields) not in LAYOUTS:
        known = "; ".join(f"{size} ({_NAMES[size]}): {' '.join(names)}" for size, names in LAYOUTS.items())
        raise RowError(f"{shorten(line)!r} has {len(fields)} fields; allowed: {known}", value=line)
    named = {name: value for name, value in zip(LAYOUTS[len(fields)], fields, strict=True) if value != "-"}
    verdict = choice(named.get("key", "-"), "key", VERDICTS)
    attack = named.get("attack")
    if (verdict == "real") != (attack in (None, "bonafide")):
        raise RowError(
            f"key {named['key']!r} does not go with attack {attack or '-'!r} in {shorten(line)!r}", value=line
        )
    clip = named.get("clip", "")
    used = ("speaker", "clip", "attack", "key")
    return new_item(
        id=clip,
        task="detect",
        audios=[audio(clip, "clip", options, ending=".flac")],
        format="asvspoof",
        source=options.source or _NAMES[len(fields)],
        key=clip,
        verdict=verdict,
        language=options.language or "en",
        systems=[attack if verdict == "fake" else None],
        speakers=[named.get("speaker")],
        extra={name: named.get(name) for name in LAYOUTS[len(fields)] if name not in used and name != "-"},
    )
