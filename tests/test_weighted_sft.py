"""The loss of SQ-LLM's equation 1, against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
import transformers
from transformers.loss.loss_utils import ForCausalLMLoss

from earwitness.train.sft.weighted import IGNORE, thinking_mask, weighted_loss


@pytest.fixture(scope="module")
def tokenizer(tiny_models):
    return transformers.AutoTokenizer.from_pretrained(tiny_models["qwen2_5_omni"])


def supervised(tokenizer, prompt: str, response: str) -> torch.Tensor:
    prompt_ids = tokenizer.encode(prompt)
    return torch.tensor([[IGNORE] * len(prompt_ids) + tokenizer.encode(response)])


def marked_text(tokenizer, labels: torch.Tensor, mask: torch.Tensor) -> str:
    return tokenizer.decode(labels[mask])


def test_mask_covers_the_thinking_lines_only(tokenizer):
    response = "<think>\nNoise: 7 vs 2\nLoudness: 1 vs 0\n</think>\n\n<answer>\n2\n</answer>"
    labels = supervised(tokenizer, "Which is better? <think>not this</think>", response)
    text = marked_text(tokenizer, labels, thinking_mask(labels, tokenizer))
    assert text.strip() == "Noise: 7 vs 2\nLoudness: 1 vs 0"


def test_mask_covers_the_thinking_of_every_packed_row(tokenizer):
    one, two = (
        supervised(tokenizer, "prompt", response)
        for response in ("<think>\nNoise: 7\n</think>\n1", "<think>\nNoise: 2\n</think>\n2")
    )
    packed = torch.cat([one, two], dim=1)
    apart = torch.cat([thinking_mask(one, tokenizer), thinking_mask(two, tokenizer)], dim=1)
    assert apart.any()
    assert torch.equal(thinking_mask(packed, tokenizer), apart)


@pytest.mark.parametrize("response", ["2", "<think>never closed", "closed only</think>", ""])
def test_mask_is_empty_without_a_whole_think_block(tokenizer, response):
    labels = supervised(tokenizer, "prompt", response)
    assert not thinking_mask(labels, tokenizer).any()


def test_loss_by_hand():
    """Four tokens over a vocabulary of two; logits (0, z) give a cross entropy of log(1 + e^z) for class 0."""
    scores = [0.5, -1.0, 2.0, 0.0]
    logits = torch.tensor([[[0.0, z] for z in [*scores, 9.0]]])
    labels = torch.tensor([[IGNORE, 0, 0, 0, 0]])
    thinking = torch.tensor([[False, True, True, False, False]])
    entropy = [math.log(1 + math.exp(z)) for z in scores]
    loss, terms = weighted_loss(logits, labels, thinking, 0.25)
    expected = (0.25 * (entropy[0] + entropy[1]) + entropy[2] + entropy[3]) / 4
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert terms["loss_thinking"] == pytest.approx((entropy[0] + entropy[1]) / 2, abs=1e-6)
    assert terms["loss_answer"] == pytest.approx((entropy[2] + entropy[3]) / 2, abs=1e-6)


def test_weight_one_is_plain_sft():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 17, 50, generator=generator)
    labels = torch.randint(0, 50, (3, 17), generator=generator)
    labels[:, :6] = IGNORE
    thinking = torch.zeros_like(labels, dtype=torch.bool)
    plain = ForCausalLMLoss(logits, labels, vocab_size=50)
    assert (weighted_loss(logits, labels, thinking, 1.0)[0] - plain).abs() == 0.0
    thinking[:, 8:12] = True
    assert (weighted_loss(logits, labels, thinking, 1.0)[0] - plain).abs() < 1e-6  # sums in another order
