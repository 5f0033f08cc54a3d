"""NISQA, SOMOS, BVCC, SpeechJudge-Data and ASVspoof to items: exact dicts and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from earwitness.data.converters import Item, Options, convert_file, get_converter, to_row
from earwitness.errors import RowError, UserError
from earwitness.files import BadRows

EMPTY: dict[str, Any] = {
    **dict.fromkeys(("aspect", "verdict", "score", "scores", "scale", "question", "text", "sentence", "prompt")),
    **dict.fromkeys(("thinking", "rationale", "answer", "language", "context", "prediction")),
    "systems": [None],
    "speakers": [None],
    "raters": [],
    "details": [],
    "extra": {},
}


def item(format: str, source: str, key: str, **values: Any) -> dict[str, Any]:
    provenance = {"format": format, "source": source, "key": key, "file": None, "row": None}
    return {**EMPTY, "provenance": provenance, **values}


def detail(**values: Any) -> dict[str, Any]:
    return dict.fromkeys(("name", "clip", "rater", "verdict", "score", "text", "start", "end")) | values


def convert(name: str, row: dict[str, Any], **options: Any) -> Item:
    return get_converter(name).bind(Options(**options))(row)


# ---------------------------------------------------------------------------------------------------------------- NISQA

NISQA = {
    "db": "NISQA_VAL_SIM",
    "con": "12",
    "file": "7",
    "filename_deg": "c00012_AU.wav",
    "filename_ref": "AU.wav",
    "source": "AusTalk",
    "lang": "en",
    "votes": "5",
    "mos": "2.5",
    "noi": "4.1",
    "col": "3",
    "dis": "1.75",
    "loud": "5",
    "mos_std": "0.5",
    "filepath_deg": "NISQA_VAL_SIM/deg/c00012_AU.wav",
    "filepath_ref": "NISQA_VAL_SIM/ref/AU.wav",
    "filter": "x",
}


def test_nisqa() -> None:
    assert convert("nisqa", NISQA) == item(
        "nisqa",
        "NISQA_VAL_SIM",
        "7",
        id="NISQA_VAL_SIM/c00012_AU",
        task="score",
        audios=["NISQA_VAL_SIM/deg/c00012_AU.wav"],
        aspect="overall quality",
        score=2.5,
        scores={"overall quality": 2.5, "noise": 4.1, "coloration": 3, "discontinuity": 1.75, "loudness": 5},
        scale=[1, 5],
        sentence="NISQA_VAL_SIM/AU.wav",
        language="en",
        systems=["NISQA_VAL_SIM/12"],
        extra={"corpus": "AusTalk", "votes": "5", "mos_std": "0.5", "filter": "x"},
    )


def test_nisqa_by_another_dimension() -> None:
    found = convert("nisqa", NISQA | {"mos": ""}, aspect="coloration", source="NISQA", audio_dir="corpora")
    assert (found["aspect"], found["score"], found["provenance"]["source"]) == ("coloration", 3.0, "NISQA")
    assert found["scores"]["overall quality"] is None
    assert found["audios"] == ["corpora/NISQA_VAL_SIM/deg/c00012_AU.wav"]
    with pytest.raises(UserError, match="NISQA has no aspect 'pace'; allowed: overall quality, noise, coloration"):
        convert("nisqa", NISQA, aspect="pace")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mos": ""}, "column 'mos' is empty; allowed: a finite number from 1 to 5"),
        ({"mos": "nan"}, "column 'mos' holds 'nan'; allowed: a finite number"),
        ({"mos": float("nan")}, "column 'mos' holds nan; allowed: a finite number"),
        ({"mos": "inf"}, "column 'mos' holds 'inf'; allowed: a finite number"),
        ({"mos": "7"}, "column 'mos' holds 7; allowed: a number from 1 to 5"),
        ({"mos": "3,5"}, "column 'mos' holds '3,5'; allowed: a finite number"),
        ({"noi": "0"}, "column 'noi' holds 0; allowed: a number from 1 to 5"),
        ({"mos": True}, "column 'mos' holds True; allowed: a finite number"),
        ({"filepath_deg": "", "filename_deg": None}, "column 'filename_deg' is empty; allowed: a text"),
    ],
)
def test_nisqa_scores_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError, match=re.escape(message)):
        convert("nisqa", NISQA | change)


# ---------------------------------------------------------------------------------------------------------------- SOMOS


def test_somos(tmp_path: Path) -> None:
    path = tmp_path / "train_mos_list.txt"
    path.write_text("utteranceId,mean\nbooksent_2012_0005_001,3.52\nx,3\nbooksent_2012_0005_002.wav,1\n")
    bad = BadRows(skip=True)
    found = list(convert_file(path, "somos", Options(audio_dir="audios"), bad))
    expected = item(
        "somos",
        "SOMOS",
        "booksent_2012_0005_001",
        id="booksent_2012_0005_001",
        task="score",
        audios=["audios/booksent_2012_0005_001.wav"],
        aspect="naturalness",
        score=3.52,
        scale=[1, 5],
        sentence="booksent_2012_0005",
        language="en",
        systems=["001"],
        speakers=["LJSpeech"],
    )
    expected["provenance"] |= {"file": str(path), "row": 1}
    assert found[0] == expected
    assert (found[1]["id"], found[1]["sentence"]) == ("booksent_2012_0005_002", "booksent_2012_0005")
    assert str(bad.first[0]).endswith("row 2: column 'utteranceId' holds 'x'; allowed: '<sentence>_<system>'")


# ----------------------------------------------------------------------------------------------------------------- BVCC

RATING = "sys64e2f,sys64e2f-utt9c183cd.wav,4,VDP1ovyrBzg8_1,{}_30-39_bZPQE7w4Zl3g_Female_Valid_1_No"


def test_bvcc_ratings_and_means(tmp_path: Path) -> None:
    path = tmp_path / "TRAINSET"
    path.write_text(f"{RATING}\nsys64e2f-utt9c183cd.wav,3.25\n")
    rating, mean = convert_file(path, "bvcc", Options(audio_dir="DATA/wav"))
    expected = item(
        "bvcc",
        "BVCC",
        "sys64e2f-utt9c183cd",
        id="sys64e2f-utt9c183cd#bZPQE7w4Zl3g",
        task="score",
        audios=["DATA/wav/sys64e2f-utt9c183cd.wav"],
        aspect="overall quality",
        score=4.0,
        scale=[1, 5],
        language="en",
        systems=["sys64e2f"],
        raters=["bZPQE7w4Zl3g"],
        extra={"listener": "{}_30-39_bZPQE7w4Zl3g_Female_Valid_1_No"},
    )
    expected["provenance"] |= {"file": str(path), "row": 1}
    assert rating == expected
    assert (mean["id"], mean["score"], mean["raters"], mean["systems"]) == (
        "sys64e2f-utt9c183cd",
        3.25,
        [],
        ["sys64e2f"],
    )
    assert convert("bvcc", {"text": "s,s-u.wav,3,_,listener7"})["id"] == "s-u#listener7"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sys1,sys1-u.wav,4", "has 3 fields; allowed: 'sysID,sysID-uttID.wav,score,_,listener'"),
        ("sys1,sys2-u.wav,4,_,x", "clip 'sys2-u.wav' is not of system 'sys1'; allowed: 'sys1-uttID.wav'"),
        ("sys1,sys1-u.wav,6,_,x", "column 'score' holds 6; allowed: a number from 1 to 5"),
        ("sys1-u.wav,NaN", "column 'score' holds 'NaN'; allowed: a finite number"),
    ],
)
def test_bvcc_lines_that_are_refused(line: str, message: str) -> None:
    with pytest.raises(RowError, match=re.escape(message)):
        convert("bvcc", {"text": line})


# ---------------------------------------------------------------------------------------------------------- SpeechJudge

VOTES = {
    "index": 17,
    "subset": "regular",
    "language_setting": "en2zh",
    "chosen": True,
    "prompt": {"bytes": b"RIFF", "path": "p.wav"},
    "target_text": "你好，*世界*",
    "audioA": {"bytes": b"RIFFa", "path": "a.wav"},
    "audioB": {"bytes": b"RIFFb", "path": "b.wav"},
    "rater": ["rater01", "rater05", "rater07"],
    "naturalness_annotation": ["A+1", "B+2", "Tie (both not good)"],
    "naturalness_label": "A",
}


def test_speechjudge_from_parquet(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([VOTES]), path)
    expected = item(
        "speechjudge",
        "SpeechJudge-Data",
        "17",
        id="speechjudge-17",
        task="compare",
        audios=[{"bytes": b"RIFFa", "path": "a.wav"}, {"bytes": b"RIFFb", "path": "b.wav"}],
        aspect="naturalness",
        verdict="first",
        text="你好，*世界*",
        sentence="你好，*世界*",
        language="zh",
        systems=[None, None],
        speakers=[None, None],
        raters=["rater01", "rater05", "rater07"],
        details=[
            detail(name="naturalness", rater="rater01", verdict="first", score=1.0),
            detail(name="naturalness", rater="rater05", verdict="second", score=2.0),
            detail(name="naturalness", rater="rater07", verdict="tie", text="both not good"),
        ],
        extra={"subset": "regular", "language_setting": "en2zh", "chosen": True},
    )
    expected["provenance"] |= {"file": str(path), "row": 1}
    (found,) = convert_file(path, "speechjudge")
    assert found == expected
    row = to_row(found)
    assert (row["votes"], row["rater"], row["verdict"]) == (
        ["first", "second", "tie"],
        "rater01;rater05;rater07",
        "first",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"naturalness_label": "C"}, "column 'naturalness_label' holds 'C'; allowed: A, B, Tie"),
        ({"naturalness_label": None}, "column 'naturalness_label' holds no label; allowed: A, B, Tie"),
        ({"naturalness_annotation": ["A+3", "B+1", "Tie"]}, "holds 'A+3'; allowed: A+1, A+2, B+1, B+2, Tie (missing"),
        ({"rater": ["r1"]}, "'rater' names 1 raters, but 'naturalness_annotation' holds 3 votes"),
        ({"rater": "r1"}, "column 'rater' holds 'r1'; allowed: a list"),
        (
            {"audioB": {"bytes": b"", "path": None}},
            "column 'audioB' holds {'bytes': b'', 'path': None}; allowed: the path",
        ),
        ({"target_text": "hi <|AUDIO|>"}, "column 'target_text' holds the control token '<|AUDIO|>' at character 4"),
    ],
)
def test_speechjudge_rows_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError, match=re.escape(message)):
        convert("speechjudge", VOTES | change)


# ------------------------------------------------------------------------------------------------------------- ASVspoof


@pytest.mark.parametrize(
    ("line", "source", "speaker", "system", "verdict", "extra"),
    [
        ("LA_0079 LA_T_1138215 - - bonafide", "ASVspoof 2019", "LA_0079", None, "real", {"environment": None}),
        ("LA_0079 LA_T_1138215 - A01 spoof", "ASVspoof 2019", "LA_0079", "A01", "fake", {"environment": None}),
        ("PA_0079  PA_T_1138215 aaa AA spoof", "ASVspoof 2019", "PA_0079", "AA", "fake", {"environment": "aaa"}),
        ("T_4850 T_0000000000 F - A05 spoof", "ASVspoof 5", "T_4850", "A05", "fake", {"gender": "F"}),
        (
            "E_1607 E_0009538969 M C05 4 AC1_7 AC3 A20 spoof -",
            "ASVspoof 5",
            "E_1607",
            "A20",
            "fake",
            {"gender": "M", "codec": "C05", "codec_q": "4", "codec_seed": "AC1_7", "attack_tag": "AC3"},
        ),
        (
            "T_3734\tT_0000000011\tF\t-\t-\t-\t-\tbonafide\tbonafide\t-",
            "ASVspoof 5",
            "T_3734",
            None,
            "real",
            {"gender": "F", "codec": None, "codec_q": None, "codec_seed": None, "attack_tag": None},
        ),
    ],
)
def test_asvspoof(
    line: str, source: str, speaker: str, system: str | None, verdict: str, extra: dict[str, Any]
) -> None:
    clip = line.split()[1]
    assert convert("asvspoof", {"text": line}, audio_dir="flac") == item(
        "asvspoof",
        source,
        clip,
        id=clip,
        task="detect",
        audios=[f"flac/{clip}.flac"],
        verdict=verdict,
        language="en",
        systems=[system],
        speakers=[speaker],
        extra=extra,
    )


def test_asvspoof_5_is_not_tab_separated_whatever_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "ASVspoof5.train.tsv"
    path.write_text("T_4850 T_0000000000 F - - - AC3 A05 spoof -\nT_1 T_2 F - - - - bonafide bonafide -\n")
    assert [found["verdict"] for found in convert_file(path, "asvspoof")] == ["fake", "real"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "LA_0079 LA_T_1 bonafide",
            "has 3 fields; allowed: 5 (ASVspoof 2019): speaker clip environment attack key; 6 (ASV",
        ),
        ("LA_0079 LA_T_1 - A01 fake", "column 'key' holds 'fake'; allowed: bonafide, spoof"),
        ("LA_0079 LA_T_1 - A01 bonafide", "key 'bonafide' does not go with attack 'A01'"),
        ("LA_0079 LA_T_1 - - spoof", "key 'spoof' does not go with attack '-'"),
        ("LA_0079 LA_T_1 - - -", "column 'key' holds '-'"),
    ],
)
def test_asvspoof_lines_that_are_refused(line: str, message: str) -> None:
    with pytest.raises(RowError, match=re.escape(message)):
        convert("asvspoof", {"text": line})


def test_flat_rows_survive_json() -> None:
    row = to_row(convert("nisqa", NISQA))
    assert json.loads(json.dumps(row)) == row
    assert (row["audio"], row["system"], row["speaker"], row["corpus"]) == (
        "NISQA_VAL_SIM/deg/c00012_AU.wav",
        "NISQA_VAL_SIM/12",
        "",
        "AusTalk",
    )
