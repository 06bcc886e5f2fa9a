from __future__ import annotations

import numpy as np
import pytest

from xray_hpc.synthetic import demo_dataset, pretraining_task


def test_draw_returns_image_and_finding_map() -> None:
    image, shown = pretraining_task.draw(0, seed=1, size=96, cells=6)
    assert (image.shape, image.dtype) == ((96, 96), np.uint8)
    assert shown.shape == (6, 6, len(pretraining_task.KINDS))
    assert set(np.unique(shown)) <= {0, 1}


def test_draw_is_deterministic() -> None:
    one, other = pretraining_task.draw(5, 1, 64, 4), pretraining_task.draw(5, 1, 64, 4)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_draw_covers_every_kind_of_finding() -> None:
    shown = sum(pretraining_task.draw(i, 1, 48, 3)[1].sum(axis=(0, 1)) for i in range(80))
    assert np.all(shown > 0)


def test_draw_some_images_have_no_finding() -> None:
    assert any(pretraining_task.draw(i, 1, 48, 3)[1].sum() == 0 for i in range(30))


@pytest.mark.parametrize("kind", range(len(demo_dataset.KINDS)))
def test_draw_stream_differs_from_the_demo_set(kind: int) -> None:
    stream = np.random.default_rng([1, pretraining_task.STREAM, 0]).random(4)
    patient = demo_dataset.Patient(demo_dataset.KINDS[kind], 0)
    for image in (None, 0, 1):
        assert not np.array_equal(patient.rng(1, image).random(4), stream)
