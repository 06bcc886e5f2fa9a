"""Write predictions to a CSV file or to standard output."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from xray_hpc.errors import StorageError
from xray_hpc.formula_cells import UnixLines, quote_formula
from xray_hpc.metrics import logit_names
from xray_hpc.prediction.predict_images import Prediction
from xray_hpc.printable import printable, unescaped
from xray_hpc.records.atomic_files import atomic_write
from xray_hpc.shared_folder import make_folder
from xray_hpc.system_errors import advice

STDOUT = "-"


@contextmanager
def csv_writer(
    output: str, classes: Sequence[str], more: Sequence[str] = ()
) -> Iterator[Callable[..., None]]:
    """Yield a function that writes one row; the file appears when the block ends without error.

    The columns are path, score_<class> for each class, logit (of the second of two classes; with
    more, logit_<class> for each), label, those of ``more``, error. The function takes a prediction
    and the texts of the columns ``more``. Bytes of a path that are not UTF-8 are written as
    escapes, and text that a spreadsheet would take for a formula has an apostrophe in front.

    Raises:
        StorageError: the file cannot be written.
    """
    with _open_output(output) as file:
        rows = csv.writer(UnixLines(file))
        names = logit_names(classes)
        rows.writerow(
            ["path", *(f"score_{name}" for name in classes), *names, "label", *more, "error"]
        )

        def write(prediction: Prediction, *texts: str | None) -> None:
            scores = prediction.scores or [None] * len(classes)
            logits = (prediction.logits or [None] * len(classes))[-len(names) :]
            # An error may quote the file; names are exact, so that they match the files.
            error = prediction.error and printable(prediction.error)
            path, *last = map(quote_formula, (prediction.path, prediction.label, *texts, error))
            rows.writerow([path, *scores, *logits, *last])

        yield write


@contextmanager
def _open_output(output: str) -> Iterator[TextIO]:
    if output == STDOUT:
        # A pipe gets the data as it is, a terminal what it can show.
        yield sys.stdout if sys.stdout.isatty() else unescaped(sys.stdout)
        return
    try:
        make_folder(Path(output).parent)
        with (
            atomic_write(Path(output)) as temporary,
            temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            yield file
    except BrokenPipeError:  # of the terminal, not of the file
        raise
    except OSError as error:
        problem = f"cannot write {output}: {error.strerror}"
        raise StorageError(f"{problem}; {advice(error)}, or use --output") from error
