"""The state of sweeps and runs: status, logs, cancelling."""
