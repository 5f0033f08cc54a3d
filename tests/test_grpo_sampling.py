"""How the next token is drawn."""

from __future__ import annotations

import pytest
import torch

from earwitness.train.grpo.sampling import Sampling, Streams

LOGITS = torch.tensor([0.0, 3.0, 1.0, 2.0, -torch.inf])


def draw(count: int, **changes) -> torch.Tensor:
    """Return the shares of each token over ``count`` rows."""
    settings = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 1, "end": 0}
    sampling = Sampling(**(settings | changes), forbidden=torch.zeros(5, dtype=torch.bool))
    ids = Streams([(0, row) for row in range(count)], sampling)(LOGITS.expand(count, -1))
    return torch.bincount(ids, minlength=5) / count


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_shares_are_those_of_the_softmax(temperature):
    shares = draw(20000, temperature=temperature)
    assert shares.tolist() == pytest.approx((LOGITS / temperature).softmax(-1).tolist(), abs=0.02)
    assert shares[4] == 0


def test_top_k_draws_from_the_likeliest_in_their_proportion():
    expected = torch.tensor([3.0, 2.0]).softmax(-1).tolist()
    shares = draw(20000, top_k=2)
    assert shares.tolist() == pytest.approx([0, expected[0], 0, expected[1], 0], abs=0.02)


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    """The likeliest has 0.644 and the next 0.237: 0.7 needs both."""
    assert draw(2000, top_p=0.6).tolist() == [0, 1, 0, 0, 0]
    expected = torch.tensor([3.0, 2.0]).softmax(-1).tolist()
    assert draw(20000, top_p=0.7).tolist() == pytest.approx([0, expected[0], 0, expected[1], 0], abs=0.02)


def test_equal_seeds_draw_alike():
    sampling = Sampling(1.0, 1.0, 0, 1, 0, torch.zeros(5, dtype=torch.bool))
    logits = torch.zeros(6, 100)
    first = Streams([(1, row) for row in range(6)], sampling)(logits)
    assert torch.equal(first, Streams([(1, row) for row in range(6)], sampling)(logits))
    assert len(set(first.tolist())) > 1
