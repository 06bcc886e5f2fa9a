"""Facts on a data set: the counts add up, and grey values are those of the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.data_facts import FLOW, INTENSITY, flow_table, intensity_table
from xray_hpc.data.dataset import Dataset, load_indexed
from xray_hpc.data.index import Index, build_index

Loaded = Callable[..., tuple[Dataset, Index]]


@pytest.fixture
def load(tree: Path, tmp_path: Path, data_config: Callable[..., DataConfig]) -> Loaded:
    """``load(per_class=8)`` loads the tree with an unreadable image in its training folder."""
    (tree / "train/NORMAL/IM-0001-0001.jpeg").write_bytes(b"")

    def make(**changes: object) -> tuple[Dataset, Index]:
        config = data_config(tree, **changes)
        index = build_index(config, tmp_path)
        return load_indexed(index, config, tmp_path), index

    return make


def test_flow_table_counts_found_left_out_and_used_images(load: Loaded) -> None:
    flow = flow_table(*load(split="folder"))
    assert tuple(flow.columns) == FLOW
    rows = flow.set_index(["stage", "split", "class"])[["images", "patients"]]
    assert rows.loc[("found", "", "")].tolist() == [48, 28]
    assert rows.loc[("unreadable", "", "NORMAL")].tolist() == [1, 1]
    assert rows.loc[("not drawn", "", "")].tolist() == [0, 0]
    assert rows.loc[("used", "train", "NORMAL")].tolist() == [19, 10]
    assert rows.loc[("used", "test", "PNEUMONIA")].tolist() == [3, 3]


@pytest.mark.parametrize("per_class", [None, 15])
def test_flow_table_adds_up_in_each_class(load: Loaded, per_class: int | None) -> None:
    dataset, index = load(per_class=per_class)
    flow = flow_table(dataset, index)
    for name in ("", *index.classes):
        images = flow[flow["class"] == name].groupby("stage")["images"].sum()
        assert images["found"] == images[["unreadable", "not drawn", "used"]].sum()
    left_out = flow[(flow["stage"] == "not drawn") & (flow["class"] == "")]["images"]
    assert (left_out.item() > 0) == (per_class is not None)


def test_intensity_table_averages_the_images_of_a_split(load: Loaded) -> None:
    dataset, _ = load(split="folder")
    dataset = replace(
        dataset, images=np.random.default_rng(3).integers(0, 256, (47, 8, 8, 3), np.uint8)
    )
    table = intensity_table(dataset)
    assert tuple(table.columns) == INTENSITY
    rows = table.set_index(["split", "class"])
    members = dataset.splits["train"]
    pixels = dataset.images[members[dataset.labels[members] == 1]].reshape(20, -1) / 255
    found = rows.loc[("train", "PNEUMONIA")]
    assert found["images"] == 20
    assert found["mean"] == pytest.approx(pixels.mean(), abs=1e-6)
    assert found["mean_sd"] == pytest.approx(pixels.mean(axis=1).std(ddof=1), abs=1e-6)
    assert found["contrast"] == pytest.approx(pixels.std(axis=1).mean(), abs=1e-6)
    assert found["contrast_sd"] == pytest.approx(pixels.std(axis=1).std(ddof=1), abs=1e-6)
    expected = np.percentile(pixels, [5, 50, 95], method="inverted_cdf")
    assert found[["p5", "p50", "p95"]].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_intensity_table_leaves_the_spread_of_one_image_empty(load: Loaded) -> None:
    rows = intensity_table(load(split="folder")[0]).set_index(["split", "class"])
    found = rows.loc[("validation", "NORMAL")]
    assert found["images"] == 1
    assert np.isnan(found["mean_sd"])
    assert not np.isnan(found["mean"])
