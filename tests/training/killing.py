"""Start trainings quickly, and kill them or fail their disk at a given event.

A server process imports TensorFlow once, without starting its threads, and forks a child for each
training. The child reports *events*: what Python is about to do with a file in the run folder (from
an audit hook), and the beginning and end of each step, prediction and phase. Whatever a training
writes, it writes between two of these events.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from xray_hpc import job_logging
from xray_hpc.models.registry import MODELS
from xray_hpc.records.paths import RunPaths

FILE_EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# Modules that a training imports late.
LATE = (
    "pandas.io.formats.csvs",
    "rich.progress",
    "sklearn.metrics",
    "xray_hpc.synthetic.demo_dataset",
    *(model.module for model in MODELS.values()),
)
TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.")  # the prefix of a temporary file


class Event(NamedTuple):
    """Something that a training does.

    Attributes:
        phase: the part of the training, such as ``step`` or ``checkpoint``.
        action: what it does, such as ``os.rename temporary run.json``.
    """

    phase: str
    action: str


@dataclass(frozen=True)
class End:
    """Where and how a training is ended.

    Attributes:
        phase: the phase of the event.
        number: which of the events in that phase, from 0.
        action: how the action of the events begins that are counted.
        by: ``SIGKILL`` or ``SIGTERM``, which the process sends to itself.
        torn: the fraction that remains of files that are being written.
        after: seconds after the event at which the parent kills the process instead.
        error: instead of a signal, the number of the error of every write to the run folder from
            the event on, as on a full disk; of the first write only, if ``passes``.
    """

    phase: str
    number: int
    action: str = ""
    by: str = "SIGKILL"
    torn: float | None = None
    after: float | None = None
    error: int | None = None
    passes: bool = False

    def counts(self, event: Event) -> bool:
        return event.phase == self.phase and event.action.startswith(self.action)


class Ended(NamedTuple):
    """The exit code of a process, its events and its output."""

    code: int
    events: list[Event]
    output: str


class Trainer:
    """The server process that starts trainings; a context manager."""

    def __enter__(self) -> Trainer:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.killing"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def train(
        self, paths: RunPaths, end: End | None = None, replicas: int = 0, *, wait: bool = False
    ) -> Ended:
        """Train a run until it finishes or is ended.

        Args:
            paths: the run.
            end: where to end the training.
            replicas: how many of two logical devices to use; 0 leaves the devices as they are.
            wait: whether training waits for each checkpoint, so that it saves them at known steps.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"folder": str(paths.folder), "end": end and asdict(end)}
        order |= {"replicas": replicas, "wait": wait}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        code, events, output = json.loads(self._process.stdout.readline())
        return Ended(code, [Event(*event) for event in events], output)


def serve() -> None:
    load()
    for line in sys.stdin:
        order = json.loads(line)
        end = order["end"] and End(**order["end"])
        ended = start(Path(order["folder"]), end, order["replicas"], order["wait"])
        print(json.dumps(ended), flush=True)


def load() -> None:
    """Import and initialize what every training needs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from xray_hpc.code_digest import software_identity

    for module in ("tests.training.replicas", "xray_hpc.training.train_run", *LATE):
        importlib.import_module(module)
    figure = Figure()
    figure.suptitle("Finds the fonts")
    FigureCanvasAgg(figure).draw()
    software_identity()  # cached: the source may be edited while this process runs


def start(folder: Path, end: End | None, replicas: int, wait: bool) -> Ended:
    """Train in a child process, and wait for its end."""
    reader, writer = os.pipe()
    with tempfile.TemporaryFile("w+") as output:
        pid = os.fork()
        if not pid:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os.close(reader)
            Child(RunPaths(folder), writer, end).run(replicas, wait)
        os.close(writer)
        events, counted = [], 0
        with os.fdopen(reader) as lines:
            for line in lines:
                event = Event(*json.loads(line))
                events.append(event)
                if end is None or end.after is None or not end.counts(event):
                    continue
                if counted == end.number:
                    time.sleep(end.after)
                    os.kill(pid, signal.SIGKILL)
                counted += 1
        _, status = os.waitpid(pid, 0)
        output.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), events, output.read())


class Child:
    """The process that trains, reports its events and ends itself at one of them."""

    def __init__(self, paths: RunPaths, writer: int, end: End | None) -> None:
        self.paths = paths
        self.writer = writer
        self.end = end
        self.phase = "start"
        self.counted = 0
        self.failing = False
        self.lock = threading.Lock()

    def run(self, replicas: int, wait: bool) -> NoReturn:
        code = 1
        try:
            from xray_hpc.training.__main__ import execute_run
            from xray_hpc.training.signals import exit_on_signals

            job_logging.configure()
            exit_on_signals()
            if wait:
                import pytest

                from tests.training.small_runs import wait_for_checkpoints

                wait_for_checkpoints(pytest.MonkeyPatch())
            self.instrument(replicas)
            code = execute_run(self.paths)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def instrument(self, replicas: int) -> None:
        """Make the training report its events."""
        import tensorflow as tf
        from matplotlib.figure import Figure

        from xray_hpc import figure_files
        from xray_hpc.training import train_run
        from xray_hpc.training.checkpoint import CheckpointCallback
        from xray_hpc.training.epoch_callbacks import Validation
        from xray_hpc.training.training_model import Predictor

        if replicas:
            cpu = tf.config.list_physical_devices("CPU")[0]
            two = [tf.config.LogicalDeviceConfiguration()] * 2
            tf.config.set_logical_device_configuration(cpu, two)
            make, names = train_run.make_strategy, [f"CPU:{i}" for i in range(replicas)]
            train_run.make_strategy = lambda: make(names)
        for owner, name, phase in (
            (train_run, "fit", "training"),
            (CheckpointCallback, "on_train_batch_end", "step"),
            (Validation, "on_epoch_end", "validation"),
            (Predictor, "predict_batch", None),
            (train_run, "evaluate", "evaluation"),
            (train_run, "export_model", "export"),
            (train_run, "explain_misses", "explanation"),
        ):
            setattr(owner, name, self.reporting(getattr(owner, name), phase))
        draw, update = figure_files.save_figure, train_run.update_record

        def draw_coarsely(figure: Figure, path: Path, **options: Any) -> None:
            figure.set_layout_engine("none")
            draw(figure, path, **options | {"dpi": 20})

        def update_record(paths: RunPaths, **changes: Any) -> None:
            if "status" in changes:
                self.phase = "before finished"
            update(paths, **changes)
            if "status" in changes:
                self.phase = "finished"
                self.report("run.json says so")

        figure_files.save_figure, train_run.update_record = draw_coarsely, update_record
        sys.addaudithook(self.audit)

    def reporting(self, function: Callable[..., Any], phase: str | None) -> Callable[..., Any]:
        """Wrap a function, so that it reports an event before and after, in a phase of its own."""

        @wraps(function)
        def reporting(*args: Any, **kwargs: Any) -> Any:
            before, self.phase = self.phase, phase or self.phase
            self.report(f"before {function.__name__}")
            try:
                return function(*args, **kwargs)
            finally:
                self.report(f"after {function.__name__}")
                self.phase = before

        return reporting

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in FILE_EVENTS or not isinstance(args[0], str | os.PathLike):
            return
        path = Path(os.fsdecode(args[0]))
        if path.is_relative_to(self.paths.folder):
            name = path.relative_to(self.paths.folder).as_posix()
        elif self.phase == "finished" and not path.is_absolute():
            name = path.name  # as rmtree names the checkpoints
        else:
            return
        self.report(f"{event} {TEMPORARY.sub('temporary ', name)}", path)
        if self.failing and (event == "os.rename" or (event == "open" and args[2] & WRITES)):
            assert self.end is not None
            assert self.end.error is not None
            self.failing = not self.end.passes
            raise OSError(self.end.error, os.strerror(self.end.error), str(path))

    def report(self, action: str, path: Path | None = None) -> None:
        with self.lock:
            phase = self.phase
            if threading.current_thread() is not threading.main_thread():
                phase = "checkpoint"
            elif path is not None and path.parent == self.paths.weights_folder:
                phase = "best weights"
            elif path is not None and path.suffix == ".csv" and phase == "training":
                phase = "tables"
            event, end = Event(phase, action), self.end
            os.write(self.writer, json.dumps(event).encode() + b"\n")
            if end is None or end.after is not None or not end.counts(event):
                return
            if self.counted == end.number:
                self.fail(end)
            self.counted += 1

    def fail(self, end: End) -> None:
        if end.error is not None:
            self.failing = True
            return
        if end.torn is not None:
            self.truncate(end.torn)
        os.kill(os.getpid(), signal.Signals[end.by])

    def truncate(self, fraction: float) -> None:
        for path in self.paths.folder.rglob(".*"):
            with suppress(FileNotFoundError):
                os.truncate(path, int(fraction * path.stat().st_size))


if __name__ == "__main__":
    serve()
