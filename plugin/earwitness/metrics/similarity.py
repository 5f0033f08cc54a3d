"""Likeness of two texts by sentence embeddings: SBERT similarity and FENSE, through the package aac-metrics.

SBERT similarity is the cosine of two sentence embeddings (N. Reimers and I. Gurevych, Sentence-BERT, EMNLP 2019). FENSE
takes 90 % of it away where a classifier finds the text not fluent (Z. Zhou et al., Can audio captions be evaluated with
image caption metrics?, ICASSP 2022). SpeechEval reports both (table 4) and names no models; the defaults are FENSE's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError

if TYPE_CHECKING:
    import torch

SBERT_MODEL = "sentence-transformers/paraphrase-TinyBERT-L6-v2"
CHECKERS = ("echecker_clotho_audiocaps_base", "echecker_clotho_audiocaps_tiny")
"""Fluency checkers that aac-metrics downloads by name."""
ERROR_THRESHOLD = 0.9
PENALTY = 0.9
CHECKED_TOKENS = 64
"""FENSE's checker reads no further."""


@dataclass(frozen=True)
class Similarities:
    """One value a pair of texts, in order.

    Attributes:
        sbert: cosine of the embeddings, in -1..1.
        fense: in -1..1; ``None`` without a fluency checker.
        faulty: whether the checker finds the judge's text not fluent; ``None`` without one.
    """

    sbert: list[float]
    fense: list[float] | None = None
    faulty: list[bool] | None = None


class SimilarityModels:
    """Loaded models.

    Attributes:
        params: what ``Figure.params`` records of them.
    """

    def __init__(
        self,
        sbert: str = SBERT_MODEL,
        checker: str | None = CHECKERS[0],
        encoder: str | None = None,
        device: str = "auto",
    ) -> None:
        """Load.

        Args:
            sbert: folder or hub name of a sentence-transformers model.
            checker: one of ``CHECKERS``, or a file of the same form (``model_type, num_classes, state_dict``); ``None``
                for SBERT alone.
            encoder: folder or hub name with the configuration and tokenizer of a checker file's encoder; by default
                the one that the file names.
            device: "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            UserError: the packages are missing, or a model cannot be had.
        """
        try:
            from aac_metrics.classes.fense import FENSE
            from aac_metrics.classes.sbert_sim import SBERTSim
            from sentence_transformers import SentenceTransformer
            from transformers.utils.logging import disable_progress_bar
        except ImportError as error:
            raise UserError(
                f"SBERT similarity and FENSE need packages that are not installed ({error}); fix: pip install "
                "'earwitness[text]'"
            ) from None
        if encoder is not None and (checker is None or checker in CHECKERS):
            raise UserError("--checker-encoder goes with a checker that is a file")
        disable_progress_bar()
        options: dict[str, Any] = {"device": "cuda_if_available" if device == "auto" else device}
        try:
            model = SentenceTransformer(sbert, device=None if device == "auto" else device)
        except Exception as error:
            raise UserError(f"--sbert {sbert}: cannot be loaded: {_first_line(error)}") from error
        self.params: dict[str, Any] = {"sbert": sbert, "sbert_max_tokens": model.max_seq_length}
        self._checks = checker is not None
        if checker is None:
            self._metric: Any = SBERTSim(sbert_model=model, **options)
            return
        self.params |= {"checker": checker, "error_threshold": ERROR_THRESHOLD, "penalty": PENALTY}
        try:
            loaded = checker if checker in CHECKERS else _checker_from_file(checker, encoder, model.device)
            thresholds = {"error_threshold": ERROR_THRESHOLD, "penalty": PENALTY}
            self._metric = FENSE(sbert_model=model, echecker=loaded, **thresholds, **options)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"--checker {checker}: cannot be loaded: {_first_line(error)}") from error

    def compare(self, texts: Sequence[str], references: Sequence[str]) -> Similarities:
        """Compare each text with its reference."""
        if not texts:
            return Similarities([], *([[], []] if self._checks else []))
        self._metric.reset()
        self._metric.update(list(texts), [[reference] for reference in references])
        _, each = self._metric.compute()
        sbert = each["sbert_sim"].tolist()
        if not self._checks:
            return Similarities(sbert)
        return Similarities(sbert, each["fense"].tolist(), [value > 0.5 for value in each["fer"].tolist()])


def _checker_from_file(path: str, encoder: str | None, device: torch.device) -> Any:
    """A checker that lies in a file; the package itself takes names only."""
    import torch
    from aac_metrics.functional.fer import BERTFlatClassifier

    if not Path(path).is_file():
        raise UserError(f"--checker {path}: no such file, nor one of {', '.join(CHECKERS)}")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    missing = [name for name in ("model_type", "num_classes", "state_dict") if name not in saved]
    if missing:
        raise UserError(f"--checker {path}: holds no {missing[0]!r}; a FENSE checker is needed")
    model = BERTFlatClassifier(encoder or saved["model_type"], saved["num_classes"])
    # A buffer that transformers saved until 4.31.
    weights = {name: value for name, value in saved["state_dict"].items() if not name.endswith(".position_ids")}
    model.load_state_dict(weights)
    return model.to(device)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
