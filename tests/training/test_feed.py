"""Cached features are fed in the same order as images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.features.small_features import CONFIG, random_data
from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.augmentation_parameters import epoch_order
from xray_hpc.training.feed import FeatureFeed, Feed, ImageFeed

VIEWS = 3
# Ten of the fifty training images are of the second class.
DATA = replace(random_data(), labels=np.zeros(90, np.int64))
DATA.labels[DATA.splits["train"][::5]] = 1
LABELS = DATA.labels[DATA.splits["train"]]

# A feature is a pair: its view and its row in the split.
PAIRS = np.stack(np.divmod(np.arange(VIEWS * 50), 50), axis=1).astype(np.float32)
ARRAYS = {"train": PAIRS, "validation": PAIRS[:20], "test": PAIRS[:17]}


def config_with(balance: Any) -> RunConfig:
    train = replace(CONFIG.train, balance=balance)
    return replace(CONFIG, train=train, augment=replace(CONFIG.augment, views=VIEWS))


def feature_feed(balance: Any = "none") -> FeatureFeed:
    return FeatureFeed(config_with(balance), DATA, ARRAYS)


def batches(feed: Feed, epochs: range, first_step: int = 0) -> list[tuple[npt.NDArray[Any], ...]]:
    return list(feed.training(epochs, first_step).as_numpy_iterator())


def pairs(epoch: int, balance: str = "none") -> npt.NDArray[np.int64]:
    features = [batch[0] for batch in batches(feature_feed(balance), range(epoch, epoch + 1))]
    return np.concatenate(features).astype(np.int64)


@pytest.mark.parametrize("epoch", [0, 1, 2, 4])
def test_feature_feed_epoch_has_one_view_in_epoch_order(epoch: int) -> None:
    view, rows = pairs(epoch).T
    assert set(view) == {epoch % VIEWS}
    expected = epoch_order(LABELS, "none", CONFIG.seed, epoch)
    np.testing.assert_array_equal(rows, expected[:48])  # six whole batches of eight


def test_feature_feed_repeats_an_image_in_another_view() -> None:
    shown = pairs(0, "sampling")
    assert np.bincount(LABELS[shown[:, 1]]).min() >= 23
    assert len(np.unique(shown, axis=0)) == len(shown)


@pytest.mark.parametrize("balance", ["none", "class_weights", "sampling"])
def test_feeds_have_the_same_targets_and_weights(balance: str) -> None:
    features = batches(feature_feed(balance), range(3))
    images = batches(ImageFeed(config_with(balance), DATA), range(3))
    assert len(features) == len(images) == 18
    for (_, *one), (_, *other) in zip(features, images, strict=True):
        assert len(one) == len(other) == (2 if balance == "class_weights" else 1)
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_feature_feed_starts_at_any_step() -> None:
    whole, rest = (batches(feature_feed(), *where) for where in ((range(3),), (range(1, 3), 4)))
    assert len(rest) == 2 + 6
    for one, other in zip(whole[-8:], rest, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize(("split", "count", "filled"), [("validation", 20, 24), ("test", 17, 24)])
def test_feature_feed_evaluation_is_ordered_and_padded(split: str, count: int, filled: int) -> None:
    rows = np.concatenate(list(feature_feed().evaluation(split).as_numpy_iterator()))[:, 1]
    assert rows.tolist() == [*range(count), *[count - 1] * (filled - count)]
