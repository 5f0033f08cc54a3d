"""``earwitness infer``: judge a dataset with a model, into one JSON line a record; survives interruptions."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from earwitness.cli import run
from earwitness.errors import UserError

if TYPE_CHECKING:
    from earwitness.data.records import Record
    from earwitness.files import BadRows
    from earwitness.infer.engine import Engine
    from earwitness.infer.options import Decoding
    from earwitness.infer.run import Summary

DESCRIPTION = """\
Judge every record of DATASET with MODEL and write one JSON object a line to OUT.

MODEL    a folder: full model, thinker-only checkpoint or LoRA adapter; or a name on the Hugging Face hub
         (with --engine api: the model's name on the server)
DATASET  a name in dataset_info.json, or a file: SageLM's JSON, or JSON lines with audio_a and audio_b, or audio
OUT      NAME.jsonl, or a folder that gets predictions.jsonl

Interrupted at any moment, the same command goes on where it stopped and ends with the same bytes.
Exit status: 0 all done, 1 the engine failed, 2 wrong input or rows that failed.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="infer.sh", description=DESCRIPTION, formatter_class=_Formatter, allow_abbrev=False
    )
    options.add_argument("model", metavar="MODEL")
    options.add_argument("dataset", metavar="DATASET")
    options.add_argument("out", metavar="OUT")

    data = options.add_argument_group("data")
    data.add_argument("--dataset-dir", default="data", help="folder of dataset_info.json")
    data.add_argument(
        "--media-dir", help="where relative clip paths start; default: --dataset-dir, or the file's folder"
    )
    data.add_argument(
        "--judge", metavar="TYPE", help="judge type of a DATASET file; default: pairwise for pairs, score for clips"
    )
    data.add_argument("--limit", type=int, help="judge only the first records; default: all")
    data.add_argument(
        "--skip-bad", action="store_true", help="leave rows that cannot be judged unscored, counted and listed"
    )

    model = options.add_argument_group("model")
    model.add_argument("--engine", choices=("hf", "vllm", "api"), default="hf", help="what runs the model")
    model.add_argument(
        "--base-model", metavar="MODEL", help="model under a LoRA adapter that does not name it; default: as named"
    )
    model.add_argument("--template", help="chat template of LLaMA-Factory; default: that of the model's family")
    model.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    model.add_argument(
        "--dtype", default="auto", help="auto (saved one on a GPU, float32 on a CPU), float32, bfloat16, float16"
    )
    model.add_argument(
        "--tower-cache",
        metavar="DIR",
        help="keep the audio tower's outputs here (docs/audio.md); default: kept nowhere",
    )
    model.add_argument(
        "--compile",
        action="store_true",
        help="engine hf: write texts through torch.compile; what it costs and gives: docs/judging.md",
    )

    vllm = options.add_argument_group("engine vllm")
    vllm.add_argument("--tensor-parallel", type=int, default=1, metavar="GPUS", help="GPUs that share the model")
    vllm.add_argument(
        "--vllm-options", type=_object, metavar="JSON", help="further arguments of vllm.LLM; default: none"
    )

    ray = options.add_argument_group("beyond one machine (extra ray; docs/scale.md)")
    ray.add_argument(
        "--ray-workers",
        "--data-parallel",
        type=int,
        default=0,
        metavar="N",
        help="run N copies of the engine on Ray and share the rows out among them; default: none, here",
    )
    ray.add_argument(
        "--ray-address", metavar="ADDRESS", help="cluster that runs, e.g. auto; default: one started on this machine"
    )
    ray.add_argument(
        "--ray-gpus", type=float, metavar="GPUS", help="that each worker needs; default: --tensor-parallel, 0 on a CPU"
    )

    server = options.add_argument_group("engine api (any server that speaks the OpenAI chat API and takes audio)")
    server.add_argument("--base-url", metavar="URL", help="e.g. http://127.0.0.1:8000/v1; default: none, needed")
    server.add_argument(
        "--api-key-env", metavar="NAME", help="environment variable that holds the key; default: no key"
    )
    server.add_argument(
        "--audio-form",
        choices=("audio_url", "input_audio"),
        default="audio_url",
        help="how clips travel: data URLs (LLaMA-Factory, vLLM) or input_audio (OpenAI)",
    )
    server.add_argument("--logprobs", action="store_true", help="ask for likely tokens, for label probabilities")
    server.add_argument("--concurrency", type=int, default=16, help="requests in flight")
    server.add_argument("--attempts", type=int, default=6, help="tries for one request")
    server.add_argument("--attempt-timeout", type=float, default=300.0, metavar="SECONDS", help="time for one try")
    server.add_argument(
        "--deadline", type=float, default=900.0, metavar="SECONDS", help="time for one request with its tries"
    )
    server.add_argument(
        "--guidance", choices=("auto", "vllm", "none"), default="auto", help="how --verdict-only is held to the labels"
    )
    server.add_argument("--prompt-price", type=float, default=0.0, help="price of a million prompt tokens")
    server.add_argument("--completion-price", type=float, default=0.0, help="price of a million completion tokens")
    server.add_argument(
        "--budget", type=float, help="ask nothing more once this is spent; needs the prices; default: none"
    )

    answers = options.add_argument_group("answers")
    answers.add_argument(
        "--orders", choices=("ab", "ba", "both"), default="ab", help="show each pair as it stands, exchanged, or both"
    )
    answers.add_argument(
        "--verdict-only", action="store_true", help="score the labels at the first token, write no text"
    )
    answers.add_argument("--max-new-tokens", type=int, default=256, help="the most tokens of an answer")
    answers.add_argument("--samples", type=int, default=1, help="answers drawn for a record; they vote")
    answers.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    answers.add_argument("--top-p", type=float, default=1.0, help="draw from the likeliest tokens of this mass")
    answers.add_argument("--seed", type=int, default=0, help="seed of the draws")
    answers.add_argument(
        "--abstain", type=float, default=0.0, help="unscored where the likeliest label has less probability"
    )
    answers.add_argument(
        "--tie-band", type=float, default=0.0, help="tie where first and second differ by less in probability"
    )

    work = options.add_argument_group("run")
    work.add_argument("--batch-size", type=int, default=32, help="records answered together")
    work.add_argument("--batch-tokens", type=int, default=32768, help="the most tokens of a batch")
    work.add_argument("--overwrite", action="store_true", help="start anew where another run lies")
    work.add_argument("--quiet", action="store_true", help="no progress bar")
    return options


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Add every default to the help."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        if action.default in (None, argparse.SUPPRESS) or "default:" in text or not action.option_strings:
            return text
        return f"{text} (default: {'off' if action.default is False else '%(default)s'})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input, or rows that failed.
    """
    arguments = parser().parse_args(argv)
    from earwitness.files import BadRows
    from earwitness.infer.options import Decoding
    from earwitness.infer.run import RunOptions, RunPaths, judge_records

    decoding = Decoding(
        **{
            name: getattr(arguments, name)
            for name in (
                "verdict_only",
                "max_new_tokens",
                "samples",
                "temperature",
                "top_p",
                "seed",
                "abstain",
                "tie_band",
            )
        }
    )
    options = RunOptions(
        **{
            name: getattr(arguments, name)
            for name in ("orders", "batch_size", "batch_tokens", "skip_bad", "overwrite", "quiet")
        }
    )
    with BadRows(skip=arguments.skip_bad, log=RunPaths.of(arguments.out).folder / "skipped_rows.jsonl") as bad:
        records = load_records_of(arguments, bad)
    if bad.count:
        print(bad.summary(), file=sys.stderr)
    if arguments.ray_workers == 0 and (arguments.ray_address is not None or arguments.ray_gpus is not None):
        raise UserError("--ray-address and --ray-gpus go with --ray-workers")
    engine = _ray_engine(arguments, decoding) if arguments.ray_workers else _engine(arguments, decoding)
    try:
        summary = judge_records(records, engine, arguments.out, decoding, options)
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:
        traceback.print_exc()
        hint = "the same command goes on from there"
        if type(error).__name__ == "OutOfMemoryError":
            hint = "start anew with a lower --batch-size or --batch-tokens and --overwrite"
        print(f"error: the engine failed; finished rows are safe, {hint}", file=sys.stderr)
        return 1
    if summary.forced:
        print(
            f"note: in {summary.forced} of {summary.rows} rows the model was unlikely to begin with a label "
            "(menu_mass below 0.5): those verdicts are what it would choose if it had to. Is it untrained, or does it "
            "think first? Then leave --verdict-only out.",
            file=sys.stderr,
        )
    print(_told(summary))
    return 0


def load_records_of(arguments: argparse.Namespace, bad: BadRows) -> Sequence[Record]:
    """Read the rows that the command line names."""
    from earwitness.infer.datasets import load_dataset

    return load_dataset(
        arguments.dataset,
        dataset_dir=arguments.dataset_dir,
        media_dir=arguments.media_dir,
        judge=arguments.judge,
        limit=arguments.limit,
        bad=bad,
    )


def _engine(arguments: argparse.Namespace, decoding: Decoding) -> Engine:
    _check_engine_options(arguments)
    if arguments.engine == "api":
        return _api_engine(arguments, decoding)
    from earwitness.infer.model import find_model

    files = find_model(arguments.model, arguments.base_model)
    if arguments.engine == "vllm":
        from earwitness.infer.vllm_engine import VLLMEngine

        return VLLMEngine(
            files,
            decoding,
            template=arguments.template,
            dtype=arguments.dtype,
            tensor_parallel=arguments.tensor_parallel,
            options=arguments.vllm_options,
        )
    from earwitness.infer.hf_engine import HFEngine

    return HFEngine(
        files,
        decoding,
        template=arguments.template,
        device=arguments.device,
        dtype=arguments.dtype,
        tower_cache=arguments.tower_cache,
        compiled=arguments.compile,
    )


def _check_engine_options(arguments: argparse.Namespace) -> None:
    """Raise a UserError for an option that the chosen engine would pass over."""
    engine = arguments.engine
    if arguments.tower_cache is not None and engine != "hf":
        raise UserError(f"--tower-cache: engine {engine} runs the audio tower itself; leave it out")
    if arguments.compile and engine != "hf":
        raise UserError(f"--compile is for engine hf; engine {engine} decides that by itself")
    if engine != "vllm" and (arguments.tensor_parallel != 1 or arguments.vllm_options):
        raise UserError(f"--tensor-parallel and --vllm-options are for engine vllm, not {engine}")


def _ray_engine(arguments: argparse.Namespace, decoding: Decoding) -> Engine:
    from functools import partial

    from earwitness.infer.ray_engine import RayEngine

    if arguments.engine == "api":
        raise UserError("--ray-workers: engine api asks a server that scales by itself; raise --concurrency instead")
    gpus = arguments.ray_gpus
    if gpus is None:
        import torch

        here, device = torch.cuda.is_available(), arguments.device
        if arguments.engine == "vllm":  # a machine that only plans says nothing of the cluster's
            here, device = here or arguments.ray_address is not None, "auto"
        gpus = arguments.tensor_parallel if device.startswith("cuda") or (device == "auto" and here) else 0
    make = partial(_engine, arguments, decoding)
    return RayEngine(make, arguments.ray_workers, address=arguments.ray_address, gpus=gpus)


def _api_engine(arguments: argparse.Namespace, decoding: Decoding) -> Engine:
    from earwitness.infer.api_engine import APIEngine
    from earwitness.llm.endpoint import Endpoint

    if arguments.base_url is None:
        raise UserError("--engine api needs --base-url, e.g. http://127.0.0.1:8000/v1")
    names = ("base_url", "model", "api_key_env", "concurrency", "attempts", "attempt_timeout", "deadline")
    prices = ("prompt_price", "completion_price", "budget")
    endpoint = Endpoint(guidance=arguments.guidance, **{name: getattr(arguments, name) for name in (*names, *prices)})
    return APIEngine(endpoint, decoding, audio_form=arguments.audio_form, logprobs=arguments.logprobs)


def _object(text: str) -> dict[str, Any]:
    import json

    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _told(summary: Summary) -> str:
    parts = [f"{summary.predictions}: {summary.rows} rows", f"{summary.unscored} unscored"]
    if summary.skipped:
        parts.append(f"{summary.skipped} of them skipped")
    if summary.resumed:
        parts.append(f"{summary.resumed} were there already")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(run(main))
