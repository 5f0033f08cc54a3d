"""Figures that the papers print, to be set beside one's own where a user asks.

Sources: SpeechLLM-as-Judges: Towards General and Interpretable Speech Quality Evaluation (Wang et al. 2025), tables 4
to 7, 13 and 14; Audio Large Language Models Can Be Descriptive Speech Quality Evaluators (ALLD, Chen et al. 2025), the
two figures of its abstract. Rows are model, then the cells of the table as printed; ``None`` is a dash. EER and
accuracies in per cent. The tables of SageLM (Ge et al. 2025) are not here: only its abstract was at hand, whose figures
are over all questions together and have no cell in a table of either kind; ``NOTES`` holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Row = tuple[str, *tuple[float | None, ...]]
"""First cell of a row as the table prints it, and its figures in the table's units; ``None`` where there is none."""

PUBLISHED: Mapping[str, Sequence[Row]] = {
    "speecheval-4": (
        ("Qwen2-Audio-7B", 4.161, 0.580, 0.311, 4.591, 0.703, 0.580, 5.176, 0.548, 0.460),
        ("Qwen2.5-Omni-7B", 4.610, 0.593, 0.593, 3.602, 0.704, 0.437, 6.426, 0.537, 0.364),
        ("MiDashengLM-7B", 5.536, 0.699, 0.635, 4.042, 0.665, 0.444, 6.653, 0.600, 0.490),
        ("Qwen3-8B + Whisper", 6.422, 0.803, 0.699, 5.122, 0.818, 0.732, 7.478, 0.583, 0.574),
        ("Qwen2.5-7B + AES-E", 6.533, 0.772, 0.634, 5.270, 0.793, 0.589, 6.891, 0.530, 0.529),
        ("Qwen3-4B + WavLM", 6.163, 0.736, 0.585, 5.138, 0.796, 0.618, 7.209, 0.539, 0.537),
        ("FT Qwen2-Audio-7B", 6.440, 0.800, 0.559, 5.648, 0.853, 0.686, 7.263, 0.708, 0.708),
        ("SQ-LLM", 6.833, 0.803, 0.614, 6.434, 0.864, 0.749, 7.420, 0.735, 0.735),
    ),
    "speecheval-5": (
        ("Qwen2-Audio-7B", 0.073, 0.310),
        ("Qwen2.5-Omni-7B", 0.070, 0.203),
        ("MiDashengLM-7B", 0.158, 0.265),
        ("MOSNet", 0.333, 0.726),
        ("UTMOS", 0.375, 0.741),
        ("Audiobox Aesthetics", 0.464, 0.737),
        ("Qwen3-8B + Whisper", 0.424, 0.591),
        ("Qwen2.5-7B + AES-E", 0.457, 0.577),
        ("Qwen3-4B + WavLM", 0.422, 0.563),
        ("FT Qwen2-Audio-7B", 0.244, 0.587),
        ("SQ-LLM", 0.520, 0.751),
    ),
    "speecheval-6": (
        ("Qwen2-Audio-7B", None, None, 21.220),
        ("Qwen2.5-Omni-7B", None, None, 27.250),
        ("MiDashengLM-7B", None, None, 67.480),
        ("RawNet2", 15.836, 0.325, 72.036),
        ("AASIST", 18.158, 0.450, 71.599),
        ("AASIST2", 18.633, 0.414, 72.001),
        ("Qwen3-8B + Whisper", 16.502, 0.411, 78.977),
        ("Qwen2.5-7B + AES-E", 45.241, 0.992, 67.741),
        ("Qwen3-4B + WavLM", 44.300, 1.000, 20.837),
        ("FT Qwen2-Audio-7B", 8.593, 0.194, 89.312),
        ("SQ-LLM", 6.249, 0.142, 89.358),
    ),
    "speecheval-7": (
        ("CoT + GRPO", 6.833, 6.434, 7.420, 6.249),
        ("CoT", 6.804, 6.420, 7.018, 6.264),
        ("neither", 6.657, 6.316, 6.733, 8.574),
    ),
    "speecheval-13": (
        ("Qwen2-Audio-7B", 0.073, 0.037, 0.080, 0.043, 0.070, 0.078, 0.072, 0.065, 0.664),
        ("Qwen2.5-Omni-7B", 0.070, 0.078, 0.070, 0.019, 0.057, 0.050, 0.106, 0.064, 0.736),
        ("MiDashengLM-7B", 0.158, 0.114, 0.138, 0.071, 0.156, 0.102, 0.159, 0.128, 0.712),
        ("Qwen3-8B + Whisper", 0.424, 0.387, 0.470, 0.274, 0.363, 0.329, 0.418, 0.381, 0.676),
        ("Qwen2.5 + Audiobox", 0.457, 0.423, 0.585, 0.209, 0.376, 0.348, 0.420, 0.403, 0.644),
        ("Qwen3-4B + WavLM", 0.422, 0.387, 0.460, 0.207, 0.314, 0.334, 0.378, 0.357, 0.665),
        ("FT Qwen2-Audio-7B", 0.244, 0.192, 0.455, 0.202, 0.209, 0.295, 0.269, 0.267, 0.706),
        ("SQ-LLM", 0.520, 0.505, 0.592, 0.329, 0.434, 0.378, 0.456, 0.459, 0.731),
    ),
    "speecheval-14": (
        ("English", 93.3, 85.9, 97.9, 88.6),
        ("French", 100.0, 99.9, 53.5, 86.6),
        ("Japanese", 99.9, 100.0, 95.9, 99.1),
        ("Chinese", 99.9, 69.9, 97.0, 82.9),
    ),
    "alld-mos": (("ALLD", None, None, 0.17, None),),
    "alld-ab": (("ALLD", 98.6, None, None),),
}

_SAGELM = (
    "published (abstract): 82.79 % agreement with human evaluators, over semantic and acoustic questions together;",
    "at least 7.42 % above cascaded baselines and 26.20 % above speech-LM baselines;",
    "no cell here holds these figures; --published-file FILE adds rows",
)

NOTES: Mapping[str, Sequence[str]] = dict.fromkeys(
    ("sagelm-semantic", "sagelm-acoustic", "sagelm-acoustic-split"), _SAGELM
)
"""Lines below a layout that has no rows here: what its paper publishes nevertheless."""
