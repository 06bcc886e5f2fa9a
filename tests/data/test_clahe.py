from __future__ import annotations

import cv2
import numpy as np
import pytest

from xray_hpc.data.decode import equalize


def flat(channels: int) -> np.ndarray:
    """A picture of little contrast, with a step from 120 to 130 and some noise."""
    rng = np.random.default_rng(0)
    rows = np.where(np.arange(256) < 128, 120, 130)[:, None]
    picture = np.clip(rows + rng.normal(0, 1, (256, 256)), 0, 255).astype(np.uint8)
    return np.repeat(picture[:, :, None], channels, axis=2)


def test_grey_is_equalized_as_opencv_does() -> None:
    expected = cv2.createCLAHE(2.0, (8, 8)).apply(flat(1)[:, :, 0])
    np.testing.assert_array_equal(equalize(flat(1), 2.0)[:, :, 0], expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_higher_limit_gives_more_contrast(channels: int) -> None:
    spread = [equalize(flat(channels), limit).std() for limit in (1.0, 2.0, 8.0)]
    assert flat(channels).std() < spread[0] < spread[1] < spread[2]


def test_grey_in_three_channels_stays_grey() -> None:
    pixels = equalize(flat(3), 2.0).astype(int)
    assert pixels.shape == (256, 256, 3)
    assert np.ptp(pixels, axis=2).max() <= 1


def test_colours_keep_their_hue() -> None:
    blue = flat(3)
    blue[:, :, 2] += 60
    before, after = (cv2.cvtColor(i, cv2.COLOR_RGB2LAB) for i in (blue, equalize(blue, 2.0)))
    assert before[:, :, 0].std() < after[:, :, 0].std()
    assert np.abs(before[:, :, 1:].mean((0, 1)) - after[:, :, 1:].mean((0, 1))).max() < 2


@pytest.mark.parametrize("side", [8, 9, 150])
def test_any_side_will_do_and_the_picture_given_stays(side: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    before = picture.copy()
    assert equalize(picture, 2.0).shape == (side, side, 3)
    np.testing.assert_array_equal(picture, before)
