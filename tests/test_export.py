"""Export: a trained thinker or adapter inside its full model again, with the same logits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from judge_folders import TALKER, adapter, full_model, host, thinker, trained
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from earwitness.audio.features import batch_features_of
from earwitness.audio.limits import token_count
from earwitness.cli.export import main
from earwitness.errors import UserError
from earwitness.export import export_judge
from earwitness.infer.model import find_model


@pytest.fixture(scope="module")
def full(tiny_models, tmp_path_factory):
    """Full models in several files; the Omni ones with a tensor that is not the thinker's."""
    folder = tmp_path_factory.mktemp("full")
    made = {family: full_model(tiny, folder / family) for family, tiny in tiny_models.items()}
    return made.__getitem__


def logits(network, folder: Path, clip: Path) -> torch.Tensor:
    """Logits of a prompt with a clip."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    family = find_model(str(folder)).family
    batch = batch_features_of([str(clip)], extractor, family)
    ids = [
        5,
        6,
        *[network.config.audio_token_id] * token_count(int(batch["feature_attention_mask"].sum()), family),
        7,
        8,
        9,
    ]
    with torch.no_grad():
        return network(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **batch).logits


@pytest.mark.parametrize("family", ["qwen2_5_omni", "qwen3_omni"])
def test_trained_thinker_goes_back_into_its_full_model(family, full, pair_data, tmp_path):
    network = trained(thinker(full(family)))
    network.save_pretrained(tmp_path / "judge")
    before = logits(network, full(family), pair_data / "clip0.wav")
    assert main([str(tmp_path / "judge"), str(tmp_path / "out"), "--full-model", str(full(family))]) == 0
    after = logits(thinker(tmp_path / "out"), tmp_path / "out", pair_data / "clip0.wav")
    assert (after - before).abs().max() == 0
    assert (logits(thinker(full(family)), full(family), pair_data / "clip0.wav") - before).abs().max() > 0.01
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in full(family).iterdir()
    )
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    with safe_open(tmp_path / "out" / index["weight_map"][TALKER], framework="pt") as file:
        assert torch.equal(file.get_tensor(TALKER), torch.arange(6.0).reshape(2, 3))
    assert index["metadata"]["total_size"] > 0


@pytest.mark.parametrize("family", ["qwen2_5_omni", "qwen2_audio", "qwen3_omni"])
def test_adapter_is_merged(family, full, pair_data, tmp_path):
    network = adapter(thinker(full(family)), tmp_path / "adapter", str(full(family)))
    before = logits(network, full(family), pair_data / "clip1.wav")
    done = export_judge(str(tmp_path / "adapter"), tmp_path / "out")
    assert done.dtype == "float32"
    assert (done.kept == 0) == (family == "qwen2_audio")
    after = logits(thinker(tmp_path / "out"), tmp_path / "out", pair_data / "clip1.wav")
    assert (after - before).abs().max() < 1e-5


def test_transformers_loads_the_full_class(full, tmp_path):
    network = trained(thinker(full("qwen2_5_omni")))
    network.save_pretrained(tmp_path / "judge")
    export_judge(str(tmp_path / "judge"), tmp_path / "out", full_model=str(full("qwen2_5_omni")))
    whole = transformers.AutoModelForTextToWaveform.from_pretrained(tmp_path / "out")
    assert torch.equal(whole.thinker.lm_head.weight, network.lm_head.weight)
    transformers.AutoProcessor.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_what_the_host_trained_keeps_its_logits(tuning, full, pair_data, tmp_path):
    """Two steps of SFT; the adapter is merged by us and by ``llamafactory-cli export``, the thinker put back."""
    omni, clip = full("qwen2_5_omni"), pair_data / "clip3.wav"
    common = {"model_name_or_path": str(omni), "template": "qwen2_omni", "finetuning_type": tuning}
    judge = host(
        "train",
        tmp_path,
        stage="sft",
        do_train=True,
        lora_target="q_proj,v_proj",
        dataset="pairs",
        dataset_dir=str(pair_data),
        cutoff_len=512,
        output_dir=str(tmp_path / "judge"),
        per_device_train_batch_size=4,
        max_steps=2,
        learning_rate=1e-2,
        report_to="none",
        use_cpu=True,
        **common,
    )
    if tuning == "lora":
        from peft import PeftModel

        before = logits(PeftModel.from_pretrained(thinker(omni), judge).eval(), omni, clip)
        adapter = {"adapter_name_or_path": str(judge), "export_dir": str(tmp_path / "merged"), "export_device": "cpu"}
        merged = host("export", tmp_path, **common, **adapter)
        assert main([str(judge), str(tmp_path / "ours"), "--base-model", str(omni)]) == 0
        assert (logits(thinker(merged), merged, clip) - before).abs().max() < 1e-5
        assert (logits(thinker(tmp_path / "ours"), omni, clip) - before).abs().max() < 1e-5
        judge = merged
    before = logits(thinker(judge), judge, clip)
    assert (logits(thinker(omni), omni, clip) - before).abs().max() > 1e-3
    assert main([str(judge), str(tmp_path / "whole"), "--full-model", str(omni)]) == 0
    whole = transformers.AutoModelForTextToWaveform.from_pretrained(tmp_path / "whole").eval()
    assert (logits(whole.thinker, tmp_path / "whole", clip) - before).abs().max() == 0


def test_dtype_is_as_asked_and_told_to_loaders(full, tmp_path):
    trained(thinker(full("qwen2_5_omni"))).save_pretrained(tmp_path / "judge")
    target = str(full("qwen2_5_omni"))
    done = export_judge(str(tmp_path / "judge"), tmp_path / "half", full_model=target, dtype="bfloat16")
    assert done.dtype == "bfloat16"
    assert thinker(tmp_path / "half").dtype == torch.bfloat16
    export_judge(str(tmp_path / "judge"), tmp_path / "same", full_model=target)
    assert thinker(tmp_path / "same").dtype == torch.float32


def test_mistakes_are_named_and_leave_nothing(full, tiny_models, tmp_path):
    omni = str(full("qwen2_5_omni"))
    network = thinker(full("qwen2_5_omni"))
    network.save_pretrained(tmp_path / "judge")
    adapter(network, tmp_path / "nameless", None)
    judge = str(tmp_path / "judge")
    with pytest.raises(UserError, match="is a full model already"):
        export_judge(omni, tmp_path / "out")
    with pytest.raises(UserError, match="--full-model"):
        export_judge(judge, tmp_path / "out")
    with pytest.raises(UserError, match="--base-model"):
        export_judge(str(tmp_path / "nameless"), tmp_path / "out")
    with pytest.raises(UserError, match="is no full qwen2_5_omni model"):
        export_judge(judge, tmp_path / "out", full_model=str(full("qwen3_omni")))
    with pytest.raises(UserError, match="exists already"):
        export_judge(judge, tmp_path, full_model=omni)
    with pytest.raises(UserError, match="unknown dtype 'int8'"):
        export_judge(judge, tmp_path / "out", full_model=omni, dtype="int8")
    tensors = load_file(tmp_path / "judge/model.safetensors")
    head = tensors["lm_head.weight"]
    save_file(
        {**tensors, "lm_head.weight": head[:-1].contiguous()}, tmp_path / "judge/model.safetensors", {"format": "pt"}
    )
    with pytest.raises(UserError, match=r"thinker.lm_head.weight has shape"):
        export_judge(judge, tmp_path / "out", full_model=omni)
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "judge/model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"1 tensors are not in .*thinker.lm_head.weight first"):
        export_judge(judge, tmp_path / "out", full_model=omni)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
