"""Fixtures for tests on a real Slurm cluster.

``slurm`` is what a test asks for: the cluster's own environment is set, nothing of a surrounding
job is left in it, and jobs that a test leaves behind are cancelled after it. ``shared`` is an empty
folder that the nodes see too. ``file_slurm`` and ``file_shared`` are the same for what the tests
of a file look at together. ``accounted`` is a throw-away cluster with accounting.

Which cluster, in this order:
1. ``SLURM_CONF`` is set: the cluster that it names, as it is.
2. root, with Debian's packages there: one of our own (cluster.py), for the length of the session.
3. ``sinfo`` answers: the site's cluster, as it is.
Otherwise the tests are skipped, with the reason; with ``CI=true`` they fail instead.
``XRAY_HPC_TEST_PARTITION`` names the partition to use on a site's cluster.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.client import Slurm, without
from tests.slurm.cluster import Cluster, ClusterError, installing, missing_programs

REPOSITORY = Path(__file__).parents[2]
SLURM_VARIABLES = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SCANCEL_", "SQUEUE_")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Slurm]:
    """The cluster of this test session."""
    if "SLURM_CONF" in os.environ:
        trouble = sinfo_trouble()
        if trouble:
            pytest.fail(f"SLURM_CONF={os.environ['SLURM_CONF']}, but {trouble}", pytrace=False)
        yield existing()
    elif os.geteuid() == 0 and not missing_programs():
        yield from own(accounting=False)
    elif not (trouble := sinfo_trouble()):
        yield existing()
    elif os.geteuid() == 0:
        without(f"not installed: {', '.join(missing_programs())} ({installing()})")
    else:
        without(f"{trouble}; and only root can start one here")


@pytest.fixture(scope="session")
def accounted_cluster() -> Iterator[Slurm]:
    """A throw-away cluster with accounting, for the tests of the session that ask for it."""
    if os.geteuid() != 0:
        without("only root can start a cluster with accounting")
    if missing := missing_programs(accounting_too=True):
        without(f"not installed: {', '.join(missing)} ({installing(accounting_too=True)})")
    yield from own(accounting=True)


@pytest.fixture
def accounted(accounted_cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The cluster with accounting, for one test."""
    yield from used(accounted_cluster, monkeypatch)


@pytest.fixture
def slurm(cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The cluster, for one test."""
    yield from used(cluster, monkeypatch)


@pytest.fixture(scope="module")
def file_slurm(cluster: Slurm) -> Iterator[Slurm]:
    """The cluster, for the tests of one file."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield from used(cluster, monkeypatch)


def used(cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    for name in list(os.environ):
        if name.startswith(SLURM_VARIABLES):
            monkeypatch.delenv(name)
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    before = cluster.jobs()
    yield cluster
    cluster.cancel(cluster.jobs() - before)
    if cluster.cluster is not None:
        for node in cluster.nodes:
            cluster.cluster.restore(node)


@pytest.fixture
def shared(cluster: Slurm, tmp_path: Path) -> Iterator[Path]:
    """An empty folder that this machine and the nodes see under the same path."""
    yield from seen_by_nodes(cluster, tmp_path)


@pytest.fixture(scope="module")
def file_shared(cluster: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder that the nodes see too, for the tests of one file."""
    yield from seen_by_nodes(cluster, tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def packed(cluster: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache of packed images for all launches of the session."""
    yield from seen_by_nodes(cluster, tmp_path_factory.mktemp("packed"))


def seen_by_nodes(cluster: Slurm, temporary: Path) -> Iterator[Path]:
    if cluster.own:
        yield temporary
        return
    (REPOSITORY / "build").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="slurm-test-", dir=REPOSITORY / "build"))
    yield folder
    shutil.rmtree(folder)


def own(*, accounting: bool) -> Iterator[Slurm]:
    cluster = None
    try:
        try:
            cluster = Cluster.claim(accounting=accounting)
            cluster.start()
        except ClusterError as error:
            pytest.fail(f"the test cluster did not start: {error}", pytrace=False)
        yield Slurm.throwaway(cluster)
    finally:
        if cluster is not None:
            cluster.stop()


def existing() -> Slurm:
    """A site's cluster. Its nodes are those of the partition that the tests use."""
    partition = os.environ.get("XRAY_HPC_TEST_PARTITION")
    environment = {}
    if "SLURM_CONF" in os.environ:
        environment["SLURM_CONF"] = os.environ["SLURM_CONF"]
    if partition:
        environment |= {"SBATCH_PARTITION": partition, "SLURM_PARTITION": partition}
    only = ["-p", partition] if partition else []
    shown = subprocess.run(["sinfo", "-h", "-N", "-o", "%N", *only], capture_output=True, text=True)
    return Slurm(None, sorted(set(shown.stdout.split())), partition, environment)


def sinfo_trouble() -> str | None:
    """Why no Slurm cluster can be used from here, or None if one answers."""
    if shutil.which("sinfo") is None:
        return "no Slurm cluster here (sinfo is not installed)"
    try:
        done = subprocess.run(["sinfo", "-h"], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "sinfo did not answer within 60 s"
    if done.returncode == 0 and done.stdout.strip():
        return None
    said = (done.stderr.strip() or "it lists no node").splitlines()[-1]
    return f"no Slurm cluster answers sinfo ({said})"
