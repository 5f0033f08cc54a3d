"""The one place that touches LLaMA-Factory.

``HOOKS`` names every module of the host that is extended and the function that extends it. ``autoload`` applies a hook
right after the module is first executed, so nothing of the host is imported earlier than it would be without us, and
nothing of it is edited. Every hook is idempotent. ``EARWITNESS_DISABLE=1`` turns all of them off.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from types import ModuleType
from typing import Any

TESTED_HOST = ("0.9.5", "0.9.6")
"""LLaMA-Factory versions the hooks were tested on: from the first, up to but not including the second."""

Hook = Callable[[ModuleType], None]


def _once(hook: Hook) -> Hook:
    """Make a hook idempotent: it extends a module once for every time that the module is executed.

    ``importlib.reload`` keeps a module's attributes but gives it a new spec, so the spec is the mark.
    """
    mark = f"_earwitness_{hook.__name__}"

    def apply(module: Any) -> None:
        if getattr(module, mark, None) is not module.__spec__:
            hook(module)
            setattr(module, mark, module.__spec__)

    apply.__name__, apply.__doc__ = hook.__name__, hook.__doc__
    return apply


def _in_turn(*hooks: Hook) -> Hook:
    """Extend one module for several reasons."""

    def apply(module: ModuleType) -> None:
        for hook in hooks:
            hook(module)

    return apply


@_once
def extend_mm_plugins(module: Any) -> None:
    """Give the audio families exact, unpadded features and header-only token counts (``audio/plugin.py``)."""
    from earwitness.audio.plugin import ExactAudio

    for name in ("qwen2_audio", "qwen2_omni"):
        host = module.PLUGINS[name]
        module.PLUGINS[name] = dataclass(type(host.__name__, (ExactAudio, host), {"__module__": host.__module__}))


@_once
def extend_dataset_attributes(module: Any) -> None:
    """Keep the ``judge`` block and its columns, which ``DatasetAttr.join`` would drop without a word."""
    host, get_dataset_list = module.DatasetAttr, module.get_dataset_list

    def join(self: Any, attr: dict[str, Any]) -> None:
        host.join(self, attr)
        self.judge_entry = dict(attr)

    def get_named_list(dataset_names: list[str] | None, dataset_dir: Any) -> list[Any]:
        try:
            attributes = get_dataset_list(dataset_names, dataset_dir)
        except ValueError:
            if isinstance(dataset_dir, str) and not dataset_dir.startswith("REMOTE:"):
                from earwitness.data.entries import raw_entry

                for name in dataset_names or []:
                    raw_entry(name, dataset_dir)  # says in one line what is wrong, and which names there are
            raise
        for name, attribute in zip(dataset_names or [], attributes, strict=True):
            attribute.judge_name = name
        return attributes

    fields = [("judge_name", str, field(default="")), ("judge_entry", dict[str, Any], field(default_factory=dict))]
    module.DatasetAttr = make_dataclass("DatasetAttr", fields, bases=(host,), namespace={"join": join}, repr=False)
    module.get_dataset_list = get_named_list


@_once
def register_converters(module: Any) -> None:
    """Register the ``formatting`` names of speech judges."""
    from earwitness.data.convert import SPEECH_FORMATS, SpeechConverter

    for name in SPEECH_FORMATS:
        module.register_dataset_converter(
            name, type("SpeechDatasetConverter", (SpeechConverter, module.DatasetConverter), {})
        )


@_once
def check_datasets_first(module: Any) -> None:
    """Check rows and clips of an audio dataset before tokenisation, and never cut one of its prompts."""
    from earwitness.data.convert import SPEECH_FORMATS, undecoded
    from earwitness.data.preflight import WholePrompts, check_dataset

    load = module._load_single_dataset

    def load_single_dataset(dataset_attr: Any, model_args: Any, data_args: Any, training_args: Any) -> Any:
        if training_args.should_log:
            check_dataset(dataset_attr, data_args)
        return load(dataset_attr, model_args, data_args, training_args)

    align = module.align_dataset

    def align_dataset(dataset: Any, dataset_attr: Any, data_args: Any, training_args: Any) -> Any:
        if dataset_attr.formatting in SPEECH_FORMATS:
            dataset = undecoded(dataset)
        return align(dataset, dataset_attr, data_args, training_args)

    module._load_single_dataset, module.align_dataset = load_single_dataset, align_dataset
    for kind in ("Supervised", "PackedSupervised", "Unsupervised", "Pairwise", "Feedback"):
        name = f"{kind}DatasetProcessor"
        host = getattr(module, name)
        setattr(module, name, dataclass(type(name, (WholePrompts, host), {"__module__": host.__module__})))


@_once
def know_run_while_loading(module: Any) -> None:
    """Let the checks of a dataset know the run's processor and template, and drop rows that the run skips."""
    from earwitness.data.overlong import drop_overlong
    from earwitness.data.preflight import RUN, Run

    get, load = module.get_dataset, module._load_single_dataset

    def get_dataset(
        template: Any,
        model_args: Any,
        data_args: Any,
        training_args: Any,
        stage: str,
        tokenizer: Any,
        processor: Any = None,
    ) -> Any:
        generate = training_args.predict_with_generate
        encoder = module._get_dataset_processor(data_args, stage, template, tokenizer, processor, do_generate=generate)
        answers = {"rm": 2, "kto": 2}.get(stage, 1)

        def encode(row: dict[str, Any]) -> None:
            if len(row["_prompt"]) % 2 == 1 and (len(row["_response"]) == answers or generate):  # others are dropped
                names = ("prompt", "response", "system", "tools", "audios")
                given = {name: row[f"_{name}"] for name in names} | {"images": [], "videos": []}
                if stage == "kto":
                    given["kl_response"] = row["_response"]
                encoder._encode_data_example(**given)

        def align(dataset_attr: Any, row: dict[str, Any]) -> dict[str, Any]:
            from llamafactory.data.converter import get_dataset_converter

            convert = get_dataset_converter(dataset_attr.formatting, dataset_attr, data_args)
            return convert(defaultdict(lambda: None, row))

        token = RUN.set(Run(processor, encode, align))
        try:
            return get(template, model_args, data_args, training_args, stage, tokenizer, processor)
        finally:
            RUN.reset(token)

    def load_single_dataset(*args: Any) -> Any:
        dataset, run = load(*args), RUN.get()
        return dataset if run is None else drop_overlong(dataset, run.processor)

    module.get_dataset, module._load_single_dataset = get_dataset, load_single_dataset


@_once
def extend_model_arguments(module: Any) -> None:
    """Add the fields that say how clips are heard, beside the host's for images and videos."""
    from earwitness.train.arguments import HearingArguments

    host = module.ModelArguments
    module.ModelArguments = dataclass(type("ModelArguments", (HearingArguments, host), {"__module__": host.__module__}))


@_once
def tell_processors(module: Any) -> None:
    """Hand the run's policy for over-long clips to the processor, where the host puts its own settings."""
    from earwitness.audio.limits import overlong_policy

    patch = module.patch_processor

    def patch_processor(processor: Any, tokenizer: Any, model_args: Any) -> None:
        patch(processor, tokenizer, model_args)
        processor.overlong_audio = model_args.overlong_audio or overlong_policy()

    module.patch_processor = patch_processor


@_once
def drop_dummy_image(module: Any) -> None:
    """Spare audio-only batches the image that the host adds to every batch without one.

    It keeps ranks with and without images in step, so it stays under ZeRO-3 and FSDP, and under DDP where the vision
    tower has trainable parameters, which would wait for a gradient.
    """
    from copy import copy

    host = module.MultiModalDataCollatorForSeq2Seq
    call = host.__call__

    def without_dummy(self: Any, features: list[dict[str, Any]]) -> dict[str, Any]:
        has_visuals = any(feature.get("images") or feature.get("videos") for feature in features)
        has_audio = any(feature.get("audios") for feature in features)
        if has_visuals or not has_audio or _ranks_need_dummy(self.model):
            return call(self, features)
        template = self.template
        self.template = copy(template)
        self.template.mm_plugin = copy(template.mm_plugin)
        self.template.mm_plugin.image_token = None
        try:
            return call(self, features)
        finally:
            self.template = template

    host.__call__ = without_dummy


def _ranks_need_dummy(model: Any) -> bool:
    from transformers.integrations import is_deepspeed_zero3_enabled
    from transformers.integrations.fsdp import is_fsdp_enabled

    if is_deepspeed_zero3_enabled() or is_fsdp_enabled():
        return True
    if model is None or int(os.environ.get("WORLD_SIZE", "1")) == 1:  # dataloader workers have no process group
        return False
    return any(parameter.requires_grad for name, parameter in model.named_parameters() if "visual" in name)


@_once
def extend_finetuning_arguments(module: Any) -> None:
    """Add our training fields, so that YAML files, the command line and ``-h`` know them."""
    from earwitness.train.arguments import SpeechJudgeArguments

    host = module.FinetuningArguments
    module.FinetuningArguments = dataclass(
        type("FinetuningArguments", (SpeechJudgeArguments, host), {"__module__": host.__module__})
    )


@_once
def extend_sft_trainer(module: Any) -> None:
    """Weigh chain-of-thought lines against the answer (``train/sft/weighted.py``)."""
    from earwitness.train.sft.weighted import WeightedChainOfThought

    host = module.CustomSeq2SeqTrainer
    module.CustomSeq2SeqTrainer = type(host.__name__, (WeightedChainOfThought, host), {"__module__": host.__module__})


@_once
def name_missing_models(module: Any) -> None:
    """Say in one line which ``model_name_or_path`` holds no model, before anything else is loaded."""
    from pathlib import Path

    from earwitness.errors import UserError

    load = module.load_tokenizer

    def load_tokenizer(model_args: Any) -> Any:
        name = model_args.model_name_or_path
        if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
            raise UserError(f"model_name_or_path: folder {name!r} holds no model (no config.json)")
        try:
            return load(model_args)
        except OSError as error:
            reason = str(error.__cause__ or error).partition("\n")[0]
            raise UserError(
                f"model_name_or_path: {name!r} is neither a folder with a model and its tokenizer nor a model that the "
                f"hub gives us ({reason})"
            ) from error

    module.load_tokenizer = load_tokenizer


@_once
def use_exact_towers(module: Any) -> None:
    """Let every loaded model run its audio tower clip by clip, and keep its outputs where ``tower_cache_dir`` says."""
    from earwitness.audio.tower import use_exact_tower

    load = module.load_model

    def load_model(tokenizer: Any, model_args: Any, finetuning_args: Any, *args: Any, **kwargs: Any) -> Any:
        model = load(tokenizer, model_args, finetuning_args, *args, **kwargs)
        use_exact_tower(model)
        if finetuning_args.tower_cache_dir is not None:
            from earwitness.audio.tower_cache import remember_tower_outputs

            remember_tower_outputs(model, finetuning_args.tower_cache_dir, finetuning_args.tower_cache_mb)
        return model

    module.load_model = load_model


@_once
def answer_user_errors(module: Any) -> None:
    """Answer an API request whose audio or placeholders are wrong with status 400 and the reason, not with 500."""
    from earwitness.errors import UserError

    create = module.create_app

    def create_app(chat_model: Any) -> Any:
        from fastapi.responses import JSONResponse

        async def bad_request(_request: Any, error: UserError) -> JSONResponse:
            return JSONResponse({"detail": str(error)}, status_code=400)

        app = create(chat_model)
        app.add_exception_handler(UserError, bad_request)
        return app

    module.create_app = create_app


@_once
def report_user_errors(module: Any) -> None:
    """Print a user's mistake as one line instead of a traceback."""
    from earwitness.errors import UserError

    default = sys.excepthook

    def report(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if isinstance(error, UserError):
            print(f"error: {error}", file=sys.stderr)
        else:
            default(kind, error, trace)

    sys.excepthook = report


@_once
def add_grpo_stage(module: Any) -> None:
    """Run ``stage: grpo`` (``train/grpo``), which the host's dispatch does not know; Ray workers come this way too."""
    dispatch = module._training_function

    def training_function(config: dict[str, Any]) -> None:
        from earwitness.train.grpo import workflow

        (workflow.train if workflow.asks_for_grpo(config.get("args")) else dispatch)(config)

    module._training_function = training_function


@_once
def keep_expert_prompts(module: Any) -> None:
    """Keep the column ``expert_prompt`` of the host's own formats, for distillation (``train/distill/data.py``)."""
    from earwitness.train.distill.data import ExpertPrompts

    for name in ("alpaca", "sharegpt", "openai"):
        host = module.DATASET_CONVERTERS[name]
        module.DATASET_CONVERTERS[name] = type(host.__name__, (ExpertPrompts, host), {"__module__": host.__module__})


@_once
def encode_for_experts(module: Any) -> None:
    """Encode preference data for the expert as well, where there is one."""
    from earwitness.train.distill.data import ExpertReads

    host = module.PairwiseDatasetProcessor
    module.PairwiseDatasetProcessor = dataclass(
        type(host.__name__, (ExpertReads, host), {"__module__": host.__module__})
    )


@_once
def batch_for_experts(module: Any) -> None:
    """Put what the expert reads into the batches of preference data."""
    from earwitness.train.distill.data import collate_expert

    host = module.PairwiseDataCollatorWithPadding
    call = host.__call__

    def with_expert(self: Any, features: list[dict[str, Any]]) -> dict[str, Any]:
        expert = collate_expert(features)
        batch = call(self, features)
        batch.update(expert)
        return batch

    host.__call__ = with_expert


@_once
def extend_dpo_trainer(module: Any) -> None:
    """Let ``stage: dpo`` distil from a text expert (``train/distill/trainer.py``)."""
    from earwitness.train.distill.trainer import DistillsExpert

    host = module.CustomDPOTrainer
    module.CustomDPOTrainer = type(host.__name__, (DistillsExpert, host), {"__module__": host.__module__})


@_once
def load_expert_first(module: Any) -> None:
    """Load the expert's tokenizer before the data of ``stage: dpo`` (``train/distill/workflow.py``)."""
    from earwitness.train.distill.workflow import with_expert

    module.run_dpo = with_expert(module.run_dpo)


HOOKS: dict[str, Hook] = {
    "llamafactory": report_user_errors,
    "llamafactory.api.app": answer_user_errors,
    "llamafactory.data.mm_plugin": extend_mm_plugins,
    "llamafactory.data.parser": extend_dataset_attributes,
    "llamafactory.data.converter": _in_turn(register_converters, keep_expert_prompts),
    "llamafactory.data.loader": _in_turn(check_datasets_first, know_run_while_loading, encode_for_experts),
    "llamafactory.data.collator": _in_turn(drop_dummy_image, batch_for_experts),
    "llamafactory.hparams.finetuning_args": extend_finetuning_arguments,
    "llamafactory.hparams.model_args": extend_model_arguments,
    "llamafactory.model.loader": _in_turn(name_missing_models, use_exact_towers),
    "llamafactory.model.patcher": tell_processors,
    "llamafactory.train.dpo.trainer": extend_dpo_trainer,
    "llamafactory.train.sft.trainer": extend_sft_trainer,
    "llamafactory.train.tuner": _in_turn(add_grpo_stage, load_expert_first),
}
