"""A fake training: epochs, checkpoints and result files, but no TensorFlow and no images.

``FakeTraining`` controls the fake trainings of a sweep. In their processes
``python -m xray_hpc.training`` is the real one up to the import of ``train_run``, which the
environment replaces by this module, as it does ``isolated_keras``. Its ``train_run`` sleeps
through the epochs, resumes from its checkpoint and writes the files of a finished run. The audit
lists what each process did.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.faults.audit import Audit
from xray_hpc.records.atomic_files import atomic_write, read_json, write_json
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_integrity import result_states
from xray_hpc.records.run_progress import TrainingProgress, checkpoint_name, write_progress
from xray_hpc.records.run_record import Status, now, update_record

MODEL = "cnn"
isolated_keras = contextlib.nullcontext  # as xray_hpc.isolated_keras, which imports TensorFlow
# The code of this checkout, wherever an installed copy may be.
REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER_VARIABLE = "XRAY_HPC_FAKE_TRAINING"

SITECUSTOMIZE = """\
import sys
from importlib.util import spec_from_file_location

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("xray_hpc.training.train_run", "xray_hpc.isolated_keras"):
            return spec_from_file_location(name, {file!r})

if "xray_hpc.training" in sys.orig_argv:
    sys.meta_path.insert(0, Finder)
"""


class FakeTraining:
    """A folder with the orders for the fake trainings of a sweep; runs are named by their seeds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.audit = Audit(folder)

    def prepare(self, *, seconds: float, epochs: int) -> None:
        """Create the folder, for runs of so many epochs that take ``seconds`` each."""
        # Here, because the fake training itself does without pandas.
        from tests.report.fake_runs import (
            FakeRun,
            write_run,
        )

        self.folder.mkdir(parents=True)
        site = SITECUSTOMIZE.format(file=str(Path(__file__).resolve()))
        (self.folder / "sitecustomize.py").write_text(site)
        self.set_epoch_seconds(seconds)
        with tempfile.TemporaryDirectory() as made:
            drawn = write_run(SweepPaths(Path(made)), MODEL, FakeRun(epochs=epochs))
            for path in (drawn.config, drawn.record, drawn.log):
                path.unlink()
            shutil.copytree(drawn.folder, self.result_files)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make a process use the fake training."""
        return {"PYTHONPATH": f"{self.folder}:{REPOSITORY}", FOLDER_VARIABLE: str(self.folder)}

    @property
    def result_files(self) -> Path:
        """The folder with the files that a finished run gets."""
        return self.folder / "results"

    def set_epoch_seconds(self, seconds: float) -> None:
        """Set the duration of the epochs that begin from now on."""
        write_json(self.folder / "epoch_seconds.json", {"seconds": seconds})

    def epoch_seconds(self) -> float:
        """Return the duration of an epoch."""
        return float(read_json(self.folder / "epoch_seconds.json")["seconds"])

    def hold(self, epoch: int) -> None:
        """Hold every run in this epoch and later ones until :meth:`release`."""
        write_json(self.folder / "hold.json", {"epoch": epoch})

    def release(self) -> None:
        """Let held runs continue."""
        (self.folder / "hold.json").unlink(missing_ok=True)

    def is_held(self, epoch: int) -> bool:
        """Return whether runs are held in this epoch."""
        try:
            return bool(epoch >= read_json(self.folder / "hold.json")["epoch"])
        except FileNotFoundError:
            return False

    def order(self, seed: int, action: str, *, epoch: int, amount: int = 0) -> None:
        """Let the run ``raise``, ``exit`` with ``amount`` or ``allocate`` that many MiB."""
        write_json(self._order(seed), {"action": action, "epoch": epoch, "amount": amount})

    def cancel_order(self, seed: int) -> None:
        """Let the run train normally again."""
        self._order(seed).unlink()

    def ordered(self, seed: int, epoch: int) -> dict[str, Any]:
        """Return the order for this epoch of the run; empty if there is none."""
        path = self._order(seed)
        order = read_json(path) if path.exists() else {}
        return order if order.get("epoch") == epoch else {}

    def _order(self, seed: int) -> Path:
        return self.folder / f"{seed}.order"


def train_run(paths: RunPaths, *, bar: bool = False) -> None:
    """Sleep through the epochs of the run, and write ``finished`` into ``run.json`` last."""
    fake = FakeTraining(Path(os.environ[FOLDER_VARIABLE]))
    config = read_frozen_run(paths).config
    epochs = config.train.epochs
    first, digest = load_checkpoint(paths)
    for epoch in range(first, epochs):
        fake.audit.append(config.seed, event="begin", epoch=epoch)
        obey(fake.ordered(config.seed, epoch))
        while fake.is_held(epoch):
            time.sleep(0.02)
        seconds = fake.epoch_seconds()
        time.sleep(seconds)
        digest = next_digest(epoch, digest)
        save_checkpoint(paths, epoch, digest)
        fake.audit.append(config.seed, event="end", epoch=epoch, digest=digest)
        progress = TrainingProgress(epoch + 1, epochs, first, seconds, epoch + 1, 0.9, 0.3, 0.8)
        write_progress(paths, progress)
        print(f"epoch {epoch + 1}/{epochs}", flush=True)
    for source in fake.result_files.iterdir():
        with atomic_write(paths.folder / source.name) as temporary:
            shutil.copyfile(source, temporary)
    files = result_states(paths, config.model.name)
    update_record(paths, status=Status.FINISHED, ended=now(), seconds=1.0, files=files)


def load_checkpoint(paths: RunPaths) -> tuple[int, str]:
    """Return the epoch to resume with, and the digest of those before it."""
    files = sorted(paths.checkpoint_folder.glob("epoch-*.json"))
    if not files:
        return 0, ""
    checkpoint = read_json(files[-1])
    return checkpoint["epoch"] + 1, checkpoint["digest"]


def save_checkpoint(paths: RunPaths, epoch: int, digest: str) -> None:
    """Write a checkpoint, which a termination signal does not interrupt."""
    from xray_hpc.training.signals import UNSAVED_WORK

    with UNSAVED_WORK:
        paths.checkpoint_folder.mkdir(exist_ok=True)
        file = paths.checkpoint_folder / f"{checkpoint_name(epoch + 1, 0)}.json"
        write_json(file, {"epoch": epoch, "digest": digest})


def next_digest(epoch: int, digest: str) -> str:
    """Return a digest of all epochs up to this one, in their order."""
    return hashlib.sha256(f"{digest}{epoch}".encode()).hexdigest()[:16]


def expected_digest(epochs: int) -> str:
    """Return the digest of an uninterrupted run of so many epochs."""
    digest = ""
    for epoch in range(epochs):
        digest = next_digest(epoch, digest)
    return digest


def obey(order: dict[str, Any]) -> None:
    """Fail as ordered; an empty order does nothing."""
    match order.get("action"):
        case "raise":
            raise RuntimeError("ordered to raise")
        case "exit":
            os._exit(order["amount"])
        case "allocate":
            memory = bytearray(order["amount"] << 20)
            memory[::4096] = bytes([1]) * len(memory[::4096])
