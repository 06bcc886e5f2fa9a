from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.run_folders import Sweep
from xray_hpc.monitoring.log_files import GrowingFile, last_lines, slurm_output, tail


def test_read_new_returns_each_byte_once(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = GrowingFile(file)
    assert log.read_new() == b""
    file.write_text("one\n")
    assert log.read_new() == b"one\n"
    with file.open("a") as opened:
        opened.write("two\n")
    assert (log.read_new(), log.read_new()) == (b"two\n", b"")


def test_read_new_restarts_after_the_file_was_replaced(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("a long line\n")
    log = GrowingFile(file)
    log.read_new()
    file.write_text("new\n")
    assert log.read_new() == b"new\n"


@given(st.lists(st.text("ab", max_size=5), max_size=8), st.integers(0, 10))
def test_last_lines_returns_the_end(lines: list[str], count: int) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()
    last = last_lines(text, count)
    assert text.endswith(last)
    assert last.count(b"\n") == min(count, len(lines))


def test_tail_reads_only_the_end_of_a_long_file(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("x" * 100_000 + "\nlast\n")
    assert tail(file, 1) == b"last\n"


@pytest.mark.parametrize(
    ("tasks", "run", "file"),
    [([["a"], ["b"]], "b", "7_1_0_log.out"), ([["a", "b"]], "b", "7_0_log.out")],
    ids=["array", "packed"],
)
def test_slurm_output_finds_the_file_of_the_runs_job(
    tmp_path: Path, tasks: list[list[str]], run: str, file: str
) -> None:
    sweep = Sweep(tmp_path / "lr")
    for name in ("a", "b"):
        sweep.add(name)
    sweep.submitted("6", ["a"], ["b"])
    sweep.submitted("7", *tasks)
    sweep.submitted("8", kind="collect")
    folder = sweep.paths.slurm / "s7"
    folder.mkdir(parents=True)
    assert slurm_output(sweep.paths.run(run)) is None
    (folder / file).write_text("srun: error\n")
    assert slurm_output(sweep.paths.run(run)) == folder / file
