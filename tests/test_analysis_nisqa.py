"""The engine ``nisqa``: torchmetrics' network with weights from a file, and what is said where they cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.cli.analyze import main
from earwitness.errors import UserError

nisqa = pytest.importorskip("torchmetrics.functional.audio.nisqa", reason="needs the extra earwitness[nisqa]")

ARGS = {
    **{"cnn_c_out_1": 4, "cnn_c_out_2": 4, "cnn_c_out_3": 4, "cnn_dropout": 0.0, "cnn_kernel_size": [3, 3]},
    **{"cnn_pool_1": [24, 7], "cnn_pool_2": [12, 5], "cnn_pool_3": [6, 3]},
    **{"td_sa_d_model": 8, "td_sa_nhead": 1, "td_sa_h": 8, "td_sa_num_layers": 1, "td_sa_dropout": 0.0},
    **{"pool_att_h": 8, "pool_att_dropout": 0.0},
    **{"ms_n_fft": 4096, "ms_hop_length": 0.01, "ms_win_length": 0.02, "ms_n_mels": 48, "ms_fmax": 20000},
    **{"ms_seg_length": 15, "ms_seg_hop_length": 4, "ms_max_segments": 100},
}
"""The published network's features with few and narrow layers."""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Random weights in the form of nisqa.tar."""
    import torch

    torch.manual_seed(0)
    path = tmp_path / "nisqa.tar"
    torch.save({"args": ARGS, "model_state_dict": nisqa._NISQADIM(ARGS).state_dict()}, path)
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(24_000), 24_000)
    return path


def test_ratings_are_those_of_torchmetrics(
    weights: Path, clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    assert main([str(clip), "--engine", "nisqa", "--weights", str(weights), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(nisqa, "NISQA_DIR", str(weights.parent))  # where torchmetrics itself looks
    nisqa._load_nisqa_model.cache_clear()
    samples = torch.from_numpy(soundfile.read(clip, dtype="float32")[0])
    mos, noise, discontinuity, coloration, loudness = nisqa.non_intrusive_speech_quality_assessment(
        samples, 24_000
    ).tolist()
    nisqa._load_nisqa_model.cache_clear()
    expected = {"mos": mos, "noi": noise, "dis": discontinuity, "col": coloration, "loud": loudness}
    assert row["measurements"] == {f"nisqa_{name}": pytest.approx(value, abs=1e-4) for name, value in expected.items()}
    assert all(row[name] == pytest.approx(min(5, max(1, value)), abs=0.01) for name, value in expected.items())
    assert row["engine"] == "nisqa"


def test_a_clip_of_the_wrong_length_is_named(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short, long = tmp_path / "short.wav", tmp_path / "long.wav"
    soundfile.write(short, np.full(800, 0.1), 16_000)
    soundfile.write(long, np.zeros(16_000 * 6), 16_000)
    assert main([str(short), str(long), "--engine", "nisqa", "--weights", str(weights)]) == 1
    errors = capsys.readouterr().err
    assert "short.wav: 0.05 s are not what NISQA can rate" in errors
    assert "long.wav: 6.00 s are not what NISQA can rate" in errors


def test_weights_that_are_none_are_named(clip: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.tar"
    page.write_text("<html>404</html>")
    with pytest.raises(UserError, match=r"page\.tar: no weights of NISQA"):
        main([str(clip), "--engine", "nisqa", "--weights", str(page)])
    with pytest.raises(UserError, match=r"--weights gone\.tar: no such file"):
        main([str(clip), "--engine", "nisqa", "--weights", "gone.tar"])
    with pytest.raises(UserError, match=r"--weights nobody/nothing/nisqa\.tar: no such file here, and the hub"):
        main([str(clip), "--engine", "nisqa", "--weights", "nobody/nothing/nisqa.tar"])


def test_without_a_network_the_error_says_where_the_weights_are(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    def no_network(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(nisqa, "NISQA_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(nisqa.requests, "get", no_network)
    with pytest.raises(UserError, match=r"not there, and the download failed \(no network\).*--weights"):
        main([str(clip), "--engine", "nisqa"])
