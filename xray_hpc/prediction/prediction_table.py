"""Summarize predictions for the terminal: the first rows, counts per label, and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xray_hpc.prediction.predict_images import Prediction
from xray_hpc.printable import printable

MAX_EXAMPLES = 3
MIN_ERROR, MIN_PATH = 30, 20  # characters
OTHER_LINES = 8  # lines of the screen that are not rows: heading, counts, prompt


class PredictionTable:
    """Counts of the predictions in ``output``, and the first ones, to fit into a terminal."""

    def __init__(self, classes: Sequence[str], output: str, width: int, height: int) -> None:
        self.classes = classes
        self.output = output
        self.width = width
        self.max_rows = max(height - OTHER_LINES, 5)
        self.first: list[Prediction] = []
        self.labels: Counter[str] = Counter()
        self.failed = 0
        self.examples: list[Prediction] = []

    def add(self, prediction: Prediction) -> None:
        """Count a prediction, and store it if it is shown."""
        if len(self.first) < self.max_rows:
            self.first.append(prediction)
        if prediction.label is not None:
            self.labels[prediction.label] += 1
            return
        self.failed += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(prediction)

    @property
    def total(self) -> int:
        """The number of predictions."""
        return self.labels.total() + self.failed

    def text(self) -> str:
        """Return the first rows and the number of rows that are not shown.

        Of two classes only the score of the second is shown; the scores sum to 1.
        """
        shown = range(1, 2) if len(self.classes) == 2 else range(len(self.classes))
        heads = [printable(f"score_{self.classes[k]}") for k in shown]
        paths = [printable(row.path) for row in self.first]
        score_width = sum(len(head) + 2 for head in heads) + 2
        label_width = max(len(printable(row.label or " " * MIN_ERROR)) for row in self.first)
        most = max(MIN_PATH, self.width - score_width - label_width)
        path_width = min(max(map(len, ["path", *paths])), most)
        lines = ["  ".join(["path".ljust(path_width), *heads, "label"])]
        for path, row in zip(paths, self.first, strict=True):
            texts = [f"{row.scores[k]:.4f}" if row.scores else "-" for k in shown]
            scores = [text.rjust(len(head)) for text, head in zip(texts, heads, strict=True)]
            room = max(MIN_ERROR, self.width - path_width - score_width)
            error = printable(f"error: {row.error}")
            last = _cut_end(error, room) if row.label is None else printable(row.label)
            name = _cut_start(path, path_width).ljust(path_width)
            lines.append("  ".join([name, *scores, last]))
        if self.total > len(self.first):
            lines.append(f"... and {self.total - len(self.first):,} more in {self.output}")
        return "\n".join(lines)

    def counts(self) -> str:
        """Return the number of images per label: ``"30 NORMAL, 1,200 PNEUMONIA"``."""
        counts = [f"{self.labels[name]:,} {printable(name)}" for name in self.classes]
        return ", ".join([*counts, f"{self.failed:,} without a score"] if self.failed else counts)

    def failures(self) -> str:
        """Return the number of images without a score, with the reasons of the first ones."""
        examples = "; ".join(printable(f"{row.path}: {row.error}") for row in self.examples)
        more = "; ..." if self.failed > len(self.examples) else ""
        return f"{self.failed:,} of {self.total:,} images could not be scored: {examples}{more}"


def _cut_start(text: str, width: int) -> str:
    return text if len(text) <= width else "..." + text[3 - width :]


def _cut_end(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
