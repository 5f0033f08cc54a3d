"""The engine ``nisqa``: NISQA v2.0 (Mittag et al., Interspeech 2021), a network trained on listeners' opinions.

The model and its features are torchmetrics'; the weights are a ``nisqa.tar`` as its authors publish it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.analysis.ratings import Analysis, on_scale
from earwitness.errors import UserError

_ORDER = ("mos", "noi", "dis", "col", "loud")  # of the network's outputs
_FILE = "nisqa.tar"


class NisqaEngine:
    """Rates clips with NISQA; see the module.

    Args:
        weights: a file; or ``owner/repository/file`` on the Hugging Face hub; or None for the file that torchmetrics
            keeps in ``~/.torchmetrics/NISQA`` and downloads from the authors' repository when it is not there.

    Raises:
        UserError: torchmetrics is not installed, or there are no such weights.
    """

    name = "nisqa"

    def __init__(self, weights: str | None = None) -> None:
        try:
            import librosa  # noqa: F401
            import torch
            from torchmetrics.functional.audio import nisqa
        except ImportError as error:
            raise UserError(f"--engine nisqa needs {error.name}: pip install 'earwitness[nisqa]'") from None
        self._torch, self._module = torch, nisqa
        path = _find(weights, nisqa)
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            self._args: dict[str, Any] = checkpoint["args"]
            self._model = nisqa._NISQADIM(self._args)
            self._model.load_state_dict(checkpoint["model_state_dict"])
        except Exception as error:  # unpickling, keys and shapes fail in their own ways
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: no weights of NISQA (nisqa.tar, five dimensions): {reason}") from None
        self._model.eval()

    def analyse(self, samples: NDArray[np.float32], sampling_rate: int) -> Analysis:
        """See ``ratings.Engine``.

        Raises:
            UserError: the clip is too short or too long for the network.
        """
        nisqa = self._module
        features = nisqa._get_librosa_melspec(samples[None], sampling_rate, self._args)
        try:
            segments, count = nisqa._segment_specs(self._torch.from_numpy(features), self._args)
        except RuntimeError as error:
            seconds = len(samples) / sampling_rate
            raise UserError(f"{seconds:.2f} s are not what NISQA can rate: {' '.join(str(error).split())}") from None
        with self._torch.no_grad():
            values = self._model(segments, count.expand(1))[0].tolist()
        raw = dict(zip(_ORDER, values, strict=True))
        ratings = {name: on_scale(raw[name]) for name in ("mos", "noi", "col", "dis", "loud")}
        return Analysis(ratings, {f"nisqa_{name}": round(value, 4) for name, value in raw.items()})


def _find(weights: str | None, nisqa: Any) -> Path:
    if weights is not None:
        path = Path(weights).expanduser()
        if path.is_file():
            return path
        if weights.count("/") < 2 or weights.startswith(("/", ".", "~")):
            raise UserError(f"--weights {weights}: no such file; allowed: a file, or owner/repository/file of the hub")
        return _from_hub(weights)
    path = Path(nisqa.NISQA_DIR).expanduser() / _FILE
    if not path.is_file():
        try:
            nisqa._download_weights()
        except Exception as error:  # whatever the network does
            path.unlink(missing_ok=True)
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{path}: not there, and the download failed ({reason}); get nisqa.tar from "
                "github.com/gabrielmittag/NISQA (folder weights) and give it with --weights"
            ) from None
    return path


def _from_hub(weights: str) -> Path:
    from huggingface_hub import hf_hub_download

    owner, name, file = weights.split("/", 2)
    try:
        return Path(hf_hub_download(f"{owner}/{name}", file))
    except Exception as error:  # no network, no such repository, no such file
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--weights {weights}: no such file here, and the hub gives none ({reason})") from None
