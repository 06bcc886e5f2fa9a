"""Print what a launch is about to do: which runs it starts, and which features it caches."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

from xray_hpc.count_text import format_bytes, format_count
from xray_hpc.features.extractor_costs import feature_extractor
from xray_hpc.features.feature_plan import distinct_extractors, estimate_speedup, group_by_pass
from xray_hpc.launching.plan import Plan
from xray_hpc.monitoring.run_state import LaunchDecision
from xray_hpc.monitoring.terminal_table import shorten
from xray_hpc.printable import printable
from xray_hpc.records.frozen_run import FrozenRun
from xray_hpc.records.paths import display_path

LISTED_RUNS = 20
NOTABLE_SAVING = 1.5  # times less work


def print_decisions(
    plan: Plan, decisions: Mapping[str, LaunchDecision], *, all_runs: bool = False
) -> None:
    """Print whether each run is started and why; counts for a large sweep, unless ``all_runs``."""
    todo = sum(decision.run for decision in decisions.values())
    runs, sweep = format_count(len(decisions), "run"), plan.sweep
    print(f"sweep {sweep.name}: {runs}, {todo} to start, in {display_path(sweep.folder)}")
    if all_runs or len(decisions) <= LISTED_RUNS:
        common = set.intersection(*map(set, plan.overrides.values()))
        rates = {run.name: run.config.train.learning_rate for run in plan.runs}
        for name, decision in decisions.items():
            action = "start" if decision.run else "skip"
            words = [word for word in plan.overrides[name] if word not in common]
            differing = f"  ({' '.join(words)})" if words else ""
            rate = f"learning rate {rates[name]:g}"
            print(printable(f"  {name}  {action}: {decision.reason}{differing}  {rate}"))
        return
    counts = Counter(
        (d.run, shorten(d.reason.split(" as job ")[0], 60)) for d in decisions.values()
    )
    for (run, reason), count in counts.most_common():
        print(printable(f"  {count} {'to start' if run else 'skipped'}: {reason}"))
    used = sorted({run.config.train.learning_rate for run in plan.runs})
    more = ", ..." if len(used) > LISTED_RUNS else ""
    print(f"  learning rates: {', '.join(f'{rate:g}' for rate in used[:LISTED_RUNS])}{more}")


def print_cached_features(plan: Plan, todo: Sequence[str]) -> None:
    """Print for the runs ``todo`` which share cached features, and what these save and take."""
    runs = plan.select(todo)
    if groups := group_by_pass(runs):
        _print_saving(plan, groups)
    off = [run.config.model for run in runs if run.config.train.features == "off"]
    if count := sum(feature_extractor(model) is not None for model in off):
        why = "train.features=off, less than half of the work is frozen, or too large"
        print(f"cached features: off for {format_count(count, 'run')} ({why})")


def _print_saving(plan: Plan, groups: Sequence[Sequence[FrozenRun]]) -> None:
    """Print how many passes over the images ``groups`` of runs take, and the cache's size."""
    runs, cache = list(chain(*groups)), plan.settings.cache
    passes = "one pass" if len(groups) == 1 else f"{len(groups)} passes"
    counts = sorted({run.config.augment.views or 0 for run in runs})
    facts = [f"cached features: {passes} over the images for {format_count(len(runs), 'run')}"]
    facts[0] += f" on {', '.join(map(str, counts))} views of each image" if counts != [1] else ""
    if (saving := estimate_speedup(runs)) >= NOTABLE_SAVING:
        facts.append(f"about {saving:.0f} times less work")
    caching = chain.from_iterable(map(distinct_extractors, groups))
    size = sum(plan.cached_bytes.get(run.name, 0) for run in caching)
    if plan.cached_bytes:
        facts.append(f"{format_bytes(size)} in {display_path(cache)}")
    print(", ".join(facts), "(disable with train.features=off)")
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if (free := shutil.disk_usage(existing).free) < size:
        has = f"{display_path(cache)} has {format_bytes(free)} free"
        print(f"note: {has}; choose another folder with cache=FOLDER")
