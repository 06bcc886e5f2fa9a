"""``make bench``: times what a user waits for, prints tables and writes RESULTS.md.

python tests/benchmarks                                all topics: an hour
python tests/benchmarks --only compose --repeat 1      one topic, printed only
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # no topic is about a GPU

import checkpoints
import collecting
import comparing
import composing
import growing
import launching
import loading
import machine
import starting
import submitting
import watching

from xray_hpc import cli
from xray_hpc.cluster.code.versions import git_state
from xray_hpc.runs.files import write_text

RESULTS = Path(__file__).parent / "RESULTS.md"
TOPICS = {
    "start": starting.tables,
    "compose": composing.tables,
    "launch": launching.tables,
    "submit": submitting.tables,
    "status": watching.tables,
    "collect": collecting.tables,
    "images": loading.tables,
    "checkpoints": checkpoints.tables,
    "tutorial": comparing.tables,
    "growth": growing.tables,
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks",
        description="Time start-up, launching, watching, collecting, images, checkpoints, and the "
        "toolkit beside the tutorial's own way.",
        epilog="Without --only, the tables also go into tests/benchmarks/RESULTS.md; growth draws "
        "results/example/growth.png. XRAY_HPC_DATA names a folder that holds chest_xray/ "
        "(Kaggle's set) and keras_models/ (weights of MobileNetV2); without it the "
        "images are drawn ones alone. The cluster is a throw-away one, which needs root and "
        "Debian's packages (tests/slurm/install.sh). Hydra's official plugin for Slurm is "
        "installed below build/, into an environment of its own.",
    )
    parser.add_argument("--only", metavar="NAME", choices=TOPICS, help=", ".join(TOPICS))
    parser.add_argument("--repeat", metavar="N", type=_count, default=2, help="default: 2")
    options = parser.parse_args()
    names = [options.only] if options.only else list(TOPICS)
    begin, busy = time.monotonic(), machine.load()
    texts = []
    with tempfile.TemporaryDirectory(prefix="xray-hpc-bench-") as temporary:
        folder = Path(temporary)
        facts = machine.describe(folder)
        for name in names:
            minutes = (time.monotonic() - begin) / 60
            print(f"minute {minutes:.1f}: {name} ...", file=sys.stderr, flush=True)
            for table in TOPICS[name](folder, options.repeat):
                texts.append(table.text())
                print(table.text(), flush=True)
    minutes = (time.monotonic() - begin) / 60
    facts += [
        ("code", _code()),
        ("load average", f"{busy} before, {machine.load()} after"),
        ("repetitions", f"{options.repeat}; {minutes:.1f} minutes in all"),
    ]
    head = "\n".join(f"- {what}: {how}" for what, how in facts)
    print(head)
    if options.only is None:
        made = "# Benchmarks\n\nMade by `make bench`; do not edit."
        write_text(RESULTS, "\n".join([f"{made}\n\n{head}\n", *texts]))
        print(f"\nwritten: {RESULTS.relative_to(Path.cwd())}")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _code() -> str:
    git = git_state()
    if git is None:
        return "of no commit"
    return f"commit {git['commit'][:12]}" + (", with changes" if git["dirty"] else "")


if __name__ == "__main__":
    cli.run(main)
