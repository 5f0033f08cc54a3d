"""The in-process engine with a tiny random model: enforced menus, batches that change nothing, named failures."""

from __future__ import annotations

import pickle

import pytest
from tiny_text_model import build

from earwitness.errors import UserError
from earwitness.llm import ChatRequest, Failure
from earwitness.llm.local import LocalChat
from earwitness.rewards.criteria import CRITERIA, Material
from earwitness.rewards.evaluator import Evaluator, EvaluatorConfig

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return build(tmp_path_factory.mktemp("text-model"))


def test_choices_are_enforced_and_batches_change_nothing(folder):
    menu = tuple(str(number) for number in range(11))
    requests = [ChatRequest.user("word " * length, choices=menu) for length in (1, 30, 7, 90, 2)]
    together = LocalChat(str(folder)).ask_all(requests)
    alone = [LocalChat(str(folder), batch_size=1).ask_all([request])[0] for request in requests]
    assert all(reply.text in menu for reply in together)
    assert [reply.text for reply in together] == [reply.text for reply in alone]


def test_the_likelier_choice_wins(folder):
    """By hand: log-probability of each choice with its end token, step by step."""
    chat = LocalChat(str(folder))
    reply = chat.ask_all([ChatRequest.user("which", choices=("a", "b"))])[0]
    model, tokenizer = chat._load()
    prompt = tokenizer("<|im_start|>user\nwhich<|im_end|>\n<|im_start|>assistant\n", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = model(prompt).logits[0, -1]
    best = max("ab", key=lambda letter: logits[tokenizer(letter)["input_ids"][0]].item())
    assert reply.text == best


def test_without_choices_a_random_model_runs_into_max_tokens_or_ends(folder):
    result = LocalChat(str(folder)).ask_all([ChatRequest.user("hello", max_tokens=5)])[0]
    assert isinstance(result, Failure)
    assert result.kind == "truncated"


def test_sampling_is_seeded_and_leaves_the_training_generator_alone(folder):
    menu = tuple("abcdefghij")
    requests = [ChatRequest.user("pick", temperature=5.0, seed=1, sample=sample, choices=menu) for sample in range(12)]
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first = [reply.text for reply in LocalChat(str(folder)).ask_all(requests)]
    assert torch.equal(state, torch.random.get_rng_state())
    assert first == [reply.text for reply in LocalChat(str(folder)).ask_all(requests)]
    assert len(set(first)) > 1


def test_too_long_prompts_and_refused_texts_are_failures(folder):
    chat = LocalChat(str(folder))
    long, refused, fine = chat.ask_all(
        [
            ChatRequest.user("x" * 9000, choices=("a",)),
            ChatRequest.user("y", choices=("a",), accept=lambda text: "not a b"),
            ChatRequest.user("z", choices=("a",)),
        ]
    )
    assert (long.kind, refused.kind, fine.text) == ("refused", "unreadable", "a")
    assert "do not fit into the model's 8192" in long.message
    assert (chat.usage.requests, chat.usage.failed) == (3, 2)


def test_a_local_evaluator_grades_like_a_server(folder):
    config = EvaluatorConfig.from_mapping({"model_path": str(folder)})
    grader = Evaluator(config)
    case = Material("Assessment", "Describe.", "Noisy.", "Clean.")
    graded = grader.grade_all([case, "no answer part"])
    assert all(graded[0][name].value in [n / 10 for n in range(11)] for name in CRITERIA)
    assert graded[1]["accuracy"].reason == "no answer part"
    assert len(pickle.dumps(grader)) < 10_000
    assert pickle.loads(pickle.dumps(grader)).grade_all([case]) == graded[:1]


def test_a_folder_without_a_model_or_chat_template_is_named(tmp_path, folder):
    with pytest.raises(UserError, match="no causal language model"):
        LocalChat(str(tmp_path)).ask_all([ChatRequest.user("a")])
    bare = build(tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template"):
        LocalChat(str(bare)).ask_all([ChatRequest.user("a")])


def test_an_empty_list_is_fine(folder):
    assert LocalChat(str(folder)).ask_all([]) == []
