"""The sweep report: load the runs' records, compare them, render tables and figures."""
