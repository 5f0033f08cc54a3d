"""Speaker-, system- and text-disjoint splits, written with a manifest and proved by reading them back."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from earwitness.data import grouping
from earwitness.data.balancing import rows_to_drop, rows_to_swap
from earwitness.data.converters.item import can_swap, swapped_row
from earwitness.data.split_plan import SPLITS, SplitPlan, row_values
from earwitness.errors import UserError
from earwitness.files import atomic_write, numbered_rows, read_rows, sha256_file, write_json

MANIFEST = "split.manifest.json"
_SHOWN = 5  # shared values that a check lists
_HASH_BITS = 60


@dataclass
class _Read:
    """What is kept of the rows between the two readings, a few numbers and short texts a row."""

    table: grouping.Table = field(default_factory=grouping.Table)
    verdicts: list[str] = field(default_factory=list)
    strata: list[tuple[int, str]] = field(default_factory=list)  # file and aspect
    swappable: bytearray = field(default_factory=bytearray)
    counts: list[int] = field(default_factory=list)  # rows of each file


def split_files(paths: Sequence[Path], folder: Path, plan: SplitPlan) -> dict[str, Any]:
    """Split files of rows into ``folder/<name>.<split>.jsonl`` with a manifest, and check the result.

    All files are split together: a clip, or a value of the kinds that the plan keeps apart, that occurs in several
    files or tasks is in the same split everywhere. Rows are read twice; between the readings some 0.2 KB a row is held.

    Args:
        paths: as ``earwitness convert`` writes them (columns of ``converters.to_row``); their names must differ.
        folder: for the files; made if need be.
        plan: see ``SplitPlan``.

    Returns: the manifest, which is also in ``folder/split.manifest.json``.

    Raises:
        UserError: a file that cannot be read, groups of rows too large for the ratios (say what to change), or nothing
            to split.
    """
    stems = [path.stem for path in paths]
    if len(set(stems)) < len(stems):
        raise UserError(f"two files have the same name: {', '.join(sorted(stems))}; rename one")
    read = _read(paths, plan)
    if not read.verdicts:
        raise UserError(f"{', '.join(map(str, paths))}: no rows to split")
    splits, dropped = _assigned(read, plan)
    swaps: set[int] = set()
    dropped["to balance labels"] = 0
    for place, split in enumerate(SPLITS):
        rows = [row for row, other in enumerate(splits) if other == place]
        picked = [read.verdicts[row] for row in rows], [read.strata[row] for row in rows]
        if plan.balance_order:
            swappable = [bool(read.swappable[row]) for row in rows]
            chosen = rows_to_swap(picked[0], swappable, picked[1], plan.seed + place)
            swaps.update(rows[one] for one in chosen)
            for one in chosen:
                picked[0][one] = {"first": "second", "second": "first"}[picked[0][one]]
        if split in plan.balance_labels:
            for one in rows_to_drop(*picked, plan.seed + place):
                splits[rows[one]] = grouping.DROPPED
                dropped["to balance labels"] += 1
    files = _write(paths, read, splits, swaps, folder)
    manifest = {
        "plan": plan.to_json(),
        "inputs": {
            path.name: {"rows": rows, "sha256": sha256_file(path)}
            for path, rows in zip(paths, read.counts, strict=True)
        },
        "rows": sum(read.counts),
        "swapped": sum(splits[row] != grouping.DROPPED for row in swaps),
        "dropped": dropped,
        "files": files,
        "shares": _shares(read, splits, plan),
    }
    write_json(folder / MANIFEST, manifest)
    manifest["check"] = check_splits(folder)
    write_json(folder / MANIFEST, manifest)
    return manifest


def _read(paths: Sequence[Path], plan: SplitPlan) -> _Read:
    import numpy as np

    read = _Read()
    read.table.ratios = [tuple(share / sum(rule.ratio) for share in rule.ratio) for rule in plan.all_rules]
    numbers: dict[Hashable, int] = {}
    known: dict[Any, Any] = {}  # one object for each different verdict and stratum
    kinds = _kinds(plan)
    codes = array("Q")
    for place, path in enumerate(paths):
        before = len(read.verdicts)
        for number, row in numbered_rows(path):
            rule = plan.rule_of(row)
            found = row_values(row, plan.kinds_of(rule))
            if not found or found[0][0] != "clip":
                raise UserError(f"{path}, row {number}: has no 'audio', or 'audio_a' and 'audio_b'; convert it first")
            codes.extend(_code(kinds.index(kind), value) for kind, value in found)
            read.table.add(rule, numbers.setdefault((rule, _label(row)), len(numbers)), len(found))
            verdict, stratum = str(row.get("verdict") or ""), (place, str(row.get("aspect") or ""))
            read.verdicts.append(known.setdefault(verdict, verdict))
            read.strata.append(known.setdefault(stratum, stratum))
            read.swappable.append("audio_a" in row and can_swap(row))
        read.counts.append(len(read.verdicts) - before)
    different, places = np.unique(np.frombuffer(codes, dtype=np.uint64), return_inverse=True)
    read.table.values.frombytes(places.astype(np.int32).tobytes())
    read.table.keys.frombytes((different >> np.uint64(_HASH_BITS)).astype(np.int8).tobytes())
    return read


def _kinds(plan: SplitPlan) -> list[str]:
    """Every kind of value in the order of assignment, clips last."""
    named = [kind for rule in plan.rules for kind in rule.disjoint or ()]
    return list(dict.fromkeys((*plan.disjoint, *named, "clip")))


def _code(kind: int, value: str) -> int:
    """A value as a number: 60 bits of its hash behind the number of its kind."""
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return kind << _HASH_BITS | int.from_bytes(digest) >> (64 - _HASH_BITS)


def _label(row: Mapping[str, Any]) -> str:
    """What a split should hold in the same proportions as the whole: the verdict, or the score to a whole number."""
    score = row.get("score")
    if isinstance(score, int | float) and not row.get("verdict"):
        return f"{score:.0f}"
    return str(row.get("verdict") or "")


def _assigned(read: _Read, plan: SplitPlan) -> tuple[array[int], dict[str, int]]:
    if plan.conflicts == "drop":
        kinds = _kinds(plan)
        splits, lost = grouping.with_drops(read.table, len(kinds), plan.seed, plan.tolerance)
        return splits, {f"shared {kind}": count for kind, count in zip(kinds, lost, strict=True)}
    splits, largest = grouping.whole_groups(read.table, plan.seed)
    for place, rule in enumerate(plan.all_rules):
        rows = [row for row in range(len(splits)) if read.table.rules[row] == place]
        for split, wanted in enumerate(read.table.ratios[place]):
            share = sum(splits[row] == split for row in rows) / max(1, len(rows))
            if rows and abs(share - wanted) > plan.tolerance + 1 / len(rows):
                raise UserError(
                    f"{SPLITS[split]} would hold {share:.1%} of the {len(rows)} rows under rule "
                    f"{dict(rule.match) or 'for all others'} instead of {wanted:.1%}: rows that share a "
                    f"{', '.join((*plan.kinds_of(place), 'clip'))} stay together, and the largest such group has "
                    f"{largest} of {len(splits)} rows; keep fewer kinds apart (disjoint), drop the rows in between "
                    "(conflicts: drop), or raise the tolerance"
                )
    return splits, {}


def _write(
    paths: Sequence[Path], read: _Read, splits: array[int], swaps: set[int], folder: Path
) -> dict[str, dict[str, Any]]:
    files: dict[str, dict[str, Any]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        place = 0
        for path in paths:
            names = [f"{path.stem}.{split}.jsonl" for split in SPLITS]
            outputs = [stack.enter_context(atomic_write(folder / name)) for name in names]
            counts = [_counts() for _ in names]
            for row in read_rows(path):
                goal = splits[place]
                if goal != grouping.DROPPED:
                    kept = swapped_row(row) if place in swaps else row
                    outputs[goal].write(json.dumps(kept, ensure_ascii=False, allow_nan=False) + "\n")
                    _count(counts[goal], kept)
                place += 1
            for name, split, counted in zip(names, SPLITS, counts, strict=True):
                files[name] = {
                    "from": path.name,
                    "split": split,
                    **{key: dict(value) for key, value in counted.items()},
                }
    for name, entry in files.items():
        entry["rows"] = sum(entry["task"].values())
        entry["sha256"] = sha256_file(folder / name)
    return files


def _counts() -> dict[str, Counter[str]]:
    return {name: Counter() for name in ("task", "source", "verdict", "language", "aspect")}


def _count(counts: dict[str, Counter[str]], row: Mapping[str, Any]) -> None:
    for name, counter in counts.items():
        counter[str(row.get(name) or "")] += 1


def _shares(read: _Read, splits: array[int], plan: SplitPlan) -> list[dict[str, Any]]:
    """For each rule the shares asked for and reached, of the rows that are left."""
    found = []
    for place, rule in enumerate(plan.all_rules):
        rows = [splits[row] for row in range(len(splits)) if read.table.rules[row] == place]
        left = [split for split in rows if split != grouping.DROPPED]
        if rows:
            found.append(
                {
                    "match": dict(rule.match),
                    "wanted": [round(share, 4) for share in read.table.ratios[place]],
                    "reached": [round(left.count(split) / len(left), 4) if left else None for split in range(3)],
                    "rows": len(rows),
                    "left": len(left),
                }
            )
    return found


def check_splits(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Prove a split by reading its files back.

    Checked: every file is as the manifest records it (rows, SHA-256); no clip, and no value of a kind that the plan
    keeps apart, is in two splits, over all files and tasks; no id of one input is in two splits.

    Values are compared by 60 bits of their hash: two of a million are taken for the same by chance in one of a million
    splits, which would refuse a good split and never pass a bad one.

    Returns: the number of different values of each kind in each split.

    Raises:
        UserError: names what is shared and between which splits, or which file is not what was written.
    """
    folder = Path(folder)
    manifest = _manifest(folder)
    plan = SplitPlan.from_json(manifest["plan"])
    kinds = ["id", *_kinds(plan)]
    codes = {split: array("Q") for split in SPLITS}
    for name, entry in manifest["files"].items():
        rows = 0
        for values in _values_of_rows(folder / name, entry, plan):
            rows += 1
            codes[entry["split"]].extend(_code(kinds.index(kind), value) for kind, value in values)
        if rows != entry["rows"] or sha256_file(folder / name) != entry["sha256"]:
            raise UserError(
                f"{folder / name}: is not what was written ({entry['rows']} rows then, {rows} now); split again"
            )
    return _prove(folder, manifest, plan, kinds, codes)


def _prove(
    folder: Path, manifest: dict[str, Any], plan: SplitPlan, kinds: list[str], codes: dict[str, array[int]]
) -> dict[str, dict[str, int]]:
    import numpy as np

    different = {split: np.unique(np.frombuffer(values, dtype=np.uint64)) for split, values in codes.items()}
    shared: set[int] = set()
    for one, other in combinations(SPLITS, 2):
        shared.update(np.intersect1d(different[one], different[other], assume_unique=True).tolist())
    if shared:
        raise UserError(
            f"{folder}: {len(shared)} values are in two splits: {_shared(folder, manifest, plan, kinds, shared)}"
        )
    counts = {
        split: np.bincount((values >> np.uint64(_HASH_BITS)).astype(np.int64), minlength=len(kinds))
        for split, values in different.items()
    }
    return {kind: {split: int(counts[split][place]) for split in SPLITS} for place, kind in enumerate(kinds)}


def _values_of_rows(path: Path, entry: Mapping[str, Any], plan: SplitPlan) -> Iterator[list[tuple[str, str]]]:
    for row in read_rows(path):
        yield [("id", f"{entry['from']}\x1f{row.get('id')}"), *row_values(row, plan.kinds_of(plan.rule_of(row)))]


def _shared(folder: Path, manifest: dict[str, Any], plan: SplitPlan, kinds: list[str], shared: set[int]) -> str:
    """The first shared values by name, with their splits."""
    where: dict[tuple[str, str], list[str]] = {}
    for name, entry in manifest["files"].items():
        for values in _values_of_rows(folder / name, entry, plan):
            for kind, value in values:
                code = _code(kinds.index(kind), value)
                if code in shared and ((kind, value) in where or len(where) < _SHOWN):
                    splits = where.setdefault((kind, value), [])
                    splits += [entry["split"]] * (entry["split"] not in splits)
    return "; ".join(
        f"{kind} '{value.rpartition(chr(31))[2]}' in {' and '.join(sorted(splits, key=SPLITS.index))}"
        for (kind, value), splits in where.items()
    )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(manifest[name], dict) for name in ("plan", "files")):
            raise TypeError
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a folder that 'earwitness split' wrote") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: is not a manifest of 'earwitness split'") from None
    return manifest
