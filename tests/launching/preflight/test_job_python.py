from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fake_slurm import FakeSlurm
from tests.launching.preflight.conftest import Check
from xray_hpc.errors import ConfigError


def test_check_accepts_a_python_with_the_package(check: Check) -> None:
    assert check(python=sys.executable, setup=("echo hello",)) == []


def test_check_refuses_a_package_found_only_in_the_working_folder(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    with pytest.raises(ConfigError, match="cannot import xray_hpc"):
        check(python=f"{sys.executable} -E -S")


def test_check_finds_the_package_of_a_snapshot(check: Check) -> None:
    # This python lacks TensorFlow, but finds xray_hpc.
    with pytest.raises(ConfigError, match="No module named 'tensorflow'"):
        check(python=f"{sys.executable} -S", snapshot=True)


def test_check_refuses_a_python_without_the_package(check: Check) -> None:
    python = f"{sys.executable} -I -S"  # without site-packages
    with pytest.raises(ConfigError, match=r"^cluster\.python: .*No module named 'xray_hpc'"):
        check(python=python)


def test_check_refuses_a_missing_python(check: Check) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        check(python="/opt/nowhere/bin/python")


def test_check_runs_setup_first(check: Check, tmp_path: Path) -> None:
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "python3").symlink_to("/bin/false")
    line = f"export PATH={tmp_path}/my:$PATH"
    with pytest.raises(ConfigError, match=r"^cluster\.setup and cluster\.python: "):
        check(python="python3", setup=(line,))


def test_check_notes_lines_of_setup_that_fail_here(check: Check) -> None:
    setup = ("echo no cuda/99 >&2; false", "cd /", "(exit 3) || true", "(exit 4)\ntrue")
    first, second = check(setup=setup)
    assert first.startswith(f"cluster.setup: {setup[0]!r} ended with exit code 1 on this host (no ")
    assert f"{setup[3]!r} ended with exit code 4" in second


def test_check_refuses_a_python_that_a_failing_line_should_have_loaded(check: Check) -> None:
    with pytest.raises(ConfigError, match=r"'printf no; false' .* code 1 .* \(no\).*cannot import"):
        check(setup=("printf no; false",), python="/nowhere/python")


@pytest.mark.parametrize("line", ["if true; then", "echo 'a"])
def test_check_refuses_an_incomplete_line_of_setup(check: Check, line: str) -> None:
    with pytest.raises(ConfigError, match=r"^cluster\.setup has .* not a complete command \(line"):
        check(setup=("true", line, "echo $SLURM_JOB_ID"))


def test_check_uses_the_container(check: Check, site: FakeSlurm) -> None:
    site.act("apptainer", "exec my.sif python -c *import xray_hpc*", "echo xray_hpc was imported")
    site.act("apptainer", "exec other.sif *", "echo FATAL: could not open image >&2; exit 255")
    assert check(container="apptainer exec my.sif") == []
    with pytest.raises(ConfigError, match=r"^cluster\.container: .*FATAL: could not open image"):
        check(container="apptainer exec other.sif")


def test_check_refuses_a_container_that_drops_the_arguments_of_python(check: Check) -> None:
    with pytest.raises(ConfigError, match=r"python does not receive its arguments"):
        check(container="bash -c", python=sys.executable)


def test_check_notes_a_container_program_that_is_not_on_this_host(check: Check) -> None:
    (note,) = check(container="A=1 nowhere-tainer exec x.sif")
    assert note.startswith("cluster.container: no nowhere-tainer")


def test_check_notes_a_setup_that_takes_too_long(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_hpc.launching.preflight.job_python.TIMEOUT_SECONDS", 0.2)
    (note,) = check(setup=("sleep 600",))
    assert note.startswith("cluster.setup: ")
    assert "0.2 s" in note


@pytest.mark.parametrize(
    "variable", ["$SLURM_TMPDIR", "${SLURM_JOB_ID:?}", "$CUDA_VISIBLE_DEVICES"]
)
def test_check_notes_a_setup_that_needs_a_job(check: Check, tmp_path: Path, variable: str) -> None:
    name = variable.strip("${}:?")
    (note,) = check(setup=(f"touch {tmp_path}/made", f"cd {variable}"))
    assert note.startswith(f"cluster.setup uses ${name}")
    assert not (tmp_path / "made").exists()
