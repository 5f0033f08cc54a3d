"""One run: check every record, answer them batch by batch, survive any crash, leave one file in the records' order."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.data.records import Record
from earwitness.data.seen_ids import SeenIds
from earwitness.errors import UserError
from earwitness.files import json_value
from earwitness.infer.engine import Answer, Engine, Item
from earwitness.infer.journal import Journal, disk_errors, locked
from earwitness.infer.manifest import check_manifest, clip_state, hash_of, versions
from earwitness.infer.options import ORDERS, Decoding
from earwitness.infer.places import menu_of
from earwitness.infer.plan import Plan, make_items, make_plan
from earwitness.infer.progress import progress
from earwitness.infer.rows import prediction

SHOWN_BAD = 10
"""Bad rows that are spelled out before a run refuses to start."""

FORCED_BELOW = 0.5
"""Menu mass below which a verdict-only verdict counts as forced."""

_SKIPPED = 0
"""Number of the journal's batch that holds rows which could not be judged; the engine's batches count from 1."""


@dataclass(frozen=True)
class RunOptions:
    """What a run does beside decoding.

    Attributes:
        orders: a key of ``ORDERS``.
        batch_size: the most rows answered together.
        batch_tokens: the most tokens of a batch, padding included.
        skip_bad: rows that cannot be judged become unscored rows with the reason, instead of stopping the run.
        overwrite: start anew where another run lies.
        quiet: no progress bar.
    """

    orders: str = "ab"
    batch_size: int = 32
    batch_tokens: int = 32768
    skip_bad: bool = False
    overwrite: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.orders not in ORDERS:
            raise UserError(f"unknown --orders {self.orders!r}; allowed: {', '.join(ORDERS)}")
        for name in ("batch_size", "batch_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} is {getattr(self, name)}; must be at least 1")


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        predictions: the finished file.
        rows: in it.
        resumed: rows that an earlier, interrupted run had finished.
        skipped: rows that could not be judged.
        unscored: rows without a verdict or score, skipped ones among them.
        forced: rows of a verdict-only run in which the model was unlikely to begin with a label at all.
    """

    predictions: Path
    rows: int
    resumed: int
    skipped: int
    unscored: int
    forced: int


@dataclass(frozen=True)
class RunPaths:
    """Files of a run. ``OUT.jsonl`` keeps its working files in ``OUT.jsonl.run/``; any other OUT is a folder."""

    predictions: Path
    folder: Path

    @classmethod
    def of(cls, out: str) -> RunPaths:
        """Tell the files of ``--out``."""
        path = Path(out)
        if path.suffix == ".jsonl":
            return cls(path, path.with_name(path.name + ".run"))
        return cls(path / "predictions.jsonl", path)

    @property
    def manifest(self) -> Path:
        """What the run is made of."""
        return self.folder / "manifest.json"

    @property
    def journal(self) -> Path:
        """Finished batches of an unfinished run."""
        return self.folder / "journal.log"

    @property
    def started(self) -> bool:
        """Whether rows have been judged."""
        return self.predictions.exists() or (self.journal.exists() and self.journal.stat().st_size > 0)

    def clear(self) -> None:
        """Remove every trace of the run, finished or not."""
        self.predictions.unlink(missing_ok=True)
        self.manifest.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)

    def clear_torn(self) -> None:
        """Remove what a crash left of files that were being written."""
        for target in (self.predictions, self.manifest):
            for torn in target.parent.glob(f".{target.name}.*"):
                torn.unlink(missing_ok=True)


def judge_records(
    records: Sequence[Record], engine: Engine, out: str, decoding: Decoding, options: RunOptions | None = None
) -> Summary:
    """Judge records into a file; the same call again goes on where an interrupted one stopped.

    Args:
        records: of one or more datasets.
        engine: who answers.
        out: ``NAME.jsonl``, or a run folder.
        decoding: how to answer.
        options: see ``RunOptions``.

    Raises:
        UserError: a record cannot be judged (and ``skip_bad`` is off), the run folder belongs to another run or
            process, the disk is full, or rows failed; every finished row is safe.
    """
    options = options or RunOptions()
    if not records:
        raise UserError("the dataset has no rows; nothing to judge")
    check_decoding(records, decoding)
    paths = RunPaths.of(out)
    with disk_errors(paths.folder, 0):
        paths.folder.mkdir(parents=True, exist_ok=True)
        paths.predictions.parent.mkdir(parents=True, exist_ok=True)
    with locked(paths.folder):
        if options.overwrite:
            paths.clear()
        paths.clear_torn()
        items = make_items(records, ORDERS[options.orders])
        wanted = _manifest(records, items, engine, decoding, options)
        if paths.predictions.exists() and not paths.manifest.exists():
            raise UserError(f"{paths.predictions}: exists already and no run of ours wrote it; --overwrite replaces it")
        if not paths.started:
            paths.manifest.unlink(missing_ok=True)  # nothing was judged yet, so nothing can be mixed
        else:
            check_manifest(paths.manifest, wanted)
        if paths.predictions.exists():
            paths.journal.unlink(missing_ok=True)
            return _summary(paths, resumed=len(items))
        plan = _check(items, engine, options)
        with disk_errors(paths.manifest, 0):
            check_manifest(paths.manifest, wanted)
        return _judge(plan, engine, paths, decoding, options)


def check_decoding(records: Iterable[Record], decoding: Decoding) -> None:
    """Raise a UserError where a judge cannot answer in the way that ``decoding`` asks."""
    judges = {id(record.judge): record for record in records}
    for record in judges.values():
        judge = record.judge
        label_first = judge.kind.target in ("verdict", "score") and bool(menu_of(judge))
        if decoding.verdict_only and (not label_first or judge.chain_of_thought):
            why = "thinks before its verdict" if judge.chain_of_thought else "does not begin its answer with a label"
            raise UserError(f"{record.dataset}: --verdict-only cannot serve judge {judge.type!r}, which {why}")
        if (decoding.abstain or decoding.tie_band) and not judge.labels:
            raise UserError(
                f"{record.dataset}: --abstain and --tie-band need labels, and judge {judge.type!r} has none"
            )
        if decoding.tie_band and "tie" not in judge.labels:
            raise UserError(f"{record.dataset}: --tie-band needs the label 'tie', which judge {judge.type!r} lacks")


def _manifest(
    records: Sequence[Record], items: Sequence[Item], engine: Engine, decoding: Decoding, options: RunOptions
) -> dict[str, Any]:
    return {
        "format": 1,
        "rows": len(items),
        "dataset": hash_of([item.record.id, item.order, item.prompt_hash, *item.shown.audios] for item in items),
        "references": hash_of([record.reference, json_value(record.meta)] for record in records),
        "clips": hash_of([path, clip_state(path)] for path in _clips(records)),
        "engine": engine.describe(),
        "decoding": decoding.to_json(),
        "batches": None if engine.alone else {"size": options.batch_size, "tokens": options.batch_tokens},
        "versions": versions(),
    }


def _clips(records: Iterable[Record]) -> Iterator[str]:
    """Yield every clip once."""
    seen = SeenIds()
    for record in records:
        yield from (path for path in record.audios if seen.add(path, record.row) is None)


def _check(items: Sequence[Item], engine: Engine, options: RunOptions) -> Plan:
    """Look at every clip and prompt before anything is answered."""
    sizes = array("q")
    bad: dict[int, str] = {}
    with progress("checking", len(items), quiet=options.quiet) as advance:
        for item in items:
            try:
                sizes.append(engine.size(item))
            except UserError as error:
                sizes.append(0)
                bad[item.number] = str(error)
            advance(1)
    if bad:
        told = [f"{items[number].place}: {reason}" for number, reason in list(bad.items())[:SHOWN_BAD]]
        told += [f"and {len(bad) - SHOWN_BAD} more"] * (len(bad) > SHOWN_BAD)
        count = f"{len(bad)} of {len(items)} rows cannot be judged"
        if not options.skip_bad:
            hint = "mend them (where clips are elsewhere: --media-dir), or leave them unscored with --skip-bad"
            raise UserError("\n".join([*told, f"{count}; {hint}"]))
        print(f"{count} and stay unscored:", *told, sep="\n", file=sys.stderr)
    return make_plan(items, sizes, bad, 1 if engine.alone else options.batch_size, options.batch_tokens)


def _judge(plan: Plan, engine: Engine, paths: RunPaths, decoding: Decoding, options: RunOptions) -> Summary:
    journal = Journal(paths.journal, len(plan.items))
    try:
        resumed = journal.done
        if plan.bad and _SKIPPED not in journal.batches:
            bad = [(plan.items[number], Answer(failure=reason)) for number, reason in plan.bad.items()]
            journal.append(_SKIPPED, _lines(bad, engine, decoding))
        failed = _answer(plan, engine, journal, decoding, options)
        if failed:
            item, reason = failed[0]
            raise UserError(
                f"{len(failed)} of {len(plan.items)} rows failed, first {item.place}: {reason}; {journal.done} are "
                "safe: run the same command again to retry the others, or add --skip-bad to leave failed "
                "rows unscored"
            )
        journal.merge(paths.predictions)
    finally:
        journal.close()
    paths.journal.unlink(missing_ok=True)
    return _summary(paths, resumed)


def _answer(
    plan: Plan, engine: Engine, journal: Journal, decoding: Decoding, options: RunOptions
) -> list[tuple[Item, str]]:
    """Answer what is left into the journal; return the items that the engine could not answer."""
    left = (number for number in range(1, len(plan.batches) + 1) if number not in journal.batches)
    failed: list[tuple[Item, str]] = []
    with progress("judging", len(plan.items), journal.done, options.quiet) as advance:
        for number, answers in engine.answer((number, plan.batches[number - 1]) for number in left):
            pairs = list(zip(plan.batches[number - 1], answers, strict=True))
            broken = [(item, answer.failure) for item, answer in pairs if answer.failure is not None]
            if broken and not options.skip_bad:
                failed += broken
                continue
            journal.append(number, _lines(pairs, engine, decoding))
            advance(len(pairs))
    return failed


def _lines(pairs: Iterable[tuple[Item, Answer]], engine: Engine, decoding: Decoding) -> Iterator[tuple[int, str]]:
    for item, answer in pairs:
        row = prediction(item, answer, engine.label(), decoding)
        yield item.number, json.dumps(row, ensure_ascii=False, allow_nan=False)


def _summary(paths: RunPaths, resumed: int) -> Summary:
    rows = skipped_rows = unscored = forced = 0
    with paths.predictions.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            rows += 1
            unscored += row["unscored"] is not None
            skipped_rows += row["raw"] is None
            mass = row["menu_mass"]
            forced += row["decoding"]["verdict_only"] and mass is not None and mass < FORCED_BELOW
    return Summary(paths.predictions, rows, resumed, skipped_rows, unscored, forced)
