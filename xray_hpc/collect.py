"""The command ``python -m xray_hpc.collect results/<sweep>``.

It writes ``results/<sweep>/report/`` and prints the comparison. It can run at any time, also while
the sweep is running.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from xray_hpc import command_line
from xray_hpc.config.report_settings import SELECTION_RULES, ReportSettings
from xray_hpc.errors import ConfigError, one_of
from xray_hpc.monitoring.discovery import find_sweep
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.saved_report_settings import read_report_settings


def main() -> None:
    """Run the command."""
    arguments = _parser().parse_intermixed_args()
    sweeps = [find_sweep(text, arguments.results) for text in arguments.sweeps]
    settings = _report_settings(sweeps, arguments)
    from xray_hpc.report.collect_sweep import ReportRequest, collect  # takes a second to import

    keys = [key.strip() for key in arguments.by.split(",") if key.strip()]
    report = collect(ReportRequest(sweeps, arguments.out, arguments.where, keys, settings))
    print(report.table())
    print()
    for path in report.paths:
        print(path)


def _parser() -> argparse.ArgumentParser:
    parser = command_line.make_parser(
        "collect",
        "Merge the records of sweeps into tables, figures and a report, and print the comparison.",
        notes="Writes report.html, report.md, figures, and every table as CSV into SWEEP/report/. "
        "Can run at any time, also during the sweep: runs that failed, are missing or have not "
        "finished are listed as such.",
        examples="""
            python -m xray_hpc.collect results/lr-depth
            python -m xray_hpc.collect results/a results/b --out results/both
            python -m xray_hpc.collect lr-depth --where 'model=ft and train.learning_rate<1e-3'
            python -m xray_hpc.collect lr-depth --by model,train.learning_rate
        """,
    )
    parser.add_argument("sweeps", metavar="SWEEP", nargs="+", help=command_line.SWEEP_HELP)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=command_line.expand_home,
        help="the report's folder (default: SWEEP/report; required for several sweeps)",
    )
    parser.add_argument(
        "--where",
        metavar="EXPRESSION",
        help="only runs that fulfill conditions on the columns of runs.csv or on configuration "
        "keys, joined by 'and'; operators are = != < > <= >=, and values may be globs",
    )
    parser.add_argument(
        "--by",
        metavar="KEYS",
        default="",
        help="also average metrics over the finished runs with equal values of these keys "
        "(separated by commas), into by.csv",
    )
    parser.add_argument(
        "--select",
        metavar="RULE",
        help="choose the best run by this metric of the validation images: "
        f"{', '.join(SELECTION_RULES)} (default: the first sweep's report.select)",
    )
    parser.add_argument(
        "--images",
        action=argparse.BooleanOptionalAction,
        help="embed X-rays of patients in the report, or leave them out (default: "
        "report.images, which every sweep can set to false)",
    )
    command_line.add_results_option(parser)
    return parser


def _report_settings(sweeps: Sequence[SweepPaths], arguments: argparse.Namespace) -> ReportSettings:
    """Return what ``sweep.yaml`` says of the report, with the options of the command.

    Of several sweeps, the first one says the rule, and each can say that no image is shown.

    Raises:
        ConfigError: an option or a setting in ``sweep.yaml`` is invalid.
    """
    rule = arguments.select
    if rule is not None and rule not in SELECTION_RULES:
        raise ConfigError(one_of("--select", rule, SELECTION_RULES))
    found = [read_report_settings(one, select=rule, images=arguments.images) for one in sweeps]
    return replace(found[0], images=all(one.images for one in found))


def entry() -> None:
    """Run the installed command ``xray-collect``."""
    command_line.run(main)


if __name__ == "__main__":
    entry()
