"""Shared by all tests: everything offline, and the tiny models that several tests load."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
    os.environ[variable] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; more threads each would only fight

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
