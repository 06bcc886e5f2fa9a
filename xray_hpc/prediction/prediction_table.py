"""Predictions as a CSV file, and as a table of as many rows as a terminal shows."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from xray_hpc.errors import StorageError
from xray_hpc.prediction.predict_files import Prediction
from xray_hpc.prediction.request import STDOUT
from xray_hpc.records.atomic_files import atomic_write

EXAMPLES = 3
ERROR, PATH = 30, 20  # letters of them that are shown at least
OTHER_LINES = 8  # of a screen: the heading, the counts, the prompt, ...


@contextmanager
def csv_rows(output: str, classes: Sequence[str]) -> Iterator[Callable[[Prediction], None]]:
    """Yield what writes one row; a file is there when the block ends well, or not at all.

    The columns are path, score_<class> for each of the K classes, label, error. The bytes of a
    path that are not UTF-8 are written as codes, so that the file is.

    Raises:
        UserError: the file cannot be written.
    """
    with _opened(output) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", *(f"score_{name}" for name in classes), "label", "error"])

        def write(prediction: Prediction) -> None:
            scores = prediction.scores or [None] * len(classes)
            rows.writerow([prediction.path, *scores, prediction.label, prediction.error])

        yield write


@contextmanager
def _opened(output: str) -> Iterator[TextIO]:
    if output == STDOUT:
        yield sys.stdout
        return
    try:
        with (
            atomic_write(Path(output)) as temporary,
            temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            yield file
    except BrokenPipeError:  # the reader of the progress, not the file
        raise
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error.strerror}") from error


class PredictionTable:
    """The first rows of many, and how many there are of what.

    ``output`` is the file that holds them all; ``width`` and ``height`` are the screen's.
    """

    def __init__(self, classes: Sequence[str], output: str, width: int, height: int) -> None:
        self.classes = classes
        self.output = output
        self.width = width
        self.most = max(height - OTHER_LINES, 5)
        self.first: list[Prediction] = []
        self.labels: Counter[str] = Counter()
        self.failed = 0
        self.examples: list[Prediction] = []

    def add(self, prediction: Prediction) -> None:
        """Count a row, and keep it if it is shown."""
        if len(self.first) < self.most:
            self.first.append(prediction)
        if prediction.label is not None:
            self.labels[prediction.label] += 1
            return
        self.failed += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(prediction)

    @property
    def rows(self) -> int:
        """How many there are in all."""
        return self.labels.total() + self.failed

    def text(self) -> str:
        """The first rows, and how many more there are.

        Of two classes the score of the second is shown; the first's is the rest to 1.
        """
        shown = range(1, 2) if len(self.classes) == 2 else range(len(self.classes))
        heads = [printable(f"score_{self.classes[k]}") for k in shown]
        paths = [printable(row.path) for row in self.first]
        taken = sum(len(head) + 2 for head in heads) + 2
        label = max(len(printable(row.label or " " * ERROR)) for row in self.first)
        path = min(max(map(len, ["path", *paths])), max(PATH, self.width - taken - label))
        lines = ["  ".join(["path".ljust(path), *heads, "label"])]
        for name, row in zip(paths, self.first, strict=True):
            texts = [f"{row.scores[k]:.4f}" if row.scores else "-" for k in shown]
            scores = [text.rjust(len(head)) for text, head in zip(texts, heads, strict=True)]
            room = max(ERROR, self.width - path - taken)
            last = _cut_end(f"error: {row.error}", room) if row.label is None else row.label
            lines.append("  ".join([_cut_start(name, path).ljust(path), *scores, printable(last)]))
        if self.rows > len(self.first):
            lines.append(f"... and {self.rows - len(self.first):,} more in {self.output}")
        return "\n".join(lines)

    def counts(self) -> str:
        """How many images have each label."""
        said = [f"{self.labels[name]:,} {printable(name)}" for name in self.classes]
        return ", ".join([*said, f"{self.failed:,} without a score"] if self.failed else said)

    def failures(self) -> str:
        """How many of how many have no score, and why the first of them have none."""
        some = "; ".join(f"{printable(row.path)}: {row.error}" for row in self.examples)
        more = "; ..." if self.failed > len(self.examples) else ""
        return f"{self.failed:,} of {self.rows:,} images could not be scored: {some}{more}"


def printable(text: str) -> str:
    """``text`` with what a terminal would act on, or cannot show, as codes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _cut_start(text: str, width: int) -> str:
    return text if len(text) <= width else "..." + text[3 - width :]


def _cut_end(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
