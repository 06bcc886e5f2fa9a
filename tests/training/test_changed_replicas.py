"""A run that resumes on another number of replicas gives the same result up to rounding."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from tests.training.killing import End, Trainer
from tests.training.small_runs import SMALL, checkpointed, new_run
from xray_hpc.records.paths import RunPaths


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    with Trainer() as started:
        yield started


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def weights(paths: RunPaths) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of the saved model, by their names in its archive."""
    found = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.size:
            found[name] = item[()]

    with (
        zipfile.ZipFile(paths.model) as archive,
        archive.open("model.weights.h5") as file,
        h5py.File(file) as arrays,
    ):
        arrays.visititems(visit)
    return found


# Not Adam: it scales the rounding errors of nearly zero gradients up to a part of the learning
# rate.
REPLICATED = replace(SMALL, train=replace(SMALL.train, optimizer="sgd"))


@pytest.fixture(scope="module")
def on_two(trainer: Trainer, results: Path) -> RunPaths:
    paths = new_run(results, REPLICATED)
    ended = trainer.train(paths, replicas=2)
    assert ended.code == 0, ended.output
    return paths


@pytest.mark.parametrize(("first", "then"), [(2, 2), (2, 1), (1, 2)])
def test_resume_works_with_another_number_of_replicas(
    trainer: Trainer, results: Path, on_two: RunPaths, first: int, then: int
) -> None:
    paths = new_run(results, checkpointed(REPLICATED, steps=1))
    assert trainer.train(paths, End("step", 6, "before"), replicas=first, wait=True).code == -9
    ended = trainer.train(paths, replicas=then)
    assert "Resuming from epoch " in ended.output
    mine, expected = weights(paths), weights(on_two)
    assert mine.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(mine[name], values, rtol=0, atol=1e-6, err_msg=name)
    for table in (paths.loss("cnn"), paths.auc("cnn"), paths.scores("cnn", "test")):
        one, other = (pd.read_csv(folder / table.name) for folder in (paths.folder, on_two.folder))
        pd.testing.assert_frame_equal(one, other, rtol=0, atol=1e-6)
    if first == then:  # apart from sums of metrics, which are distributed among the replicas
        assert all(np.array_equal(mine[name], values) for name, values in expected.items())
