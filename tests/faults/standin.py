"""A stand-in for the training of a run: no TensorFlow and no images, but epochs and checkpoints.

``python -m xray_hpc.training`` is the real one up to the call of ``train_run``; with the
``PYTHONPATH`` of :func:`environment` that function is the one below. It sleeps through its epochs,
goes on from its checkpoint, and leaves the files of a finished run. What it did, in which process
and in which order, is in the audit: one line when an epoch begins, one when it is over.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from xray_hpc.records.atomic_files import atomic_write, read_json, write_json
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_progress import TrainingProgress, checkpoint_name, write_progress
from xray_hpc.records.run_record import Status, now, update_record

MODEL = "cnn"
# The code beside these tests, wherever an installed one is.
REPOSITORY = Path(__file__).resolve().parents[2]
CONTROL = "XRAY_HPC_STANDIN"

SITE = """\
import sys
from importlib.util import spec_from_file_location

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "xray_hpc.training.train_run":
            return spec_from_file_location(name, {file!r})

if "xray_hpc.training" in sys.orig_argv:
    sys.meta_path.insert(0, Finder)
"""


class Control:
    """A folder from which the stand-ins of a sweep are told what to do, and in which they report.

    ``results`` in it holds the files that a finished run is given. Runs are known by their seeds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self, *, seconds: float, epochs: int) -> None:
        """Make the folder, for runs of so many epochs of ``seconds`` each."""
        from tests.report.synthetic import (  # with pandas, which the stand-in does without
            Drawn,
            write_run,
        )

        self.folder.mkdir(parents=True)
        site = SITE.format(file=str(Path(__file__).resolve()))
        (self.folder / "sitecustomize.py").write_text(site)
        self.pace(seconds)
        with tempfile.TemporaryDirectory() as made:
            drawn = write_run(SweepPaths(Path(made)), MODEL, Drawn(epochs=epochs))
            for path in (drawn.config, drawn.record, drawn.log):
                path.unlink()
            shutil.copytree(drawn.folder, self.results)

    def pace(self, seconds: float) -> None:
        """Have an epoch take ``seconds`` from the next one on."""
        write_json(self.folder / "pace.json", {"seconds": seconds})

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment for its training to be the stand-in."""
        return {"PYTHONPATH": f"{self.folder}:{REPOSITORY}", CONTROL: str(self.folder)}

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def order(self, seed: int, do: str, *, epoch: int, amount: int = 0) -> None:
        """Have the run ``raise``, ``exit`` with or ``allocate`` (MiB) ``amount`` in an epoch."""
        write_json(self._order(seed), {"do": do, "epoch": epoch, "amount": amount})

    def countermand(self, seed: int) -> None:
        self._order(seed).unlink()

    def ordered(self, seed: int, epoch: int) -> dict[str, Any]:
        """What the run is to do in this epoch; empty where nothing was ordered."""
        path = self._order(seed)
        order = read_json(path) if path.exists() else {}
        return order if order.get("epoch") == epoch else {}

    def seconds(self) -> float:
        return float(read_json(self.folder / "pace.json")["seconds"])

    def note(self, seed: int, **fields: Any) -> None:
        """Append a line to the run's audit, in one write."""
        me = os.getpid()
        others = {(line["pid"], line["began"]) for line in self.audit(seed) if line["pid"] != me}
        beside = [pid for pid, began in others if process_began(pid) == began]
        line = fields | {"pid": me, "began": process_began(me), "beside": beside}
        line |= {"job": os.environ.get("SLURM_JOB_ID"), "time": time.time()}
        with self._audit(seed).open("a") as audit:
            audit.write(json.dumps(line) + "\n")

    def audit(self, seed: int) -> list[dict[str, Any]]:
        """The run's audit, oldest line first."""
        path = self._audit(seed)
        return list(map(json.loads, path.read_text().splitlines())) if path.exists() else []

    def _order(self, seed: int) -> Path:
        return self.folder / f"{seed}.order"

    def _audit(self, seed: int) -> Path:
        return self.folder / f"{seed}.audit"


def train_run(paths: RunPaths, *, bar: bool = False) -> None:
    """Sleep through the run's epochs; ``run.json`` says ``finished`` last."""
    control = Control(Path(os.environ[CONTROL]))
    config = read_frozen_run(paths).config
    first, digest = newest(paths)
    for epoch in range(first, config.train.epochs):
        control.note(config.seed, what="begin", epoch=epoch)
        obey(control.ordered(config.seed, epoch))
        time.sleep(control.seconds())
        digest = digest_after(epoch, digest)
        save(paths, epoch, digest)
        control.note(config.seed, what="end", epoch=epoch, digest=digest)
        said = TrainingProgress(
            epoch + 1, config.train.epochs, first, control.seconds(), epoch, 0.9, 0.3, 0.8
        )
        write_progress(paths, said)
        print(f"epoch {epoch + 1}/{config.train.epochs}", flush=True)
    for source in control.results.iterdir():
        with atomic_write(paths.folder / source.name) as temporary:
            shutil.copyfile(source, temporary)
    update_record(paths, status=Status.FINISHED, ended=now(), seconds=1.0)


def newest(paths: RunPaths) -> tuple[int, str]:
    """The epoch to go on with, and the digest of those before it."""
    files = sorted(paths.checkpoint_folder.glob("epoch-*.json"))
    if not files:
        return 0, ""
    state = read_json(files[-1])
    return state["epoch"] + 1, state["digest"]


def save(paths: RunPaths, epoch: int, digest: str) -> None:
    """Write the checkpoint, which a training that is told to end does not leave half-written."""
    from xray_hpc.training.signals import UNSAVED_WORK

    with UNSAVED_WORK:
        name = checkpoint_name(epoch + 1, 0)
        write_json(paths.checkpoint_folder / f"{name}.json", {"epoch": epoch, "digest": digest})


def digest_after(epoch: int, before: str) -> str:
    """A digest of all epochs up to this one, which no other order of epochs has."""
    return hashlib.sha256(f"{before}{epoch}".encode()).hexdigest()[:16]


def digest_of(epochs: int) -> str:
    """The digest of an uninterrupted run of so many epochs."""
    digest = ""
    for epoch in range(epochs):
        digest = digest_after(epoch, digest)
    return digest


def obey(order: dict[str, Any]) -> None:
    match order.get("do"):
        case "raise":
            raise RuntimeError("told to raise")
        case "exit":
            os._exit(order["amount"])
        case "allocate":
            held = bytearray(order["amount"] << 20)
            held[::4096] = bytes([1]) * len(held[::4096])


def process_began(pid: int) -> int | None:
    """When a process started, in ticks since the boot; None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])
