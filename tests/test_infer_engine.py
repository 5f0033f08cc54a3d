"""The transformers engine: the host's prompts, transformers' numbers, and answers that no batch-mate changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from infer_data import records_of, write_pairs

from earwitness import autoload
from earwitness.audio.features import batch_features_of
from earwitness.errors import UserError
from earwitness.infer import decode
from earwitness.infer.engine import Answer, Item
from earwitness.infer.hf_engine import HFEngine
from earwitness.infer.model import JudgeModel, find_model
from earwitness.infer.options import Decoding
from earwitness.infer.plan import make_items
from earwitness.infer.rows import prediction

FAMILIES = ("qwen2_5_omni", "qwen2_audio", "qwen3_omni")
CLOSE = 5e-6
"""Float noise of a tiny float32 model in other batch shapes; measured maxima are below 5e-7."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("infer"))


@pytest.fixture(scope="module")
def engines(tiny_models: dict[str, Path]) -> dict[str, HFEngine]:
    decoding = Decoding(verdict_only=True)
    return {family: HFEngine(find_model(str(tiny_models[family])), decoding, device="cpu") for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def engine(request: pytest.FixtureRequest, engines: dict[str, HFEngine]) -> HFEngine:
    return engines[request.param]


def answers(engine: HFEngine, items: Sequence[Item], size: int, decoding: Decoding | None = None) -> list[Answer]:
    """Answer items in batches of ``size``, with no clip kept from before."""
    asked = engine.with_decoding(decoding or engine.decoding)
    for item in items:
        for clip in item.shown.audios:
            asked.forget(clip)
    batches = [(start, items[start : start + size]) for start in range(0, len(items), size)]
    return [answer for _, batch in asked.answer(batches) for answer in batch]


def encoded(engine: HFEngine, item: Item) -> decode.Prompt:
    """The prompt of an item, as the engine gives it to the model."""
    with torch.inference_mode():
        read = engine._read([item])
        clips = tuple(engine._embed(path, read) for path in item.shown.audios)
    return decode.Prompt(engine._encode(item, clips), clips, item.shown.audios)


def test_prompts_have_the_token_ids_of_the_hosts_training(engine: HFEngine, data: Path) -> None:
    autoload.activate()
    from llamafactory.data.processor.supervised import SupervisedDatasetProcessor

    prompts = engine.prompts
    arguments = SimpleNamespace(cutoff_len=1 << 20, train_on_prompt=False, mask_history=False)
    host = SupervisedDatasetProcessor(prompts._template, prompts.tokenizer, prompts.processor, arguments)
    for record in records_of(data, limit=8):
        ids, labels = host._encode_data_example(
            [{"role": "user", "content": record.prompt}],
            [{"role": "assistant", "content": str(record.response)}],
            None,
            None,
            [],
            [],
            list(record.audios),
        )
        trained = [token for token, label in zip(ids, labels, strict=True) if label == -100]
        assert prompts.encode(record.prompt, record.audios).tolist() == trained


def test_a_placeholder_in_a_question_stays_text(engine: HFEngine, data: Path) -> None:
    record = records_of(data)[2]
    assert "with < audio>" in record.prompt
    ids = engine.prompts.encode(record.prompt, record.audios)
    begin = engine.prompts.tokenizer.convert_tokens_to_ids(engine.prompts.processor.audio_bos_token)
    assert (ids == begin).sum() == 2


def test_logits_and_greedy_text_are_those_of_transformers(engine: HFEngine, data: Path) -> None:
    items = make_items(records_of(data, limit=6), ["ab"])
    prompts = [encoded(engine, item) for item in items]
    sequences = decode.prefill(engine.model, prompts)
    options = {"max_new_tokens": 8, "stop": engine.prompts.stop, "forbidden": engine._forbidden}
    written = decode.generate(engine.model, sequences, decode.greedy, **options)
    extractor = engine.prompts.processor.feature_extractor
    for row, item in enumerate(items):
        features = batch_features_of(item.shown.audios, extractor, engine.files.family)
        ids = torch.from_numpy(prompts[row].ids)[None]
        with torch.inference_mode():
            network = engine.model._network
            logits = network(input_ids=ids, attention_mask=torch.ones_like(ids), **features).logits[0, -1]
            text = network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=8,
                eos_token_id=list(engine.prompts.stop),
                suppress_tokens=engine._forbidden.nonzero()[:, 0].tolist(),
                pad_token_id=engine.prompts.tokenizer.pad_token_id,
                **features,
            )[0, ids.shape[1] :]
        assert (logits - sequences.logits[row]).abs().max() < CLOSE
        assert [token for token in text.tolist() if token not in engine.prompts.stop] == written[row]


def test_batch_mates_change_no_verdict_and_no_probability(engine: HFEngine, data: Path) -> None:
    items = make_items(records_of(data), ["ab", "ba"])
    alone, together = answers(engine, items, 1), answers(engine, items, 32)
    assert [answer.texts for answer in alone] == [answer.texts for answer in together]
    worst = max(
        abs(one.shares[0].probabilities[label] - other.shares[0].probabilities[label])
        for one, other in zip(alone, together, strict=True)
        for label in one.shares[0].probabilities
    )
    assert worst < CLOSE
    assert all(sum(answer.shares[0].probabilities.values()) == pytest.approx(1.0, abs=1e-12) for answer in together)


def test_batch_mates_change_no_text(engine: HFEngine, data: Path) -> None:
    items = make_items(records_of(data), ["ab"])
    decoding = Decoding(max_new_tokens=6)
    alone, together = answers(engine, items, 1, decoding), answers(engine, items, 16, decoding)
    assert [answer.texts for answer in alone] == [answer.texts for answer in together]


def test_draws_depend_on_seed_and_row_but_not_on_batch_mates(engines: dict[str, HFEngine], data: Path) -> None:
    items = make_items(records_of(data, limit=6), ["ab"])
    engine = engines["qwen2_5_omni"]
    decoding = Decoding(max_new_tokens=5, samples=3, temperature=1.0, top_p=0.9, seed=1)
    alone, together = answers(engine, items, 1, decoding), answers(engine, items, 6, decoding)
    assert [answer.texts for answer in alone] == [answer.texts for answer in together]
    assert len({text for answer in alone for text in answer.texts}) > 12
    other = answers(engine, items, 6, Decoding(max_new_tokens=5, samples=3, temperature=1.0, top_p=0.9, seed=2))
    assert [answer.texts for answer in other] != [answer.texts for answer in together]


def test_the_sampler_draws_from_the_nucleus_alone() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.5, 0.3, 0.1]]).repeat(2000, 1))
    drawn = decode.Sampler(range(2000), temperature=1.0, top_p=0.7)(logits)
    shares = torch.bincount(drawn, minlength=4) / 2000
    assert shares[0] == shares[3] == 0
    assert shares[1] == pytest.approx(0.625, abs=0.04)
    everything = decode.Sampler(range(2000), temperature=1.0, top_p=1.0)(logits)
    assert torch.bincount(everything, minlength=4).min() > 100


def test_a_shared_beginning_changes_nothing(engine: HFEngine, data: Path) -> None:
    record = records_of(data)[0]
    prompts = []
    for aspect in ("noise", "loudness", "hiss"):
        for clips in (record.audios, record.audios[::-1]):
            text = f"### 1\n<audio>\n### 2\n<audio>\nWhich one has less {aspect}?"
            parts = encoded(engine, make_items([record], ["ab" if clips == record.audios else "ba"])[0])
            prompts.append(decode.Prompt(engine.prompts.encode(text, clips), parts.clips, clips))
    prompts.sort(key=lambda prompt: prompt.clip_keys)
    groups, shared = decode.shared_beginnings([decode._key(engine.model, prompt) for prompt in prompts])
    assert [len(group) for group in groups] == [3, 3]
    assert min(shared) > min(len(prompt.ids) for prompt in prompts) / 2
    together = decode.prefill(engine.model, prompts)
    options = {"max_new_tokens": 6, "stop": engine.prompts.stop, "forbidden": engine._forbidden}
    written = decode.generate(engine.model, together, decode.greedy, **options)
    for row, prompt in enumerate(prompts):
        alone = decode.prefill(engine.model, [prompt])
        assert (alone.logits[0] - together.logits[row]).abs().max() < CLOSE
        assert decode.generate(engine.model, alone, decode.greedy, **options)[0] == written[row]


def test_neighbours_with_little_in_common_are_not_shared() -> None:
    assert decode.shared_beginnings([[1] * 50, [2] * 50]) == ([range(1), range(1, 2)], [0, 0])
    assert decode.shared_beginnings([[1] * 20 + [2], [1] * 20 + [3]])[1] == [0, 0]
    groups, shared = decode.shared_beginnings([[1] * 50 + [2, 3], [1] * 50 + [4], [5] * 40])
    assert (groups, shared) == ([range(2), range(2, 3)], [50, 39])


def teacher_forced(engine: HFEngine, prompt: decode.Prompt, answer: list[int]) -> float:
    """Log-probability of an answer after a prompt, one sequence, no cache."""
    whole = decode.Prompt(
        np.concatenate([prompt.ids, np.array(answer, dtype=np.int64)]), prompt.clips, prompt.clip_keys
    )
    with torch.inference_mode():
        embeddings = decode._embed(engine.model, whole)[None]
        length = embeddings.shape[1]
        mask, positions = torch.ones(1, length, dtype=torch.long), torch.arange(length)[None]
        hidden = engine.model.hidden_states(embeddings, mask, positions, decode.DynamicCache())
        scores = engine.model.logits(hidden)[0].log_softmax(-1)
    return sum(float(scores[len(prompt.ids) - 1 + step, token]) for step, token in enumerate(answer))


def test_probabilities_are_the_teacher_forced_ones_wherever_the_verdict_stands(
    engine: HFEngine, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random model writes no verdicts, so the answers are put in its mouth; their scores are its own."""
    plain = make_items(records_of(data, limit=3), ["ab"])
    thinks = make_items(records_of(data, "thinks", limit=3), ["ab"])
    told = {
        "1\nclear": ("", "1", "2", "Tie"),
        " **Tie**": (" **", "1", "2", "Tie"),
        "tie": ("", "1", "2", "tie"),
        "<think>\n1\n</think>\n\n<answer>\n2\n</answer>": ("<think>\n1\n</think>\n\n<answer>\n", "1", "2", "Tie"),
        "<think>\n</think>\n\n<answer>\nTie\nx\n</answer>": ("<think>\n</think>\n\n<answer>\n", "1", "2", "Tie"),
        "Response 2 is better": None,
    }
    items = [plain[0], plain[1], plain[2], thinks[0], thinks[1], plain[0]]
    tokenizer = engine.prompts.tokenizer
    texts = [tokenizer.encode(text, add_special_tokens=False) for text in told]
    monkeypatch.setattr(decode, "generate", lambda *_args, **_options: texts)
    given = answers(engine, items, len(items), Decoding())
    for item, answer, expected, ids in zip(items, given, told.values(), texts, strict=True):
        if expected is None:
            assert answer.shares == (None,)
            continue
        before, *labels = expected
        lead = len(ids)
        while len(tokenizer.decode(ids[:lead])) > len(before):
            lead -= 1
        rest = before[len(tokenizer.decode(ids[:lead])) :]
        prompt = encoded(engine, item)
        scores = [
            teacher_forced(engine, prompt, ids[:lead] + tokenizer.encode(rest + label, add_special_tokens=False))
            for label in labels
        ]
        shares = torch.tensor(scores).softmax(0).tolist()
        mass = (torch.tensor(scores) - teacher_forced(engine, prompt, ids[:lead])).exp().sum().item()
        assert answer.shares[0].mass == pytest.approx(mass, abs=CLOSE)
        assert list(answer.shares[0].probabilities.values()) == pytest.approx(shares, abs=CLOSE)


def test_an_exchanged_pair_is_mapped_back(engines: dict[str, HFEngine], data: Path) -> None:
    """Showing B, A and mapping back is the same as judging the record of the exchanged pair, mirrored."""
    engine = engines["qwen2_5_omni"]
    records = records_of(data)
    exchanged = answers(engine, make_items(records, ["ba"]), 16)
    of_swapped = answers(engine, make_items([record.swapped() for record in records], ["ab"]), 16)
    mirror = {"first": "second", "second": "first", "tie": "tie"}
    items = make_items(records, ["ba"])
    plain = make_items([record.swapped() for record in records], ["ab"])
    for item, other, one, two in zip(items, plain, exchanged, of_swapped, strict=True):
        row = prediction(item, one, "m", engine.decoding)
        straight = prediction(other, two, "m", engine.decoding)
        assert row["audios"] == straight["audios"]
        assert row["shown_verdict"] == straight["verdict"]
        assert row["verdict"] == mirror[straight["verdict"]]
        assert row["probabilities"] == {
            mirror[key]: straight["probabilities"][key] for key in ("second", "first", "tie")
        }
        assert max(row["probabilities"], key=row["probabilities"].get) == row["verdict"]
        assert row["reference"] == item.record.reference


def test_a_thinker_and_an_adapter_judge_like_the_model_they_are_part_of(
    engines: dict[str, HFEngine], data: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    engine = engines["qwen2_5_omni"]
    items = make_items(records_of(data, limit=4), ["ab"])
    before = answers(engine, items, 4)
    network = JudgeModel(engine.files, "cpu")._network
    network.save_pretrained(tmp_path / "thinker")
    engine.prompts.processor.save_pretrained(tmp_path / "thinker")
    thinker = HFEngine(find_model(str(tmp_path / "thinker")), engine.decoding, device="cpu")
    assert thinker.files.family == "qwen2_5_omni"
    assert answers(thinker, items, 4) == before

    adapted = get_peft_model(network, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    base = str(engine.files.path)
    merged = HFEngine(find_model(str(tmp_path / "adapter"), base), engine.decoding, device="cpu")
    assert merged.fingerprint != engine.fingerprint
    prompt = encoded(engine, items[0])
    with torch.inference_mode():
        ids = torch.from_numpy(prompt.ids)[None]
        features = batch_features_of(items[0].shown.audios, engine.prompts.processor.feature_extractor, "qwen2_5_omni")
        unmerged = adapted.eval()(input_ids=ids, attention_mask=torch.ones_like(ids), **features).logits[0, -1]
    logits = decode.prefill(merged.model, [encoded(merged, items[0])]).logits[0]
    assert (logits - unmerged).abs().max() < 1e-5
    assert (logits - decode.prefill(engine.model, [prompt]).logits[0]).abs().max() > 1e-3


def test_models_that_cannot_judge_are_refused_before_anything_runs(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="neither a folder here nor a model"):
        find_model(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"no config.json"):
        find_model(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match=r"'llama'.*qwen2_audio"):
        find_model(str(tmp_path))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": ""}))
    with pytest.raises(UserError, match="--base-model"):
        find_model(str(adapter))
    broken = shutil.copytree(tiny_models["qwen2_audio"], tmp_path / "broken")
    from safetensors.torch import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    weights.pop(next(name for name in weights if "lm_head" in name))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights are missing.*lm_head"):
        JudgeModel(find_model(str(broken)), "cpu")
    with pytest.raises(UserError, match="no GPU"):
        JudgeModel(find_model(str(tiny_models["qwen2_audio"])), "cuda:7")


@pytest.mark.slow
def test_compiled_answers_are_those_of_the_plain_model(
    engine: HFEngine, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # the shared one may hold what a killed process left
    items = make_items(records_of(data, "thinks"), ["ab"])
    decoding = Decoding(max_new_tokens=24)
    plain = answers(engine, items, 5, decoding)
    compiled = answers(HFEngine(engine.files, decoding, device="cpu", compiled=True), items, 5)
    assert [answer.texts for answer in compiled] == [answer.texts for answer in plain]
    for one, two in zip(compiled, plain, strict=True):
        assert (one.shares[0] is None) == (two.shares[0] is None)
        if one.shares[0] is not None and two.shares[0] is not None:
            assert one.shares[0].probabilities == pytest.approx(two.shares[0].probabilities, abs=1e-4)


def test_compiled_runs_are_runs_of_their_own_and_need_a_compiler(
    engines: dict[str, HFEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = engines["qwen2_5_omni"].files
    assert "compiled" not in engines["qwen2_5_omni"].describe()
    assert HFEngine(files, Decoding(), device="cpu", compiled=True).describe()["compiled"] is True
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"--compile needs a C\+\+ compiler, and there is no 'no-such-compiler'"):
        JudgeModel(files, "cpu", compiled=True)


def test_a_clip_that_changed_after_the_check_fails_its_row_alone(engine: HFEngine, data: Path, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, pairs=2)
    items = make_items(records_of(folder), ["ab"])
    (folder / "clip2.wav").unlink()
    shutil.copy(folder / "clip1.wav", folder / "clip0.wav")
    given = answers(engine, items, 4)
    assert [bool(answer.failure) for answer in given] == [False, False, True, True]
    assert "clip2.wav" in str(given[2].failure)


def test_text_beyond_the_model_is_refused_by_the_check(
    tiny_models: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_models["qwen2_audio"], tmp_path / "short")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 260
    (folder / "config.json").write_text(json.dumps(config))
    engine = HFEngine(find_model(str(folder)), Decoding(max_new_tokens=100), device="cpu")
    items = make_items(records_of(data, limit=8), ["ab"])
    assert engine.size(items[0]) > 0
    with pytest.raises(UserError, match=r"the prompt takes \d+ tokens.*room for 160 beside the answer"):
        engine.size(items[6])
