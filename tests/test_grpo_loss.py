"""The numbers of GRPO against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from earwitness.train.grpo.loss import completion_weights, group_advantages, token_losses


def test_advantages_are_rewards_against_their_group():
    found = group_advantages([1.0, 0.0, 0.0, 1.0, 5.0, 5.0, 5.0, 5.0], 4, "group")
    deviation = math.sqrt(4 * 0.25 / 3)
    assert found.values.tolist() == pytest.approx(
        [0.5 / (deviation + 1e-4) * sign for sign in (1, -1, -1, 1)] + [0] * 4
    )
    assert found.reward == pytest.approx(22 / 8)
    assert found.deviation == pytest.approx(deviation / 2)
    assert found.flat == 0.5


def test_a_missing_reward_leaves_its_completion_out_of_the_mean():
    """The others' mean is (1 + 0) / 2, not (1 + 0 + 0) / 3: None is no zero."""
    found = group_advantages([1.0, None, 0.0], 3, "none")
    assert found.values.tolist() == [0.5, 0.0, -0.5]
    assert found.scored.tolist() == [True, False, True]
    assert found.reward == 0.5


@pytest.mark.parametrize("totals", [[None, None], [2.0, None]])
def test_groups_with_fewer_than_two_rewards_teach_nothing(totals):
    found = group_advantages(totals, 2, "group")
    assert found.values.tolist() == [0.0, 0.0]
    assert found.flat == 1.0
    assert math.isnan(found.deviation)


def test_batch_scale_divides_by_the_deviation_of_all_rewards():
    found = group_advantages([0.0, 2.0, 0.0, 4.0], 2, "batch")
    deviation = torch.tensor([0.0, 2.0, 0.0, 4.0]).std().item()
    assert found.values.tolist() == pytest.approx([value / (deviation + 1e-4) for value in (-1, 1, -2, 2)])


@pytest.mark.parametrize(
    ("loss_type", "expected"),
    [
        ("grpo", [1 / (3 * 2), 1 / (3 * 4), 0, 1 / (3 * 6)]),
        ("dapo", [1 / 12, 1 / 12, 0, 1 / 12]),
        ("dr_grpo", [1 / 24] * 2 + [0, 1 / 24]),
    ],
)
def test_weights_of_tokens(loss_type, expected):
    lengths, scored = torch.tensor([2, 4, 5, 6]), torch.tensor([True, True, False, True])
    weights = completion_weights(lengths, scored, loss_type, updates=1, max_length=8)
    assert weights.tolist() == pytest.approx(expected)
    assert completion_weights(lengths, scored, loss_type, 3, 8).tolist() == pytest.approx([3 * one for one in expected])


def test_weights_without_any_reward_are_zero():
    weights = completion_weights(torch.tensor([2, 3]), torch.tensor([False, False]), "dapo", 1, 8)
    assert weights.tolist() == [0.0, 0.0]


def test_loss_by_hand():
    """Ratio 1.5 is cut at 1.2 for a gain, not for a loss; 0.5 is cut at 0.8 for a loss."""
    logps = torch.log(torch.tensor([[0.6, 0.2], [0.6, 0.2]]))
    old = torch.log(torch.tensor([[0.4, 0.4], [0.4, 0.4]]))
    found = token_losses(logps, old, None, torch.tensor([1.0, -1.0]), epsilon=(0.2, 0.2), beta=0.0)
    assert found.loss.flatten().tolist() == pytest.approx([-1.2, -0.5, 1.5, 0.8], rel=1e-6)
    assert found.clipped_high.tolist() == [[True, False], [False, False]]
    assert found.clipped_low.tolist() == [[False, False], [False, True]]
    assert found.kl is None


def test_divergence_is_zero_only_where_policies_agree():
    logps = torch.log(torch.tensor([[0.5, 0.25]]))
    reference = torch.log(torch.tensor([[0.5, 0.5]]))
    found = token_losses(logps, None, reference, torch.zeros(1), epsilon=(0.2, 0.2), beta=2.0)
    assert found.kl is not None
    assert found.kl.tolist()[0] == pytest.approx([0.0, 2 - math.log(2) - 1])
    assert found.loss.tolist()[0] == pytest.approx([0.0, 2 * (1 - math.log(2))])


def test_gradient_of_the_first_pass_is_that_of_the_policy_gradient():
    logps = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    token_losses(logps, None, None, torch.tensor([3.0]), epsilon=(0.2, 0.2), beta=0.0).loss.sum().backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [[-3.0, -3.0]]
