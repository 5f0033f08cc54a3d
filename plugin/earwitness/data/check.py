"""Everything that can be wrong with datasets of speech judges, found before it costs anything."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import xxhash

from earwitness.audio.limits import HOP_LENGTH, MAX_SECONDS, MIN_SAMPLES, Family, Overlong, token_count
from earwitness.audio.quality import ClipReport, inspect_clip
from earwitness.audio.reading import SAMPLE_RATE
from earwitness.data.check_labels import LabelTally, label_findings
from earwitness.data.entries import HOST_FORMATTINGS, Entry, load_entries, load_entry
from earwitness.data.findings import Finding, Level
from earwitness.data.packed import Packed
from earwitness.data.preference_rows import Preference, iter_preferences
from earwitness.data.records import Record, iter_records
from earwitness.data.schema import problems_of
from earwitness.data.seen_ids import SeenIds
from earwitness.errors import UserError
from earwitness.files import BadRows

if TYPE_CHECKING:
    from earwitness.infer.prompting import HostPrompts

TRAIN_NAMES, TEST_NAMES = {"train", "training"}, {"test", "eval", "val", "valid", "validation", "dev"}
"""Words in the name of a dataset that say what it is for; clips that a set of each kind share are an error."""

KEPT_FINDINGS = 10_000
"""Findings of one kind that are kept, the first ones; the others are counted."""

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""Wraps an iterable of so many things, called so, to show how far it is."""


@dataclass(frozen=True)
class CheckOptions:
    """What the data is checked for.

    Attributes:
        dataset_dir: folder of ``dataset_info.json``.
        media_dir: where relative clip paths start; ``dataset_dir`` by default.
        family: of the model that is to hear the clips; ignored with ``prompts``.
        prompts: tokenizer and processor of a model; without them text is not counted as tokens.
        cutoff_len: most tokens of a training row.
        overlong: whether a clip beyond the model's limit is an error or, skipped or truncated, a warning.
        jobs: processes that read clips.
    """

    dataset_dir: str | os.PathLike[str] = "data"
    media_dir: str | os.PathLike[str] | None = None
    family: Family = "qwen2_5_omni"
    prompts: HostPrompts | None = None
    cutoff_len: int = 2048
    overlong: Overlong = "error"
    jobs: int = 1

    @property
    def max_samples(self) -> int:
        """Samples at 16 kHz that the model hears."""
        if self.prompts is not None:
            return int(self.prompts.processor.feature_extractor.n_samples)
        return int(MAX_SECONDS[self.family] * SAMPLE_RATE)


@dataclass
class DatasetCheck:
    """One dataset as it was found; what grows with its rows is packed.

    Attributes:
        name: of the entry.
        records: the rows that could be read, of questions to a judge.
        preferences: those of preferences; a dataset has the one or the other.
        bad_rows: how many could not.
        labels: of the records, counted.
        clips: report of every distinct clip path.
        audio_tokens: of each record whose clips can all be read.
        row_tokens: of each such record, text included; empty without a tokenizer.
        findings: what is wrong, up to ``KEPT_FINDINGS`` of a kind.
        found: how many findings of each level and kind there are.
    """

    name: str
    file: str = ""
    records: Packed[Record] = field(default_factory=Packed)
    preferences: Packed[Preference] = field(default_factory=Packed)
    bad_rows: int = 0
    labels: LabelTally = field(default_factory=LabelTally)
    clips: dict[str, ClipReport] = field(default_factory=dict)
    audio_tokens: array[int] = field(default_factory=lambda: array("q"))
    row_tokens: array[int] = field(default_factory=lambda: array("q"))
    findings: list[Finding] = field(default_factory=list)
    found: Counter[tuple[Level, str]] = field(default_factory=Counter)

    def find(self, level: Level, kind: str, message: str, row: int | None = None) -> None:
        """Add a finding, with file and row where it is about one."""
        place = f"{self.file}, row {row}: " if row is not None else ""
        self.add(Finding(level, kind, place + message, row))

    def add(self, finding: Finding) -> None:
        """Add a finding whose message is complete."""
        self.found[finding.level, finding.kind] += 1
        if self.found[finding.level, finding.kind] <= KEPT_FINDINGS:
            self.findings.append(finding)

    @property
    def rows(self) -> Iterator[Record | Preference]:
        """Every row that could be read."""
        return chain(self.records, self.preferences)

    def digests(self, record: Record | Preference) -> tuple[str, ...]:
        """What each clip of a row sounds like: equal for equal sound; the path for one that cannot be read."""
        return tuple(self.clips[path].digest or path for path in record.audios)


def audio_datasets(dataset_dir: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
    """Return the entries of ``dataset_info.json`` with audio in local files, and those without.

    Raises:
        UserError: ``dataset_info.json`` cannot be read.
    """
    with_audio: list[str] = []
    others: list[str] = []
    for name, entry in load_entries(dataset_dir).items():
        mapping = entry if isinstance(entry, Mapping) else {}
        text_only = mapping.get("formatting", "alpaca") in HOST_FORMATTINGS and "audios" not in mapping.get(
            "columns", {}
        )
        (others if text_only or "file_name" not in mapping else with_audio).append(name)
    return with_audio, others


def other_problems(names: Sequence[str], dataset_dir: str | os.PathLike[str]) -> list[str]:
    """Say what is wrong with the entries of ``dataset_info.json`` that are not among ``names``.

    Raises:
        UserError: ``dataset_info.json`` cannot be read.
    """
    others = {name: entry for name, entry in load_entries(dataset_dir).items() if name not in names}
    return [problem for problems in problems_of(others).values() for problem in problems]


def check_datasets(names: Sequence[str], options: CheckOptions, progress: Progress) -> list[DatasetCheck]:
    """Read every row and clip of some datasets and report on each, and on what they share.

    Raises:
        UserError: a dataset is not in ``dataset_info.json``, or that cannot be read; the rest becomes findings.
    """
    known = load_entries(options.dataset_dir)
    for name in names:
        if name not in known:
            load_entry(name, options.dataset_dir)  # says so
    checks = [_read(name, options) for name in names]
    _check_entries(checks, problems_of({name: known[name] for name in names}))
    heard = [_clip_rows(check) for check in checks]
    reports = _inspect({path for rows in heard for path in rows}, options, progress)
    for check, rows in zip(checks, heard, strict=True):
        check.clips = {path: reports[path] for path in rows}
        _check_clips(check, rows, options)
        _check_repeats(check)
        for finding in label_findings(check.file, check.labels):
            check.add(finding)
        _check_tokens(check, options, progress)
    _check_shared(checks)
    return checks


def _check_entries(checks: list[DatasetCheck], problems: Mapping[str, list[str]]) -> None:
    """Add what the schema says of each entry and reading it did not."""
    for check in checks:
        known = {finding.message for finding in check.findings}
        for problem in problems.get(check.name, ()):
            if problem not in known:
                check.find("error", "entry", problem)


def _read(name: str, options: CheckOptions) -> DatasetCheck:
    check = DatasetCheck(name)
    try:
        entry: Entry = load_entry(name, options.dataset_dir)
        check.file = str(entry.path(options.dataset_dir))
        bad = BadRows(skip=True, keep=KEPT_FINDINGS)
        if entry.ranking:
            check.preferences = Packed(iter_preferences(entry, options.dataset_dir, options.media_dir, bad))
        else:
            for record in iter_records(name, options.dataset_dir, options.media_dir, bad=bad):
                check.records.append(record)
                check.labels.add(record)
    except UserError as error:
        check.records, check.preferences, check.labels = Packed(), Packed(), LabelTally()
        check.find("error", "dataset", str(error))
        return check
    check.bad_rows = bad.count
    for row in bad.first:
        check.add(Finding("error", "row", str(row), row.row))
    if bad.count:
        check.found["error", "row"] = bad.count
    if not check.records and not check.preferences:
        check.find("error", "dataset", f"{check.file}: holds no row that can be read")
    return check


def _inspect(paths: set[str], options: CheckOptions, progress: Progress) -> dict[str, ClipReport]:
    ordered = sorted(paths)
    if options.jobs == 1 or len(ordered) < 2:
        reports: Iterator[ClipReport] = map(inspect_clip, ordered)
        return {report.name: report for report in progress(reports, len(ordered), "clips")}
    with ProcessPoolExecutor(options.jobs) as pool:
        reports = pool.map(inspect_clip, ordered, chunksize=8)
        return {report.name: report for report in progress(reports, len(ordered), "clips")}


def _clip_rows(check: DatasetCheck) -> dict[str, tuple[int, int]]:
    """Of each clip the first row that has it, and how many rows do."""
    rows: dict[str, tuple[int, int]] = {}
    for row in check.rows:
        for path in dict.fromkeys(row.audios):
            first, count = rows.get(path, (row.row, 0))
            rows[path] = first, count + 1
    return rows


def _check_clips(check: DatasetCheck, rows: Mapping[str, tuple[int, int]], options: CheckOptions) -> None:
    shortest, longest = MIN_SAMPLES[options.family], options.max_samples
    for path, (first, count) in rows.items():
        clip = check.clips[path]
        more = count - 1
        also = f" (and in {more} more row{'s' * (more > 1)})" if more else ""
        if clip.error is not None:
            check.find("error", "clip", clip.error + also, first)
            continue
        if clip.samples < shortest:
            check.find("error", "too short", f"{path}: {clip.samples} samples at 16 kHz, needs {shortest}{also}", first)
        if clip.samples > longest:
            level: Level = "error" if options.overlong == "error" else "warning"
            done = {"error": "cut it, or skip or truncate", "skip": "is skipped", "truncate": "is truncated"}
            message = (
                f"{path}: {clip.seconds:.2f} s, the model hears {longest / SAMPLE_RATE:g} s; {done[options.overlong]}"
            )
            check.find(level, "too long", message + also, first)
        for finding in clip.findings:
            check.find("warning", finding.partition(":")[0], f"{path}: {finding}{also}", first)


def _check_repeats(check: DatasetCheck) -> None:
    asked = SeenIds()
    for place, record in enumerate(check.records):
        digests = check.digests(record)
        question = (record.judge.type, record.aspect or "", record.prompt, *digests)
        earlier = asked.add(_digest(question), place)
        if earlier is not None:
            first = check.records[earlier]
            same = "the same answer" if first.reference == record.reference else "another answer"
            check.find(
                "warning", "repeated", f"asks what row {first.row} asks about the same sound, {same}", record.row
            )
        if len(digests) == 2 and digests[0] == digests[1] and record.reference in ("first", "second"):
            check.find("warning", "same clips", f"A and B are the same sound, but {record.reference} wins", record.row)
    preferred = SeenIds()
    for row in check.preferences:  # one prompt with several rejected texts is as it should be
        first_row = preferred.add(_digest((row.prompt, row.chosen, row.rejected, *check.digests(row))), row.row)
        if first_row is not None:
            check.find("warning", "repeated", f"is row {first_row} again", row.row)
        if row.chosen.strip() == row.rejected.strip():
            check.find("warning", "same texts", "chosen and rejected are the same text", row.row)


def _digest(texts: Iterable[str]) -> str:
    """128 bits in the place of long texts."""
    return xxhash.xxh3_128_hexdigest("\0".join(texts).encode(errors="surrogatepass"))


def _check_tokens(check: DatasetCheck, options: CheckOptions, progress: Progress) -> None:
    rows: Iterable[Record | Preference] = check.rows
    if options.prompts is not None:
        rows = progress(rows, len(check.records) + len(check.preferences), f"tokens of {check.name}")
    for row in rows:
        if any(
            not MIN_SAMPLES[options.family] <= check.clips[path].samples <= options.max_samples for path in row.audios
        ):
            continue
        frames = [-(-check.clips[path].samples // HOP_LENGTH) for path in row.audios]
        tokens = audio = sum(token_count(count, options.family) for count in frames)
        check.audio_tokens.append(audio)
        if options.prompts is not None:
            tokens = _row_tokens(row, options.prompts)
            check.row_tokens.append(tokens)
        if tokens > options.cutoff_len:
            what = "tokens" if options.prompts else "audio tokens alone"
            message = (
                f"takes {tokens} {what}, cutoff_len allows {options.cutoff_len}; raise it, or shorten clips or text"
            )
            check.find("error", "cut by cutoff_len", message, row.row)


def _row_tokens(row: Record | Preference, prompts: HostPrompts) -> int:
    """Count what the host trains on: the prompt, and the longest response with what ends a turn."""
    texts = [row.response] if isinstance(row, Record) else [row.chosen, row.rejected]
    turns = [f"{text}{prompts.tokenizer.eos_token}\n" for text in texts if text is not None]
    longest = max((len(prompts.tokenizer.encode(turn, add_special_tokens=False)) for turn in turns), default=0)
    return len(prompts.encode(row.prompt, row.audios)) + longest


def _check_shared(checks: list[DatasetCheck]) -> None:
    heard = [{clip.digest: path for path, clip in check.clips.items() if clip.digest} for check in checks]
    for later, check in enumerate(checks):
        for earlier, other in enumerate(checks[:later]):
            shared = sorted(heard[later].keys() & heard[earlier].keys(), key=heard[later].__getitem__)
            if shared:
                mixed = {_purpose(check.name), _purpose(other.name)} == {"train", "test"}
                mine, theirs = heard[later][shared[0]], heard[earlier][shared[0]]
                named = mine if mine == theirs else f"{mine}, there {theirs}"
                several = len(shared) > 1
                message = f"shares {len(shared)} clip{'s' * several} with {other.name}: {named}{' ...' * several}"
                check.find("error" if mixed else "warning", "shared clips", f"{check.name} {message}")


def _purpose(name: str) -> str:
    words = set(name.lower().replace("-", "_").replace(".", "_").split("_"))
    return "train" if words & TRAIN_NAMES else "test" if words & TEST_NAMES else ""
