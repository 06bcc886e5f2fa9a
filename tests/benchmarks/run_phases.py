"""Train a run and write the CPU seconds of its phases: ``run_phases RUN FILE``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.timing import cpu_seconds

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PHASES = {
    "load_run_data": "loading the images",
    "draw_augmentation_preview": "augmentation preview",
    "make_training_model": "building and compiling the model",
    "evaluate": "scores, tables and figures",
    "export_model": "saving the model",
    "explain_misses": "Grad-CAM of the worst misses",
}
IMPORTS, FIRST, OTHERS = "importing", "preparation and first epoch", "each further epoch"
REST, ALL = "rest", "total"


def main() -> None:
    """Run the command."""
    from xray_hpc.records.paths import RunPaths
    from xray_hpc.training import train_run
    from xray_hpc.training.epoch_callbacks import EpochTables

    seconds = {IMPORTS: cpu_seconds()}
    epochs: list[float] = []

    def measured(name: str) -> Callable[..., Any]:
        function = getattr(train_run, name)

        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            start = cpu_seconds()
            result = function(*arguments, **keywords)
            seconds[PHASES[name]] = seconds.get(PHASES[name], 0.0) + cpu_seconds() - start
            return result

        return wrapper

    for name in PHASES:
        setattr(train_run, name, measured(name))
    fit, on_epoch_end = train_run.fit, EpochTables.on_epoch_end

    def measured_fit(*arguments: Any, **keywords: Any) -> Any:
        epochs.append(cpu_seconds())
        return fit(*arguments, **keywords)

    def measured_epoch_end(self: EpochTables, *arguments: Any) -> None:
        on_epoch_end(self, *arguments)
        epochs.append(cpu_seconds())

    train_run.fit, EpochTables.on_epoch_end = measured_fit, measured_epoch_end
    train_run.train_run(RunPaths(Path(sys.argv[1])))
    total = cpu_seconds()
    start, first, *_, last = epochs
    seconds[REST] = total - sum(seconds.values()) - (last - start)
    seconds[FIRST], seconds[OTHERS] = first - start, (last - first) / (len(epochs) - 2)
    Path(sys.argv[2]).write_text(json.dumps(seconds | {ALL: total}))


if __name__ == "__main__":
    main()
