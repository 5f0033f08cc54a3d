"""Pairs judged per second: 4 aspects x 2 orders of each pair, by LLaMA-Factory's do_predict, one by one, and by us.

    python benchmarks/judging.py [--pairs 12] [--seconds 4] [--batch-size 16] [--threads 2] [--device cpu] [--json FILE]

All judge the same questions with the same weights and must give the same verdicts. The others decode as few tokens as a
verdict needs (the longest label), which is the best case for them: a judge that goes on to explain itself costs them
every further token, and us nothing in verdict-only mode. One sequence at a time comes twice: as a script on
transformers or on the stock host has it, whose processor pads each clip to the model's limit (300 s), and with our
unpadded features, which give the same numbers, so that what is left is judging itself. ``do_predict`` comes twice as
well: the stock ``llamafactory-cli`` with a loader that works (``stock_host.py``), and with our plugin. Its rate is the
one it reports itself, for prediction alone; ours and the loops' leave loading and checks out as well.

The model is a tiny Qwen2.5-Omni, trained for a moment to answer with labels at all (``--model`` takes any other); its
verdicts are worth nothing, only their equality counts here. Two prompts are timed: the usual one, which names the
aspect before the clips, so that aspects share the tower's work only, and one that names it behind them, so that they
share the clips' part of the prompt as well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch
import yaml

from earwitness.data.records import load_records
from earwitness.files import write_json
from earwitness.infer.engine import Item
from earwitness.infer.hf_engine import HFEngine
from earwitness.infer.model import TEMPLATES, find_model
from earwitness.infer.options import Decoding
from earwitness.infer.plan import make_items, make_plan
from earwitness.judges.verdicts import parse_verdict

ASPECTS = ("noise", "coloration", "discontinuity", "loudness")
RATE = 16_000
STOCK_HOST = Path(__file__).with_name("stock_host.py")
PROMPTS = {
    "aspect before the clips": "Evaluate in terms of **{{ aspect }}** and answer {{ menu }}.\n1: <audio>\n2: <audio>\n",
    "aspect behind the clips": "1: <audio>\n2: <audio>\nEvaluate in terms of **{{ aspect }}** and answer {{ menu }}.\n",
}
Verdicts = dict[tuple[str, str], str | None]


def write_data(folder: Path, pairs: int, seconds: float) -> None:
    """Write pairs of noise bursts and a dataset entry a prompt; ``*-host`` holds each pair in both orders as rows."""
    random = np.random.default_rng(0)
    rows, both = [], []
    for pair in range(pairs):
        names = [f"{pair}{side}.wav" for side in "ab"]
        for name in names:
            samples = int(RATE * seconds * random.uniform(0.5, 1.5))
            soundfile.write(folder / name, random.normal(0, 10 ** random.uniform(-3, -1), samples), RATE)
        for aspect in ASPECTS:
            row = {
                "id": f"{pair}-{aspect}",
                "audio_a": names[0],
                "audio_b": names[1],
                "aspect": aspect,
                "verdict": "tie",
            }
            rows.append(row)
            both += [row, {**row, "id": f"{row['id']}-ba", "audio_a": names[1], "audio_b": names[0]}]
    entries = {}
    for number, text in enumerate(PROMPTS.values()):
        template = folder / f"{number}.jinja"
        template.write_text(text + "\n", encoding="utf-8")
        judge = {"template": str(template), "aspects": list(ASPECTS)}
        for suffix in ("", "-host"):
            entries[f"{number}{suffix}"] = {
                "file_name": f"rows{suffix}.jsonl",
                "formatting": "speech_pair",
                "judge": judge,
            }
    for name, content in (("rows.jsonl", rows), ("rows-host.jsonl", both)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    write_json(folder / "dataset_info.json", entries)


def label_model(folder: Path, data: Path) -> Path:
    """Build a tiny judge and train it until it answers with labels; which one is drawn from the pair's number."""
    from earwitness.tiny import build_tiny

    base = build_tiny(folder / "base", corpus=[*PROMPTS.values(), *["1", "2", "Tie", *ASPECTS] * 8])
    engine = HFEngine(find_model(str(base)), Decoding(), device="cpu")
    network = engine.model._network.train().requires_grad_(True)
    extractor = engine.prompts.processor.feature_extractor
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    from earwitness.audio.features import batch_features_of

    items = [item for name in ("0", "1") for item in make_items(load_records(name, data), ("ab", "ba"))]
    random = np.random.default_rng(0)
    for _ in range(60):
        item = items[random.integers(len(items))]
        label = ("1", "2", "Tie")[sum(map(ord, "".join(item.shown.audios) + str(item.record.aspect))) % 3]
        ids = torch.tensor([[*engine._ids(item), *engine.prompts.tokenizer.encode(label), engine.prompts.stop[-1]]])
        labels = ids.clone()
        labels[:, : len(engine._ids(item))] = -100
        features = batch_features_of(item.shown.audios, extractor, "qwen2_5_omni")
        network(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, **features).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    network.eval().save_pretrained(folder / "judge")
    engine.prompts.processor.save_pretrained(folder / "judge")
    return folder / "judge"


def by_us(engine: HFEngine, items: Sequence[Item], batch_size: int) -> tuple[float, Verdicts]:
    """Judge all items in verdict-only mode; seconds and verdicts as shown."""
    sizes = [engine.size(item) for item in items]
    plan = make_plan(items, sizes, {}, batch_size, 1 << 30)
    start = time.perf_counter()
    verdicts: Verdicts = {}
    for number, answers in engine.answer(enumerate(plan.batches)):
        for item, answer in zip(plan.batches[number], answers, strict=True):
            verdicts[item.record.id, item.order] = parse_verdict(answer.texts[0], item.shown.judge).verdict
    return time.perf_counter() - start, verdicts


def unpadded(engine: HFEngine, clips: Sequence[str]) -> dict[str, torch.Tensor]:
    """Compute features as we do."""
    from earwitness.audio.features import batch_features_of

    return batch_features_of(clips, engine.prompts.processor.feature_extractor, engine.files.family)


def padded(engine: HFEngine, clips: Sequence[str]) -> dict[str, torch.Tensor]:
    """Compute features as the model's own processor does, and LLaMA-Factory with it."""
    waveforms = [soundfile.read(clip, dtype="float32")[0] for clip in clips]
    extract = engine.prompts.processor.feature_extractor
    made = extract(waveforms, sampling_rate=RATE, padding="max_length", return_attention_mask=True, return_tensors="pt")
    return {"input_features": made["input_features"], "feature_attention_mask": made["attention_mask"]}


def one_by_one(
    engine: HFEngine,
    items: Sequence[Item],
    tokens: int,
    hear: Callable[[HFEngine, Sequence[str]], dict[str, torch.Tensor]],
) -> tuple[float, Verdicts]:
    """Judge as the seeds' scripts do: one sequence at a time, clips decoded and heard anew for each question."""
    network = engine.model._network
    start = time.perf_counter()
    verdicts: Verdicts = {}
    for item in items:
        ids = torch.from_numpy(engine._ids(item))[None].to(engine.model.device)
        features = {name: value.to(engine.model.device) for name, value in hear(engine, item.shown.audios).items()}
        features["input_features"] = features["input_features"].to(engine.model.dtype)
        with torch.inference_mode():
            written = network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=tokens,
                eos_token_id=list(engine.prompts.stop),
                pad_token_id=engine.prompts.tokenizer.pad_token_id,
                **features,
            )
        text = engine.prompts.decode(written[0, ids.shape[1] :].tolist())
        verdicts[item.record.id, item.order] = parse_verdict(text, item.shown.judge).verdict
    return time.perf_counter() - start, verdicts


def write_stock(data: Path, name: str) -> None:
    """Write the rows of ``name`` as the stock host reads them, with what our templates make of them as instruction."""
    rows = [
        {"instruction": record.prompt, "output": "Tie", "audios": list(record.audios)}
        for record in load_records(name, data)
    ]
    columns = {"prompt": "instruction", "response": "output", "audios": "audios"}
    write_json(data / f"{name}-stock" / "dataset_info.json", {"stock": {"file_name": "rows.json", "columns": columns}})
    write_json(data / f"{name}-stock" / "rows.json", rows)


def by_host(
    model: Path, data: Path, name: str, batch_size: int, tokens: int, out: Path, stock: bool = False
) -> tuple[float, Verdicts]:
    """Judge with ``llamafactory-cli train`` and ``do_predict``; seconds by its own clock."""
    if stock:
        write_stock(data, f"{name}-host")
    config = {
        "model_name_or_path": str(model),
        "stage": "sft",
        "do_predict": True,
        "finetuning_type": "full",
        "predict_with_generate": True,
        "do_sample": False,
        "max_new_tokens": tokens,
        "eval_dataset": "stock" if stock else f"{name}-host",
        "dataset_dir": str(data / f"{name}-host-stock" if stock else data),
        "media_dir": str(data),
        "template": TEMPLATES["qwen2_5_omni"],
        "cutoff_len": 4096,
        "per_device_eval_batch_size": batch_size,
        "output_dir": str(out),
        "overwrite_cache": True,
        "report_to": "none",
    }
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    plain = [str(Path(sys.executable).with_name("llamafactory-cli"))]
    done = subprocess.run(
        [*([sys.executable, str(STOCK_HOST)] if stock else plain), "train", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "EARWITNESS_DISABLE": "1" if stock else "",
            "HF_DATASETS_CACHE": str(out.with_suffix(".cache")),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
        },
    )
    if done.returncode:
        raise SystemExit(f"llamafactory-cli failed:\n{done.stderr[-3000:]}")
    seconds = json.loads((out / "predict_results.json").read_text())["predict_runtime"]
    predictions = [json.loads(line) for line in (out / "generated_predictions.jsonl").read_text().splitlines()]
    records = load_records(f"{name}-host", data)
    verdicts: Verdicts = {}
    for record, prediction in zip(records, predictions, strict=True):
        identity, order = record.id.removesuffix("-ba"), "ba" if record.id.endswith("-ba") else "ab"
        verdicts[identity, order] = parse_verdict(prediction["predict"], record.judge).verdict
    return seconds, verdicts


def best(runs: int, measure: Callable[[], tuple[float, Verdicts]]) -> tuple[float, Verdicts]:
    """Repeat a measurement; the least seconds, which noise of the machine can only raise."""
    results = [measure() for _ in range(runs)]
    return min(results, key=lambda result: result[0])


def main() -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a judge that answers with 1, 2 or Tie; default: a tiny one")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=4.0, help="mean length of a clip")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=3, help="repetitions; the fastest counts")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--no-host", action="store_true", help="leave do_predict out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        data = Path(folder)
        write_data(data, options.pairs, options.seconds)
        model = Path(options.model) if options.model else label_model(data, data)
        files = find_model(str(model))
        engine = HFEngine(files, Decoding(verdict_only=True), device=options.device, dtype=options.dtype)
        engine = engine.with_decoding(engine.decoding)
        for number, prompt in enumerate(PROMPTS):
            items = make_items(load_records(str(number), data), ("ab", "ba"))
            tokens = max(len(path) for path in engine._menu(items[0].record.judge.labels).labels.values())

            def anew(items: Sequence[Item] = items) -> tuple[float, Verdicts]:
                for clip in {clip for item in items for clip in item.shown.audios}:
                    engine.forget(clip)
                return by_us(engine, items, options.batch_size)

            ways: dict[str, Callable[[], tuple[float, Verdicts]]] = {
                "one at a time, stock processor": partial(one_by_one, engine, items, tokens, padded),
                "one at a time, our features": partial(one_by_one, engine, items, tokens, unpadded),
                "earwitness, verdict only": anew,
            }
            if not options.no_host and options.device == "cpu":
                out = data / f"host{number}"
                predict = partial(by_host, model, data, str(number), options.batch_size, tokens)
                ways["do_predict, stock"] = partial(predict, out.with_name(f"stock{number}"), stock=True)
                ways["do_predict, our features"] = partial(predict, out)
            once = ("one at a time, stock processor", "do_predict, stock", "do_predict, our features")
            timed = {way: best(1 if way in once else options.runs, measure) for way, measure in ways.items()}
            ours = timed["earwitness, verdict only"]
            for way, (seconds, verdicts) in timed.items():
                equal = sum(verdicts[key] == ours[1][key] for key in ours[1])
                results.append(
                    {
                        "prompt": prompt,
                        "way": way,
                        "pairs_per_second": options.pairs / seconds,
                        "questions_per_second": len(items) / seconds,
                        "times_ours_is_faster": seconds / ours[0],
                        "equal_verdicts": equal,
                        "questions": len(items),
                    }
                )
    report(results, options)
    if options.json:
        write_json(options.json, results)
    return 0 if all(result["equal_verdicts"] == result["questions"] for result in results) else 1


def report(results: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    """Print the table."""
    print(
        f"{options.pairs} pairs x {len(ASPECTS)} aspects x 2 orders, clips of about {options.seconds:g} s, "
        f"{options.device}, {torch.get_num_threads()} threads, batch {options.batch_size}"
    )
    print(f"{'prompt':26}{'way':32}{'pairs/s':>9}{'questions/s':>13}{'ours is':>10}{'same verdicts':>16}")
    for result in results:
        same = f"{result['equal_verdicts']}/{result['questions']}"
        print(
            f"{result['prompt']:26}{result['way']:32}{result['pairs_per_second']:9.2f}"
            f"{result['questions_per_second']:13.1f}{result['times_ours_is_faster']:9.1f}x{same:>16}"
        )


if __name__ == "__main__":
    sys.exit(main())
