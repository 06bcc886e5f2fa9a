from __future__ import annotations

import pytest

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.secret_values import is_masked, mask_cluster, mask_override, mask_text


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("export KEY=abc", "export KEY=<masked>"),
        ("export USER_NAME=anna", "export USER_NAME=<masked>"),
        ("export A='x y' B=\"p $q\"; C=1", "export A=<masked> B=<masked>; C=1"),
        ("declare -x API_TOKEN=12345", "declare -x API_TOKEN=<masked>"),
        ("WANDB_API_KEY=abc,def python x.py", "WANDB_API_KEY=<masked> python x.py"),
        ("setenv SECRET abc", "setenv SECRET <masked>"),
        ("export PASSWORD=/abc", "export PASSWORD=<masked>"),
        ("export NAME=${OTHER:-abc}", "export NAME=<masked>"),
        ("export KEY=$'abc'", "export KEY=<masked>"),
        ("apptainer exec --env KEY=abc x.sif", "apptainer exec --env KEY=<masked> x.sif"),
        ("login --token abc --api-key=def", "login --token <masked> --api-key=<masked>"),
        ("curl https://anna:pw@host/x", "curl https://anna:<masked>@host/x"),
        ("[ -f x ] && export K=a\\ b && true", "[ -f x ] && export K=<masked> && true"),
    ],
)
def test_mask_text_masks_literal_values(line: str, masked: str) -> None:
    assert mask_text(line) == masked


@pytest.mark.parametrize(
    "line",
    [
        *("module load cuda/12.2", "source ~/.secrets", "export OMP_NUM_THREADS=4"),
        *("export PATH=/opt/bin:$PATH", 'export LD_PATH="$HOME/lib"', "export F=--xla_x=1"),
        *("export KEY=$(cat ~/.key)", "export KEY=$OTHER", "[ a = b ]", "export ON=true"),
        *("apptainer exec --nv --bind=/a:/b x.sif", "test x == y", "setenv N 4", "export X="),
    ],
)
def test_mask_text_leaves_lines_without_secrets(line: str) -> None:
    assert mask_text(line) == line


@pytest.mark.parametrize(
    ("word", "masked"),
    [
        ('cluster.setup=["export KEY=abc, x"]', "cluster.setup=<masked>"),
        ("cluster.setup=[export KEY\\=abc,true]", "cluster.setup=<masked>"),
        ("+my.api_key=1", "+my.api_key=<masked>"),
        ("cluster.setup=[module load cuda]", "cluster.setup=[module load cuda]"),
        ("train.learning_rate=1e-4,1e-5", "train.learning_rate=1e-4,1e-5"),
        ("data.root=/x/a=b", "data.root=/x/a=b"),
        ("-m", "-m"),
    ],
)
def test_mask_override_masks_the_whole_value(word: str, masked: str) -> None:
    assert mask_override(word) == masked


def test_mask_cluster_masks_every_key_that_may_hold_secrets() -> None:
    cluster = ClusterConfig(
        "slurm",
        setup=("module load cuda", "export KEY=abc"),
        container="apptainer exec --env KEY=abc x.sif",
        extra={"comment": "KEY=abc", "nice": 5},
    )
    masked = mask_cluster(cluster)
    assert masked.setup == ("module load cuda", "export KEY=<masked>")
    assert masked.container == "apptainer exec --env KEY=<masked> x.sif"
    assert masked.extra == {"comment": "KEY=<masked>", "nice": 5}
    plain = ClusterConfig("slurm", setup=("module load cuda",), extra={"nice": 5})
    assert mask_cluster(plain) == plain


def test_is_masked_finds_a_mask_in_nested_values() -> None:
    assert is_masked({"a": 1, "setup": ["true", "export K=<masked>"]})
    assert is_masked({"extra": {"comment": "<masked>"}})
    assert not is_masked({"setup": ["export K=a"], "extra": None, "gpus": 1})
