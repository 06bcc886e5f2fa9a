"""The command ``python -m xray_hpc.collect results/<sweep>``.

It writes ``results/<sweep>/report/`` and prints the comparison. It can run at any time, also while
the sweep is running.
"""

from __future__ import annotations

import argparse

from xray_hpc import command_line
from xray_hpc.config.report_settings import SELECTION_RULES, ReportSettings
from xray_hpc.errors import ConfigError, one_of
from xray_hpc.monitoring.discovery import find_sweep
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.saved_report_settings import read_report_settings


def main() -> None:
    """Run the command."""
    parser = command_line.make_parser(
        "collect",
        "Merge a sweep's records into tables, figures and a report, and print the comparison.",
        notes="Writes report.md, runs.csv, per_class.csv, epochs.csv, scores.csv, roc.csv and "
        "figures into SWEEP/report/. Can run at any time, also during the sweep: runs that failed, "
        "are missing or have not finished are listed as such.",
    )
    parser.add_argument("sweep", metavar="SWEEP", help=command_line.SWEEP_HELP)
    command_line.add_results_option(parser)
    parser.add_argument(
        "--select",
        metavar="RULE",
        help="choose the best run by this metric of the validation images: "
        f"{', '.join(SELECTION_RULES)} (default: the sweep's report.select)",
    )
    parser.add_argument(
        "--images",
        action=argparse.BooleanOptionalAction,
        help="embed X-rays of patients in the report, or leave them out (default: the sweep's "
        "report.images)",
    )
    arguments = parser.parse_intermixed_args()
    sweep = find_sweep(arguments.sweep, arguments.results)
    settings = _report_settings(sweep, arguments)
    from xray_hpc.report.collect_sweep import collect_sweep  # takes a second to import

    report = collect_sweep(sweep, settings)
    print(report.table())
    print()
    for path in report.paths:
        print(path)


def _report_settings(sweep: SweepPaths, arguments: argparse.Namespace) -> ReportSettings:
    """Return what ``sweep.yaml`` says of the report, with the options of the command.

    Raises:
        ConfigError: an option or a setting in ``sweep.yaml`` is invalid.
    """
    rule = arguments.select
    if rule is not None and rule not in SELECTION_RULES:
        raise ConfigError(one_of("--select", rule, SELECTION_RULES))
    return read_report_settings(sweep, select=rule, images=arguments.images)


def entry() -> None:
    """Run the installed command ``xray-collect``."""
    command_line.run(main)


if __name__ == "__main__":
    entry()
