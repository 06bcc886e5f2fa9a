"""Run the benchmarks (``make bench``), and print tables or save them to RESULTS.md.

python -m tests.benchmarks --save                         all topics, over an hour
python -m tests.benchmarks --only compose --repeat 1      one topic, printed only
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # all topics measure CPUs

from tests.benchmarks import (
    bench_checkpoints,
    bench_collect,
    bench_compose,
    bench_growth,
    bench_images,
    bench_launch,
    bench_memory,
    bench_run,
    bench_sharing,
    bench_start,
    bench_status,
    bench_submit,
    bench_tutorial,
    machine_info,
    results_file,
)
from tests.benchmarks.timing import REPOSITORY
from xray_hpc import command_line
from xray_hpc.records.code_state import git_state

TOPICS = {
    "start": bench_start.tables,
    "compose": bench_compose.tables,
    "launch": bench_launch.tables,
    "submit": bench_submit.tables,
    "status": bench_status.tables,
    "collect": bench_collect.tables,
    "images": bench_images.tables,
    "run": bench_run.tables,
    "memory": bench_memory.tables,
    "sharing": bench_sharing.tables,
    "checkpoints": bench_checkpoints.tables,
    "tutorial": bench_tutorial.tables,
    "growth": bench_growth.tables,
}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure start-up, launching, monitoring, collecting, image loading, "
        "the phases of a run, the memory of a sweep, the computation of features, checkpoints, and "
        "the toolkit against the tutorial.",
        epilog="With --save the tables replace those in tests/benchmarks/RESULTS.md; growth draws "
        "results/example/growth.png. XRAY_HPC_DATA names a folder that holds chest_xray/ "
        "(Kaggle's data set) and keras_models/ (weights of MobileNetV2); without it, "
        "synthetic X-rays are used. Topics on Slurm start a temporary cluster, which needs root "
        "and Debian's packages (tests/slurm/install.sh). Hydra's official Slurm plugin is "
        "installed in a separate environment below build/.",
    )
    parser.add_argument("--only", metavar="NAME", choices=TOPICS, help=", ".join(TOPICS))
    parser.add_argument("--repeat", metavar="N", type=_count, default=2, help="default: 2")
    parser.add_argument("--save", action="store_true", help="save the tables to RESULTS.md")
    options = parser.parse_args()
    start = time.monotonic()
    for name in [options.only] if options.only else TOPICS:
        minutes = (time.monotonic() - start) / 60
        print(f"minute {minutes:.1f}: {name} ...", file=sys.stderr, flush=True)
        text = measure(name, options.repeat)
        if options.save:
            results_file.save(TOPICS, name, text)


def measure(name: str, repeat: int) -> str:
    """Print the tables of a topic and a description of the machine; return the text."""
    start, load = time.monotonic(), machine_info.load()
    with tempfile.TemporaryDirectory(prefix="xray-hpc-bench-") as temporary:
        folder = Path(temporary)
        facts = machine_info.describe(folder)
        texts = []
        for table in TOPICS[name](folder, repeat):
            texts.append(table.text())
            print(texts[-1], flush=True)
    minutes = (time.monotonic() - start) / 60
    facts += [
        ("code", _code()),
        ("load average", f"{load} before, {machine_info.load()} after"),
        ("minutes", f"{minutes:.1f}"),
    ]
    machine = "; ".join(f"{name} {value}" for name, value in facts)
    texts.append(
        f"*Measured by `python -m tests.benchmarks --only {name} --repeat {repeat}`: {machine}.*\n"
    )
    print(texts[-1], flush=True)
    return "\n".join(texts)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _code() -> str:
    git = git_state()
    if git is None:
        return "without a commit"
    # Files that the benchmarks write do not count as changes.
    others = [
        f":!{path.relative_to(REPOSITORY)}" for path in (results_file.FILE, bench_growth.FIGURE)
    ]
    command = ["git", "status", "--porcelain", "--", ".", *others]
    changed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout
    return f"commit {git.commit[:12]}" + (", with changes" if changed else "")


if __name__ == "__main__":
    command_line.run(main)
