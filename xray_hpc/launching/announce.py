"""What a launch says about the runs of its sweep."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

from xray_hpc.features import cost
from xray_hpc.launching.plan import Plan
from xray_hpc.monitoring.run_state import LaunchDecision
from xray_hpc.records.frozen_run import FrozenRun
from xray_hpc.records.paths import SweepPaths, display_path
from xray_hpc.text import format_bytes, format_count

SHOWN_RUNS = 20
WORTH_SAYING = 1.5  # times less work


def show(
    sweep: SweepPaths,
    decisions: Mapping[str, LaunchDecision],
    overrides: Mapping[str, list[str]],
    *,
    all_runs: bool = False,
) -> None:
    """Print the runs and what is to be done with each; of many only how many, or ``all_runs``."""
    todo = sum(decision.run for decision in decisions.values())
    many = f"{len(decisions)} run{'s' if len(decisions) > 1 else ''}"
    print(f"sweep {sweep.name}: {many}, {todo} to run, in {display_path(sweep.folder)}")
    if all_runs or len(decisions) <= SHOWN_RUNS:
        common = set.intersection(*(set(words) for words in overrides.values()))
        for name, decision in decisions.items():
            what = "run" if decision.run else "leave"
            words = [word for word in overrides[name] if word not in common]
            differing = f"  ({' '.join(words)})" if words else ""
            print(f"  {name}  {what}: {decision.reason}{differing}")
        return
    counts = Counter((d.run, d.reason.split(" as job ")[0][:60]) for d in decisions.values())
    for (run, reason), count in counts.most_common():
        print(f"  {count} {'to run' if run else 'left'}: {reason}")


def show_cached_features(plan: Plan, todo: Sequence[str]) -> None:
    """Say what is computed once for runs that are to run, what that saves, and for which not."""
    wanted = set(todo)
    runs = [run for run in plan.runs if run.name in wanted]
    if groups := cost.passes(runs):
        _show_kept(plan, groups)
    live = [run for run in runs if run.config.train.features == "off"]
    if without := sum(cost.feature_extractor(run.config.model) is not None for run in live):
        print(
            f"cached features: {format_count(without, 'run')} without (train.features=off): as "
            f"asked for, or less than half of the work is frozen, or too much would be kept"
        )


def _show_kept(plan: Plan, groups: Sequence[Sequence[FrozenRun]]) -> None:
    every, cache = list(chain(*groups)), plan.settings.cache
    times = "one pass" if len(groups) == 1 else f"{len(groups)} passes"
    views = sorted({int(run.config.augment.views) for run in every})
    drawn = f" on {', '.join(map(str, views))} views of each image" if views != [1] else ""
    said = [
        f"cached features: {times} over the images for {format_count(len(every), 'run')}{drawn}"
    ]
    if (saving := cost.saving(every)) >= WORTH_SAYING:
        said.append(f"about {saving:.0f} times less work")
    sizes = [plan.cached_bytes.get(run.name) for group in groups for run in cost.distinct(group)]
    known = [kept for kept in sizes if kept is not None]
    if len(known) == len(sizes):
        said.append(f"{format_bytes(sum(known))} in {display_path(cache)}")
    print(", ".join(said), "(train.features=off is without)")
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if (free := shutil.disk_usage(there).free) < sum(known):
        print(
            f"note: {display_path(cache)} has {format_bytes(free)} free; "
            "cache=FOLDER puts it elsewhere"
        )
