"""GRPO on a tiny judge in one process: what it samples, hears, learns from, writes and resumes."""

from __future__ import annotations

import math
import re
from collections import Counter

import pytest
import torch
import yaml
from conftest import REPOSITORY
from grpo_runs import LEARNS_TO_HEAR, journal, make, run, settings, steps
from openai_server import Hangup, OpenAIServer

from earwitness.errors import UserError
from earwitness.train.grpo import workflow


@pytest.fixture
def base(tiny_models, pair_data, tmp_path):
    return lambda **changes: settings(tiny_models["qwen2_5_omni"], pair_data, tmp_path, **changes)


def test_prompts_are_those_of_sft(base, tiny_models):
    """The supervised processor's ids up to the first label are the prompt's ids here, one and two clips alike."""
    from llamafactory.data.loader import SupervisedDatasetProcessor

    trainer = make(base(dataset="pairs,clips", reward_funcs=["format"]))
    questions = trainer.questions
    encoder = questions.encoder
    supervised = SupervisedDatasetProcessor(
        template=encoder.template, tokenizer=encoder.tokenizer, processor=encoder.processor, data_args=encoder.data_args
    )
    assert {len(record.audios) for record in questions.records} == {1, 2}
    for index, record in enumerate(questions.records):
        ids, labels = supervised._encode_data_example(
            prompt=[{"role": "user", "content": record.prompt}],
            response=[{"role": "assistant", "content": record.response}],
            system="",
            tools="",
            images=[],
            videos=[],
            audios=list(record.audios),
        )
        start = next(place for place, label in enumerate(labels) if label != -100)
        assert questions.encode(index).tolist() == ids[:start]


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_divergence_is_zero_at_the_first_step_and_not_later(base, tuning):
    """Clips of 0.4 to 1.1 s: any difference between the two forward passes would show."""
    trainer = run(base(grpo_beta=0.1, finetuning_type=tuning, lora_target="q_proj,v_proj", learning_rate=1e-2))
    first, second = steps(trainer)
    assert abs(first["kl"]) < 1e-9
    assert second["kl"] > 1e-6
    assert first["grad_norm"] > 0
    assert first["reward_std"] > 0


def test_tower_runs_once_for_each_clip_of_a_batch_of_completions(base, monkeypatch):
    trainer = make(base(grpo_beta=0.1, grpo_num_iterations=2, gradient_accumulation_steps=1, max_steps=2))
    heard = []
    embed = trainer.policy.embed_clips
    monkeypatch.setattr(trainer.policy, "embed_clips", lambda paths: heard.extend(paths) or embed(paths))
    trainer.train()
    rows = [row for row in journal(trainer.args.output_dir) if row["mode"] == "train"]
    assert len(rows) == 4  # one prompt, four completions, two passes over them
    records = {record.id: record for record in trainer.questions.records}
    assert Counter(heard) == Counter(path for id_ in {row["id"] for row in rows} for path in records[id_].audios)


def test_two_passes_over_a_batch_move_away_from_the_policy_that_sampled(base):
    trainer = run(base(grpo_num_iterations=2, grpo_epsilon=0.001, learning_rate=1e-2, max_steps=4))
    clipped = [row["clip_ratio/low"] + row["clip_ratio/high"] for row in steps(trainer)]
    assert clipped[0] == clipped[2] == 0
    assert clipped[1] > 0
    assert clipped[3] > 0
    assert {row["generation"] for row in journal(trainer.args.output_dir)} == {0, 1}


def test_completions_without_a_reward_are_left_out(base, tmp_path):
    trainer = run(base(reward_funcs=[f"{tmp_path / 'reward.py'}:some"], max_steps=3))
    rows = journal(trainer.args.output_dir)
    missing = [row for row in rows if row["reward"] is None]
    assert 0 < len(missing) < len(rows)
    assert all(row["advantage"] is None and re.search("some: no value", row["unscored"]) for row in missing)
    for first in range(0, len(rows), 4):
        group = [row for row in rows[first : first + 4] if row["reward"] is not None]
        assert sum(row["advantage"] for row in group) == pytest.approx(0, abs=1e-5)
    logged = steps(trainer)[0]
    batch = rows[:8]
    known = [row["reward"] for row in batch if row["reward"] is not None]
    assert logged["reward"] == pytest.approx(sum(known) / len(known))
    assert logged["unscored"] == pytest.approx(1 - len(known) / 8)


def test_a_batch_without_any_reward_changes_nothing(base, tmp_path):
    nothing = tmp_path / "nothing.py"
    nothing.write_text("def nothing(prompts, completions, records, **columns):\n    return [None] * len(prompts)\n")
    trainer = make(base(reward_funcs=[f"{nothing}:nothing"], grpo_beta=0.5, max_steps=1))
    before = {name: parameter.clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    assert steps(trainer)[0]["loss"] == 0
    assert all(torch.equal(before[name], parameter) for name, parameter in trainer.model.named_parameters())


@pytest.mark.parametrize("tower", ["frozen", "trained"])
def test_loss_is_the_same_however_the_batch_is_cut(base, tmp_path, tower):
    """Micro-batches of 8, 4 and 2 completions of different lengths: equal gradient norms."""
    norms = []
    for size in (8, 4, 2):
        folder = tmp_path / str(size)
        folder.mkdir()
        trainer = run(
            base(
                output_dir=str(folder),
                per_device_train_batch_size=size,
                gradient_accumulation_steps=8 // size,
                max_steps=1,
                grpo_loss_type="grpo",
                **(LEARNS_TO_HEAR if tower == "trained" else {}),
            )
        )
        assert trainer.policy.learns_to_hear == (tower == "trained")
        norms.append(steps(trainer)[0]["grad_norm"])
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-4)


@pytest.mark.slow
def test_the_reward_rises(base):
    """From random weights the policy learns to write letters."""
    batch = {"per_device_train_batch_size": 32, "gradient_accumulation_steps": 1, "grpo_num_generations": 8}
    trainer = run(base(max_steps=30, learning_rate=2e-3, lr_scheduler_type="constant", **batch))
    rewards = [row["reward"] for row in steps(trainer)]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.2


@pytest.mark.parametrize("at", [2, 3])
def test_a_resumed_run_is_the_run(base, tmp_path, at):
    """Stopped between two batches of completions (2) and within one (3), in the second epoch: nothing differs."""
    changes = {
        "max_steps": 6,
        "grpo_beta": 0.1,
        "grpo_num_iterations": 2,
        "gradient_accumulation_steps": 1,
        "per_device_train_batch_size": 16,
        "save_strategy": "steps",
        "save_steps": at,
    }
    whole = run(base(output_dir=str(tmp_path / "whole"), **changes))
    stopped = make(base(output_dir=str(tmp_path / "parts"), **changes))
    stopped.add_callback(_StopAt(at))
    stopped.train()
    resumed = run(base(output_dir=str(tmp_path / "parts"), **changes))
    assert resumed.args.resume_from_checkpoint.endswith(f"checkpoint-{at}")
    assert steps(resumed) == steps(whole)
    assert journal(tmp_path / "parts") == journal(tmp_path / "whole")
    weights = whole.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in resumed.model.state_dict().items())


def test_evaluation_counts_every_completion_once_and_disturbs_nothing(base, tmp_path):
    changes = {"max_steps": 2, "grpo_num_iterations": 2}
    plain = run(base(output_dir=str(tmp_path / "plain"), **changes))
    evaluation = {"eval_dataset": "clips", "eval_strategy": "steps", "eval_steps": 1}
    best = {"metric_for_best_model": "eval_reward", "load_best_model_at_end": True}
    saving = {"save_strategy": "steps", "save_steps": 1}
    evaluated = run(base(output_dir=str(tmp_path / "eval"), **changes, **evaluation, **best, **saving))
    assert steps(evaluated) == steps(plain)
    rows = [row for row in journal(tmp_path / "eval") if row["mode"] == "eval" and row["step"] == 1]
    assert Counter(row["id"] for row in rows) == {f"clip{index}": 4 for index in range(8)}
    logged = [row for row in evaluated.state.log_history if "eval_reward" in row]
    assert logged[0]["eval_reward"] == pytest.approx(sum(row["reward"] for row in rows) / len(rows))
    assert [name for name in logged[0] if name.startswith("eval_rewards/")]
    assert evaluated.state.best_metric == max(row["eval_reward"] for row in logged)


def test_adapter_on_top_of_an_sft_adapter_is_right_or_refused(base, tmp_path):
    from peft import PeftModel

    first = run(base(finetuning_type="lora", lora_target="q_proj,v_proj", learning_rate=5e-2))
    first.save_model(str(tmp_path / "sft"))
    changes = {
        "finetuning_type": "lora",
        "lora_target": "q_proj,v_proj",
        "adapter_name_or_path": str(tmp_path / "sft"),
        "output_dir": str(tmp_path / "second"),
        "max_steps": 1,
    }
    with pytest.raises(UserError, match="create_new_adapter"):
        make(base(grpo_beta=0.1, **changes))
    for way in (
        {"create_new_adapter": True},
        {"ref_model": base()["model_name_or_path"], "ref_model_adapters": str(tmp_path / "sft")},
    ):
        trainer = run(base(grpo_beta=0.1, **changes, **way))
        assert abs(steps(trainer)[0]["kl"]) < 1e-9
        assert isinstance(trainer.model, PeftModel)
    assert math.isfinite(steps(run(base(**changes)))[0]["loss"])


def test_an_evaluator_that_dies_leaves_a_checkpoint_to_go_on_from(base, tmp_path, pair_data):
    """Grades are a function of the answer, so the resumed run must equal one that was never disturbed."""
    import hashlib
    import json

    info = json.loads((pair_data / "dataset_info.json").read_text())
    info["pairs"]["file_name"] = str(pair_data / "pairs.jsonl")
    info["pairs"]["judge"]["chain_of_thought"] = False
    info["pairs"]["columns"].pop("thinking", None)
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))

    def grade(body):
        return str(hashlib.sha256(body["messages"][-1]["content"].encode()).digest()[0] % 11)

    with OpenAIServer(grade) as server:
        evaluator = {"base_url": server.url, "model": "m", "attempts": 1, "reasks": 0, "failure_rate": 0.3}
        changes = {
            "dataset_dir": str(tmp_path),
            "media_dir": str(pair_data),
            "max_steps": 4,
            "reward_funcs": ["accuracy"],
            "evaluator": evaluator,
            "gradient_accumulation_steps": 4,
        }
        whole = run(base(output_dir=str(tmp_path / "whole"), **changes))
        asked = len(server.requests)

    def dying(body):
        if len(server.requests) > asked // 2:  # two of the four steps are graded
            server.stop()
            return Hangup()  # as this request may be answered before the server's loop comes to stop
        return grade(body)

    with OpenAIServer(dying, port=server.port) as server:
        with pytest.raises(UserError, match=r"connection.* Training stopped with a checkpoint at step 2 "):
            run(base(output_dir=str(tmp_path / "parts"), **changes))
        written = journal(tmp_path / "parts")
    with OpenAIServer(grade, port=server.port):
        resumed = run(base(output_dir=str(tmp_path / "parts"), **changes))
    assert all(row["reward"] is not None for row in written)
    assert resumed.args.resume_from_checkpoint.endswith("checkpoint-2")
    assert steps(resumed) == steps(whole)
    assert journal(tmp_path / "parts") == journal(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": "gpro"}, r"stage: 'gpro' is unknown; allowed: pt, sft, rm, ppo, dpo, kto, grpo"),
        ({"stage": "sft"}, r"reward_funcs: is for stage: grpo, but stage is sft"),
        ({"grpo_num_generations": 1}, r"grpo_num_generations: 1 is not allowed; give a whole number of at least 2"),
        ({"grpo_num_generations": 3}, r"8 completions are sampled together .* not a multiple of 3"),
        ({"grpo_temperature": 0}, r"grpo_temperature: 0 is not allowed; give a number from 0.01 to 100"),
        ({"grpo_loss_type": "ppo"}, r"grpo_loss_type: 'ppo' is unknown; allowed: grpo, dapo, dr_grpo"),
        ({"temperature": 1.0}, r"temperature: is for inference; .* sampled by grpo_temperature"),
        ({"reward_funcs": ["verdict"]}, r"reward_funcs: 'verdict' is unknown; allowed: verdict_correct"),
        ({"reward_funcs": []}, r"reward_funcs: is empty; name at least one of"),
        ({"reward_funcs": ["accuracy"]}, r"'accuracy' is graded by an LLM; declare it under 'evaluator'"),
        ({"reward_options": "{"}, r"reward_options: is not JSON"),
        ({"streaming": True}, r"streaming: cannot be used with stage: grpo"),
        ({"finetuning_type": "lora", "lora_dropout": 0.1}, r"lora_dropout: cannot be used .* set it to 0"),
        ({"ref_model": "x"}, r"ref_model: is used only where grpo_beta is above 0"),
        ({"cutoff_len": 64}, r"dataset 'pairs', row 1: .*clip0.wav.* cutoff_len allows 64"),
        ({"per_device_train_batch_size": 64}, r"dataset: 8 rows, but one batch of completions takes 32 prompts"),
        (
            {"eval_strategy": "steps", "val_size": 0.5, "per_device_eval_batch_size": 3},
            r"per_device_eval_batch_size: 3",
        ),
    ],
)
def test_mistakes_are_named(base, changes, message):
    with pytest.raises(UserError, match=message):
        make(base(**changes))


def test_sampling_by_vllm_is_refused_with_the_reason(base):
    with pytest.raises(UserError, match=r"infer_backend: vllm cannot sample .* no audio"):
        workflow.train({"args": base(infer_backend="vllm")})


def test_reward_curves_are_drawn(base, tmp_path):
    """The whole stage, as ``llamafactory-cli train`` calls it."""
    workflow.train({"args": base(plot_loss=True, grpo_beta=0.1, reward_funcs=["format"], val_size=0.5, do_eval=True)})
    names = {"loss", "reward", "rewards_format", "kl", "entropy"}
    assert {f"training_{name}.png" for name in names} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert "eval_reward" in (tmp_path / "out" / "eval_results.json").read_text()


def test_the_example_runs(base, pair_data, tmp_path):
    """``examples/judge/tiny_grpo.yaml`` as it stands, on a model and data of the test, for two steps; the table too."""
    example = yaml.safe_load((REPOSITORY / "examples" / "judge" / "tiny_grpo.yaml").read_text())
    places = ("model_name_or_path", "dataset_dir", "output_dir")
    example |= {name: base()[name] for name in places} | {"dataset": "pairs", "eval_dataset": "pairs"}
    example |= {"media_dir": str(pair_data), "max_steps": 1, "logging_steps": 1, "grpo_max_new_tokens": 6}
    example["per_device_train_batch_size"] = 64
    trainer = run(example)
    assert set(journal(example["output_dir"])[0]["rewards"]) == set(example["reward_funcs"])
    assert steps(trainer)[0]["completions/max_length"] <= 6


@pytest.mark.parametrize(("family", "template"), [("qwen2_audio", "qwen2_audio"), ("qwen3_omni", "qwen3_omni_nothink")])
def test_other_families_start_at_their_reference_too(base, tiny_models, family, template):
    changes = {**LEARNS_TO_HEAR, "grpo_beta": 0.1, "max_steps": 1}
    trainer = run(base(model_name_or_path=str(tiny_models[family]), template=template, **changes))
    assert trainer.policy.learns_to_hear
    assert abs(steps(trainer)[0]["kl"]) < 1e-9
    assert steps(trainer)[0]["grad_norm"] > 0


def test_mixed_precision(base):
    """bfloat16 by autocast; sampling, reference and loss go through it too."""
    trainer = run(base(bf16=True, use_cpu=True, grpo_beta=0.1, **LEARNS_TO_HEAR))
    assert trainer.policy.learns_to_hear
    first, second = steps(trainer)
    assert abs(first["kl"]) < 1e-2
    assert math.isfinite(second["loss"])
    assert second["grad_norm"] > 0


class _StopAt:
    def __new__(cls, step: int):
        from transformers import TrainerCallback

        class Stop(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                control.should_training_stop = state.global_step >= step

        return Stop()
