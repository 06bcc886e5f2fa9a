"""The GPU check, with the CPU as a stand-in for a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from xray_hpc.errors import NodeError, UserError
from xray_hpc.training.gpu_check import check_count, check_gpus, check_products

CPU = ["/device:CPU:0"]


def test_check_count_accepts_the_requested_number() -> None:
    check_count(2, 2, True, lambda: 0)


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_check_count_blames_the_node_for_a_wrong_number(seen: int) -> None:
    with pytest.raises(NodeError, match=f"2 GPUs.*finds {seen}"):
        check_count(2, seen, True, lambda: seen)


@pytest.mark.parametrize(("gpu_support", "driver"), [(False, 0), (False, 1), (True, 1)])
def test_check_count_blames_the_installation(gpu_support: bool, driver: int) -> None:
    with pytest.raises(UserError, match=r"the job has 1 GPU, .*install xray-hpc\[gpu\]"):
        check_count(1, 0, gpu_support, lambda: driver)


def test_check_gpus_reports_missing_gpus() -> None:
    with pytest.raises((UserError, NodeError), match="64 GPUs"):
        check_gpus(64)


def test_check_products_accepts_a_correct_device() -> None:
    check_products(CPU)


def test_check_products_refuses_wrong_results() -> None:
    def off_by_one(left: Any, right: Any) -> tf.Tensor:
        return tf.matmul(left, right) + tf.one_hot(3, len(right))

    with pytest.raises(NodeError, match="CPU:0 multiplies two matrices wrongly"):
        check_products(CPU, off_by_one)


def test_check_products_refuses_a_failing_device() -> None:
    def lost(left: Any, right: Any) -> tf.Tensor:
        raise tf.errors.InternalError(None, None, "CUDA_ERROR_ECC_UNCORRECTABLE:\n uncorrectable")

    with pytest.raises(NodeError, match="cannot multiply matrices: CUDA_ERROR_ECC") as caught:
        check_products(CPU, lost)
    assert "\n" not in str(caught.value)
