"""Hearing, log-probabilities and sampling of the policy, on every family, against transformers' own forward pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from earwitness.audio.features import batch_features_of
from earwitness.audio.tower import use_exact_tower
from earwitness.infer.decode import Prompt
from earwitness.infer.model import TEMPLATES, find_model
from earwitness.infer.prompting import HostPrompts
from earwitness.train.grpo.policy import ClipBank, Policy
from earwitness.train.grpo.rollout import pad_rows
from earwitness.train.grpo.sampling import Sampling, forbidden_ids, sample

FAMILIES = ("qwen2_5_omni", "qwen2_audio", "qwen3_omni")
TEXT = "Which has less **noise**? <audio> or <audio> 1, 2 or Tie."


class Loaded:
    """A tiny network as the host loads it, and questions of one and two clips of different lengths."""

    def __init__(self, family: str, folder, clips) -> None:
        network_class = getattr(transformers, find_model(str(folder)).class_name)
        self.network = network_class.from_pretrained(folder, dtype=torch.float32).eval()
        use_exact_tower(self.network)
        self.host = HostPrompts(folder, TEMPLATES[family])
        self.extractor = self.host.processor.feature_extractor
        self.policy = Policy(self.network, family, self.extractor)
        self.family = family
        paths = [str(clips / f"clip{index}.wav") for index in range(8)]
        self.audios = [(paths[0], paths[7]), (paths[3],), (paths[7], paths[2])]
        texts = [TEXT, "Rate <audio>.", f"Now listen with care. {TEXT}"]
        self.prompts = [self.host.encode(text, audios) for text, audios in zip(texts, self.audios, strict=True)]
        random = np.random.default_rng(0)
        self.answers = [random.integers(0, 200, size=size).tolist() for size in (5, 9, 2)]

    def logps(self, rows, clips):
        ids, mask = pad_rows([self.prompts[row].tolist() for row in rows], 0, left=True, device="cpu")
        answers, answer_mask = pad_rows([self.answers[row] for row in rows], 0, left=False, device="cpu")
        found, entropies = self.policy.token_logps(
            self.network, torch.cat([ids, answers], 1), torch.cat([mask, answer_mask], 1), answers.shape[1], clips, 0.7
        )
        return [found[place, : len(self.answers[row])] for place, row in enumerate(rows)], entropies

    def bank(self):
        bank = ClipBank()
        bank.fill(self.policy, [path for audios in self.audios for path in audios], keep_known=False)
        return bank

    def heard(self, bank, rows):
        return lambda: [bank[path] for row in rows for path in self.audios[row]]


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request, tiny_models, pair_data):
    return Loaded(request.param, tiny_models[request.param], pair_data)


@torch.no_grad()
def test_logps_in_a_left_padded_mixed_batch_equal_one_at_a_time(loaded):
    bank = loaded.bank()
    together, _ = loaded.logps([0, 1, 2], loaded.heard(bank, [0, 1, 2]))
    for row in range(3):
        (alone,), _ = loaded.logps([row], loaded.heard(bank, [row]))
        assert (together[row] - alone).abs().max() < 1e-5


@torch.no_grad()
def test_logps_equal_those_of_the_whole_forward_pass(loaded):
    """The clips as features through transformers' own forward, all logits kept: the same numbers."""
    bank = loaded.bank()
    found, entropies = loaded.logps([0], loaded.heard(bank, [0]))
    ids = torch.tensor([[*loaded.prompts[0].tolist(), *loaded.answers[0]]])
    features = batch_features_of(loaded.audios[0], loaded.extractor, loaded.family)
    logits = loaded.network(input_ids=ids, attention_mask=torch.ones_like(ids), **features).logits / 0.7
    places = logits[0, -len(loaded.answers[0]) - 1 : -1].log_softmax(-1)
    expected = places.gather(-1, torch.tensor(loaded.answers[0])[:, None])[:, 0]
    assert (found[0] - expected).abs().max() < 1e-5
    assert (entropies[0] + (places.exp() * places).sum(-1)).abs().max() < 1e-5


def test_tower_runs_once_a_clip_and_what_is_kept_equals_what_is_recomputed(loaded, monkeypatch):
    calls = []
    embed = loaded.policy.embed_clips
    monkeypatch.setattr(loaded.policy, "embed_clips", lambda paths: calls.extend(paths) or embed(paths))
    clips = [path for audios in loaded.audios for path in audios]
    bank = ClipBank()
    bank.fill(loaded.policy, clips * 4, keep_known=True)
    assert sorted(calls) == sorted(set(clips))
    bank.fill(loaded.policy, clips, keep_known=True)
    assert len(calls) == len(set(clips))
    with torch.no_grad():
        for path, again in zip(dict.fromkeys(clips), embed(list(dict.fromkeys(clips))), strict=True):
            assert (bank[path] - again).abs().max() / again.abs().max() < 1e-6  # float32 rounding
    before = bank[clips[0]]
    bank.fill(loaded.policy, clips, keep_known=False)
    assert len(calls) == 2 * len(set(clips))
    assert torch.equal(bank[clips[0]], before)
    bank.fill(loaded.policy, clips[:1], keep_known=True)
    with pytest.raises(KeyError):
        bank[clips[1]]


def test_gradient_reaches_a_tower_that_learns_and_only_then(loaded):
    loaded.network.requires_grad_(True)
    loaded.policy.freeze_unused()
    assert loaded.policy.learns_to_hear
    rows = [0, 2]
    found, _ = loaded.logps(rows, lambda: loaded.policy.embed_clips([p for row in rows for p in loaded.audios[row]]))
    torch.cat(found).sum().backward()
    assert all(
        parameter.grad.abs().max() > 0
        for name, parameter in loaded.network.audio_tower.named_parameters()
        if parameter.requires_grad and not name.endswith("k_proj.bias")  # softmax takes no notice of it
    )
    missing = [
        name
        for name, parameter in loaded.network.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert [name for name in missing if "experts" not in name] == []
    loaded.network.zero_grad()
    for name in ("audio_tower", "multi_modal_projector"):
        if hasattr(loaded.network, name):
            getattr(loaded.network, name).requires_grad_(False)
    assert not loaded.policy.learns_to_hear


def test_too_few_embeddings_are_an_error_not_a_shift(loaded):
    bank = loaded.bank()
    with torch.no_grad(), pytest.raises(RuntimeError, match="audio tokens"):
        loaded.logps([0], lambda: [bank[loaded.audios[0][0]]])


def sampling(loaded, **changes):
    forbidden = forbidden_ids(loaded.host.tokenizer, loaded.policy.vocabulary)
    end = loaded.host.tokenizer.eos_token_id
    settings = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 12, "end": end, "forbidden": forbidden}
    return Sampling(**(settings | changes))


def prompts_of(loaded, bank):
    return [
        Prompt(ids, tuple(bank[path] for path in audios), audios)
        for ids, audios in zip(loaded.prompts, loaded.audios, strict=True)
    ]


def test_a_completion_does_not_depend_on_its_batch(loaded):
    prompts = prompts_of(loaded, loaded.bank())
    owners, seeds = [0, 0, 1, 2, 2], [(7, row) for row in range(5)]
    together = sample(loaded.policy, prompts, owners, seeds, sampling(loaded))
    for place, owner in enumerate(owners):
        assert sample(loaded.policy, [prompts[owner]], [0], [seeds[place]], sampling(loaded)) == [together[place]]
    assert together[0] != together[1]


def test_no_special_token_but_the_end_is_ever_sampled(loaded):
    prompts = prompts_of(loaded, loaded.bank())[:1]
    hot = sampling(loaded, temperature=50.0, max_new_tokens=60)
    answers = sample(loaded.policy, prompts, [0] * 12, [(row,) for row in range(12)], hot)
    special = {id_ for id_, token in loaded.host.tokenizer.added_tokens_decoder.items() if token.special}
    for answer in answers:
        assert not special & set(answer[:-1])
        assert answer[-1] == hot.end or len(answer) == 60


def test_top_k_one_is_greedy(loaded):
    prompts = prompts_of(loaded, loaded.bank())[:1]
    first, second = sample(loaded.policy, prompts, [0, 0], [(1,), (2,)], sampling(loaded, top_k=1))
    assert first == second
