"""All faults, in the order of the table, by their names."""

from __future__ import annotations

from tests.faults import of_answers, of_clusters, of_launches, of_runs, of_storage
from tests.faults.doing import Fault

FAULTS = {
    name: found
    for module in (of_runs, of_clusters, of_launches, of_storage, of_answers)
    for name, found in vars(module).items()
    if isinstance(found, Fault)
}
