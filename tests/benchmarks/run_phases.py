"""Train a run, and say what CPU seconds its parts take: python phases.py RUN FILE."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.timing import cpu_seconds

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PARTS = {
    "load": "loading the images",
    "check_inputs": "loading the images",
    "draw_augmentation_preview": "showing the changed images",
    "make_training_model": "building and compiling the model",
    "evaluate": "scores, tables and figures",
    "export_model": "saving the model",
}
IMPORTS, FIRST, OTHERS = "importing", "preparing, and the first epoch", "each other epoch"
REST, ALL = "the rest", "all"


def main() -> None:
    """The command."""
    from xray_hpc.records.paths import RunPaths
    from xray_hpc.training import train_run
    from xray_hpc.training.callbacks import EpochTables

    spent = {IMPORTS: cpu_seconds()}
    epochs: list[float] = []

    def timed(name: str) -> Callable[..., Any]:
        call = getattr(train_run, name)

        def timing(*words: Any, **named: Any) -> Any:
            began = cpu_seconds()
            result = call(*words, **named)
            spent[PARTS[name]] = spent.get(PARTS[name], 0.0) + cpu_seconds() - began
            return result

        return timing

    for name in PARTS:
        setattr(train_run, name, timed(name))
    fit, write = train_run.fit, EpochTables.on_epoch_end

    def begin(*words: Any, **named: Any) -> Any:
        epochs.append(cpu_seconds())
        return fit(*words, **named)

    def end(self: EpochTables, *words: Any) -> None:
        write(self, *words)
        epochs.append(cpu_seconds())

    train_run.fit, EpochTables.on_epoch_end = begin, end
    train_run.train_run(RunPaths(Path(sys.argv[1])))
    everything = cpu_seconds()
    start, first, *_, last = epochs
    spent[REST] = everything - sum(spent.values()) - (last - start)
    spent[FIRST], spent[OTHERS] = first - start, (last - first) / (len(epochs) - 2)
    Path(sys.argv[2]).write_text(json.dumps(spent | {ALL: everything}))


if __name__ == "__main__":
    main()
