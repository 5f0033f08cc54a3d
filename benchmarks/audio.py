"""The audio path: LLaMA-Factory's own against ours, paired in one run, on the same clips and the same machine.

    python benchmarks/audio.py [--seconds 2 5 15 60] [--repeats 5] [--steps 10] [--threads 1] [--json FILE]

The host is LLaMA-Factory's Qwen2.5-Omni plugin as it stands, with nothing but a loader put in that works (soundfile;
its own needs torchcodec, which it does not install). Both encode and collate the same pairs with the same tiny model's
processor (real extractor settings), in turn, so that other work on the machine hits both; the fastest of all runs
counts, because other work only adds. Both have the one thread that a dataloader worker has, or ``--threads``; training
has what it takes by default.

tokenise    a pair's prompt to token ids: counting audio tokens, then the text
collate     a pair's clips to features and mask: *first* from the files, *memory* and *disk* found in the caches
floor       what no exact path can do without: decoding the file and one FFT pass over it (soundfile, torch.stft)
ms-swift    where it is installed: reading, features and tokens of a pair, which it does in one call at every epoch
train       `--steps` training steps of the tiny model on pairs of 2 s clips, batch 8, each side in a process of its own
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import soundfile
import torch

RATE = 16_000
PAIRS = 4
ROUNDS = 5  # of ours and of the floor for one of the host's, which takes a hundred times as long
TRAINING = Path(__file__).with_name("audio_training.py")
SWIFT = Path(__file__).with_name("audio_swift.py")
PROMPT = (
    "Below are two responses for a given task. The task is defined by the Instruction. Evaluate the responses in terms "
    "of **noise** and answer 1, 2 or Tie.\n### Instruction:\nSay the sentence clearly.\n### Response 1:\n<audio>\n"
    "### Response 2:\n<audio>\n### Evaluation:\n"
)


def speech_like(samples: int, seed: int) -> np.ndarray:
    """Noise under a slow envelope: as much work as speech, without a corpus."""
    noise = np.random.default_rng(seed).standard_normal(samples)
    return (0.1 * noise * (1 + np.sin(np.arange(samples) / 2500))).astype(np.float32)


def write_clips(folder: Path, seconds: float, count: int) -> list[str]:
    """Write 16 kHz, 16-bit WAV files of about so many seconds."""
    paths = []
    for index in range(count):
        path = folder / f"{seconds:g}s-{index}.wav"
        soundfile.write(path, speech_like(int(seconds * RATE) - 37 * index, index), RATE)
        paths.append(str(path))
    return paths


class Sides:
    """The same processor and template with the host's plugin and with ours."""

    def __init__(self, model: Path) -> None:
        from earwitness import autoload

        autoload.activate()
        from llamafactory.data.template import get_template_and_fix_tokenizer
        from transformers import AutoProcessor, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.processor = AutoProcessor.from_pretrained(model)
        arguments = SimpleNamespace(
            template="qwen2_omni",
            train_on_prompt=False,
            tool_format=None,
            default_system=None,
            enable_thinking=True,
            preserve_thinking=False,
        )
        self.template = get_template_and_fix_tokenizer(self.tokenizer, arguments)
        self.ours = self.template.mm_plugin
        self.host = host_plugin(self.ours)

    def tokenize(self, plugin: Any, pair: list[str]) -> list[int]:
        """Encode a labelled pair."""
        messages = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "1\nLess noise."}]
        expanded = plugin.process_messages(messages, [], [], pair, self.processor)
        prompt, answer = self.template.encode_oneturn(self.tokenizer, expanded)
        return [*prompt, *answer]

    def collate(self, plugin: Any, pair: list[str], ids: list[int]) -> dict[str, torch.Tensor]:
        """Compute what the model gets of a pair's clips."""
        inputs = plugin.get_mm_inputs([], [], pair, [0], [0], [2], [ids], self.processor)
        return {name: inputs[name] for name in ("input_features", "feature_attention_mask")}


def host_plugin(ours: Any) -> Any:
    """Return the host's own plugin with the settings of ours, and a loader that works."""
    from earwitness.audio.plugin import ExactAudio

    host_class = next(
        base for base in type(ours).__mro__[1:] if not issubclass(base, ExactAudio) and base is not ExactAudio
    )

    def load(self: Any, audios: list, sampling_rate: float, **_: Any) -> dict[str, Any]:
        return {"audios": [soundfile.read(audio, dtype="float32")[0] for audio in audios], "sampling_rates": []}

    with_loader = type(host_class.__name__, (host_class,), {"_regularize_audios": load})
    return with_loader(**{field.name: getattr(ours, field.name) for field in fields(ours)})


def milliseconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    function(*arguments)
    return 1e3 * (time.perf_counter() - start)


def peak_megabytes(function: Callable[..., Any], *arguments: Any) -> float:
    """Return by how much the process grew at most while ``function`` ran."""
    ctypes.CDLL(None).malloc_trim(0)  # or freed memory would hide what is allocated
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    result = function(*arguments)
    grown = _status("VmHWM") - before
    del result
    return grown / 1024


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def read_headers(pair: list[str]) -> None:
    """Ask libsndfile how long the clips are, nothing else."""
    for path in pair:
        soundfile.info(path)


def floor(pair: list[str], window: torch.Tensor) -> None:
    """Decode and transform once, nothing else."""
    for path in pair:
        samples, _ = soundfile.read(path, dtype="float32")
        torch.stft(torch.from_numpy(samples), 400, 160, window=window, return_complex=True)


def use_caches(memory: bool, disk: Path | None) -> None:
    """Set up the feature caches as a new process would find them."""
    from earwitness.audio.cache import disk_store, memory_cache

    os.environ["EARWITNESS_AUDIO_CACHE_MB"] = "256" if memory else "0"
    os.environ["EARWITNESS_CACHE_DIR"] = str(disk or "")
    memory_cache.cache_clear()
    disk_store.cache_clear()


def compare(sides: Sides, folder: Path, seconds: float, repeats: int) -> dict[str, float]:
    """Measure one clip length; times in milliseconds a pair."""
    clips = write_clips(folder, seconds, 2 * PAIRS)
    pairs = [clips[index : index + 2] for index in range(0, len(clips), 2)]
    window = torch.hann_window(400)
    fastest: dict[str, float] = {}

    def measure(name: str, function: Callable[..., Any], *arguments: Any) -> None:
        fastest[name] = min(fastest.get(name, float("inf")), milliseconds(function, *arguments))

    use_caches(memory=False, disk=None)
    ids = [sides.tokenize(sides.ours, pair) for pair in pairs]
    assert ids[0] == sides.tokenize(sides.host, pairs[0])
    sides.collate(sides.ours, pairs[0], ids[0])  # what a process does once is no part of a pair's peak
    peaks = {
        f"{name}_mb": peak_megabytes(sides.collate, plugin, pairs[0], ids[0])
        for name, plugin in (("host", sides.host), ("first", sides.ours))
    }
    difference = 0.0
    for repeat in range(repeats):
        pair, own = pairs[repeat % PAIRS], ids[repeat % PAIRS]
        use_caches(memory=False, disk=None)
        measure("host_tokenize", sides.tokenize, sides.host, pair)
        measure("host", sides.collate, sides.host, pair, own)
        difference = max(difference, largest_difference(sides, pair, own))
        for other, tokens in ROUNDS * list(zip(pairs, ids, strict=True)):
            measure("tokenize", sides.tokenize, sides.ours, other)
            measure("header", read_headers, other)
            measure("floor", floor, other, window)
            measure("first", sides.collate, sides.ours, other, tokens)
        for name, memory, disk in (("memory", True, None), ("disk", False, folder / "cache")):
            use_caches(memory, disk)
            for other, tokens in zip(pairs, ids, strict=True):
                sides.collate(sides.ours, other, tokens)
                measure(name, sides.collate, sides.ours, other, tokens)
    return {**fastest, **peaks, "max_abs_diff": difference}


def largest_difference(sides: Sides, pair: list[str], ids: list[int]) -> float:
    """Return the largest difference of any feature of a clip; masks must be equal."""
    host, ours = (sides.collate(plugin, pair, ids) for plugin in (sides.host, sides.ours))
    width = ours["input_features"].shape[2]
    assert torch.equal(host["feature_attention_mask"][:, :width], ours["feature_attention_mask"])
    assert int(host["feature_attention_mask"][:, width:].sum()) == 0
    return float((host["input_features"][:, :, :width] - ours["input_features"]).abs().max())


def write_pairs(folder: Path, seconds: float, count: int) -> None:
    """Write a dataset "pairs" of clips of about so many seconds."""
    clips = write_clips(folder, seconds, 2 * count)
    pairs = [clips[index : index + 2] for index in range(0, len(clips), 2)]
    rows = [{"instruction": PROMPT, "output": "12"[index % 2], "audios": pair} for index, pair in enumerate(pairs)]
    (folder / "pairs.json").write_text(json.dumps(rows), encoding="utf-8")
    columns = {"prompt": "instruction", "response": "output", "audios": "audios"}
    (folder / "dataset_info.json").write_text(json.dumps({"pairs": {"file_name": "pairs.json", "columns": columns}}))


def trained(side: str, folder: Path, settings: dict[str, Any]) -> dict[str, float]:
    """Train one side, "host" or "ours", in a process of its own; see ``audio_training.py`` for the figures."""
    settings = {"dataset_dir": str(folder), "output_dir": str(folder / f"out_{side}"), **settings}
    environment = {**os.environ, "EARWITNESS_CACHE_DIR": "", "HF_HOME": str(folder / side)}
    environment.pop("EARWITNESS_AUDIO_CACHE_MB", None)
    environment["EARWITNESS_DISABLE"] = "1" if side == "host" else ""
    command = [sys.executable, str(TRAINING), side, json.dumps(settings)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"training ({side}) failed:\n{done.stdout[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def train(model: Path, folder: Path, steps: int) -> dict[str, dict[str, float]]:
    """Train the tiny model with both sides; seconds of tokenisation and of a step."""
    write_pairs(folder, 2, 8 * steps)
    settings = {
        "model_name_or_path": str(model),
        "finetuning_type": "full",
        "freeze_multi_modal_projector": False,
        "per_device_train_batch_size": 8,
        "max_steps": steps,
        "use_cpu": True,
    }
    return {side: trained(side, folder, settings) for side in ("ours", "host")}


def swift(model: Path, folder: Path, seconds: list[float], repeats: int) -> dict[str, Any] | None:
    """Measure ms-swift in a process of its own, fastest run a clip length; None where it is not installed."""
    try:
        found: dict[str, Any] = {"version": importlib.metadata.version("ms-swift"), "milliseconds_a_pair": {}}
    except importlib.metadata.PackageNotFoundError:
        return None
    for length in seconds:
        command = [sys.executable, str(SWIFT), str(model), str(repeats), PROMPT, *write_clips(folder, length, 2)]
        environment = {**os.environ, "EARWITNESS_DISABLE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"ms-swift failed:\n{done.stderr[-4000:]}")
        found["milliseconds_a_pair"][f"{length:g}"] = float(done.stdout.strip().splitlines()[-1])
    return found


def report(
    lengths: dict[float, dict[str, float]],
    training: dict[str, dict[str, float]] | None,
    other: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the ratios; more is better but for those over the floor."""
    named = {f"{seconds:g}": figures for seconds, figures in lengths.items()}
    five = named.get("5") or next(iter(named.values()))

    def each(function: Callable[[dict[str, float]], float]) -> dict[str, float]:
        return {seconds: function(figures) for seconds, figures in named.items()}

    result: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "tokenize_ratio": five["host_tokenize"] / five["tokenize"],
        "tokenize_pairs_per_second": 1e3 / five["tokenize"],
        "collate_ratio": each(lambda figures: figures["host"] / figures["first"]),
        "collate_ratio_memory": each(lambda figures: figures["host"] / figures["memory"]),
        "collate_ratio_disk": each(lambda figures: figures["host"] / figures["disk"]),
        "load": os.getloadavg()[0],
        "collate_over_floor": five["first"] / five["floor"],
        "collate_over_floor_each": each(lambda figures: figures["first"] / figures["floor"]),
        # Three epochs, the host's default: every clip once from its file, twice from memory.
        "collate_over_floor_epochs": (five["first"] + 2 * five["memory"]) / 3 / five["floor"],
        "max_abs_diff": max(figures["max_abs_diff"] for figures in named.values()),
        "milliseconds_a_pair": named,
    }
    if training is not None:
        host, ours = training["host"], training["ours"]
        result["train_ratio"] = host["step_seconds"] / ours["step_seconds"]
        result["train_total_ratio"] = sum_seconds(host) / sum_seconds(ours)
        result["train"] = training
    result["swift"] = other
    if other is not None:
        result["swift_ratio"] = {
            seconds: other["milliseconds_a_pair"][seconds] / (figures["tokenize"] + figures["first"])
            for seconds, figures in named.items()
        }
    return result


def sum_seconds(side: dict[str, float]) -> float:
    """Tokenisation and training together, without start-up."""
    return side["tokenize_seconds"] + side["train_seconds"]


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    columns = ("host_tokenize", "tokenize", "header", "host", "first", "disk", "memory", "floor", "host_mb", "first_mb")
    titles = ("host tok.", "ours tok.", "header", "host", "first", "disk", "memory", "floor", "host MB", "ours MB")
    print("milliseconds (and peak MB) a pair, fastest run")
    print("  clips " + "".join(f"{title:>11}" for title in titles))
    for seconds, figures in result["milliseconds_a_pair"].items():
        print(f"  {seconds + ' s':>5} " + "".join(f"{figures[column]:>11.2f}" for column in columns))
    print(f"\nlargest difference of any feature: {result['max_abs_diff']}")
    print(f"tokenisation: {result['tokenize_ratio']:.0f} x the host, {result['tokenize_pairs_per_second']:.0f} pairs/s")
    for key, words in (("", "from files"), ("_disk", "from disk cache"), ("_memory", "from memory")):
        ratios = ", ".join(f"{ratio:.0f} x at {length} s" for length, ratio in result[f"collate_ratio{key}"].items())
        print(f"collation {words}: {ratios}")
    first = ", ".join(f"{ratio:.2f} at {length} s" for length, ratio in result["collate_over_floor_each"].items())
    epochs = result["collate_over_floor_epochs"]
    print(f"over the floor of decoding and one FFT: {first} from files; {epochs:.2f} over 3 epochs")
    if result["swift"] is None:
        print("ms-swift: not installed, not compared")
    else:
        ratios = ", ".join(f"{ratio:.0f} x at {length} s" for length, ratio in result["swift_ratio"].items())
        print(f"ms-swift {result['swift']['version']} takes {ratios} what tokenising and collating from files take")
    if "train" in result:
        for side in ("host", "ours"):
            tokenize, step = result["train"][side]["tokenize_seconds"], result["train"][side]["step_seconds"]
            print(f"training, {side}: tokenised in {tokenize:.1f} s, {step:.2f} s a step")
        print(f"training: {result['train_ratio']:.1f} x a step, {result['train_total_ratio']:.1f} x with tokenisation")


def main() -> None:
    """Run the benchmark; see the module's text."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, nargs="+", default=[2, 5, 15, 60], help="clip lengths")
    options.add_argument("--repeats", type=int, default=5, help="host runs of each kind and length")
    options.add_argument("--steps", type=int, default=10, help="training steps; 0 leaves training out")
    options.add_argument("--threads", type=int, default=1, help="of torch; a dataloader worker has 1")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the ratios and figures here")
    arguments = options.parse_args()

    from earwitness.tiny import build_tiny

    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = build_tiny(folder / "tiny", corpus=[PROMPT] * 4)
        sides = Sides(model)
        lengths = {seconds: compare(sides, folder, seconds, arguments.repeats) for seconds in arguments.seconds}
        training = train(model, folder, arguments.steps) if arguments.steps else None
        result = report(lengths, training, swift(model, folder, arguments.seconds, arguments.repeats))
    show(result)
    print(f"threads: {result['threads']}; load of the machine: {result['load']:.1f} (other work slows all columns)")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
