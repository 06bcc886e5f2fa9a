"""Check that TensorBoard is installed where runs write its event files."""

from __future__ import annotations

from importlib.util import find_spec

from xray_hpc.errors import ConfigError
from xray_hpc.launching.plan import Plan


def check_tensorboard(plan: Plan) -> None:
    """Check TensorBoard if ``train.tensorboard`` is set, and jobs use the Python of this process.

    With a Python of their own, only they can tell.

    Raises:
        ConfigError: it is not installed.
    """
    cluster = plan.settings.cluster
    if cluster.setup or cluster.container or cluster.python:
        return
    if any(run.config.train.tensorboard for run in plan.runs) and find_spec("tensorboard") is None:
        problem = "train.tensorboard=true needs TensorBoard, which is not installed"
        raise ConfigError(f"{problem}; install it: pip install tensorboard")
