"""Training on a Ray cluster through the host: its workers load the plugin too, and compute what one process does."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from sft_settings import sft_settings

ray = pytest.importorskip("ray", reason="needs the extra [ray]")

pytestmark = pytest.mark.slow

# On GPUs this is `USE_RAY=1 llamafactory-cli train`. Without one the host reserves ten CPUs for each CPU of the
# cluster, which no cluster has: here every worker takes one. All else is the host's.
DRIVER = """
import sys
from ray.util.placement_group import placement_group
from llamafactory.train import tuner

WORKERS = 2
configure = tuner.get_ray_remote_config_for_worker

def reserve(_):
    return placement_group([{"CPU": 1}] * WORKERS), {"CPU": 1}

tuner.get_placement_group = reserve
tuner.get_ray_remote_config_for_worker = lambda **settings: {**configure(**settings), "num_cpus": 1}

if __name__ == "__main__":
    from llamafactory.cli import main

    sys.argv = ["llamafactory-cli", "train", sys.argv[1]]
    main()
"""


@pytest.fixture
def train(tmp_path, tiny_models, pair_data, monkeypatch):
    """Return a function that trains two steps on four clips each and returns the logged rows."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(name: str, command: list[str], **settings) -> list[dict]:
        config, folder = tmp_path / f"{name}.yaml", tmp_path / name
        settings |= {"dataset": "clips", "learning_rate": 1e-3, "disable_shuffling": True}
        config.write_text(yaml.safe_dump(sft_settings(tiny_models["qwen2_5_omni"], pair_data, folder, **settings)))
        done = subprocess.run(
            [*command, str(config)], capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return json.loads((folder / "trainer_state.json").read_text())["log_history"]

    return run


def of(rows: list[dict], key: str) -> list[float]:
    return [row[key] for row in rows if key in row]


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_two_workers_agree_with_one_process(train, tmp_path, monkeypatch, weight):
    """A batch of four clips is the same mean over two workers of two each, with our weighted loss and without."""
    weights = {} if weight == 1.0 else {"cot_loss_weight": weight}
    cli = [sys.executable, "-m", "llamafactory.cli", "train"]
    expected = train("one", cli, per_device_train_batch_size=4, **weights)
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    monkeypatch.setenv("USE_RAY", "1")
    cluster = {
        "ray_num_workers": 2,
        "master_addr": ray.util.get_node_ip_address(),
        "ray_init_kwargs": {"num_cpus": 2, "include_dashboard": False},
    }
    rows = train("ray", [sys.executable, str(driver)], per_device_train_batch_size=2, **weights, **cluster)
    assert of(rows, "loss") == pytest.approx(of(expected, "loss"), abs=1e-4)
    assert of(rows, "grad_norm") == pytest.approx(of(expected, "grad_norm"), rel=1e-3)
    assert (tmp_path / "ray" / "model.safetensors").is_file()
