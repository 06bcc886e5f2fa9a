"""All faults, in the order of the table, by their names."""

from __future__ import annotations

import of_answers
import of_clusters
import of_launches
import of_runs
import of_storage
from doing import Fault

FAULTS = {
    name: found
    for module in (of_runs, of_clusters, of_launches, of_storage, of_answers)
    for name, found in vars(module).items()
    if isinstance(found, Fault)
}
