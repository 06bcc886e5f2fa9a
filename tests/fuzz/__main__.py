"""Fuzz the commands: ``python -m tests.fuzz``.

Writes the results of a whole run into RESULTS.md, and prints those of fewer cases (``--cases``,
``--only``). A problem is printed with the number of its case; ``--only TOPIC --case NUMBER``
repeats it with its output.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.forked_command import SECONDS
from tests.fuzz.fuzzing import TOPICS, Fuzzing
from tests.fuzz.verdict import KINDS, Verdict
from xray_hpc.progress_bar import ProgressBar

FOLDER = Path(__file__).parent
HEAD = """\
# Fuzzing results

Commands on damaged and hostile input, each in a process of its own: {cases:,} cases, {commands:,}
commands. A command has a problem if it

- ends with a traceback, or not within {hang:.0f} seconds;
- has an exit code other than 0, 1 and 2, has 2 without one line that begins with `error:`, or
  sends a control character to the terminal ("messages");
- gives a wrong answer: commands disagree on the state of a run; a damaged run is shown as finished
  with another value; an undamaged run is not shown; a good image is refused or has another score;
  an index lacks a good image, or has one with another class or split; other images come from a
  damaged cache, or it is not made again.

{date}, commit {commit}, {processes} at a time: `{command}` ({seconds:,.0f} s)

| topic | input | cases | commands | tracebacks | hangs | messages | wrong answers |
| --- | --- | --: | --: | --: | --: | --: | --: |
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 1 if there is a problem."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, help="most cases of each topic (default: its own)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choices (default: 0)")
    parser.add_argument("--only", nargs="+", choices=sorted(TOPICS), metavar="TOPIC")
    parser.add_argument("--case", type=int, help="repeat one case, and print its output")
    parser.add_argument("--together", type=int, default=os.cpu_count() or 1, help="processes")
    arguments = parser.parse_args(words)
    start = time.monotonic()
    topics = arguments.only or list(TOPICS)
    verdicts: dict[str, list[Verdict]] = {}
    with Fuzzing(arguments.seed) as fuzzing:
        if arguments.case is not None:
            return _repeat(fuzzing.verdict(topics[0], arguments.case))
        for topic in topics:
            numbers = fuzzing.choose(topic, arguments.cases)
            verdicts[topic] = []
            with ProgressBar(topic, len(numbers)) as progress:
                for number, verdict in fuzzing.run(topic, numbers, arguments.together):
                    verdicts[topic].append(verdict)
                    progress.advance()
                    for problem in verdict.problems:
                        line = f"{problem.kind}: {topic} {number} ({verdict.case}): {problem.text}"
                        print(line.encode(errors="backslashreplace").decode(), flush=True)
    text = _head(verdicts, time.monotonic() - start, arguments.together) + _table(verdicts)
    if arguments.only or arguments.cases is not None:
        print(text)
    else:
        (FOLDER / "RESULTS.md").write_text(text)
    return int(any(one.problems for found in verdicts.values() for one in found))


def _repeat(verdict: Verdict) -> int:
    print(verdict.case)
    for outcome in verdict.outputs:
        print("$", " ".join(outcome.command), f"-> {outcome.code}")
        print(f"{outcome.text[-4000:]}{outcome.error[-4000:]}".encode(errors="replace").decode())
    for problem in verdict.problems:
        print(f"{problem.kind}: {problem.text}")
    return int(bool(verdict.problems))


def _head(verdicts: dict[str, list[Verdict]], seconds: float, processes: int) -> str:
    ran = [one for found in verdicts.values() for one in found]
    commit = ["git", "rev-parse", "--short", "HEAD"]
    return HEAD.format(
        cases=len(ran),
        commands=sum(one.commands for one in ran),
        date=time.strftime("%Y-%m-%d"),
        commit=subprocess.run(commit, cwd=FOLDER, capture_output=True, text=True).stdout.strip(),
        processes=processes,
        hang=SECONDS,
        command=" ".join(["python", "-m", "tests.fuzz", *sys.argv[1:]]),
        seconds=seconds,
    )


def _table(verdicts: dict[str, list[Verdict]]) -> str:
    rows = []
    for topic, found in verdicts.items():
        groups: dict[str, list[Verdict]] = defaultdict(list)
        for one in found:
            groups[one.group].append(one)
        rows += [_row(topic, group, groups[group]) for group in sorted(groups)]
    rows.append(_row("all", "", [one for found in verdicts.values() for one in found]))
    return "".join(rows)


def _row(topic: str, group: str, verdicts: Sequence[Verdict]) -> str:
    kinds = [problem.kind for one in verdicts for problem in one.problems]
    counts = [len(verdicts), sum(one.commands for one in verdicts), *map(kinds.count, KINDS)]
    return f"| {topic} | {group} | {' | '.join(map(str, counts))} |\n"


if __name__ == "__main__":
    sys.exit(main())
