from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
from xray_hpc.config.run_config import AugmentConfig
from xray_hpc.data.input_pipeline import training_batches

images = np.zeros((256, 224, 224, 3), np.uint8)
batches = iter(
    training_batches(
        images, np.arange(256) % 2, np.arange(256), targets="sigmoid", classes=2, batch_size=32,
        input_size=224, augment=AugmentConfig(rotation=30), balance="none", seed=1,
        epochs=range(1000),
    )
)
next(batches)
"""


@pytest.mark.parametrize(("end", "code"), [("sys.exit(3)", 3), ("raise ZeroDivisionError", 1)])
def test_callback_guard_preserves_the_exit_code(end: str, code: int) -> None:
    command = [sys.executable, "-c", f"{PROGRAM}\n{end}"]
    assert subprocess.run(command, capture_output=True, timeout=300).returncode == code
