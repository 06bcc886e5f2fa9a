"""A tail is fed in the order in which the whole model is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.features.small_features import CONFIG, random_data
from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.augmentation import epoch_order
from xray_hpc.training.feed import FeatureFeed, Feed, ImageFeed

VIEWS = 3
# Of fifty images that train, ten are of the second class.
DATA = replace(random_data(), labels=np.zeros(90, np.int64))
DATA.labels[DATA.splits["train"][::5]] = 1
LABELS = DATA.labels[DATA.splits["train"]]

# An output is a pair: of which view, and of which row of its split.
PAIRS = np.stack(np.divmod(np.arange(VIEWS * 50), 50), axis=1).astype(np.float32)
ARRAYS = {"train": PAIRS, "validation": PAIRS[:20], "test": PAIRS[:17]}


def balanced(balance: Any) -> RunConfig:
    train = replace(CONFIG.train, balance=balance)
    return replace(CONFIG, train=train, augment=replace(CONFIG.augment, views=VIEWS))


def outputs(balance: Any = "none") -> FeatureFeed:
    return FeatureFeed(balanced(balance), DATA, ARRAYS)


def batches(feed: Feed, epochs: range, first_step: int = 0) -> list[tuple[npt.NDArray[Any], ...]]:
    return list(feed.training(epochs, first_step).as_numpy_iterator())


def pairs(epoch: int, balance: str = "none") -> npt.NDArray[np.int64]:
    fed = [batch[0] for batch in batches(outputs(balance), range(epoch, epoch + 1))]
    return np.concatenate(fed).astype(np.int64)


@pytest.mark.parametrize("epoch", [0, 1, 2, 4])
def test_an_epoch_shows_one_view_of_the_images_in_its_order(epoch: int) -> None:
    view, rows = pairs(epoch).T
    assert set(view) == {epoch % VIEWS}
    expected = epoch_order(LABELS, "none", CONFIG.seed, epoch)
    np.testing.assert_array_equal(rows, expected[:48])  # six whole batches of eight


def test_an_image_that_an_epoch_shows_again_is_another_view() -> None:
    shown = pairs(0, "sampling")
    assert np.bincount(LABELS[shown[:, 1]]).min() >= 23
    assert len(np.unique(shown, axis=0)) == len(shown)


@pytest.mark.parametrize("balance", ["none", "class_weights", "sampling"])
def test_answers_and_weights_are_those_that_images_come_with(balance: str) -> None:
    tails = batches(outputs(balance), range(3))
    wholes = batches(ImageFeed(balanced(balance), DATA), range(3))
    assert len(tails) == len(wholes) == 18
    for (_, *one), (_, *other) in zip(tails, wholes, strict=True):
        assert len(one) == len(other) == (2 if balance == "class_weights" else 1)
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_training_that_goes_on_is_fed_the_rest() -> None:
    whole, rest = (batches(outputs(), *where) for where in ((range(3),), (range(1, 3), 4)))
    assert len(rest) == 2 + 6
    for one, other in zip(whole[-8:], rest, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize(("split", "count", "filled"), [("validation", 20, 24), ("test", 17, 24)])
def test_a_split_comes_in_its_order_and_whole_batches(split: str, count: int, filled: int) -> None:
    rows = np.concatenate(list(outputs().evaluation(split).as_numpy_iterator()))[:, 1]
    assert rows.tolist() == [*range(count), *[count - 1] * (filled - count)]
