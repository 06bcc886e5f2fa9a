from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("export API_KEY=${PREFIX}sk-12345", "export API_KEY=<masked>"),
        ("export API_KEY=$HOME/abc", "export API_KEY=<masked>"),
        ("export NAME=$USER-secret", "export NAME=<masked>"),
        ('export NAME="$A"sk-123', "export NAME=<masked>"),
        ("export HF=123-abcdef", "export HF=<masked>"),
        ("export HF=yes-abcdef", "export HF=<masked>"),
        ("export NAME=${OTHER:-a b}", "export NAME=<masked>"),
        ("export NAME='$ecret'", "export NAME=<masked>"),
        ("export KEY=$'it\\'s x'", "export KEY=<masked>"),
        ("KEYS[0]=abc; KEYS=(a b)", "KEYS[0]=<masked>; KEYS=<masked>"),
        ('run -e "KEY=a b" x.sif', 'run -e "KEY=<masked>" x.sif'),
        ("run --env PATH=/x,TOKEN=abc", "run --env PATH=/x,TOKEN=<masked>"),
        ("export X=$(TOKEN=abc login)", "export X=$(TOKEN=<masked> login)"),
        ("comment:TOKEN=abc", "comment:TOKEN=<masked>"),
        ("export NCCL_AUTH=abc SLURM_JWT=abc", "export NCCL_AUTH=<masked> SLURM_JWT=<masked>"),
        ("export http_proxy=http://anna:pw@host", "export http_proxy=http://anna:<masked>@host"),
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
        *("export KEY=`cat f`", 'export KEY="$A$B"', "login --token $TOKEN", 'KEY="$(cat "a b")"'),
        *("export PATH=$PATH:/opt/bin", 'export P="$HOME"/lib:$P', "conda install numpy=1.26.4"),
        *("export LANG=en_US.UTF-8 LC_ALL=C", "export NCCL_SOCKET_IFNAME=ib0", "MPLBACKEND=Agg x"),
        *("export KMP_AFFINITY=granularity=fine,compact", "export http_proxy=http://proxy:3128"),
    ],
)
def test_mask_text_leaves_lines_without_secrets(line: str) -> None:
    assert mask_text(line) == line


CORE = "s3cr3t"
LITERALS = st.builds(
    lambda start, end: f"{start}{CORE}{end}{CORE}",
    *[st.text("aZ09_$'\"`\\ =:,;&|(){}[]#!é-/~.")] * 2,
)
QUOTES: list[Callable[[str], str]] = [
    shlex.quote,
    lambda text: '"' + re.sub(r'(["\\`$])', r"\\\1", text) + '"',
    lambda text: "$'" + re.sub(r"(['\\])", r"\\\1", text) + "'",
    lambda text: re.sub(r"(\W)", r"\\\1", text),
]
BEFORE = ("", "$USER-", "$1", "${A}", '"$A"', "$(id)", "`id`")
LINES = (
    *("export {}={}", "{}={} login", "declare -x {}={}", "run -e A=1,{}={} x.sif", "x && {}+={}"),
    *("setenv {} {}", "export LANG=C {}={} B=2", "true;{}={}", "run --env LANG=C,{}={} x.sif"),
)


@given(
    literal=LITERALS,
    quoted=st.sampled_from(QUOTES),
    before=st.sampled_from(BEFORE),
    name=st.sampled_from(["HF", "MY_NAME", "API_KEY", "NCCL_TOKEN"]),
    line=st.sampled_from(LINES),
)
def test_no_literal_that_is_assigned_remains(
    literal: str, quoted: Callable[[str], str], before: str, name: str, line: str
) -> None:
    if name in ("HF", "MY_NAME") and literal[0] in "-/~.:":
        literal = f"x{literal}"  # else an option or a path
    assert CORE not in mask_text(line.format(name, before + quoted(literal)))


@pytest.mark.parametrize(
    ("word", "masked"),
    [
        ('cluster.setup=["export KEY=abc, x"]', "cluster.setup=<masked>"),
        ("cluster.setup=[export KEY\\=abc,true]", "cluster.setup=<masked>"),
        ("cluster.extra={comment:TOKEN=abc}", "cluster.extra=<masked>"),
        ("cluster.extra={nice: 5, api-key: abc}", "cluster.extra=<masked>"),
        ("cluster.extra={exclude: node7}", "cluster.extra={exclude: node7}"),
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
