"""Score images with a trained model: ``python -m xray_hpc.predict RUN IMAGE...``.

Prints a table and writes ``predictions.csv`` with the columns path, score_<class>, logit, label,
error. An image that is missing or cannot be read is a row with its error.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from contextlib import closing
from pathlib import Path

from xray_hpc import command_line
from xray_hpc.isolated_keras import isolated_keras
from xray_hpc.monitoring.discovery import find_run

DEFAULT_SIZE = (100, 40)  # columns and lines without a terminal


def _parser() -> argparse.ArgumentParser:
    parser = command_line.make_parser(
        "predict",
        "Score images with a trained model: print a table, and write a CSV file with the columns "
        "path, score_<class> for each class, logit, label and error.",
        notes="An image that is missing or cannot be read is a row with its error, and the exit "
        "code is then 1. Images are prepared exactly as they were for training.",
    )
    parser.add_argument(
        "run", metavar="RUN", help=f"a finished run: {command_line.RUN_HELP}; or its model.keras"
    )
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="an image (DICOM if pydicom is installed), a folder (all images in it and in its "
        "subfolders), or - to read paths from standard input, one per line",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=lambda text: str(command_line.expand_home(text)),
        default="predictions.csv",
        help="the CSV file (default: %(default)s); - writes it to standard output, without a table",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the CSV file if it exists"
    )
    parser.add_argument(
        "-t",
        "--threshold",
        metavar="T",
        type=float,
        help="of two classes, predict the second if its score exceeds T (default: the run's)",
    )
    command_line.add_results_option(parser)
    return parser


def main() -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_intermixed_args()
    # NumPy is imported after the arguments are parsed, TensorFlow after they are checked.
    from xray_hpc.prediction.predict_images import predict_images
    from xray_hpc.prediction.prediction_csv import STDOUT, csv_writer
    from xray_hpc.prediction.prediction_request import check_request
    from xray_hpc.prediction.prediction_table import PredictionTable
    from xray_hpc.progress_bar import ProgressBar
    from xray_hpc.thread_map import available_cores

    stdin = sys.stdin.buffer.read() if "-" in arguments.images else b""
    request = check_request(
        find_model_path(arguments.run, arguments.results),
        arguments.images,
        arguments.output,
        arguments.threshold,
        stdin,
        overwrite=arguments.overwrite,
    )
    print(request.describe(), file=sys.stderr, flush=True)
    with isolated_keras():
        from xray_hpc.models.load_scorer import load_scorer
        from xray_hpc.training.strategy import enable_memory_growth
    enable_memory_growth()
    score = load_scorer(request.keras_file, request.card)
    table = PredictionTable(
        request.card.classes, request.output, *shutil.get_terminal_size(DEFAULT_SIZE)
    )
    results = predict_images(
        request.files, request.card, score, request.threshold, available_cores()
    )
    with (
        csv_writer(request.output, request.card.classes) as write,
        ProgressBar("scoring images", len(request.files)) as progress,
        closing(results),
    ):
        for prediction in results:
            write(prediction)
            table.add(prediction)
            progress.advance()
    if request.output != STDOUT:
        print(f"{table.text()}\n\n{table.counts()}\n{request.output}")
    if table.failed:
        print(table.failures(), file=sys.stderr)
    return 1 if table.failed else 0


def find_model_path(text: str, results: Path) -> Path:
    """Return the run folder or the model file that ``text`` names."""
    path = Path(text)
    return path if os.path.lexists(path) or path.suffix else find_run(text, results).folder


def entry() -> None:
    """Run the installed command ``xray-predict``."""
    # When Slurm ends the job, the context managers still remove temporary files.
    with command_line.interruptible():
        command_line.run(main)


if __name__ == "__main__":
    entry()
