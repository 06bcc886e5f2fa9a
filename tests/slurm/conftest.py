"""Fixtures for tests on a real Slurm cluster.

``slurm`` is the cluster for one test: its environment variables are set, those of a surrounding
job are removed, and jobs that the test leaves behind are cancelled. ``shared_folder`` is an empty
folder that the nodes see too. ``module_slurm`` and ``module_folder`` are the same with
module scope. ``accounted`` is a throw-away cluster with accounting.

The cluster is the first of these:
1. The cluster that ``SLURM_CONF`` names.
2. As root, with Debian's packages installed: a throw-away cluster for this session (cluster.py).
3. The site's cluster, if ``sinfo`` answers.
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

from tests.slurm.client import Slurm, skip_or_fail
from tests.slurm.cluster import Cluster, install_hint, missing_programs
from tests.slurm.daemons import ClusterError

REPOSITORY = Path(__file__).parents[2]
SLURM_VARIABLES = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SCANCEL_", "SQUEUE_")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Slurm]:
    """The cluster of this test session."""
    if "SLURM_CONF" in os.environ:
        problem = sinfo_problem()
        if problem:
            pytest.fail(f"SLURM_CONF={os.environ['SLURM_CONF']}, but {problem}", pytrace=False)
        yield site_cluster()
    elif os.geteuid() == 0 and not missing_programs():
        yield from throwaway_cluster(accounting=False)
    elif not (problem := sinfo_problem()):
        yield site_cluster()
    elif os.geteuid() == 0:
        skip_or_fail(f"not installed: {', '.join(missing_programs())} ({install_hint()})")
    else:
        skip_or_fail(f"{problem}; and only root can start one here")


@pytest.fixture(scope="session")
def accounted_cluster() -> Iterator[Slurm]:
    """A throw-away cluster with accounting, for this test session."""
    if os.geteuid() != 0:
        skip_or_fail("only root can start a cluster with accounting")
    if missing := missing_programs(accounting_too=True):
        skip_or_fail(f"not installed: {', '.join(missing)} ({install_hint(accounting_too=True)})")
    yield from throwaway_cluster(accounting=True)


@pytest.fixture
def accounted(accounted_cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The cluster with accounting, for one test."""
    yield from prepared(accounted_cluster, monkeypatch)


@pytest.fixture
def slurm(cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The cluster, for one test."""
    yield from prepared(cluster, monkeypatch)


@pytest.fixture(scope="module")
def module_slurm(cluster: Slurm) -> Iterator[Slurm]:
    """The cluster, for the tests of one module."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield from prepared(cluster, monkeypatch)


def prepared(cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """Set the cluster's environment; afterwards cancel new jobs and restore the nodes."""
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
def shared_folder(cluster: Slurm, tmp_path: Path) -> Iterator[Path]:
    """An empty folder that has the same path on this machine and on the nodes."""
    yield from node_folder(cluster, tmp_path)


@pytest.fixture(scope="module")
def module_folder(cluster: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder that the nodes see too, for the tests of one module."""
    yield from node_folder(cluster, tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def image_cache(cluster: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache of images for all launches of the session."""
    yield from node_folder(cluster, tmp_path_factory.mktemp("images"))


def node_folder(cluster: Slurm, temporary: Path) -> Iterator[Path]:
    """Yield ``temporary``, or on a site's cluster a folder in the repository, which nodes share."""
    if cluster.is_throwaway:
        yield temporary
        return
    (REPOSITORY / "build").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="slurm-test-", dir=REPOSITORY / "build"))
    yield folder
    shutil.rmtree(folder)


def throwaway_cluster(*, accounting: bool) -> Iterator[Slurm]:
    """Start a cluster on this machine; stop it afterwards."""
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


def site_cluster() -> Slurm:
    """Return the client of a site's cluster, with the nodes of the partition to use."""
    partition = os.environ.get("XRAY_HPC_TEST_PARTITION")
    environment = {}
    if "SLURM_CONF" in os.environ:
        environment["SLURM_CONF"] = os.environ["SLURM_CONF"]
    if partition:
        environment |= {"SBATCH_PARTITION": partition, "SLURM_PARTITION": partition}
    only = ["-p", partition] if partition else []
    shown = subprocess.run(["sinfo", "-h", "-N", "-o", "%N", *only], capture_output=True, text=True)
    return Slurm(None, sorted(set(shown.stdout.split())), partition, environment)


def sinfo_problem() -> str | None:
    """Return why no Slurm cluster can be used from here, or ``None`` if one answers."""
    if shutil.which("sinfo") is None:
        return "no Slurm cluster found on this host (sinfo is not installed)"
    try:
        done = subprocess.run(["sinfo", "-h"], capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "sinfo did not answer within 60 s"
    if done.returncode == 0 and done.stdout.strip():
        return None
    reason = (done.stderr.strip() or "it lists no node").splitlines()[-1]
    return f"no Slurm cluster answers sinfo ({reason})"
