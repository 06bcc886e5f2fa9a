"""Run a planned sweep in processes of this machine."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xray_hpc.command_line import interruptible
from xray_hpc.job_logging import LAUNCH_PIPE
from xray_hpc.launching.code_snapshot import snapshot_environment
from xray_hpc.launching.plan import Plan, data_sets, shared_extractors
from xray_hpc.launching.progress_view import ProgressView
from xray_hpc.package_folders import resource
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import is_gone
from xray_hpc.records.paths import RunPaths, require_folder
from xray_hpc.regular_file import append_regular

POLL_SECONDS = 0.2


def run_sweep(plan: Plan, todo: Sequence[str], code: Path | None, position: int) -> int:
    """Stage the data, compute shared features, train the runs ``todo`` and collect the sweep.

    Runs that the ledger has as cancelled at ``position`` or later are not started.

    Returns:
        The exit code: 0, 1 if a run did not finish, or that of a failed stage or collect process.
    """
    sweep, failed = plan.sweep, 0
    if todo:
        if exit_code := _run_job(_job_command("stage", *data_sets(plan, todo), code=code), code):
            return exit_code
        if folders := shared_extractors(plan, todo):
            command = _job_command("features", "--local", *folders, code=code)
            if exit_code := _run_job(command, code):
                problem = f"the features job failed with exit code {exit_code}"
                print(f"note: {problem}; the runs compute their own features")
        parallel = plan.settings.cluster.parallel or 1
        failed = train_runs([sweep.run(name) for name in todo], parallel, code, position)
    collect = [sys.executable, "-m", "xray_hpc.collect", str(sweep.folder)]
    return _run_job(collect, code) or int(failed > 0)


def train_runs(
    runs: Sequence[RunPaths], parallel: int, code: Path | None = None, position: int = 0
) -> int:
    """Train runs, ``parallel`` at a time, and print progress; return how many did not finish.

    Runs that the ledger has as cancelled at ``position`` or later are not started.
    """
    waiting, processes = list(runs), dict[RunPaths, subprocess.Popen[bytes]]()
    ended = failed = 0
    view = ProgressView(len(runs))
    try:
        with interruptible():
            while waiting or processes:
                while waiting and len(processes) < parallel:
                    paths = waiting.pop(0)
                    require_folder(paths.sweep)
                    if is_gone(paths.folder):
                        ended, failed = ended + 1, failed + 1
                        view.print_line(f"{paths.name} was not started: its folder is gone", ended)
                    elif ledger.read(paths.sweep).cancelled.get(paths.name, -1) >= position:
                        ended, failed = ended + 1, failed + 1
                        view.print_line(f"{paths.name} was cancelled before it started", ended)
                    else:
                        processes[paths] = _start_run(paths, code)
                for paths, process in list(processes.items()):
                    if process.poll() is not None:
                        del processes[paths]
                        ended += 1
                        failed += process.returncode != 0
                        view.print_result(paths, ended)
                view.update(list(processes), ended)
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        print("\ncancelling the runs; run the same command again to resume", flush=True)
        raise
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()
    return failed


def _job_command(script: str, *arguments: str, code: Path | None) -> list[str]:
    """Return the command line of a script in ``jobs/``, of a code snapshot if one is given."""
    jobs = resource("jobs") if code is None else code / "jobs"
    return [sys.executable, "-u", str(jobs / f"{script}.py"), *arguments]


def _start(command: list[str], code: Path | None, **streams: Any) -> subprocess.Popen[bytes]:
    pipe = _lifeline()
    own = {LAUNCH_PIPE: str(pipe)}
    environment = os.environ | (snapshot_environment(code) if code else {}) | own
    # In its own session, so that Ctrl-C reaches only this process, which then terminates it.
    return subprocess.Popen(
        command, env=environment, start_new_session=True, pass_fds=[pipe], **streams
    )


@functools.cache
def _lifeline() -> int:
    """Return the end of a pipe that closes when this process ends, even by SIGKILL."""
    read_end, _ = os.pipe()
    return read_end


def _run_job(command: list[str], code: Path | None) -> int:
    """Run a process with its output on the terminal; return its exit code as a shell has it."""
    sys.stdout.flush()  # keep the order of the output where it goes to a file
    process = _start(command, code)
    try:
        with interruptible():
            exit_code = process.wait()
    except KeyboardInterrupt:
        print("\ncancelling; run the same command again to resume", flush=True)
        process.terminate()
        process.wait()
        raise
    if exit_code >= 0:
        return exit_code
    name = " ".join(Path(word).name for word in command[2:4])
    print(f"{name} was killed by {signal.Signals(-exit_code).name}", file=sys.stderr, flush=True)
    return 128 - exit_code


def _start_run(paths: RunPaths, code: Path | None) -> subprocess.Popen[bytes]:
    with append_regular(paths.log) as log:  # only for errors: the training writes its log itself
        command = _job_command("run", "--local", str(paths.folder), code=code)
        null = subprocess.DEVNULL
        return _start(command, code, stdin=null, stdout=null, stderr=log)
