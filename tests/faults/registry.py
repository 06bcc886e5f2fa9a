"""All faults by name, in the order of the table."""

from __future__ import annotations

from tests.faults import (
    cluster_faults,
    command_faults,
    container_faults,
    launch_faults,
    run_faults,
    storage_faults,
)
from tests.faults.fault import Fault

FAULTS = {
    name: value
    for module in (
        run_faults,
        container_faults,
        cluster_faults,
        launch_faults,
        storage_faults,
        command_faults,
    )
    for name, value in vars(module).items()
    if isinstance(value, Fault)
}
