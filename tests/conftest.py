"""Shared by all tests: everything offline, and the tiny models that several tests load."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# What a property holds for does not depend on how busy the machine is.
settings.register_profile("earwitness", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("earwitness")

for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
    os.environ[variable] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; more threads each would only fight


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from all tests but those that ask for one: the others compare numbers to the last bits."""
    if "gpu" not in config.option.markexpr:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and golden figures; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED.name}/ with real clips and golden figures is not beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tiny model folder a family, with random weights."""
    from earwitness.tiny import FAMILIES, build_tiny

    folder = tmp_path_factory.mktemp("tiny")
    corpus = ["Below are two responses for a given task. Evaluate in terms of **noise**: 1, 2 or Tie."] * 4
    return {family: build_tiny(folder / family, family, corpus=corpus) for family in FAMILIES}


@pytest.fixture(scope="session")
def pair_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with eight short clips, pairs and ratings of them, and the ``dataset_info.json`` that declares both."""
    import json

    import numpy as np
    import soundfile

    folder = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(0)
    for index in range(8):
        samples = int(16000 * (0.4 + 0.1 * index))
        tone = 0.1 * np.sin(np.arange(samples) * 0.05 * (1 + index))
        noisy = tone + random.normal(0, 0.002 * (index + 1), samples)
        soundfile.write(folder / f"clip{index}.wav", noisy, 16000)
    pairs = [
        {
            "id": f"pair{index}",
            "a": f"clip{index}.wav",
            "b": f"clip{7 - index}.wav",
            "aspect": ("noise", "overall quality")[index % 2],
            "winner": ("first", "second", "tie")[index % 3],
            "thinking": f"Response 1\nnoise: {index}\nResponse 2\nnoise: {7 - index}",
            "rationale": "Response 1 has less noise.",
        }
        for index in range(8)
    ]
    clips = [
        {"id": f"clip{index}", "audio": f"clip{index}.wav", "scores": {"noise": 9 - index, "loudness": index}}
        for index in range(8)
    ]
    entries = {
        "pairs": {
            "file_name": "pairs.jsonl",
            "formatting": "speech_pair",
            "columns": {"audio_a": "a", "audio_b": "b", "verdict": "winner"},
            "judge": {
                "type": "pairwise",
                "template": "earwitness/pairwise",
                "aspects": ["noise", "overall quality"],
                "chain_of_thought": True,
            },
        },
        "clips": {
            "file_name": "clips.jsonl",
            "formatting": "speech_clip",
            "columns": {"audio": "audio", "scores": "scores"},
            "judge": {"type": "rate_clip", "aspects": ["noise", "loudness"], "scale": [0, 9]},
        },
    }
    for name, rows in (("pairs", pairs), ("clips", clips)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder
