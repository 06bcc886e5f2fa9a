"""The name of a sweep that the user did not name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.sweep_settings import derive_sweep_name


@given(st.lists(st.sampled_from(["seed=1", "model=ft", "train.epochs=3"]), unique=True))
def test_sweep_name_is_the_same_for_the_same_command(words: list[str]) -> None:
    name = derive_sweep_name("demo", words)
    assert derive_sweep_name("demo", [*words, "cluster=slurm", "results=x"]) == name
    assert derive_sweep_name("demo", [*words, "train.checkpoint.seconds=9"]) == name
    assert derive_sweep_name("demo", [*words, "train.explain=false"]) == name
    assert derive_sweep_name("demo", [*words, "train.tensorboard=true"]) == name
    assert derive_sweep_name("demo", [*words, "report.images=false"]) == name


def test_sweep_name_starts_with_the_choice_and_hashes_the_overrides() -> None:
    assert derive_sweep_name("lr_unfreeze", []) == "lr_unfreeze"
    assert derive_sweep_name("demo", ["seed=1"]).startswith("demo-")
    assert derive_sweep_name("demo", ["seed=1"]) != derive_sweep_name("demo", ["seed=2"])
