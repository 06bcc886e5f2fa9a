"""A results folder of a group, in which one user continues the sweep of another."""

from __future__ import annotations

import pytest

from tests.other_user import ADA, BEN, MALLORY, User, needs_root, shared_folder

pytestmark = needs_root

IMPORTS = """
from pathlib import Path
from xray_hpc.errors import UserError
from xray_hpc.records import ledger
from xray_hpc.records.launch_lock import launch_lock, running_launch_position
from xray_hpc.records.lease import Lease
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import RunRecord, read_record, write_record
from xray_hpc.shared_folder import create_file, make_folder
sweep = SweepPaths(Path(sys.argv[1]))
run = sweep.run("cnn-1a2b3c4d")
"""
WORK = """
make_folder(run.folder)
with launch_lock(sweep):
    ledger.append(sweep, "planned", runs={run.name: []})
with Lease.acquire(run.lease):
    create_file(run.log)
    with run.log.open("a") as log:
        log.write("line\\n")
    write_record(run, RunRecord(run.name, sweep.name, "cnn"))
print(len(run.log.read_text().splitlines()), len(list(sweep.ledger.open())))
"""
HOLD = """
make_folder(run.folder)
with launch_lock(sweep):
    print("held", flush=True)
    sys.stdin.read()
"""
READ = """
print(running_launch_position(sweep))
try:
    with launch_lock(sweep):
        print("acquired")
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("mode", [0o2775, 0o775])
def test_second_user_continues_the_sweep_of_the_first(mode: int) -> None:
    with shared_folder(mode) as results:
        assert ADA.run(IMPORTS, WORK, results / "s").stdout == "1 1\n"
        done = BEN.run(IMPORTS, WORK, results / "s")
        assert (done.stdout, done.stderr) == ("2 2\n", "")


@pytest.mark.parametrize(("mode", "user"), [(0o2775, BEN), (0o755, BEN), (0o755, MALLORY)])
def test_other_user_sees_that_a_launch_is_running(mode: int, user: User) -> None:
    with shared_folder(mode) as results:
        holder = ADA.start(IMPORTS, HOLD, results / "s")
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        position, line = user.run(IMPORTS, READ, results / "s").stdout.splitlines()
        assert position == "0"
        assert f"({ADA.number} on " in line
        holder.communicate()
        position, line = user.run(IMPORTS, READ, results / "s").stdout.splitlines()
        assert position == "None"
        if mode == 0o755:
            assert f"ask its owner, {ADA.number}, for access" in line
        else:
            assert line == "acquired"
