"""The trainer of ``stage: grpo``: trl's loop with our sampling, hearing, rewards and loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import Trainer
from transformers.trainer_utils import get_last_checkpoint
from trl.trainer.utils import RepeatSampler

from earwitness.audio.plugin import family_of
from earwitness.errors import UserError
from earwitness.infer.decode import Prompt
from earwitness.rewards.monitor import EvaluatorError
from earwitness.rewards.registry import RewardSet
from earwitness.train.grpo.host_trl import GRPOTrainer, extend_arguments, gathered_weights
from earwitness.train.grpo.journal import Journal, completion_table
from earwitness.train.grpo.loss import token_losses
from earwitness.train.grpo.policy import ClipBank, Policy
from earwitness.train.grpo.questions import Questions
from earwitness.train.grpo.rollout import Batch, Progress, pad_rows, split
from earwitness.train.grpo.sampling import Sampling, forbidden_ids, sample
from earwitness.train.grpo.scoring import Scorer, Written, summary


class SpeechGrpoTrainer(GRPOTrainer):
    """trl's GRPOTrainer for prompts with clips.

    Sampling, scoring, the forward pass and the loss are ours; the loop over generations, its data loader and the
    logging of lengths are trl's.
    """

    def __init__(
        self,
        model: Any,
        reference: Any,
        args: Any,
        finetuning_args: Any,
        questions: Questions,
        rewards: RewardSet,
        tokenizer: Any,
        processor: Any,
        callbacks: list[Any] | None = None,
    ) -> None:
        """Set up.

        Args:
            model: the policy from the host's ``load_model``; with LoRA a PEFT model.
            reference: a loaded model; None for beta 0, or where disabling the adapter gives the reference.
            args: the host's training arguments; extended in place.
            finetuning_args: the host's, with our fields.
            questions: see there.
            rewards: see there.
            tokenizer: with the template's end of sequence.
            processor: with the feature extractor.
            callbacks: beyond the host's.

        Raises:
            UserError: too few prompts for one batch, or a combination that cannot be trained.
        """
        from llamafactory.train.callbacks import SaveProcessorCallback

        self.finetuning_args = finetuning_args
        self.questions = questions
        family: Any = family_of(processor)
        self.policy = Policy(_bare(model), family, processor.feature_extractor)
        self.policy.freeze_unused()
        extend_arguments(args, finetuning_args)
        if not hasattr(model, "warnings_issued"):  # gone in transformers 5, written by trl 0.24
            _bare(model).warnings_issued = {}
        super().__init__(
            model=model,
            reward_funcs=[],
            args=args,
            train_dataset=questions.train,
            eval_dataset=questions.evaluation,
            processing_class=tokenizer,
            callbacks=callbacks,
        )
        self._check_prompts()
        self.add_callback(SaveProcessorCallback(processor))
        self.beta = finetuning_args.grpo_beta
        self.ref_model = None if reference is None else self._prepare_reference(reference)
        self.reference = self.policy
        if reference is not None:
            self.reference = Policy(_bare(reference), family, processor.feature_extractor)
        self._banks = {mode: (ClipBank(), ClipBank()) for mode in ("train", "eval")}
        self._buffered_inputs: Any = None
        self._stale = False  # whether the buffer came from a checkpoint, without the embeddings of its clips
        self._sampling = self._make_sampling(tokenizer)
        self._journal = Journal(args.output_dir)
        self._scorer = Scorer(rewards, finetuning_args, self.accelerator, self._journal)

    def _check_prompts(self) -> None:
        plugin = self.accelerator.state.deepspeed_plugin
        sharded = plugin is not None and plugin.zero_stage == 3
        if sharded and self.policy.learns_to_hear and self.policy.family == "qwen3_omni":
            raise UserError(
                "freeze_vision_tower, freeze_multi_modal_projector: must be true for Qwen3-Omni under ZeRO-3 in "
                "stage: grpo, or use ZeRO-2; its tower runs clip by clip, so processes would wait for each other"
            )
        if self.questions.train is None:
            return
        prompts = self.args.generation_batch_size // self.num_generations
        if len(self.questions.train) < prompts:
            raise UserError(
                f"dataset: {len(self.questions.train)} rows, but one batch of completions takes {prompts} prompts; "
                "lower the batch size or gradient_accumulation_steps"
            )

    def _prepare_reference(self, reference: Any) -> Any:
        from trl.models.utils import prepare_deepspeed

        if self.is_deepspeed_enabled:
            return prepare_deepspeed(reference, self.accelerator)
        return self.accelerator.prepare_model(reference, evaluation_mode=True)

    def _make_sampling(self, tokenizer: Any) -> Sampling:
        arguments = self.finetuning_args
        return Sampling(
            temperature=arguments.grpo_temperature,
            top_p=arguments.grpo_top_p,
            top_k=arguments.grpo_top_k,
            max_new_tokens=arguments.grpo_max_new_tokens,
            end=tokenizer.eos_token_id,
            forbidden=forbidden_ids(tokenizer, self.policy.vocabulary),
        )

    optimizer: Any

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Create the optimizer that the host's arguments ask for (LoRA+, GaLore, Muon ...)."""
        from llamafactory.train.trainer_utils import create_custom_optimizer

        if self.optimizer is None:
            self.optimizer = create_custom_optimizer(self.model, self.args, self.finetuning_args)
        return super().create_optimizer(*args, **kwargs)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Create the scheduler that the host's arguments ask for."""
        from llamafactory.train.trainer_utils import create_custom_scheduler

        create_custom_scheduler(self.args, num_training_steps, optimizer)
        return super().create_scheduler(num_training_steps, optimizer)

    def _get_train_sampler(self, dataset: Any = None) -> Sampler:
        return _EpochSampler(self, super()._get_train_sampler(dataset))

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler:
        return RepeatSampler(eval_dataset, mini_repeat_count=self.num_generations, shuffle=False)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    @property
    def _cycle(self) -> int:
        """Micro-steps that one batch of completions serves."""
        return self.args.steps_per_generation * self.num_iterations

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:
        """Train; where the evaluator fails too often, write a checkpoint and stop.

        Raises:
            UserError: the checkpoint cannot be resumed, or the evaluator failed.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = get_last_checkpoint(self.args.output_dir)
        step = 0
        if resume_from_checkpoint:
            process, device = self.accelerator.process_index, self.accelerator.device
            progress = Progress.load(resume_from_checkpoint, process, self.accelerator.num_processes, device)
            step, self._step, self._buffered_inputs = progress.step, progress.step, progress.buffer
            self._metrics["train"].update(progress.metrics)
            self._stale = progress.buffer is not None
        if self.accelerator.is_main_process:
            updates = step // self.args.gradient_accumulation_steps
            self._journal.restart(-(-step // self._cycle), updates)
        try:
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        except EvaluatorError as error:
            self._save_checkpoint(self.model, None)
            raise UserError(
                f"{error}. Training stopped with a checkpoint at step {self.state.global_step} in "
                f"{self.args.output_dir}; the same command goes on from there"
            ) from error

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial), f"checkpoint-{self.state.global_step}")
        running = self._step % self._cycle != 0
        metrics = {name: list(values) for name, values in self._metrics["train"].items()}
        progress = Progress(self._step, self._buffered_inputs if running else None, metrics)
        progress.save(folder, self.accelerator.process_index, self.accelerator.num_processes)
        Trainer._save_checkpoint(self, model, trial)  # trl's own only adds a model card

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        if self._mode == "eval":
            return self._generate_and_score_completions(generation_batch)
        if self._step % self._cycle == 0:
            known = deepcopy(self._metrics["train"]), self.state.num_input_tokens_seen
            try:
                batch = self._generate_and_score_completions(generation_batch)
            except EvaluatorError:  # what is written then must not know of completions that taught nothing
                self._metrics["train"], self.state.num_input_tokens_seen = known
                raise
            self._buffered_inputs = split(batch, self.args.steps_per_generation)
        elif self._stale:
            with self._resting():
                self._hear("train", [row for part in self._buffered_inputs for row in part["rows"]])
        self._stale = False
        inputs: Batch = self._buffered_inputs[self._step % self.args.steps_per_generation]
        self._step += 1
        return inputs

    @contextmanager
    def _resting(self) -> Iterator[None]:
        """Evaluation mode, autocast and no gradient: how completions are sampled and scored."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), self.accelerator.autocast():
                yield
        finally:
            self.model.train(training)

    def _hear(self, mode: str, rows: Sequence[int]) -> None:
        """Run the towers once a clip of these rows; policy and reference may hear differently."""
        clips = [path for row in rows for path in self.questions.records[row].audios]
        own, other = self._banks[mode]
        learns = self.policy.learns_to_hear
        with gathered_weights(self.model_wrapped, self.accelerator) as model:
            own.fill(self.policy, clips, keep_known=not learns)
            if self.beta and self.ref_model is None and learns:
                with model.disable_adapter():
                    other.fill(self.policy, clips, keep_known=True)
        if self.ref_model is not None:
            with gathered_weights(self.ref_model, self.accelerator):
                other.fill(self.reference, clips, keep_known=True)

    def _generate_single_turn(self, prompts: list[int], images: Any) -> tuple[Any, ...]:
        mode = self._mode
        records, bank = self.questions.records, self._banks[mode][0]
        unique = list(dict.fromkeys(prompts))
        group, generation = self.num_generations, self._step // self._cycle
        first = self.accelerator.process_index * len(prompts)
        moment = generation if mode == "train" else self.state.global_step
        seeds = [
            (self.args.seed, mode == "eval", moment, row, (first + place) % group) for place, row in enumerate(prompts)
        ]
        with self._resting():
            self._hear(mode, prompts)
            encoded = [
                Prompt(self.questions.encode(row), tuple(bank[path] for path in audios), audios)
                for row in unique
                for audios in [records[row].audios]
            ]
            with gathered_weights(self.model_wrapped, self.accelerator):
                completions = sample(
                    self.policy, encoded, [unique.index(row) for row in prompts], seeds, self._sampling
                )
        ids = [encoded[unique.index(row)].ids.tolist() for row in prompts]
        return ids, completions, None, {}

    def _generate_and_score_completions(self, inputs: list[dict[str, int]]) -> Batch:
        mode, device = self._mode, self.accelerator.device
        rows = [item["prompt"] for item in inputs]
        prompt_ids, completion_ids, _, _, _ = self._generate(rows, None)
        truncated = [ids[-1] != self._sampling.end for ids in completion_ids]
        ids, mask = pad_rows(prompt_ids, self.pad_token_id, left=True, device=device)
        answers, answer_mask = pad_rows(completion_ids, self.pad_token_id, left=False, device=device)
        batch: Batch = {
            "rows": rows,
            "prompt_ids": ids,
            "prompt_mask": mask,
            "completion_ids": answers,
            "completion_mask": answer_mask,
        }
        with self._resting():
            if mode == "train" and self._cycle > self.args.gradient_accumulation_steps:
                batch["old_logps"] = self._chunked_logps(batch, mode, reference=False)
            if self.beta:
                batch["reference_logps"] = self._chunked_logps(batch, mode, reference=True)
        texts = self.processing_class.batch_decode(completion_ids, skip_special_tokens=True)
        written = Written([self.questions.records[row] for row in rows], texts, [*map(len, completion_ids)], truncated)
        moment = {"mode": mode, "step": self.state.global_step, "generation": self._step // self._cycle}
        advantages, weights, figures = self._scorer.score(written, moment)
        if mode == "train":
            for name, value in figures.items():
                self._metrics[mode][name].append(value)
        return batch | {"advantages": advantages.to(device), "weights": weights.to(device)}

    def _chunked_logps(self, batch: Batch, mode: str, reference: bool) -> torch.Tensor:
        size = self.args.per_device_train_batch_size if mode == "train" else self.args.per_device_eval_batch_size
        parts = split(batch, max(1, len(batch["rows"]) // size))
        return torch.cat([self._logps(part, mode, reference)[0] for part in parts])

    def _logps(self, batch: Batch, mode: str, reference: bool, model: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and entropies (B, T) of a batch's completions, under the policy or the reference."""
        if reference and self.ref_model is None:
            with self.accelerator.unwrap_model(self.model).disable_adapter():
                bank = self._banks[mode][1 if self.policy.learns_to_hear else 0]
                return self._get_per_token_logps_and_entropies(self.model_wrapped, batch, bank, self.policy)
        if reference:
            return self._get_per_token_logps_and_entropies(self.ref_model, batch, self._banks[mode][1], self.reference)
        return self._get_per_token_logps_and_entropies(
            model or self.model_wrapped, batch, self._banks[mode][0], self.policy
        )

    def _get_per_token_logps_and_entropies(
        self, model: Any, batch: Batch, bank: ClipBank, policy: Policy
    ) -> tuple[torch.Tensor, torch.Tensor]:
        clips = [path for row in batch["rows"] for path in self.questions.records[row].audios]

        def embeddings() -> list[torch.Tensor]:
            if not (torch.is_grad_enabled() and policy.learns_to_hear):
                return [bank[path] for path in clips]
            unique = list(dict.fromkeys(clips))
            heard = dict(zip(unique, policy.embed_clips(unique), strict=True))
            return [heard[path] for path in clips]

        return policy.token_logps(
            model,
            torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
            torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
            batch["completion_ids"].shape[1],
            embeddings,
            self.temperature,
        )

    def _compute_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        mode, arguments = self._mode, self.finetuning_args
        logps, entropies = self._logps(inputs, mode, reference=False, model=model)
        high = arguments.grpo_epsilon if arguments.grpo_epsilon_high is None else arguments.grpo_epsilon_high
        tokens = token_losses(
            logps,
            inputs.get("old_logps"),
            inputs.get("reference_logps"),
            inputs["advantages"],
            epsilon=(arguments.grpo_epsilon, high),
            beta=self.beta,
        )
        mask = inputs["completion_mask"]
        weights = inputs["weights"][:, None] * mask
        means = {"entropy": entropies, "clip_ratio/low": tokens.clipped_low, "clip_ratio/high": tokens.clipped_high}
        if tokens.kl is not None:
            means["kl"] = tokens.kl.detach()
        sums = torch.stack([(value * mask).sum().double() for value in (*means.values(), torch.ones_like(mask))])
        *totals, count = self.accelerator.gather(sums[None]).sum(0).tolist()
        for name, total in zip(means, totals, strict=True):
            self._metrics[mode][name].append(total / count)
        # DDP and DeepSpeed average gradients over processes; the weights already make up a mean over all of them.
        return (tokens.loss * weights).sum() * self.accelerator.num_processes

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate; figures over all completions, each once, are among the returned metrics."""
        self._scorer.evaluated = []
        output = super().evaluation_loop(*args, **kwargs)
        prefix = kwargs.get("metric_key_prefix", "eval")
        figures = {name: sum(values) / len(values) for name, values in self._metrics["eval"].items()}
        figures |= summary(self._scorer.evaluated)
        self._metrics["eval"].clear()
        output.metrics.update({f"{prefix}_{name}": value for name, value in figures.items()})
        return output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, and print the table of completions."""
        super().log(logs, start_time)
        shown = self._scorer.latest[: self.finetuning_args.grpo_log_completions]
        if "loss" in logs and shown and self.accelerator.is_main_process:
            print(completion_table(shown), flush=True)


class _EpochSampler(Sampler):
    """Shuffles by the epoch that training is in, so that a resumed run sees the rows that the first one would have."""

    def __init__(self, trainer: Any, sampler: RepeatSampler) -> None:
        self._trainer, self._sampler = trainer, sampler

    def __iter__(self) -> Iterator[int]:
        if self._sampler.shuffle:
            epoch = int((self._trainer.state.epoch or 0.0) + 1e-6)
            self._sampler.generator.manual_seed(self._trainer.args.seed + epoch)
        return iter(self._sampler)

    def __len__(self) -> int:
        return len(self._sampler)


def _bare(model: Any) -> Any:
    """The network under PEFT."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
