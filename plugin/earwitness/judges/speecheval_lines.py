"""The lines of a SpeechEval thought: scores, preferences, distortions, speakers, areas (Appendix B.2, B.3 and data).

Of one clip ``Distortion: 2/5 (artifacts;jitter)``, ``Speech Rate: suitable``, ``Distortion Duration: 0-3.3 s``; of two
``Intelligibility (A vs B): B is better than A``, ``Distortion Details: A has artifacts, B has none``, ``Distortion
Detail A - Type: jitter, Duration: 0-3.3 s``; and ``Key improvement areas: timbre, pace``. Lines without a colon are
headings or prose. A field that is unknown or cannot be read is listed as unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from earwitness.judges.fields import fields_of, scored
from earwitness.judges.judgement import Distortion, Speaker, Unread
from earwitness.judges.naming import names_of

SCALE = (1.0, 5.0)
RATED = (
    "overall quality",
    "intelligibility",
    "distortion",
    "dynamic range",
    "emotional impact",
    "artistic expression",
    "subjective experience",
)
"""The dimensions with a number from 1 to 5, higher is better."""

RATE = "speech rate"
RATES = ("slow", "slightly slow", "appropriate", "slightly fast", "fast")
"""Categories of the speech rate (Appendix C.2)."""

DIMENSIONS = (*RATED[:3], RATE, *RATED[3:])
"""The eight dimensions, in the order of Table 2."""

KINDS = {
    "artifacts": r"artifacts?",
    "timbre & quality": r"timbre(?:\s*(?:&|and)\s*quality)?",
    "drop / missing": r"drop\s*/\s*missing|missing(?:\s+segments?)?|dropouts?",
    "jitter": r"jitter(?:ing|s)?",
    "background noise": r"background\s+noise",
}
"""Distortion types of the annotation schema, and how texts write them."""

_RATE_WORDS = {word: word for word in RATES} | {
    "suitable": "appropriate",  # so in the released data
    "moderate": "appropriate",
    "normal": "appropriate",
    "too slow": "slow",
    "too fast": "fast",
}
_PAIR = names_of((("first", "A"), ("second", "B"), ("tie", "Tie")), ("Sample A", "Sample B"))
_NONE = ("", "none", "no", "n/a", "unknown", "no distortion")
_SIMILAR = re.compile(r"(?:similar|comparable|equal|the same)(?: in this aspect)?[\s.]*")
_CLIP_SAYS = re.compile(r"\b([AB])\s+(?:has|is|was|shows|suffers\s+from)\s+")
_OF_CLIP = re.compile(r"(?P<name>.+?)\s+(?P<clip>[ab])(?:\s*-\s*(?P<part>\w+))?")
_PARTS = re.compile(r"(?:^|,)\s*(type|duration|gender|age)\s*[:：]", re.IGNORECASE)
_TEXTS = {
    "distortion severity": "distortion severity",
    "distortion degree": "distortion severity",
    "distortion perception": "perception",
    "perceptual description": "perception",
    "emotion type": "emotion",
    "emotional impact type": "emotion",
    "speaking tone": "tone",
    "tone description": "tone",
}
_AREAS = ("key improvement areas", "improvement areas", "improvement suggestions")

SPAN = re.compile(
    r"(?<![\w.])(?P<start>\d{1,4}(?:\.\d{1,3})?)\s?(?:s|sec|seconds)?\s?(?:-|–|—|~|to|and)\s?"
    r"(?P<end>\d{1,4}(?:\.\d{1,3})?)(?![\d.]\d)(?:\s?(?P<unit>s|sec|secs|seconds?)\b)?"
)
"""An interval in seconds; in prose only one with its unit is an interval."""


@dataclass
class Lines:
    """What the lines say; fields as in ``Judgement``."""

    scores: dict[str, float | str] = field(default_factory=dict)
    preferences: dict[str, str] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    distortions: list[Distortion] = field(default_factory=list)
    speakers: list[Speaker] = field(default_factory=list)
    areas: tuple[str, ...] = ()
    unread: list[Unread] = field(default_factory=list)


def read_lines(text: str, clips: int) -> Lines:
    """Read the fields of a thought about 1 or 2 clips. Linear in its length."""
    lines = Lines()
    read = _of_one if clips == 1 else _of_two
    for line, name, value in fields_of(text):
        reason = read(lines, name, value)
        if reason:
            lines.unread.append(Unread(line, reason))
    return lines


def kinds_of(text: str) -> list[str]:
    """Return the distortion types of a list such as ``timbre & quality;artifacts``, in the schema's words if known."""
    found = []
    for part in re.split(r"[;,]", text):
        word = " ".join(part.casefold().strip(" .").split())
        if word not in _NONE:
            found.append(next((kind for kind, form in KINDS.items() if re.fullmatch(form, word)), word))
    return found


def _set(place: dict, name: str, value: float | str) -> str | None:
    """Store a value; the same field twice with different values is none."""
    if place.get(name, value) != value:
        return f"contradicts an earlier line: {place.pop(name)}"
    place[name] = value
    return None


def _of_one(lines: Lines, name: str, value: str) -> str | None:
    if name in RATED:
        score, reason, note = scored(value, SCALE)
        if score is None:
            return reason
        if name == "distortion":
            lines.distortions += [Distortion(0, kind) for kind in kinds_of(note)]
        elif name == "emotional impact" and note:
            lines.categories["emotion"] = note.casefold()
        elif name == "subjective experience" and note:
            lines.speakers.append(_speaker(0, note))
        return _set(lines.scores, name, score)
    if name == RATE:
        rate = _RATE_WORDS.get(value.casefold().rstrip(". "))
        score = scored(value, SCALE)[0]
        if rate is None and score is not None and score.is_integer():
            rate = RATES[int(score) - 1]  # the annotation scale from 1, too slow, to 5, too fast (Appendix A.1)
        return _set(lines.categories, RATE, rate) if rate else f"{value!r} is none of {', '.join(RATES)}"
    if name in ("distortion type", "distortion types"):
        lines.distortions += [Distortion(0, kind) for kind in kinds_of(value)]
        return None
    if name == "distortion duration":
        return _locate(lines, 0, [], value)
    if name.removeprefix("subjective ") in ("speaker gender", "speaker age"):
        known = lines.speakers.pop() if lines.speakers else Speaker(0, None, None)
        gender = value if name.endswith("gender") else known.gender
        lines.speakers.append(Speaker(0, gender, value if name.endswith("age") else known.age))
        return None
    return _other(lines, name, value)


def _of_two(lines: Lines, name: str, value: str) -> str | None:
    name = re.sub(r"\s*\(a vs\.? b\)$", "", name)
    if name in DIMENSIONS:
        verdict = "tie" if _SIMILAR.fullmatch(value.casefold()) else _PAIR.alone(value)
        claims = {verdict} if verdict else _PAIR.claims(_PAIR.normalise(value))[0]
        return _set(lines.preferences, name, claims.pop()) if len(claims) == 1 else "no preference between A and B"
    if name in ("distortion details", "subjective experience details"):
        said = list(_by_clip(value))
        for clip, text in said:
            if name.startswith("distortion"):
                lines.distortions += [Distortion(clip, kind) for kind in kinds_of(text)]
            else:
                lines.speakers.append(_speaker(clip, text))
        return None if said else "says nothing of A or B"
    match = _OF_CLIP.fullmatch(name)
    if match:
        return _of_clip(lines, match, value)
    return _other(lines, name, value)


def _of_clip(lines: Lines, match: re.Match[str], value: str) -> str | None:
    """Read ``Distortion Detail A - Type: jitter, Duration: 0-3.3 s`` or ``Subjective B - Gender: male, Age: 30``."""
    subject, clip = match["name"], "ab".index(match["clip"])
    pieces = _PARTS.split(f"{match['part'] or ''}:{value}")
    parts = {name.casefold(): text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
    if subject.startswith("distortion") and parts:
        return _locate(lines, clip, kinds_of(parts.get("type", "")), parts.get("duration", ""))
    if subject.startswith("subjective") and parts:
        lines.speakers.append(Speaker(clip, parts.get("gender") or None, parts.get("age") or None))
        return None
    if subject in _TEXTS:
        return _set(lines.categories, f"{_TEXTS[subject]} {match['clip']}", value.casefold())
    return "unknown field"


def _other(lines: Lines, name: str, value: str) -> str | None:
    if name in _AREAS:
        lines.areas += tuple(area.strip(" .") for area in re.split(r"[;,]", value) if area.strip(" ."))
        return None
    return _set(lines.categories, _TEXTS[name], value.casefold()) if name in _TEXTS else "unknown field"


def _locate(lines: Lines, clip: int, kinds: list[str], duration: str) -> str | None:
    spans = [(float(span["start"]), float(span["end"])) for span in SPAN.finditer(duration)]
    if any(start > end for start, end in spans) or (not spans and duration.casefold() not in _NONE):
        return f"no interval in {duration!r}"
    if spans:
        lines.distortions += [Distortion(clip, kind, *span) for kind in (kinds or (None,)) for span in spans]
    else:
        lines.distortions += [Distortion(clip, kind) for kind in kinds]
    return None


def _by_clip(value: str) -> Iterator[tuple[int, str]]:
    """Yield (clip, text) of ``A has artifacts, B has none``."""
    pieces = _CLIP_SAYS.split(value)
    for mark, text in zip(pieces[1::2], pieces[2::2], strict=True):
        yield "AB".index(mark), text.strip(" ,.;").removesuffix(" and").strip(" ,")


def _speaker(clip: int, text: str) -> Speaker:
    """Read ``female, thirties`` or ``male middle-aged``: the gender first, the age after it."""
    gender, _, age = text.replace(",", " ").strip().partition(" ")
    return Speaker(clip, gender.casefold() or None, age.strip().casefold() or None)
