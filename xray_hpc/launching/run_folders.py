"""Making the folders of a planned sweep, before anything is started in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from xray_hpc.config.schema import as_dict
from xray_hpc.config.yaml_files import to_yaml
from xray_hpc.errors import StorageError, UserError
from xray_hpc.launching.plan import Plan
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.code_state import current_code_state, write_code_state
from xray_hpc.records.frozen_run import FrozenRun, write_frozen_run
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_record import RunRecord, Status, now, read_record, write_record

WRITERS = 8


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; ``UserError`` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder} ({error.strerror})") from error


def prepare(plan: Plan, command: Sequence[str] | None, fresh: AbstractSet[str]) -> None:
    """Write the sweep's files and its run folders.

    ``command`` is what the user typed; without one ``sweep.yaml`` is left as it is. The
    configuration of a run in ``fresh`` is written again (its cache or the path of its data may have
    moved); other runs are left as they are.
    """
    sweep = plan.sweep
    make_folder(sweep.runs)
    known = set(ledger.read(sweep).planned)
    if new := {run.name: plan.overrides[run.name] for run in plan.runs if run.name not in known}:
        ledger.append(sweep, "planned", runs=new)
    state = current_code_state()
    dirty = state.changes is not None
    git = None if state.commit is None else {"commit": state.commit, "dirty": dirty}
    code = write_code_state(sweep.code, state)
    with ThreadPoolExecutor(WRITERS) as pool:  # each waits for the disk, which takes many at once
        created = [
            pool.submit(_create, run, sweep, plan.overrides[run.name], git)
            for run in plan.runs
            if run.name in fresh
        ]
        for future in created:
            future.result()
    content = {
        "name": sweep.name,
        "launched": now(),
        "command": list(command or ()),
        "code": code,
        "cluster": as_dict(plan.settings.cluster),
        "runs": [run.name for run in plan.runs],
    }
    if command is not None:
        write_text(sweep.sweep_yaml, to_yaml(content))


def _is_new(paths: RunPaths) -> bool:
    """Whether a run that is to run has no record that it can go on from.

    A record of a finished run whose files are lost or damaged is none.
    """
    try:
        record = read_record(paths)
    except UserError:
        return True
    return record is None or record.status is Status.FINISHED


def _create(
    run: FrozenRun, sweep: SweepPaths, overrides: Sequence[str], git: Mapping[str, object] | None
) -> None:
    paths = sweep.run(run.name)
    write_frozen_run(paths, run)
    paths.log.touch()  # so that it can be watched from now on
    if _is_new(paths):
        write_record(
            paths,
            RunRecord(
                run=run.name,
                sweep=sweep.name,
                model=run.config.model.name,
                epochs=run.config.train.epochs,
                overrides=list(overrides),
                git=dict(git) if git else None,
            ),
        )
