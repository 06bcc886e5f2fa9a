"""The command ``python -m xray_hpc.collect results/<sweep>``.

It writes ``results/<sweep>/report/`` and prints the comparison. It can run at any time, also while
the sweep is running.
"""

from __future__ import annotations

from xray_hpc import command_line
from xray_hpc.monitoring.discovery import find_sweep


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
    arguments = parser.parse_intermixed_args()
    sweep = find_sweep(arguments.sweep, arguments.results)
    from xray_hpc.report.collect_sweep import collect_sweep  # takes a second to import

    report = collect_sweep(sweep)
    print(report.table())
    print()
    for path in report.paths:
        print(path)


def entry() -> None:
    """Run the installed command ``xray-collect``."""
    command_line.run(main)


if __name__ == "__main__":
    entry()
