"""Splits: nothing shared between them over files and tasks, shares as declared, balance, the proof, the command."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earwitness.cli.split import main
from earwitness.data.balancing import rows_to_drop, rows_to_swap
from earwitness.data.converters import to_row
from earwitness.data.converters.item import new_item
from earwitness.data.records import load_records
from earwitness.data.split_plan import SPLITS, SplitPlan, SplitRule, row_values
from earwitness.data.splits import MANIFEST, check_splits, split_files
from earwitness.errors import UserError
from earwitness.files import read_rows, sha256_file, write_jsonl

Rows = list[dict[str, Any]]


def clip(name: str, **values: Any) -> dict[str, Any]:
    values = {"task": "score", "score": 3.0, "source": "S", "aspect": "noise"} | values
    for plural, single in (("systems", "system"), ("speakers", "speaker")):
        values[plural] = [values.pop(single, None)]
    return to_row(new_item(id=name, audios=[f"{name}.wav"], format="plain", **values))


def pair(name: str, a: str, b: str, verdict: str = "first", **values: Any) -> dict[str, Any]:
    values = {"aspect": "noise", "source": "S"} | values
    return to_row(new_item(id=name, task="compare", audios=[a, b], format="plain", verdict=verdict, **values))


def write(folder: Path, **files: Rows) -> list[Path]:
    for name, rows in files.items():
        write_jsonl(folder / f"{name}.jsonl", rows)
    return [folder / f"{name}.jsonl" for name in files]


def by_split(folder: Path, name: str) -> dict[str, Rows]:
    return {split: list(read_rows(folder / f"{name}.{split}.jsonl")) for split in SPLITS}


def nested(count: int) -> Rows:
    """Every speaker has systems and sentences of their own: rows can be separated without loss."""
    return [
        clip(f"c{n}", speaker=f"v{n % 40}", system=f"m{n % 40}-{n % 3}", sentence=f"s{n % 40}-{n % 5}", score=1 + n % 5)
        for n in range(count)
    ]


def crossed(systems: int, sentences: int) -> Rows:
    """Every system speaks every sentence: no split without loss."""
    return [
        clip(f"{system}-{sentence}", system=f"m{system}", sentence=f"s{sentence}")
        for system in range(systems)
        for sentence in range(sentences)
    ]


def leaks(parts: Iterable[dict[str, Rows]], kinds: tuple[str, ...]) -> set[tuple[str, str]]:
    """Values in more than one split, found without the code under test."""
    where: dict[tuple[str, str], set[str]] = defaultdict(set)
    for part in parts:
        for split, rows in part.items():
            for row in rows:
                for name in ("audio", *kinds):
                    for column in (name, f"{name}_a", f"{name}_b"):
                        if row.get(column):
                            where[name, row[column]].add(split)
    return {value for value, splits in where.items() if len(splits) > 1}


def test_separable_rows_are_split_by_the_shares_without_loss(tmp_path: Path) -> None:
    manifest = split_files(write(tmp_path, clips=nested(800)), tmp_path / "out", SplitPlan(seed=1))
    parts = by_split(tmp_path / "out", "clips")
    assert [len(parts[split]) for split in SPLITS] == [560, 120, 120]
    assert not leaks([parts], ("speaker", "system", "sentence"))
    assert sorted(row["id"] for rows in parts.values() for row in rows) == sorted(row["id"] for row in nested(800))
    assert (manifest["rows"], manifest["dropped"], manifest["swapped"]) == (800, {"to balance labels": 0}, 0)
    assert manifest["shares"] == [
        {"match": {}, "wanted": [0.7, 0.15, 0.15], "reached": [0.7, 0.15, 0.15], "rows": 800, "left": 800}
    ]
    assert manifest["check"]["speaker"] == {"train": 28, "val": 6, "test": 6}
    assert json.loads(json.dumps(manifest)) == json.loads((tmp_path / "out" / MANIFEST).read_text())


def test_labels_are_spread_over_the_splits(tmp_path: Path) -> None:
    rows = [clip(f"c{n}", speaker=f"v{n // 5}", score=1 if n // 5 % 2 else 5) for n in range(400)]
    plan = SplitPlan(ratio=(50, 25, 25))
    split_files(write(tmp_path, clips=rows), tmp_path / "out", plan)
    for split, rows_of_split in by_split(tmp_path / "out", "clips").items():
        counts = Counter(row["score"] for row in rows_of_split)
        assert counts[1] == counts[5] == {"train": 100, "val": 50, "test": 50}[split]


def test_files_and_tasks_are_split_together(tmp_path: Path) -> None:
    clips = nested(400)
    fakes = [
        clip(f"c{n}", task="detect", verdict="fake", score=None, speaker=f"v{n % 40}") | {"id": f"d{n}"}
        for n in range(400)
    ]
    pairs = [pair(f"p{n}", f"c{n}.wav", f"c{n + 40}.wav") for n in range(0, 360, 3)]
    paths = write(tmp_path, clips=clips, fakes=fakes, pairs=pairs)
    plan = SplitPlan(detection=(70, 15, 15), tolerance=0.2)
    split_files(paths, tmp_path / "out", plan)
    parts = [by_split(tmp_path / "out", name) for name in ("clips", "fakes", "pairs")]
    assert not leaks(parts, ("speaker",))
    assert sum(len(rows) for part in parts for rows in part.values()) == 920


def test_crossed_corpora_are_refused_or_lose_rows(tmp_path: Path) -> None:
    paths = write(tmp_path, clips=crossed(20, 30))
    with pytest.raises(UserError, match="the largest such group has 600 of 600 rows; keep fewer kinds apart"):
        split_files(paths, tmp_path / "out", SplitPlan())
    assert not (tmp_path / "out" / MANIFEST).exists()
    manifest = split_files(paths, tmp_path / "out", SplitPlan(conflicts="drop"))
    parts = by_split(tmp_path / "out", "clips")
    assert not leaks([parts], ("system", "sentence"))
    assert manifest["dropped"]["shared text"] == 600 - sum(map(len, parts.values()))
    # Shares in proportion to the roots of 0.7, 0.15 and 0.15 of both systems and sentences keep 0.386 of the rows.
    assert sum(map(len, parts.values())) > 0.37 * 600
    assert manifest["shares"][0]["reached"] == pytest.approx([0.7, 0.15, 0.15], abs=0.05)


def test_fewer_kinds_keep_crossed_corpora_whole(tmp_path: Path) -> None:
    manifest = split_files(write(tmp_path, clips=crossed(20, 30)), tmp_path / "out", SplitPlan(disjoint=("system",)))
    assert manifest["shares"][0]["reached"] == [0.7, 0.15, 0.15]
    assert set(manifest["check"]) == {"clip", "id", "system"}


APPENDIX = SplitPlan(
    rules=(
        SplitRule((5, 5, 0), {"task": "detect", "system": "seen*"}, ("text",)),
        SplitRule((0, 0, 10), {"task": "detect", "system": "unseen*"}, ("text",)),
        SplitRule((4, 2, 4), {"task": "detect", "source": "zh"}, ("text",)),
        SplitRule((1, 1, 8), {"task": "detect", "verdict": "real"}, ("text",)),
    ),
    seed=3,
)


def test_the_shares_of_appendix_c1_by_source(tmp_path: Path) -> None:
    def one(n: int, **values: Any) -> dict[str, Any]:
        return clip(f"{values}{n}", task="detect", score=None, sentence=f"{values}{n // 2}", **values)

    rows = [one(n, verdict="fake", system=f"seen{n % 3}") for n in range(200)]
    rows += [one(n, verdict="fake", system=f"unseen{n % 3}") for n in range(100)]
    rows += [one(n, verdict="real", source="zh") for n in range(100)]
    rows += [one(n, verdict="real", source="en") for n in range(100)]
    rows += [one(n, verdict="fake", system=f"other{n % 25}") for n in range(100)]
    manifest = split_files(write(tmp_path, detect=rows), tmp_path / "out", APPENDIX)
    reached = [entry["reached"] for entry in manifest["shares"]]
    assert reached[:4] == [[0.5, 0.5, 0], [0, 0, 1], [0.4, 0.2, 0.4], [0.1, 0.1, 0.8]]
    assert reached[4] == pytest.approx([0.205, 0.178, 0.617], abs=0.03)
    systems = {split: {row["system"] for row in part} for split, part in by_split(tmp_path / "out", "detect").items()}
    assert {"seen0", "seen1", "seen2"} <= systems["train"] & systems["val"]
    assert not systems["test"] & (systems["train"] | systems["val"]) - {""}


def test_rules_without_a_split_in_common_are_refused(tmp_path: Path) -> None:
    rows = [
        clip("a", task="detect", score=None, verdict="fake", system=f"{kind}1", sentence="s")
        for kind in ("seen", "unseen")
    ]
    with pytest.raises(UserError, match=r"2 rows that share values fall under rules with no split in common"):
        split_files(write(tmp_path, detect=rows), tmp_path / "out", APPENDIX)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 60),
    values=st.integers(1, 8),
    conflicts=st.sampled_from(("refuse", "drop")),
    seed=st.integers(0, 9),
    ratio=st.sampled_from(((70, 15, 15), (1, 1, 8), (5, 5, 0))),
)
def test_whatever_the_rows_nothing_leaks(
    tmp_path: Path, size: int, values: int, conflicts: str, seed: int, ratio: tuple[float, float, float]
) -> None:
    rng = random.Random(seed)

    def some(name: str) -> str | None:
        return rng.choice([None, *(f"{name}{n}" for n in range(values))])

    clips = [clip(f"c{n}", speaker=some("v"), system=some("m"), sentence=some("s")) for n in range(size)]
    pairs = [
        pair(f"p{n}", f"c{rng.randrange(size)}.wav", f"c{size + n}.wav", systems=[some("m"), some("m")])
        for n in range(rng.randrange(size))
    ]
    paths = write(tmp_path, clips=clips, pairs=pairs)
    plan = SplitPlan(conflicts=conflicts, ratio=ratio, tolerance=1, seed=seed)
    manifest = split_files(paths, tmp_path / "out", plan)
    parts = [by_split(tmp_path / "out", name) for name in ("clips", "pairs")]
    assert not leaks(parts, ("speaker", "system", "sentence"))
    left = [row["id"] for part in parts for rows in part.values() for row in rows]
    assert len(set(left)) == len(left) == len(clips) + len(pairs) - sum(manifest["dropped"].values())
    if conflicts == "refuse":
        assert sum(manifest["dropped"].values()) == 0
    if ratio[2] == 0:
        assert not any(part["test"] for part in parts)
    assert check_splits(tmp_path / "out") == manifest["check"]


def test_the_seed_decides_the_bytes(tmp_path: Path) -> None:
    paths = write(tmp_path, clips=nested(200))
    hashes = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        split_files(paths, tmp_path / folder, SplitPlan(seed=seed))
        hashes.append([sha256_file(tmp_path / folder / f"clips.{split}.jsonl") for split in SPLITS])
    assert hashes[0] == hashes[1] != hashes[2]


# ------------------------------------------------------------------------------------------------------------- balance


def test_order_and_labels_are_balanced_in_every_split(tmp_path: Path) -> None:
    verdicts = ["first"] * 6 + ["second", "tie", "tie", "tie"]
    rows = [
        pair(f"p{n}", f"{n}a.wav", f"{n}b.wav", verdicts[n % 10], systems=["x", "y"], aspect=("noise", "pace")[n % 2])
        for n in range(600)
    ]
    plan = SplitPlan(disjoint=(), balance_order=True, balance_labels=("train",), seed=2)
    manifest = split_files(write(tmp_path, pairs=rows), tmp_path / "out", plan)
    original = {row["id"]: row for row in rows}
    swapped = 0
    for split, part in by_split(tmp_path / "out", "pairs").items():
        for aspect in ("noise", "pace"):
            counts = Counter(row["verdict"] for row in part if row["aspect"] == aspect)
            assert abs(counts["first"] - counts["second"]) <= (0 if split == "train" else 1)
            if split == "train":
                assert counts["tie"] == counts["first"]
        for row in part:
            source = original[row["id"]]
            if row.get("swapped"):
                swapped += 1
                assert (row["audio_a"], row["system_a"]) == (source["audio_b"], source["system_b"])
                assert {row["verdict"], source["verdict"]} == {"first", "second"}
            else:
                assert row == source
    assert manifest["swapped"] == swapped > 0
    assert manifest["dropped"]["to balance labels"] > 0


def test_rows_with_rationales_are_never_swapped(tmp_path: Path) -> None:
    rows = [pair(f"p{n}", f"{n}a.wav", f"{n}b.wav", rationale="A is cleaner.") for n in range(100)]
    manifest = split_files(write(tmp_path, pairs=rows), tmp_path / "out", SplitPlan(balance_order=True))
    assert manifest["swapped"] == 0


@given(
    st.lists(st.tuples(st.sampled_from(("first", "second", "tie", "")), st.booleans(), st.integers(0, 2)), max_size=60),
    st.integers(0, 5),
)
def test_balancing(rows: list[tuple[str, bool, int]], seed: int) -> None:
    verdicts, swappable, strata = ([row[place] for row in rows] for place in range(3))
    swaps = rows_to_swap(verdicts, swappable, strata, seed)
    assert all(swappable[row] and verdicts[row] in ("first", "second") for row in swaps)
    mirrored = {"first": "second", "second": "first"}
    after = [mirrored[verdict] if row in swaps else verdict for row, verdict in enumerate(verdicts)]
    for stratum in set(strata):
        before, now = (
            Counter(verdict for verdict, other in zip(some, strata, strict=True) if other == stratum)
            for some in (verdicts, after)
        )
        assert abs(now["first"] - now["second"]) <= abs(before["first"] - before["second"])
        if all(swappable):
            assert abs(now["first"] - now["second"]) <= 1
    drops = rows_to_drop(verdicts, strata, seed)
    for stratum in set(strata):
        left = Counter(v for n, v in enumerate(verdicts) if strata[n] == stratum and n not in drops and v)
        assert len(set(left.values())) <= 1
        assert set(left) == {v for n, v in enumerate(verdicts) if strata[n] == stratum and v}


# --------------------------------------------------------------------------------------------------------------- proof


@pytest.fixture
def done(tmp_path: Path) -> Path:
    split_files(write(tmp_path, clips=nested(200)), tmp_path / "out", SplitPlan())
    return tmp_path / "out"


def tamper(folder: Path, split: str, rows: Rows) -> None:
    """Write other rows and make the manifest agree, so that only what they hold can give them away."""
    write_jsonl(folder / f"clips.{split}.jsonl", rows)
    manifest = json.loads((folder / MANIFEST).read_text())
    entry = manifest["files"][f"clips.{split}.jsonl"]
    entry |= {"rows": len(rows), "sha256": sha256_file(folder / f"clips.{split}.jsonl")}
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": "./{audio}"}, r"clip 'c\d+\.wav' in train and test"),
        ({"speaker": "{speaker}"}, r"speaker 'v\d+' in train and test"),
        ({"system": "{system}"}, r"system 'm\d+-\d' in train and test"),
        ({"sentence": "  {sentence} ".upper()}, r"text 's\d+-\d' in train and test"),
        ({"id": "{id}"}, r"id 'c\d+' in train and test"),
    ],
)
def test_the_check_finds_every_kind_of_leak(done: Path, change: dict[str, str], message: str) -> None:
    train, test = (list(read_rows(done / f"clips.{split}.jsonl")) for split in ("train", "test"))
    change = {name: value.lower().format(**train[0]) for name, value in change.items()}
    tamper(done, "test", [*test, clip("new") | change])
    with pytest.raises(UserError, match=message):
        check_splits(done)


def test_the_check_finds_other_files(done: Path) -> None:
    rows = list(read_rows(done / "clips.val.jsonl"))
    write_jsonl(done / "clips.val.jsonl", rows[1:])
    with pytest.raises(
        UserError, match=rf"clips\.val\.jsonl: is not what was written \({len(rows)} rows then, {len(rows) - 1}"
    ):
        check_splits(done)
    with pytest.raises(UserError, match="no such file; give a folder that 'earwitness split' wrote"):
        check_splits(done.parent)
    (done / MANIFEST).write_text("{}")
    with pytest.raises(UserError, match="is not a manifest of 'earwitness split'"):
        check_splits(done)


def test_systems_of_other_sources_are_others() -> None:
    first, second = clip("a", system="A01", source="2019"), clip("b", system="A01", source="5")
    assert set(row_values(first, ("system",))) & set(row_values(second, ("system",))) == set()
    said = [row_values(clip("a", text="Hello  World"), ("text",)), row_values(clip("b", text="hello world"), ("text",))]
    assert said[0][1] == said[1][1] == ("text", "hello world")
    assert row_values(pair("p", "a", "b", question="Why?"), ("text",))[2:] == [("text", "why?")]


# --------------------------------------------------------------------------------------------------------------- plans


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"ration": [1, 1, 1]}, "a plan has no 'ration'; allowed: rules, ratio, detection, disjoint"),
        ({"ratio": [70, 30]}, "ratio (70, 30) is not allowed; give shares of train, val, test such as 70:15:15"),
        ({"ratio": [0, 0, 0]}, "ratio (0, 0, 0) is not allowed"),
        ({"ratio": [-1, 1, 1]}, "ratio (-1, 1, 1) is not allowed"),
        ({"ratio": "70:15:15"}, "ratio is '70:15:15'; allowed: three numbers"),
        ({"disjoint": ["voice"]}, "cannot split by 'voice'; allowed: speaker, system, text"),
        ({"conflicts": "keep"}, "conflicts is 'keep'; allowed: refuse, drop"),
        ({"balance_labels": ["dev"]}, "labels cannot be balanced in 'dev'; allowed: train, val, test"),
        ({"tolerance": 2}, "tolerance is 2; allowed: a number from 0 to 1"),
        ({"seed": "1"}, "seed is '1', which is not allowed"),
        ({"seed": True}, "seed is True, which is not allowed"),
        ({"balance_order": 1}, "balance_order is 1, which is not allowed"),
        ({"rules": {}}, "rules are {}; allowed: a list of rules"),
        ({"rules": [{"match": {}}]}, "rule {'match': {}} has no ratio"),
        (
            {"rules": [{"ratio": [1, 1, 1], "match": {"speaker": "x"}}]},
            "a rule matches on 'speaker'; allowed: task, source",
        ),
        ({"rules": [{"ratio": [1, 1, 1], "match": {"task": 3}}]}, "match is {'task': 3}; allowed: an object"),
        ({"rules": [{"ratio": [1, 1, 1], "match": {}, "disjoint": "text"}]}, "disjoint is 'text'; allowed: a list"),
        ([], "a plan must be an object with rules, ratio"),
    ],
)
def test_plans_that_are_refused(plan: Any, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        SplitPlan.from_json(plan)


def test_plans_survive_json() -> None:
    assert SplitPlan.from_json(json.loads(json.dumps(APPENDIX.to_json()))) == APPENDIX


def test_rules_match_both_systems_of_a_pair() -> None:
    rule = SplitRule((1, 1, 1), {"system": "x*", "task": "compare"})
    assert rule.applies(pair("p", "a", "b", systems=["x1", "x2"]))
    assert not rule.applies(pair("p", "a", "b", systems=["x1", "y"]))
    assert not rule.applies(pair("p", "a", "b"))


# ------------------------------------------------------------------------------------------------------------- command


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("data"), pairs=[pair(f"p{n}", f"{n}a.wav", f"{n}b.wav") for n in range(40)])
    entry = {"file_name": "pairs.jsonl", "formatting": "speech_pair", "judge": {"type": "pairwise"}}
    Path("data/dataset_info.json").write_text(json.dumps({"mine": entry}))
    Path("plan.json").write_text(json.dumps({"ratio": [1, 1, 2], "seed": 4}))
    assert main(["data/pairs.jsonl", "--out", "data/split", "--plan", "plan.json", "--balance-order"]) == 0
    captured = capsys.readouterr()
    assert "data/split/pairs.train.jsonl: 10 rows" in captured.err
    assert "clips     20   20    40" in captured.out
    entries = json.loads(captured.out[captured.out.index("{") :])
    assert entries["mine_test"] == entry | {"file_name": "split/pairs.test.jsonl"}
    Path("data/dataset_info.json").write_text(json.dumps(entries))
    verdicts = [record.reference for record in load_records("mine_test", "data")]
    assert Counter(verdicts) == {"first": 10, "second": 10}
    manifest = json.loads(Path("data/split", MANIFEST).read_text())
    assert (manifest["plan"]["seed"], manifest["plan"]["balance_order"]) == (4, True)
    assert main(["--check", "data/split"]) == 0
    assert "no clip, id or value kept apart is in two splits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the files to split and --out FOLDER, or --check FOLDER"),
        (["x.jsonl"], "name the files to split and --out FOLDER"),
        (["x.jsonl", "--check", "y"], "--check takes the folder of a split and nothing else"),
        (["x.jsonl", "--out", "o"], r"x\.jsonl: no such file"),
        (["x.jsonl", "--out", "o", "--ratio", "70/30"], "--ratio: '70/30' is not allowed; give TRAIN:VAL:TEST"),
        (["x.jsonl", "--out", "o", "--plan", "none.json"], r"none\.json: No such file"),
        (["x.jsonl", "--out", "o", "--plan", "broken.json"], r"broken\.json: broken JSON"),
        (["x.jsonl", "--out", "o", "--disjoint", "voice"], "cannot split by 'voice'"),
        (["a/x.jsonl", "b/x.jsonl", "--out", "o"], "two files have the same name: x, x; rename one"),
        (["empty.jsonl", "--out", "o"], r"empty\.jsonl: no rows to split"),
        (["odd.jsonl", "--out", "o"], r"odd\.jsonl, row 1: has no 'audio', or 'audio_a' and 'audio_b'"),
    ],
)
def test_what_the_command_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{")
    Path("empty.jsonl").write_text("")
    Path("odd.jsonl").write_text('{"x": 1}\n')
    with pytest.raises(UserError, match=message):
        main(arguments)
    assert not Path("o").exists()
