"""What a clip gives alone is what it gives in any batch."""

from __future__ import annotations

import pytest
import torch
import transformers

from earwitness.audio.tower import use_exact_tower

FRAMES = [37, 413, 199, 200, 201, 3]


def tower_outputs(model, clips: list[torch.Tensor]) -> list[torch.Tensor]:
    """Run the tower on a batch of (128, frames) clips and split its output by clip."""
    frames = [clip.shape[1] for clip in clips]
    features = torch.zeros(len(clips), 128, max(frames))
    mask = torch.zeros(len(clips), max(frames), dtype=torch.long)
    for row, clip in enumerate(clips):
        features[row, :, : frames[row]] = clip
        mask[row, : frames[row]] = 1
    with torch.no_grad():
        return model.get_audio_features(features, feature_attention_mask=mask).last_hidden_state


@pytest.fixture
def clips() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(128, frames, generator=generator) for frames in FRAMES]


def load(path) -> torch.nn.Module:
    return transformers.AutoModelForTextToWaveform.from_pretrained(path).thinker.eval()


def test_qwen2_5_omni_equals_the_stock_tower(tiny_models, clips):
    model = load(tiny_models["qwen2_5_omni"])
    stock = torch.cat([tower_outputs(model, [clip]) for clip in clips])
    use_exact_tower(model)
    difference = (tower_outputs(model, clips) - stock).abs().max()
    assert difference / stock.abs().max() < 2e-6  # float32 rounding; measured 1.4e-6 on outputs of up to 2.9


def test_qwen3_omni_does_not_depend_on_the_batch(tiny_models, clips):
    model = load(tiny_models["qwen3_omni"])
    alone = torch.cat([tower_outputs(model, [clip]) for clip in clips])
    stock_difference = (tower_outputs(model, clips) - alone).abs().max()
    use_exact_tower(model)
    alone = torch.cat([tower_outputs(model, [clip]) for clip in clips])
    assert stock_difference > 1e-4, "transformers mended its tower: the clip-by-clip loop may go"
    assert torch.equal(tower_outputs(model, clips), alone)


def test_qwen3_omni_equals_the_stock_tower_on_a_clip_of_one_window(tiny_models, clips):
    """Beyond one attention window (4 s) the stock SDPA path sees the whole clip, FlashAttention and we do not."""
    model = load(tiny_models["qwen3_omni"])
    short = [clip for clip in clips if clip.shape[1] <= 400]
    stock = torch.cat([tower_outputs(model, [clip]) for clip in short])
    use_exact_tower(model)
    assert torch.equal(torch.cat([tower_outputs(model, [clip]) for clip in short]), stock)


def test_saved_configuration_does_not_name_our_attention(tiny_models, clips, tmp_path):
    model = load(tiny_models["qwen2_5_omni"])
    use_exact_tower(model)
    model.save_pretrained(tmp_path)
    assert "earwitness" not in (tmp_path / "config.json").read_text()
