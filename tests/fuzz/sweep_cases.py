"""Damage a sweep, run all commands on it, and compare what they say with the undamaged sweep."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.base_sweep import NAME, OTHER
from tests.fuzz.damage import DAMAGES, Damage
from tests.fuzz.forked_command import NOBODY, Outcome, run_command
from tests.fuzz.verdict import Verdict
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.page.chart import Chart

Row = Mapping[str, Any]
REAL_FIGURES = 40  # every so manyth report is drawn; the others have empty figures
GROUPS = (
    (r"ledger\.jsonl", "ledger"),
    (r"sweep\.yaml|code/.*|runs/[^/]+/config\.yaml", "configuration and code"),
    (r"runs/[^/]+/\w+\.json", "records of runs"),
    (r"runs/[^/]+/\.lease.*", "leases"),
    (r"runs/[^/]+/checkpoint.*", "checkpoints"),
    (r"runs/[^/]+/\w+\.csv", "tables of runs"),
    (r"runs/[^/]+/log|slurm/.*", "logs and files of Slurm"),
    (r"report/.*", "report"),
    (r".*", "folders and other files"),
)
"""Rows of the table, by the path in the sweep."""
HEALING = ("cluster.kind=none",)  # a launch that writes the run folders and starts nothing


@dataclass(frozen=True)
class Baseline:
    """What the commands say of the undamaged sweep.

    Attributes:
        status: The object of each run that ``status --json`` prints.
        report: The row of each run in ``runs.csv``.
        launched: The decision of each run in a dry run, such as ``skip: finished``.
    """

    status: Mapping[str, Row]
    report: Mapping[str, Row]
    launched: Mapping[str, str]


@dataclass(frozen=True)
class SweepCase:
    """A damage of one file or folder of the sweep, by its path from the folder of results."""

    target: str
    damage: Damage

    @property
    def name(self) -> str:
        """What is done to which path."""
        return f"{self.target}: {self.damage.name}"

    @property
    def group(self) -> str:
        """The row of the table: the kind of file."""
        path = Path(*Path(self.target).parts[1:])
        return next(group for pattern, group in GROUPS if re.fullmatch(pattern, path.as_posix()))


def sweep_cases(results: Path) -> list[SweepCase]:
    """Return every damage of every file and folder of the sweep, but of one finished run only."""
    runs = list(ledger.read(SweepPaths(results / NAME)).planned)
    paths = [
        path
        for path in sorted((results / NAME).rglob("*"))
        if runs[1] not in path.parts and not path.match("checkpoint/epoch-000[134]*")
    ]
    return [
        SweepCase(path.relative_to(results).as_posix(), damage)
        for path in paths
        for damage in DAMAGES
        if damage.fits(path) and (not damage.owner or os.geteuid() == 0)
    ]


class SweepFuzzer:
    """Runs the cases of damaged sweeps in a folder of its own."""

    def __init__(self, results: Path, folder: Path) -> None:
        self.base = results
        self.folder = folder
        self.results = folder / "results"
        self.count = 0
        self._copy(None)
        verdict = Verdict("", "")
        baseline = self._read(verdict, None)
        if verdict.problems or not baseline.status or not baseline.report:
            raise RuntimeError(f"the undamaged sweep has problems: {verdict.problems}")
        self.baseline = baseline

    def run(self, case: SweepCase, random: Random, verdict: Verdict) -> None:
        """Damage a copy of the sweep, run every command on it, and judge them."""
        uid = NOBODY if case.damage.owner else None
        self._copy(uid)
        path = self.results / case.target
        if path.is_relative_to(self.results / NAME / "report"):
            self._collect(None)  # so that there is a report
        case.damage.apply(path, random)
        self._judge(verdict, case, self._read(verdict, uid, self._run_of(case)))
        self._heal(verdict, uid)

    def _run_of(self, case: SweepCase) -> str | None:
        parts = Path(case.target).parts
        return parts[2] if parts[1:2] == ("runs",) and len(parts) > 2 else None

    def _copy(self, uid: int | None) -> None:
        self._clear()
        shutil.copytree(self.base, self.results, symlinks=True)
        if uid is not None:
            for folder, _, files in os.walk(self.results):
                for path in (folder, *(os.path.join(folder, name) for name in files)):
                    os.chown(path, uid, uid)

    def _clear(self) -> None:
        for path in self.results.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(self.results, ignore_errors=True)

    def _command(self, uid: int | None, name: str, *arguments: str) -> Outcome:
        return run_command(name, *arguments, folder=self.folder, uid=uid)

    def _collect(self, uid: int | None) -> Outcome:
        self.count += 1
        real = self.count % REAL_FIGURES == 0

        def patch() -> None:
            from xray_hpc.report.page import write_page

            if not real:
                write_page.write_figures = _no_figures

        return run_command("collect", f"results/{NAME}", folder=self.folder, uid=uid, patch=patch)

    def _read(self, verdict: Verdict, uid: int | None, run: str | None = None) -> Baseline:
        """Run the commands that change nothing but the report, and parse what they print."""
        sweep = f"results/{NAME}"
        status = verdict.add(self._command(uid, "status", sweep, "--json"))
        verdict.add(self._command(uid, "status", sweep, "--all"))
        listed = verdict.add(self._command(uid, "status"))
        if listed.code == 0 and OTHER not in listed.text:
            verdict.wrong(f"status does not list the sweep {OTHER}")
        dry = verdict.add(self._command(uid, "launch", "--resume", sweep, "dry_run=true"))
        verdict.add(self._command(uid, "cancel", sweep, "--yes"))
        if run is not None:
            log = ("logs", f"{sweep}/runs/{run}")
            verdict.add(run_command(*log, folder=self.folder, uid=uid, terminal=True))
            verdict.add(self._command(uid, "predict", f"{sweep}/runs/{run}", "absent.png"))
        collected = verdict.add(self._collect(uid))
        report: dict[str, Row] = {}
        if collected.code == 0:
            text = (self.results / NAME / "report" / "runs.csv").read_text()
            report = {row["run"]: row for row in csv.DictReader(io.StringIO(text))}
        decisions = re.findall(r"^  (\S+)  ((?:skip|start): .*?)(?:  |$)", dry.text, re.M)
        return Baseline(_status_rows(status), report, dict(decisions))

    def _judge(self, verdict: Verdict, case: SweepCase, found: Baseline) -> None:
        """Compare the commands with one another, and with those on the undamaged sweep."""
        damaged, base = self._run_of(case), self.baseline
        whole = damaged is not None  # the damage is inside of one run
        for name in ("status", "collect"):
            (outcome,) = [one for one in verdict.outputs if one.command[0] == name][-1:]
            if whole and outcome.code not in (0, None) and not case.damage.owner:
                verdict.wrong(f"{name} exits with {outcome.code}: {outcome.error[-160:]!r}")
        for run, row in base.report.items():
            states = {}
            if found.status:
                states["status"] = found.status.get(run, {}).get("state", "not shown")
            if found.report:
                states["collect"] = found.report.get(run, {}).get("status", "not shown")
            if found.launched:
                decision = found.launched.get(run, "not shown")
                finished = decision == "skip: finished"
                others = [state for state in states.values() if state != "not shown"]
                hidden = case.damage.hidden and "damaged" in others
                if any((state == "finished") != finished for state in others) and not hidden:
                    verdict.wrong(f"{run}: launch says '{decision}', {states}")
            if len(set(states.values())) > 1 and not case.damage.hidden:
                verdict.wrong(f"{run}: {states}")
            if whole and run != damaged and set(states.values()) - {row["status"]}:
                verdict.wrong(f"undamaged {run} was {row['status']}: {states}")
            shown = found.report.get(run, {})
            if shown.get("status") == "finished":
                _compare(verdict, run, "collect", row, shown)
            if found.status.get(run, {}).get("state") == "finished" and not case.damage.hidden:
                before = base.status[run]
                _compare(verdict, run, "status", before, found.status[run])

    def _heal(self, verdict: Verdict, uid: int | None) -> None:
        """Launch the sweep again, after which no run that it started may be damaged."""
        launch = verdict.add(self._command(uid, "launch", "--resume", f"results/{NAME}", *HEALING))
        if launch.code != 0:
            return
        started = re.findall(r"^  (\S+)  start: ", launch.text, re.M)
        states = _status_rows(
            verdict.add(self._command(uid, "status", f"results/{NAME}", "--json"))
        )
        for run in started:
            state = states.get(run, {}).get("state", "not shown")
            if state in ("damaged", "not shown", "finished", "missing"):
                verdict.wrong(f"{run} is {state} after a launch that started it")


def _no_figures(folder: Path, charts: object) -> dict[Path, Chart]:
    return {}


def _status_rows(outcome: Outcome) -> dict[str, Row]:
    if outcome.code != 0:
        return {}
    return {row["run"]: row for row in map(json.loads, outcome.text.splitlines())}


IGNORED = ("overrides", "seed", "job", "reason", "error")  # not results; the ledger may hold them


def _compare(verdict: Verdict, run: str, command: str, before: Row, after: Row) -> None:
    for key in before:
        if key not in IGNORED and key in after and before[key] != after[key]:
            verdict.wrong(f"{command}: {run} is finished, {key} {before[key]} -> {after[key]}")
            return
