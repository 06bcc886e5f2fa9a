from __future__ import annotations

import pytest

from tests.fake_slurm import FakeSlurm
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import ConfigError
from xray_hpc.launching.preflight.inherited_options import inherit_options


def test_inherit_options_sets_keys_that_the_configuration_does_not(
    site: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_ACCOUNT", "lungs")
    monkeypatch.setenv("SBATCH_PARTITION", "short")
    monkeypatch.setenv("SBATCH_QOS", "")
    cluster, notes = inherit_options(ClusterConfig("slurm", partition="main"))
    assert (cluster.account, cluster.partition, cluster.qos) == ("lungs", "main", None)
    assert [note.split(";")[0] for note in notes] == [
        "SBATCH_ACCOUNT=lungs sets cluster.account",
        "ignored SBATCH_PARTITION=short, SBATCH_QOS=",
    ]


def test_inherit_options_names_the_variables_that_sbatch_reads(
    site: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_RESERVATION", "course")
    cluster, (note,) = inherit_options(ClusterConfig("slurm"))
    assert cluster == ClusterConfig("slurm")
    assert note.startswith("SBATCH_RESERVATION=course ")


def test_inherit_options_without_variables_asks_slurm_nothing(
    site: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answer("scontrol", "*", "down", code=1)
    monkeypatch.setenv("SBATCH_CPU_BIND_TYPE", "none")  # of a surrounding job
    assert inherit_options(ClusterConfig("slurm")) == (ClusterConfig("slurm"), [])


def test_inherit_options_accepts_only_this_cluster(
    site: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answer("scontrol", "*show config", "ClusterName             = here\n")
    monkeypatch.setenv("SLURM_CLUSTERS", "here")
    inherit_options(ClusterConfig("slurm"))
    monkeypatch.setenv("SLURM_CLUSTERS", "here,there")
    with pytest.raises(ConfigError, match="SLURM_CLUSTERS is here,there"):
        inherit_options(ClusterConfig("slurm"))
