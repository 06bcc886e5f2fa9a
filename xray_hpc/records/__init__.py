"""Run folders and sweep folders: paths, records, ledger and lease."""
