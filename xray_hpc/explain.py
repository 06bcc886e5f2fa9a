"""Show what in an image speaks for its class: ``python -m xray_hpc.explain RUN IMAGE...``.

Writes a picture for each image, the X-ray beside its heatmap, and ``explanations.csv`` with the
columns of ``predictions.csv``, the class explained and the name of the picture.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import closing

from xray_hpc import command_line
from xray_hpc.isolated_keras import isolated_keras
from xray_hpc.predict import DEFAULT_SIZE, find_model_path

METHODS = ("grad_cam", "shap")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.make_parser(
        "explain",
        "Show what in an image speaks for its class: write a picture of each image beside its "
        "heatmap, and a CSV file with the columns path, score_<class> for each class, logit, "
        "label, explained, image and error.",
        notes="An image that is missing or cannot be read is a row with its error, and the exit "
        "code is then 1. A heatmap shows what the model used. It is no evidence that the model is "
        "right.",
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
        metavar="FOLDER",
        type=command_line.expand_home,
        default="explanations",
        help="the folder of the pictures and of explanations.csv (default: %(default)s)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace explanations that the folder holds"
    )
    parser.add_argument(
        "-m",
        "--method",
        choices=METHODS,
        default=METHODS[0],
        help="grad_cam: where the features lie that raise the score of the class (default); shap: "
        "which pixels raise it, compared with other images (slower; needs shap)",
    )
    parser.add_argument(
        "-c",
        "--class",
        dest="class_name",
        metavar="NAME",
        help="explain this class (default: the predicted class of each image)",
    )
    parser.add_argument(
        "-b",
        "--background",
        metavar="FOLDER",
        help="with --method shap: the images to compare with (default: validation images of the "
        "run)",
    )
    command_line.add_results_option(parser)
    return parser


def main() -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_intermixed_args()
    # NumPy is imported after the arguments are parsed, TensorFlow after they are checked.
    from xray_hpc.explanations.explain_request import TABLE, check_request
    from xray_hpc.prediction.predict_images import predict_with_images
    from xray_hpc.prediction.prediction_csv import csv_writer
    from xray_hpc.prediction.prediction_table import PredictionTable
    from xray_hpc.progress_bar import ProgressBar
    from xray_hpc.records.atomic_files import storage_errors
    from xray_hpc.shared_folder import make_folder
    from xray_hpc.thread_map import available_cores

    stdin = sys.stdin.buffer.read() if "-" in arguments.images else b""
    request = check_request(
        find_model_path(arguments.run, arguments.results),
        arguments.images,
        arguments.output,
        method=arguments.method,
        class_name=arguments.class_name,
        background=arguments.background,
        stdin=stdin,
        overwrite=arguments.overwrite,
    )
    print(request.describe(), file=sys.stderr, flush=True)
    with isolated_keras():
        from xray_hpc.explanations.explain_images import explain_images
        from xray_hpc.explanations.load_explainer import load_explainer
        from xray_hpc.training.strategy import enable_memory_growth
    enable_memory_growth()
    score, explainer = load_explainer(request)
    card, folder, table_file = request.card, request.output, str(request.output / TABLE)
    table = PredictionTable(card.classes, table_file, *shutil.get_terminal_size(DEFAULT_SIZE))
    results = predict_with_images(request.files, card, score, card.threshold, available_cores())
    empty = 0
    with (
        storage_errors(folder),
        csv_writer(table_file, card.classes, ("explained", "image")) as write,
        ProgressBar("explaining images", len(request.files)) as progress,
        closing(results),
    ):
        make_folder(folder)
        for one in explain_images(results, card, explainer, request.label, folder):
            write(one.prediction, one.explained, one.picture)
            table.add(one.prediction)
            empty += one.empty
            progress.advance()
    print(f"{table.text()}\n\n{table.counts()}\n{table_file}")
    if empty:
        print(f"nothing speaks for the explained class in {empty:,} of the images", file=sys.stderr)
    if table.failed:
        print(table.failures(), file=sys.stderr)
    return 1 if table.failed else 0


def entry() -> None:
    """Run the installed command ``xray-explain``."""
    # When Slurm ends the job, the context managers still remove temporary files.
    with command_line.interruptible():
        command_line.run(main)


if __name__ == "__main__":
    entry()
