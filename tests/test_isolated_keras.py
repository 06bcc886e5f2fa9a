"""Keras starts with its default settings, whatever the user's are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.isolated_keras import recorded_variables

SHOW = """
import json, os, tempfile
from xray_hpc.isolated_keras import isolated_keras
with isolated_keras():
    import h5py, keras, tensorflow as tf
config = keras.config
with tempfile.NamedTemporaryFile() as file, h5py.File(file.name, "w"):
    locks = [line for line in open("/proc/locks") if str(os.getpid()) in line.split()]
print(json.dumps({
    "settings": [config.backend(), config.floatx(), config.epsilon(), config.image_data_format()],
    "policy": config.dtype_policy().name,
    "limits": [config.max_epochs(), config.max_steps_per_epoch()],
    "locks": locks,
    "variables": {k: v for k, v in os.environ.items() if k.startswith(("KERAS", "TF_", "NVID"))},
}))
"""
HOSTILE = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}


def start_keras(**environment: str) -> dict[str, Any]:
    """Return the settings of Keras in a new process, and the variables that remain there."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS", "TF_", "NVID"))}
    command = [sys.executable, "-c", SHOW]
    done = subprocess.run(command, env=own | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


@pytest.mark.parametrize(
    ("home", "content"),
    [
        ("HOME", json.dumps(HOSTILE | {"backend": "jax", "nnx_enabled": True})),
        ("KERAS_HOME", json.dumps({"floatx": "float8", "epsilon": "small"})),
        ("KERAS_HOME", "[]"),
    ],
    ids=["other numbers", "invalid values", "no object"],
)
def test_keras_json_of_the_user_is_not_read(tmp_path: Path, home: str, content: str) -> None:
    folder = tmp_path / ".keras" if home == "HOME" else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / "keras.json").write_text(content)
    variables = {"KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "1", "KERAS_NNX_ENABLED": "1"}
    shown = start_keras(**variables, **{home: str(tmp_path)})
    assert shown["settings"] == ["tensorflow", "float32", 1e-7, "channels_last"]
    assert shown["policy"] == "float32"
    assert shown["limits"] == [None, None]
    remaining = {"KERAS_HOME": str(tmp_path)} if home == "KERAS_HOME" else {}
    assert shown["variables"] == remaining | {"TF_CPP_MIN_LOG_LEVEL": "3"}


def test_keras_start_writes_no_settings_and_drops_variables(tmp_path: Path) -> None:
    site = {"TF_GPU_ALLOCATOR": "cuda_malloc_async", "TF_CPP_MIN_LOG_LEVEL": "1"}
    numbers = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_XLA_FLAGS": "--tf_xla_auto_jit=2"}
    numbers |= {"NVIDIA_TF32_OVERRIDE": "0", "TF_NUM_INTRAOP_THREADS": "1"}
    assert start_keras(HOME=str(tmp_path), **site, **numbers)["variables"] == site
    assert not (tmp_path / ".keras").exists()


def test_keras_opens_files_without_locks_that_a_file_system_may_lack() -> None:
    assert start_keras(HDF5_USE_FILE_LOCKING="TRUE")["locks"] == []


def test_recorded_variables_leaves_out_harmless_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recorded_variables()
    harmless = ("TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH", "ONEDNN_VERBOSE")
    terraform = ("TF_VAR_password", "TF_TOKEN_app_terraform_io", "TF_CLI_CONFIG_FILE")
    dropped = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS")
    for name in (*harmless, *terraform, *dropped, "CUBLAS_LOGINFO_DBG"):
        monkeypatch.setenv(name, "1")
    assert recorded_variables() == before
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    assert recorded_variables() == before | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
