"""What a launch says about the runs of its sweep."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence

from xray_hpc.cluster.plan import Plan
from xray_hpc.cluster.states import Decision
from xray_hpc.data.cache import size
from xray_hpc.models import trunks
from xray_hpc.runs.paths import SweepPaths, short

SHOWN_RUNS = 20
WORTH_SAYING = 1.5  # times less work


def show(
    sweep: SweepPaths,
    decisions: Mapping[str, Decision],
    overrides: Mapping[str, list[str]],
    *,
    all_runs: bool = False,
) -> None:
    """Print the runs and what is to be done with each; of many only how many, or ``all_runs``."""
    todo = sum(decision.run for decision in decisions.values())
    many = f"{len(decisions)} run{'s' if len(decisions) > 1 else ''}"
    print(f"sweep {sweep.name}: {many}, {todo} to run, in {short(sweep.folder)}")
    if all_runs or len(decisions) <= SHOWN_RUNS:
        common = set.intersection(*(set(words) for words in overrides.values()))
        for name, decision in decisions.items():
            what = "run" if decision.run else "leave"
            words = [word for word in overrides[name] if word not in common]
            differing = f"  ({' '.join(words)})" if words else ""
            print(f"  {name}  {what}: {decision.why}{differing}")
        return
    counts = Counter((d.run, d.why.split(" as job ")[0][:60]) for d in decisions.values())
    for (run, why), count in counts.most_common():
        print(f"  {count} {'to run' if run else 'left'}: {why}")


def show_trunks(plan: Plan, todo: Sequence[str]) -> None:
    """Say what is computed once for runs that are to run, and what that saves."""
    wanted = set(todo)
    runs = [run for run in plan.runs if run.name in wanted]
    groups, saving = trunks.passes(runs), trunks.saving(runs)
    if saving < WORTH_SAYING:
        return
    count = sum(map(len, groups))
    many = f"{count} run{'s' if count > 1 else ''}"
    drawn = sorted({str(run.config.augment.views) for group in groups for run in group} - {"1"})
    views = f" on {', '.join(drawn)} views of each image" if drawn else ""
    times = f"{len(groups)} passes" if len(groups) > 1 else "one pass"
    kept = sum(plan.kept[run.name] for group in groups for run in trunks.distinct(group))
    cache = plan.place.cache
    print(
        f"frozen trunks: {times} over the images for {many}{views}, about {saving:.0f} times less "
        f"work, {size(kept)} in {short(cache)} (train.features=live is without)"
    )
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if (free := shutil.disk_usage(there).free) < kept:
        print(f"note: {short(cache)} has {size(free)} free; cache=FOLDER puts it elsewhere")
