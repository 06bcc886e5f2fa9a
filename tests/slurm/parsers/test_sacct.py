from __future__ import annotations

from pathlib import Path

import pytest

from tests.run_folders import Programs
from xray_hpc.slurm import sacct


def test_final_states_calls_sacct_once(programs: Programs) -> None:
    programs.say("sacct", "7_1|NODE_FAIL", "9|CANCELLED by 1000", "7_2|COMPLETED")
    assert sacct.final_states(["7_1", "9"]) == {"7_1": "NODE_FAIL", "9": "CANCELLED"}
    (call,) = programs.calls("sacct")
    assert "--jobs=7_1,9" in call


def test_final_states_without_accounting_is_empty(programs: Programs) -> None:
    assert sacct.final_states(["7_1"]) == {}
    programs.say("sacct", "Slurm accounting storage is disabled", code=1)
    assert sacct.final_states(["7_1"]) == {}


def test_final_states_times_out(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sacct, "TIMEOUT_SECONDS", 0.2)
    programs.say("sacct", "7_1|NODE_FAIL", before="exec /bin/sleep 60")
    assert sacct.final_states(["7_1"]) == {}
