"""The topics of fuzzing, and the processes that run their cases."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.base_sweep import NAME, make_results
from tests.fuzz.card_cases import CardFuzzer, card_cases
from tests.fuzz.data_set_cases import data_set_cases
from tests.fuzz.data_set_fuzzer import DataSetFuzzer
from tests.fuzz.forked_command import preload
from tests.fuzz.image_cases import image_cases
from tests.fuzz.image_fuzzer import ImageFuzzer
from tests.fuzz.pack_cases import PackFuzzer, pack_cases
from tests.fuzz.sweep_cases import SweepFuzzer, sweep_cases
from tests.fuzz.type_cases import TypeFuzzer, type_cases
from tests.fuzz.verdict import HungError, Problem, Verdict


@dataclass(frozen=True)
class Topic:
    """A topic: its cases, a fuzzer that runs them in a folder, and how many a whole run has.

    Both functions get the folder with the undamaged sweeps.
    """

    cases: Callable[[Path], Sequence[Any]]
    fuzzer: Callable[[Path, Path], Any]
    count: int


TOPICS = {
    "sweeps": Topic(sweep_cases, SweepFuzzer, 1500),
    "types": Topic(lambda _: type_cases(), lambda _, folder: TypeFuzzer(folder), 1000),
    "images": Topic(lambda _: image_cases(), lambda _, folder: ImageFuzzer(folder), 800),
    "datasets": Topic(lambda _: data_set_cases(), lambda _, folder: DataSetFuzzer(folder), 500),
    "packs": Topic(lambda _: pack_cases(), lambda _, folder: PackFuzzer(folder), 400),
    "cards": Topic(lambda _: card_cases(), lambda _, folder: CardFuzzer(folder), 400),
}


COMMANDS = {
    "status": [f"results/{NAME}"],
    "collect": [f"results/{NAME}"],
    "launch": ["--resume", f"results/{NAME}", "dry_run=true"],
    "train": ["--cfg", "job"],
    **{name: ["x", "y"] for name in ("logs", "cancel", "predict", "stage")},
}
"""A command line of each command, which imports most of its modules."""


class Fuzzing:
    """Runs cases in forked processes; a context manager, with the undamaged sweeps in a folder."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._stack = ExitStack()
        self._fuzzers: dict[str, Any] = {}
        self._cases: dict[str, Sequence[Any]] = {}

    def __enter__(self) -> Fuzzing:
        with ExitStack() as stack:
            made = tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True)
            self.folder = Path(stack.enter_context(made))
            self.folder.chmod(0o755)  # for commands of another user
            (self.folder / "base").mkdir()
            self.results = make_results(self.folder / "base")
            preload(COMMANDS, self.folder / "base")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def cases(self, topic: str) -> Sequence[Any]:
        """Return all cases of a topic."""
        if topic not in self._cases:
            self._cases[topic] = TOPICS[topic].cases(self.results)
        return self._cases[topic]

    def choose(self, topic: str, most: int | None) -> list[int]:
        """Return the numbers of the cases to run: each of them equally often, with other choices.

        The case of number ``n`` is ``cases[n % len(cases)]``.
        """
        available, count = len(self.cases(topic)), most or TOPICS[topic].count
        numbers: list[int] = []
        for start in range(0, count, available):
            part = list(range(start, start + available))
            Random(f"{self.seed} {topic} {start}").shuffle(part)
            numbers += part
        return numbers[:count]

    def verdict(self, topic: str, number: int) -> Verdict:
        """Run one case in this process's fuzzer of the topic."""
        cases = self.cases(topic)
        if topic not in self._fuzzers:
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            folder.chmod(0o777)
            self._fuzzers[topic] = TOPICS[topic].fuzzer(self.results, folder)
        case = cases[number % len(cases)]
        verdict = Verdict(case.group, case.name)
        try:
            self._fuzzers[topic].run(case, Random(f"{self.seed} {topic} {number}"), verdict)
        except HungError:
            pass
        except Exception as error:  # of the fuzzer itself; the other cases still run
            verdict.problems.append(Problem("wrong", f"the fuzzer failed: {error!r}"))
        return verdict

    def run(
        self, topic: str, numbers: Sequence[int], processes: int
    ) -> Iterator[tuple[int, Verdict]]:
        """Yield the number and the verdict of each case, as they end."""
        global _fuzzing
        _fuzzing = self
        self.cases(topic)
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            yield from pool.imap_unordered(_run_case, [(topic, number) for number in numbers])


_fuzzing: Fuzzing  # of the forked processes


def _run_case(case: tuple[str, int]) -> tuple[int, Verdict]:
    topic, number = case
    verdict = _fuzzing.verdict(topic, number)
    verdict.outputs.clear()
    return number, verdict
