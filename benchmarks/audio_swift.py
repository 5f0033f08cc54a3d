"""ms-swift's side of ``benchmarks/audio.py``: encodes a pair as its training does at every epoch; prints milliseconds.

    python benchmarks/audio_swift.py MODEL REPEATS PROMPT CLIP_A CLIP_B

Reading, features, tokens: ms-swift's templates do all of it in one call, in the dataloader.
"""

from __future__ import annotations

import sys
import time


def main(model: str, repeats: int, prompt: str, *clips: str) -> None:
    """Measure and print."""
    from swift import get_processor, get_template

    template = get_template(get_processor(model, model_type="qwen2_5_omni"))
    template.set_mode("train")
    times = []
    for _ in range(repeats + 1):
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": "1\nLess noise."}]
        start = time.perf_counter()
        encoded = template.encode({"messages": messages, "audios": list(clips)})
        times.append(1e3 * (time.perf_counter() - start))
    assert encoded["input_features"].shape[0] == len(clips)
    print(min(times[1:]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
