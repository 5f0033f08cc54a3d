"""``stage: grpo`` of ``llamafactory-cli train``: from the parsed arguments to a trained judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from earwitness.errors import UserError


def asks_for_grpo(arguments: Any) -> bool:
    """Tell from raw arguments (a mapping, or a command line) whether the stage is grpo."""
    return _raw(arguments, "stage") == "grpo"


def train(config: dict[str, Any]) -> None:
    """Run the stage: what the host's ``_training_function`` does for its own.

    Args:
        config: raw arguments under ``args``, callbacks under ``callbacks``.

    Raises:
        UserError: an argument is wrong or cannot be honoured here.
    """
    import torch.distributed
    from llamafactory.hparams import get_train_args
    from llamafactory.train import callbacks as host_callbacks
    from llamafactory.train.trainer_utils import get_swanlab_callback
    from transformers import EarlyStoppingCallback

    engine = _raw(config["args"], "infer_backend")
    if engine not in (None, "huggingface"):
        raise UserError(
            f"infer_backend: {engine} cannot sample for stage: grpo. trl 0.24 hands vLLM texts and images but no "
            "audio, so completions would come from prompts without clips; remove it"
        )
    model_args, data_args, training_args, finetuning_args, generating_args = get_train_args(config["args"])
    check_arguments(model_args, training_args, finetuning_args, generating_args)
    _meet_other_processes(training_args)
    callbacks = [*(config.get("callbacks") or []), host_callbacks.LogCallback()]
    if finetuning_args.use_swanlab:
        callbacks.append(get_swanlab_callback(finetuning_args))
    if finetuning_args.early_stopping_steps is not None:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=finetuning_args.early_stopping_steps))
    if training_args.enable_torch_profiler:
        callbacks.append(host_callbacks.TorchProfilerCallback(training_args))
    callbacks.append(host_callbacks.ReporterCallback(model_args, data_args, finetuning_args, generating_args))
    run_grpo(model_args, data_args, training_args, finetuning_args, callbacks)
    if torch.distributed.is_initialized() and not _in_ray():
        torch.distributed.destroy_process_group()


def run_grpo(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, callbacks: list[Any]) -> None:
    """Train, evaluate and plot, as the host's workflows do."""
    from llamafactory.extras.ploting import plot_loss
    from llamafactory.train.trainer_utils import create_modelcard_and_push

    trainer = make_trainer(model_args, data_args, training_args, finetuning_args, callbacks)
    if training_args.do_train:
        result = trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        trainer.log_metrics("train", result.metrics)
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()
        if trainer.is_world_process_zero() and finetuning_args.plot_loss:
            plot_loss(training_args.output_dir, keys=_curves(trainer.state.log_history))
    if training_args.do_eval:
        metrics = trainer.evaluate(metric_key_prefix="eval")
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
    create_modelcard_and_push(trainer, model_args, data_args, training_args, finetuning_args)


def make_trainer(
    model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, callbacks: list[Any] | None = None
) -> Any:
    """Load rewards, data and models; everything a user can get wrong is checked before the models are loaded.

    Returns: a ``SpeechGrpoTrainer``.

    Raises:
        UserError: rewards, data or reference do not fit.
    """
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.model import load_model, load_tokenizer

    from earwitness.rewards.registry import load_rewards
    from earwitness.train.grpo.questions import load_questions
    from earwitness.train.grpo.reference import create_reference

    rewards = load_rewards(
        finetuning_args.reward_funcs or (),
        finetuning_args.reward_weights,
        finetuning_args.reward_options,
        finetuning_args.evaluator,
    )
    modules = load_tokenizer(model_args)
    tokenizer, processor = modules["tokenizer"], modules["processor"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    questions = load_questions(data_args, training_args, template, tokenizer, processor, rewards)
    reference = create_reference(model_args, finetuning_args)
    model = load_model(tokenizer, model_args, finetuning_args, training_args.do_train)

    from earwitness.train.grpo.trainer import SpeechGrpoTrainer

    return SpeechGrpoTrainer(
        model=model,
        reference=reference,
        args=training_args,
        finetuning_args=finetuning_args,
        questions=questions,
        rewards=rewards,
        tokenizer=tokenizer,
        processor=processor,
        callbacks=callbacks,
    )


def check_arguments(model_args: Any, training_args: Any, finetuning_args: Any, generating_args: Any) -> None:
    """Refuse what would not be honoured, or would make the numbers wrong.

    Raises:
        UserError: names the option, why, and what to do.
    """
    own = {"temperature": "grpo_temperature", "top_p": "grpo_top_p", "top_k": "grpo_top_k"}
    own |= {"max_new_tokens": "grpo_max_new_tokens"}
    defaults = type(generating_args)()
    for name, ours in own.items():
        if getattr(generating_args, name) != getattr(defaults, name):
            raise UserError(f"{name}: is for inference; completions of stage: grpo are sampled by {ours}")
    dropout = "the policy must be the one that sampled"
    reasons = {
        "lora_dropout": (finetuning_args.lora_dropout > 0, f"{dropout}; set it to 0"),
        "neftune_noise_alpha": (bool(training_args.neftune_noise_alpha), f"{dropout}; remove it"),
        "pissa_init": (finetuning_args.pissa_init, "the model without its adapter would not be the one given"),
        "use_badam": (finetuning_args.use_badam, "not tested with on-policy sampling"),
        "use_unsloth": (model_args.use_unsloth, "it replaces the forward pass that clips go through"),
        "use_kt": (model_args.use_kt, "it replaces the forward pass that clips go through"),
        "fsdp": (bool(training_args.fsdp), "parameters are not gathered for sampling; use DeepSpeed ZeRO-2 or 3"),
        "auto_find_batch_size": (training_args.auto_find_batch_size, "it would break up groups"),
        "ignore_data_skip": (training_args.ignore_data_skip, "it would repeat rows after a resume"),
        "do_predict": (training_args.do_predict, "judge with 'earwitness infer'"),
    }
    for name, (used, reason) in reasons.items():
        if used:
            raise UserError(f"{name}: cannot be used with stage: grpo: {reason}")
    _check_batches(training_args, finetuning_args)


def _check_batches(training_args: Any, finetuning_args: Any) -> None:
    group, processes = finetuning_args.grpo_num_generations, training_args.world_size
    batch = training_args.per_device_train_batch_size * processes * training_args.gradient_accumulation_steps
    batch *= finetuning_args.grpo_updates_per_generation
    if training_args.do_train and batch % group:
        raise UserError(
            f"grpo_num_generations: {batch} completions are sampled together (per_device_train_batch_size x processes "
            f"x gradient_accumulation_steps x grpo_updates_per_generation), not a multiple of {group}"
        )
    evaluation = training_args.per_device_eval_batch_size * processes
    if (training_args.do_eval or training_args.eval_strategy != "no") and evaluation % group:
        raise UserError(
            f"per_device_eval_batch_size: {evaluation} completions over {processes} processes are not a multiple of "
            f"grpo_num_generations ({group})"
        )


def _curves(history: list[dict[str, Any]]) -> list[str]:
    """Name the curves to draw: loss, rewards and divergence, in training and in evaluation."""
    names = list(dict.fromkeys(name for row in history for name in row))
    wanted = ("loss", "reward", "kl", "entropy", "completions/mean_length")
    return [
        name
        for name in names
        if name in wanted or name.startswith("rewards/") or (name.startswith("eval_") and "reward" in name)
    ]


def _meet_other_processes(training_args: Any) -> None:
    """Let DeepSpeed know of the other processes on a CPU too: ZeRO-3 shares out weights while they are loaded."""
    if training_args.deepspeed and training_args.device.type == "cpu":
        import deepspeed

        deepspeed.init_distributed(dist_backend="gloo")


def _raw(arguments: Any, name: str) -> Any:
    if isinstance(arguments, Mapping):
        return arguments.get(name)
    for position, argument in enumerate(arguments or []):
        if argument == f"--{name}" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"--{name}="):
            return argument.partition("=")[2]
    return None


def _in_ray() -> bool:
    from llamafactory.extras.packages import is_ray_available

    if not is_ray_available():
        return False
    import ray

    return bool(ray.is_initialized())
