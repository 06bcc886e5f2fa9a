"""What cannot be explained does not fail a run that is trained."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.training.small_runs import SMALL
from xray_hpc.errors import DataError, LeaseLostError
from xray_hpc.records.paths import RunPaths
from xray_hpc.training import explain_misses

Explain = Callable[[BaseException | None], None]


@pytest.fixture
def explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Explain:
    """Return a function that explains a run, which fails as given after its first files."""

    def explain(error: BaseException | None, **train: Any) -> None:
        def write_worst_misses(paths: RunPaths, name: str, *_: Any) -> None:
            paths.worst_miss_figures.mkdir(parents=True)
            (paths.worst_miss_figures / "test_1.png").touch()
            paths.worst_misses(name).touch()
            if error:
                raise error

        monkeypatch.setattr(explain_misses, "write_worst_misses", write_worst_misses)
        config = replace(SMALL, train=replace(SMALL.train, **train))
        anything: Any = SimpleNamespace()
        explain_misses.explain_misses(anything, config, anything, {}, RunPaths(tmp_path))

    return explain


@pytest.mark.parametrize(
    ("error", "traceback"),
    [
        (DataError("the model has no\nconvolution"), False),
        (MemoryError(), False),
        (ValueError("a bug"), True),
        (OSError(errno.EMFILE, "too many open files"), False),
    ],
)
def test_failure_is_a_warning_of_one_line_and_a_bug_has_its_traceback(
    explain: Explain,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    traceback: bool,
) -> None:
    explain(error)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "Cannot explain the worst misses" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert bool(record.exc_info) == traceback
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), LeaseLostError("lost")])
def test_lost_lease_and_full_disk_end_the_training(explain: Explain, error: Exception) -> None:
    with pytest.raises(type(error)):
        explain(error)


def test_explain_false_writes_nothing(
    explain: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    explain(None, explain=False)
    assert not list(tmp_path.iterdir())
    assert not caplog.records


def test_explanations_without_failure_are_kept(
    explain: Explain, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    explain(None)
    assert (tmp_path / "cnn_worst_misses.csv").exists()
    assert not caplog.records
