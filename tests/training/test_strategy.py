"""Training on two replicas equals training on one.

Two logical CPU devices stand in for GPUs. They must be configured before TensorFlow initializes, so
the trainings run in a separate process (replicas.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xray_hpc.errors import UserError
from xray_hpc.training.strategy import check_batch

MODELS = ("cnn", "ft", "conv", "lung", "stacked", "vgg")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Train runs on one device and on two.

    They have dropout, BatchNormalization, class weights, balanced sampling and short last batches.
    """
    out = tmp_path_factory.mktemp("replicas") / "trained.npz"
    command = [sys.executable, "-m", "tests.training.replicas", str(out)]
    subprocess.run(command, check=True, timeout=550, cwd=Path(__file__).parents[2])
    with np.load(out, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.parametrize("model", MODELS)
def test_two_replicas_learn_the_weights_of_one_device(trained: dict[str, Any], model: str) -> None:
    names = [name for name in trained if name.startswith(f"{model}/1/weight")]
    assert names
    for name in names:
        one, two = trained[name], trained[name.replace("/1/", "/2/")]
        np.testing.assert_allclose(two, one, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("model", MODELS)
def test_two_replicas_score_a_short_last_batch(trained: dict[str, Any], model: str) -> None:
    one, two = trained[f"{model}/1/scores"], trained[f"{model}/2/scores"]
    assert len(one) % 8 == 1  # 8 images a batch: the last one has fewer images than replicas
    np.testing.assert_allclose(two, one, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_validation_metrics_do_not_depend_on_replicas(trained: dict[str, Any], model: str) -> None:
    one = json.loads(str(trained[f"{model}/1/history"]))
    two = json.loads(str(trained[f"{model}/2/history"]))
    assert len(one) == len(two) == 2
    for first, second in zip(one, two, strict=True):
        assert first == pytest.approx(second, abs=1e-5)


def test_saved_model_of_two_replicas_gives_the_scores(trained: dict[str, Any]) -> None:
    np.testing.assert_allclose(trained["cnn/2/saved"], trained["cnn/2/scores"], atol=1e-6)


def test_prepare_devices_uses_the_assigned_cores() -> None:
    show = "import tensorflow as tf; print(tf.config.threading.get_intra_op_parallelism_threads())"
    prepare = "from xray_hpc.training.train_run import prepare_devices; prepare_devices()"
    done = subprocess.run(
        [sys.executable, "-c", f"{prepare}; {show}"],
        env=os.environ | {"SLURM_CPUS_PER_TASK": "8", "XRAY_HPC_CPUS": "3"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "3\n"


def test_check_batch_refuses_an_indivisible_batch() -> None:
    with pytest.raises(UserError, match=r"batch_size=32.*3 replicas.*such as 33"):
        check_batch(32, 3, images=1000)


def test_check_batch_refuses_a_batch_larger_than_the_data() -> None:
    with pytest.raises(UserError, match=r"batch_size=64.*50 training images"):
        check_batch(64, 1, images=50)
