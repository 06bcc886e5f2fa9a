"""Judge what a command printed and how it ended."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.fuzz.forked_command import BUG, Outcome

KINDS = ("traceback", "hang", "message", "wrong")
CODES = (0, 1, 2)
# Characters that a terminal may act upon: C0, DEL and C1 controls, bidirectional overrides,
# separators of lines. A tab and a newline are text.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# The lines that may come before that of an error: the last is what `predict` is about to do.
LINE = re.compile(r"(error|warning|note): .|.*: \d+ images?; label: ")
LONGEST = 2000  # characters of a line on stderr


@dataclass(frozen=True)
class Problem:
    """Something that a command must not do.

    Attributes:
        kind: One of ``KINDS``.
        text: What it did, in one line.
    """

    kind: str
    text: str


class HungError(Exception):
    """A command hung; the other commands of the case would, too."""


@dataclass
class Verdict:
    """The result of a case.

    Attributes:
        group: The row of the table that it counts in.
        case: What was done.
        commands: How many commands ran.
        problems: What they did wrong.
        outputs: How they ended.
    """

    group: str
    case: str
    commands: int = 0
    problems: list[Problem] = field(default_factory=list)
    outputs: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> Outcome:
        """Count a command and its problems; raise ``HungError`` if it hung."""
        self.commands += 1
        self.outputs.append(outcome)
        name = " ".join(outcome.command)[:120]
        self.problems += [Problem(p.kind, f"{name}: {p.text}") for p in judge(outcome)]
        if outcome.code is None:
            raise HungError
        return outcome

    def wrong(self, text: str) -> None:
        """Add a wrong answer."""
        self.problems.append(Problem("wrong", text))


def judge(outcome: Outcome) -> Iterable[Problem]:
    """Yield the problems of one command that its input does not explain."""
    lines = outcome.error.splitlines()
    if outcome.code is None:
        yield Problem("hang", "no end")
        return
    if "Traceback (most recent call last)" in outcome.error or outcome.code == BUG:
        yield Problem("traceback", _last_call(lines))
        return
    if outcome.code not in CODES:
        yield Problem("message", f"exit code {outcome.code}: {outcome.error[-200:]!r}")
    if found := CONTROL.search(outcome.text) or CONTROL.search(outcome.error):
        around = found.string[max(found.start() - 40, 0) : found.end() + 20]
        yield Problem("message", f"control character in {around!r}")
    if outcome.code == 2 and sum(line.startswith("error: ") for line in lines) != 1:
        yield Problem("message", f"not one line of error: {outcome.error[-300:]!r}")
    for line in lines:
        if not LINE.match(line) and outcome.code == 2:
            yield Problem("message", f"a line of another kind: {line[:200]!r}")
            break
    if (longest := max(map(len, lines), default=0)) > LONGEST:
        yield Problem("message", f"a line of {longest} characters: {lines[-1][:200]!r}")


def _last_call(lines: list[str]) -> str:
    """Return the exception of a traceback and the last line of the package that raised it."""
    calls = [line.strip() for line in lines if "/xray_hpc/" in line and line.startswith("  File ")]
    where = (
        re.sub(r'.*/(xray_hpc/.*)", line (\d+), in (.*)', r"\1:\2 \3", calls[-1]) if calls else ""
    )
    raised = [line for line in lines if re.match(r"[\w.]+(:|$)", line)]
    return f"{(raised or lines or ['?'])[-1][:160]} ({where})"
