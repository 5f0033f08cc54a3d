"""The stock ``llamafactory-cli``, with nothing but a loader of clips that works: its own needs torchcodec.

EARWITNESS_DISABLE=1 python benchmarks/stock_host.py train CONFIG.yaml
"""

from __future__ import annotations

from audio_training import load
from llamafactory.cli import main
from llamafactory.data.mm_plugin import MMPluginMixin

if __name__ == "__main__":
    MMPluginMixin._regularize_audios = load
    main()
