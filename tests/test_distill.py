"""Distillation from a text expert: what it reads, the losses by hand, the plain command line."""

from __future__ import annotations

import json
import math

import pytest
import torch
import transformers
from distill_runs import Trainers, settings, write_preferences
from tiny_text_model import build as build_foreign

from earwitness.errors import UserError
from earwitness.tiny_text import build_tiny_text
from earwitness.train.distill.expert import IGNORE, Expert, shared_ids
from earwitness.train.distill.loss import ResponseTokens, token_divergence


@pytest.fixture(scope="module")
def expert(tiny_models, tmp_path_factory):
    return build_tiny_text(tmp_path_factory.mktemp("expert") / "expert", tiny_models["qwen2_5_omni"], seed=1)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """An expert with another vocabulary."""
    return build_foreign(tmp_path_factory.mktemp("foreign") / "expert")


@pytest.fixture(scope="module")
def preferences(pair_data, tmp_path_factory):
    return write_preferences(tmp_path_factory.mktemp("preferences"), pair_data, expert_prompt="facts")


@pytest.fixture
def base(tiny_models, expert, preferences, tmp_path):
    return lambda **changes: settings(tiny_models["qwen2_5_omni"], expert, preferences, tmp_path, **changes)


@pytest.fixture
def trainers(monkeypatch):
    return Trainers(monkeypatch)


def one_by_one(model, ids: list[int], labels: list[int], **inputs) -> torch.Tensor:
    """The summed log-probability of one response, token after token, in float64."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), **inputs).logits[0].double().log_softmax(-1)
    places = [place for place, label in enumerate(labels) if label != IGNORE]
    return sum(logits[place - 1, labels[place]] for place in places)


def test_loss_is_dpo_between_hearing_judge_and_reading_expert(base, trainers, expert):
    """Batched, padded and with the head on response tokens only, against one sequence at a time."""
    trainer = trainers.run(base(learning_rate=0.0, max_steps=1, pref_beta=0.3))
    features = [trainer.train_dataset[index] for index in range(4)]
    reading = transformers.AutoModelForCausalLM.from_pretrained(expert)
    tokenizer = transformers.AutoTokenizer.from_pretrained(expert)
    trainer.model.eval()
    losses, margins = [], []
    for feature in features:
        ratios = []
        for side in ("chosen", "rejected"):
            ids = feature[f"expert_{side}_input_ids"]
            text = tokenizer.decode(ids)
            assert "mos" in text
            assert "<|AUDIO|>" not in text
            assert "audio_bos" not in text
            theirs = one_by_one(reading, ids, feature[f"expert_{side}_labels"])
            alone = trainer.data_collator([dict(feature)])
            row = ("chosen", "rejected").index(side)
            clips = len(alone["input_features"]) // 2
            heard = {
                "input_features": alone["input_features"][:clips],
                "feature_attention_mask": alone["feature_attention_mask"][:clips],
            }
            mine = one_by_one(trainer.model, feature[f"{side}_input_ids"], feature[f"{side}_labels"], **heard)
            assert alone["input_ids"][row].tolist()[: len(feature[f"{side}_input_ids"])] == feature[f"{side}_input_ids"]
            ratios.append(mine - theirs)
        margin = 0.3 * (ratios[0] - ratios[1])
        margins.append(margin.item())
        losses.append(math.log1p(math.exp(-margin.item())))
    logged = trainer.state.log_history[0]
    assert logged["loss"] == pytest.approx(sum(losses) / 4, abs=1e-4)
    assert logged["rewards/margins"] == pytest.approx(sum(margins) / 4, abs=1e-4)


def test_divergence_by_hand():
    """Two tokens over three ids, of which the expert shares two."""
    judge = torch.tensor([[0.0, math.log(2), math.log(5)], [0.0, 0.0, 0.0]], requires_grad=True)
    expert = torch.tensor([[math.log(3), 0.0, 7.0], [0.0, 0.0, -4.0]])
    targets, rows = torch.tensor([0, 1]), torch.tensor([0, 1])
    found = token_divergence(
        ResponseTokens(judge, targets, rows, 2), ResponseTokens(expert, targets, rows, 2), shared=2
    )
    first = 0.75 * math.log(0.75 / (1 / 8)) + 0.25 * math.log(0.25 / (2 / 8))
    assert found.tolist() == pytest.approx([first, math.log(0.5 / (1 / 3))], abs=1e-6)
    found.sum().backward()
    assert judge.grad[0].tolist() == pytest.approx([1 / 8 - 0.75, 2 / 8 - 0.25, 5 / 8], abs=1e-6)


def test_divergence_wants_the_same_tokens():
    tokens = ResponseTokens(torch.zeros(2, 3), torch.tensor([0, 1]), torch.tensor([0, 0]), 1)
    other = ResponseTokens(torch.zeros(2, 3), torch.tensor([0, 2]), torch.tensor([0, 0]), 1)
    with pytest.raises(RuntimeError, match="differ"):
        token_divergence(tokens, other, 3)


def test_log_probabilities_by_hand():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0], [math.log(9), 0.0]])
    tokens = ResponseTokens(logits, torch.tensor([1, 0, 0]), torch.tensor([0, 1, 1]), 3)
    assert tokens.logps().exp().tolist() == pytest.approx([0.75, 0.45, 1.0])
    assert tokens.lengths().tolist() == [1, 2, 0]


@pytest.mark.parametrize("loss", ["dpo", "kl"])
def test_judge_moves_towards_the_expert(base, trainers, loss):
    trainer = trainers.run(base(distill_loss=loss, max_steps=15, learning_rate=3e-3))
    log = [row for row in trainer.state.log_history if "loss" in row]
    assert log[-1]["loss"] < log[0]["loss"]
    if loss == "kl":
        assert log[0]["loss"] == pytest.approx(log[0]["kl"], abs=1e-4)
        assert log[-1]["kl"] < 0.9 * log[0]["kl"]
    else:
        assert log[-1]["rewards/margins"] > log[0]["rewards/margins"]


def test_lora_keeps_expert_and_evaluation_reports_margin_and_divergence(base, trainers):
    trainer = trainers.run(
        base(
            finetuning_type="lora",
            lora_target="q_proj,v_proj",
            val_size=0.5,
            eval_strategy="steps",
            eval_steps=1,
            pref_ftx=0.1,
            preprocessing_num_workers=2,
        )
    )
    evaluated = [row for row in trainer.state.log_history if "eval_loss" in row]
    assert len(evaluated) == 3  # after each step, and at the end
    assert {"eval_kl", "eval_rewards/margins", "eval_rewards/accuracies"} <= set(evaluated[0])
    assert all(parameter.grad is None for parameter in trainer.ref_model.parameters())


def test_expert_with_its_own_vocabulary_compares_whole_responses(base, trainers, foreign, tmp_path):
    trainer = trainers.run(base(expert_model=str(foreign), expert_template="qwen", max_steps=1))
    log = trainer.state.log_history[0]
    assert "kl" not in log
    assert math.isfinite(log["loss"])
    with pytest.raises(UserError, match="distill_loss: kl compares next tokens"):
        trainers.run(base(expert_model=str(foreign), distill_loss="kl", output_dir=str(tmp_path / "kl")))


def test_without_a_declared_prompt_the_expert_reads_the_question_without_clips(
    tiny_models, expert, pair_data, tmp_path, trainers
):
    data = write_preferences(tmp_path / "plain", pair_data)
    trainer = trainers.run(settings(tiny_models["qwen2_5_omni"], expert, data, tmp_path, max_steps=1))
    tokenizer = transformers.AutoTokenizer.from_pretrained(expert)
    text = tokenizer.decode(trainer.train_dataset[0]["expert_chosen_input_ids"])
    assert "A: \nB: \nCompare." in text


def test_preference_data_still_train_without_an_expert(base, trainers):
    changes = base(max_steps=1)
    del changes["expert_model"]
    trainer = trainers.run(changes)
    assert "expert_chosen_input_ids" not in trainer.train_dataset[0]
    assert trainer.state.log_history[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)


def test_template_that_ends_a_response_otherwise_is_refused(base, trainers):
    with pytest.raises(UserError, match=r"clip0\.wav.*share a vocabulary.*expert_template"):
        trainers.run(base(expert_template="llama3"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": "sft"}, "expert_model: is for stage: dpo, but stage is sft"),
        ({"distill_loss": "mse"}, "distill_loss: 'mse' is unknown; allowed: dpo, kl"),
        ({"expert_model": None, "distill_loss": "kl"}, "distill_loss: is for distillation"),
        ({"expert_model": None, "expert_template": "qwen"}, "expert_template: is for distillation"),
        ({"pref_loss": "orpo"}, "pref_loss: orpo cannot be used"),
        ({"ref_model": "other"}, "ref_model: the expert is the reference"),
        ({"distill_loss": "kl", "dpo_label_smoothing": 0.1}, "dpo_label_smoothing: cannot be used"),
        ({"pref_bco_weight": 0.5}, "pref_bco_weight: cannot be used"),
        ({"expert_template": "nobody"}, "expert_template: 'nobody' is unknown"),
    ],
)
def test_mistakes_are_named(base, trainers, changes, message):
    with pytest.raises(UserError, match=message):
        trainers.run(base(**changes))


def test_rows_that_do_not_fit_are_named(tiny_models, expert, pair_data, tmp_path, trainers):
    data = write_preferences(tmp_path / "bad", pair_data, expert_prompt="prompt")
    with pytest.raises(UserError, match=r"row about .*clip0\.wav.*the expert hears no clips"):
        trainers.run(settings(tiny_models["qwen2_5_omni"], expert, data, tmp_path))
    data = write_preferences(tmp_path / "absent", pair_data, expert_prompt="nothing")
    with pytest.raises(UserError, match=r"'nothing' .expert_prompt. must hold text"):
        trainers.run(settings(tiny_models["qwen2_5_omni"], expert, data, tmp_path))
    data = write_preferences(tmp_path / "long", pair_data, expert_prompt="long")
    rows = [json.loads(line) | {"long": "word " * 600} for line in (data / "rows.jsonl").open()]
    (data / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match="the expert's prompt and response take"):
        trainers.run(settings(tiny_models["qwen2_5_omni"], expert, data, tmp_path))


def test_vocabularies_are_compared(tiny_models, expert, foreign):
    load = transformers.AutoTokenizer.from_pretrained
    judge = load(tiny_models["qwen2_5_omni"])
    assert shared_ids(judge, load(expert)) == len(judge)
    assert shared_ids(judge, load(foreign)) is None
    without = load(expert)
    without.add_special_tokens({"additional_special_tokens": ["<|new|>"]})
    assert shared_ids(judge, without) == len(judge)
    assert Expert(without, None, judge, 10).shared == len(judge)
