"""The loss of SQ-LLM's equation 1: values computed by hand, the host's trainer, two processes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import transformers
from sft_settings import sft_settings
from test_grpo_processes import cli
from transformers.loss.loss_utils import ForCausalLMLoss

from earwitness.errors import UserError
from earwitness.train.sft.weighted import ANSWER, IGNORE, NAMELESS, ThoughtReader, weighted_loss

THOUGHT = "<think>\nNoise: 7 vs 2\nboth are speech\nLoudness: 1 vs 0\nNoise: 3\n</think>\n\n<answer>\n2\n</answer>"


@pytest.fixture(scope="module")
def tokenizer(tiny_models):
    return transformers.AutoTokenizer.from_pretrained(tiny_models["qwen2_5_omni"])


@pytest.fixture(scope="module")
def read(tokenizer):
    return ThoughtReader(tokenizer)


def supervised(tokenizer, prompt: str, response: str) -> torch.Tensor:
    prompt_ids = tokenizer.encode(prompt)
    return torch.tensor([[IGNORE] * len(prompt_ids) + tokenizer.encode(response)])


def test_lines_of_the_thought_are_its_dimensions(tokenizer, read):
    labels = supervised(tokenizer, "Which is better? <think>not: this</think>", THOUGHT)
    parts, names = read(labels)
    assert names == ["noise", "loudness"]
    texts = [tokenizer.decode(labels[parts == number]).strip() for number in range(NAMELESS, len(names) + 2)]
    assert texts == ["both are speech", "Noise: 7 vs 2\nNoise: 3", "Loudness: 1 vs 0"]
    assert tokenizer.decode(labels[(parts != ANSWER)]).strip() == THOUGHT[8:].partition("\n</think>")[0]


def test_every_packed_row_is_read(tokenizer, read):
    one, two = (
        supervised(tokenizer, "prompt", response)
        for response in ("<think>\nNoise: 7\n</think>\n1", "<think>\nNoise: 2\n</think>\n2")
    )
    packed = torch.cat([one, two], dim=1)
    apart = torch.cat([read(one)[0], read(two)[0]], dim=1)
    assert (apart == 2).any()
    assert torch.equal(read(packed)[0], apart)


@pytest.mark.parametrize("response", ["2", "<think>never closed", "closed only</think>", ""])
def test_without_a_whole_think_block_all_is_answer(tokenizer, read, response):
    parts, names = read(supervised(tokenizer, "prompt", response))
    assert not (parts != ANSWER).any()
    assert names == []


def test_a_sentence_with_a_colon_names_no_dimension(tokenizer, read):
    sentence = "what is heard first, before anything else is said, is this: noise"
    assert read(supervised(tokenizer, "prompt", f"<think>\n{sentence}\n</think>\n1"))[1] == []


def test_loss_by_hand():
    """Four tokens over a vocabulary of two; logits (0, z) give a cross entropy of log(1 + e^z) for class 0."""
    scores = [0.5, -1.0, 2.0, 0.0]
    logits = torch.tensor([[[0.0, z] for z in [*scores, 9.0]]])
    labels = torch.tensor([[IGNORE, 0, 0, 0, 0]])
    parts = torch.tensor([[ANSWER, NAMELESS, 2, ANSWER, ANSWER]])
    entropy = [math.log(1 + math.exp(z)) for z in scores]
    weighted = 0.25 * (entropy[0] + entropy[1]) + entropy[2] + entropy[3]
    loss, terms = weighted_loss(logits, labels, parts, 0.25, None)
    assert loss.item() == pytest.approx(weighted / 4, abs=1e-6)
    expected = [[entropy[2] + entropy[3], 2], [entropy[0], 1], [entropy[1], 1]]
    assert terms.tolist() == [pytest.approx(row, abs=1e-6) for row in expected]
    assert weighted_loss(logits, labels, parts, 0.25, 10)[0].item() == pytest.approx(weighted / 10, abs=1e-6)


def test_weight_one_is_plain_sft():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 17, 50, generator=generator)
    labels = torch.randint(0, 50, (3, 17), generator=generator)
    labels[:, :6] = IGNORE
    parts = torch.zeros_like(labels)
    plain = ForCausalLMLoss(logits, labels, vocab_size=50)
    assert (weighted_loss(logits, labels, parts, 1.0, None)[0] - plain).abs() == 0.0
    parts[:, 8:12] = NAMELESS
    assert (weighted_loss(logits, labels, parts, 1.0, None)[0] - plain).abs() < 1e-6  # sums in another order


@pytest.fixture
def base(tiny_models, pair_data, tmp_path):
    """Two steps of four rows whose thoughts differ in length."""
    rows = [json.loads(line) for line in (pair_data / "pairs.jsonl").open()]
    for index, row in enumerate(rows):
        row["thinking"] += "".join(f"\nloudness: {value}" for value in range(index % 4))
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "dataset_info.json").write_text((pair_data / "dataset_info.json").read_text())

    def settings(name: str, **changes) -> dict:
        common = {
            "dataset": "pairs",
            "media_dir": str(pair_data),
            "gradient_accumulation_steps": 1,
            "optim": "sgd",  # Adam would blow rounding up to whole steps
            "learning_rate": 0.05,
            "cot_loss_weight": 0.3,
            "save_strategy": "no",
            "disable_shuffling": True,
            "disable_gradient_checkpointing": True,
            "use_cpu": True,
        }
        return sft_settings(tiny_models["qwen2_5_omni"], tmp_path, tmp_path / name, **common | changes)

    return settings


def train(settings: dict) -> list[dict]:
    """What ``llamafactory-cli train`` calls, in this process; returns the log of its steps."""
    from llamafactory.train.tuner import _training_function

    _training_function({"args": dict(settings), "callbacks": []})
    history = json.loads(Path(settings["output_dir"], "trainer_state.json").read_text())["log_history"]
    return [row for row in history if "loss" in row]


def assert_same(runs: list[list[dict]]) -> None:
    names = {"loss", "grad_norm", "loss_thinking", "loss_answer", "loss_thinking/noise", "loss_thinking/loudness"}
    for run in runs:
        for before, after in zip(runs[0], run, strict=True):
            assert names <= after.keys()
            for name in names:
                # the log rounds losses and, in some versions, gradient norms
                assert after[name] == pytest.approx(before[name], rel=2e-4, abs=2e-4), name


def test_neither_micro_batches_nor_their_number_change_the_loss(base):
    """Means of means would: the rows have from 0 to 3 lines more than the shortest."""
    whole = train(base("whole"))
    assert_same([whole, train(base("cut", per_device_train_batch_size=1, gradient_accumulation_steps=4))])


def test_the_loss_is_the_equation_over_what_the_model_says(base, tokenizer, tiny_models, monkeypatch):
    """The first step's loss from the untrained model's logits, row after row."""
    from llamafactory.train.sft import workflow

    seen = []

    class Spy(workflow.CustomSeq2SeqTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            seen.append({name: value.clone() for name, value in inputs.items()})
            return super().compute_loss(model, inputs, *args, **kwargs)

    monkeypatch.setattr(workflow, "CustomSeq2SeqTrainer", Spy)
    logged = train(base("one", max_steps=1))[0]
    model = transformers.AutoModelForTextToWaveform.from_pretrained(tiny_models["qwen2_5_omni"]).thinker.eval()
    labels = seen[0].pop("labels")
    with torch.no_grad():
        logps = model(**seen[0]).logits.double().log_softmax(-1)
    total = 0.0
    for row, ids in enumerate(labels.tolist()):
        text = tokenizer.decode([token for token in ids if token != IGNORE])
        start, end = text.index("<think>") + 7, text.index("</think>")
        written = ""
        for place, token in enumerate(ids):
            if token != IGNORE:
                inside = start <= len(written) < end
                total -= (0.3 if inside else 1.0) * logps[row, place - 1, token].item()
                written += tokenizer.decode([token])
    assert logged["loss"] == pytest.approx(total / int((labels != IGNORE).sum()), abs=2e-4)


@pytest.mark.slow
def test_two_processes_do_what_one_does(base, tmp_path):
    cut = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    assert_same([train(base("one")), cli(tmp_path, base("two", **cut), processes=2)])


def test_lora_with_a_frozen_tower(base, tiny_models):
    """Each term is logged; base weights and tower stay as they were."""
    rows = train(base("lora", finetuning_type="lora", lora_target="q_proj,v_proj", freeze_multi_modal_projector=True))
    assert all(row["loss_thinking"] > 0 and row["grad_norm"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_smoothing_factor": 0.1}, "cot_loss_weight: cannot be combined with label_smoothing_factor"),
        ({"use_dft_loss": True}, "cot_loss_weight: cannot be combined with use_dft_loss, which has a loss of its own"),
        ({"use_hyper_parallel": True}, "cot_loss_weight: cannot be combined with use_hyper_parallel"),
        ({"stage": "dpo"}, "cot_loss_weight: is for stage: sft, but stage is dpo; remove it"),
        ({"cot_loss_weight": -1}, "cot_loss_weight: -1 is not allowed; give a number from 0 to 10000"),
    ],
)
def test_mistakes_are_named(base, changes, message):
    with pytest.raises(UserError, match=message):
        train(base("out", **changes))
