"""Making the folders of a planned sweep, before anything is started in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from xray_hpc.cluster.plan import Plan
from xray_hpc.cluster.versions import git_state
from xray_hpc.config import as_dict, to_yaml
from xray_hpc.runs import ledger
from xray_hpc.runs.files import write_text
from xray_hpc.runs.frozen import FrozenRun, write_frozen
from xray_hpc.runs.paths import SweepPaths
from xray_hpc.runs.record import RunRecord, now, read_record, write_record


def prepare(plan: Plan, command: Sequence[str], fresh: AbstractSet[str]) -> None:
    """Write the sweep's files and its run folders.

    ``command`` is what the user typed. The configuration of a run in ``fresh`` is written again
    (its cache or the path of its data may have moved); other runs are left as they are.
    """
    sweep = plan.place.sweep
    known = set(ledger.expected_runs(sweep))
    if new := {run.name: plan.overrides[run.name] for run in plan.runs if run.name not in known}:
        ledger.append(sweep, "planned", runs=new)
    git = git_state()
    for run in plan.runs:
        if run.name in fresh:
            _create(run, sweep, plan.overrides[run.name], git)
    content = {
        "name": sweep.name,
        "launched": now(),
        "command": list(command),
        "cluster": as_dict(plan.place.cluster),
        "runs": [run.name for run in plan.runs],
    }
    write_text(sweep.sweep_yaml, to_yaml(content))


def _create(
    run: FrozenRun, sweep: SweepPaths, overrides: Sequence[str], git: Mapping[str, object] | None
) -> None:
    paths = sweep.run(run.name)
    write_frozen(paths, run)
    if read_record(paths) is None:
        write_record(
            paths,
            RunRecord(
                run=run.name,
                sweep=sweep.name,
                model=run.config.model.name,
                overrides=list(overrides),
                git=dict(git) if git else None,
            ),
        )
