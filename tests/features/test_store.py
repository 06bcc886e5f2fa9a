"""Cached features are computed once, whoever needs them and whatever happens."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.computing import (
    CONFIG,
    PLACES,
    assert_equal,
    changed,
    compute,
    model_of,
    noise,
    started,
    strategy,
    wanted,
)
from xray_hpc.config.run_config import AugmentConfig, ModelConfig
from xray_hpc.data import array_store
from xray_hpc.errors import UserError
from xray_hpc.features import store as module
from xray_hpc.features.cost import kept_bytes
from xray_hpc.features.store import Arrays, features, load
from xray_hpc.training.train_run import prepare_devices

IDENTITY = replace(CONFIG, augment=AugmentConfig(views=1))


@pytest.fixture(scope="module", autouse=True)
def _as_in_a_run() -> Iterator[None]:
    prepare_devices()
    yield
    model_of.cache_clear()


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    return compute(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("kept", ["float16", "float32"])
def test_a_launch_knows_how_large_the_file_will_be(tmp_path: Path, kept: str) -> None:
    config = changed(train_features=kept)
    assert kept_bytes(config, 70, 20) == pytest.approx(wanted(tmp_path, config).nbytes, rel=0.1)


def wait_for(text: str, said: Path) -> None:
    ends = time.monotonic() + 300
    while not said.exists() or text not in said.read_text():
        assert time.monotonic() < ends, f"{text!r} was not said"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "changes",
    [
        {"augment_zoom": 0.2},
        {"augment_views": 3},
        {"seed": 4},
        {"train_features": "float16"},
        {"train_precision": "mixed_bfloat16"},
        {"data_clahe": 2.0},
        {"data_image_size": 37},
        {"model_unfreeze": 2},
        {"model_weights": "none"},
        {"model_preprocessing": "unit"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_decides_the_outputs_has_a_file_of_its_own(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert wanted(tmp_path, changed(**changes)).path != wanted(tmp_path).path


@pytest.mark.parametrize(
    "changes",
    [
        {"train_learning_rate": 1e-5},
        {"train_epochs": 9},
        {"train_batch_size": 4},
        {"train_balance": "sampling"},
        {"train_optimizer": "sgd"},
        {"model_head_units": 16},
        {"model_head_dropout": 0.5},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_runs_that_differ_in_how_they_train_share_a_file(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert wanted(tmp_path, changed(**changes)) == wanted(tmp_path)


def test_transfer_learning_and_one_unfrozen_layer_without_weights_share_a_file(
    tmp_path: Path,
) -> None:
    frozen = ModelConfig("tl", "demo", "demo", head_units=4, head_dropout=0.1)
    assert wanted(tmp_path, changed(model=frozen)) == wanted(tmp_path, changed(model_unfreeze=1))


def test_a_seed_counts_only_where_something_is_drawn(tmp_path: Path) -> None:
    assert wanted(tmp_path, replace(IDENTITY, seed=4)) == wanted(tmp_path, IDENTITY)


def test_other_images_and_another_split_have_files_of_their_own(tmp_path: Path) -> None:
    data = noise()
    turned = {**data.splits, "train": data.splits["train"][::-1]}
    others = [replace(data, contents="other noise"), replace(data, splits=turned)]
    paths = {wanted(tmp_path, data=one).path for one in [data, *others]}
    assert len(paths) == 3


def test_what_was_computed_is_read_by_the_next_run(
    tmp_path: Path, computed: Arrays, capfd: pytest.CaptureFixture[str]
) -> None:
    compute(tmp_path)
    assert "computing the cached features of images 140/140" in capfd.readouterr().err
    assert_equal(compute(tmp_path), computed)
    assert "computing" not in capfd.readouterr().err


def test_processes_that_start_together_compute_once(tmp_path: Path, computed: Arrays) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    cache = tmp_path / "cache"
    one = started(first, cache, "wait")
    wait_for("blocks: 2\n", first)
    other = started(second, cache)
    path = wanted(cache).path
    wait_for(f"waiting for another process to compute the cached features ({path})\n", second)
    (tmp_path / "go").touch()
    for process in (one, other):
        process.join(300)
        assert process.exitcode == 0
    assert "blocks: 4\n" in first.read_text()
    assert "computing" not in second.read_text()
    assert_equal(compute(cache), computed)


def test_after_a_kill_another_process_goes_on(
    tmp_path: Path, computed: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = started(tmp_path / "said", tmp_path / "cache", "be killed")
    killed.join(300)
    assert killed.exitcode == -9
    left = {path.suffix for path in (tmp_path / "cache").iterdir()}
    assert left == {".lock", ".partial"}
    monkeypatch.setattr(array_store, "SYNC_SECONDS", 0)
    safe: list[int] = []
    assert_equal(compute(tmp_path / "cache", told=safe.append), computed)
    assert safe == [3, 4]


def test_a_damaged_file_is_computed_again_with_a_warning(
    tmp_path: Path, computed: Arrays, capfd: pytest.CaptureFixture[str]
) -> None:
    compute(tmp_path)
    path = wanted(tmp_path).path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert_equal(compute(tmp_path), computed)
    said = capfd.readouterr().out
    assert f"warning: {path} was damaged (train[64:100]" in said


def test_a_damaged_file_that_another_process_has_mended_is_left_as_it_is(
    tmp_path: Path, computed: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(tmp_path / "mended")
    whole, path = wanted(tmp_path / "mended").path, wanted(tmp_path).path
    path.write_bytes(whole.read_bytes()[:1000])

    @contextmanager
    def locked_after_another(lock: Path, **options: Any) -> Iterator[None]:
        shutil.copy(whole, path)
        yield

    monkeypatch.setattr(module, "file_lock", locked_after_another)
    monkeypatch.setattr(module, "fill", lambda *args: pytest.fail("computed again"))
    assert_equal(compute(tmp_path), computed)


def test_too_little_room_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr("xray_hpc.data.cache_folder.shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        UserError, match=r"no space left in .* for the cached features .*, which need"
    ):
        compute(tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


@pytest.fixture
def largest_file() -> Iterator[Callable[[int], None]]:
    """``largest_file(n)`` makes the system refuse any write beyond n bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fails_is_said_in_one_line(
    tmp_path: Path, largest_file: Callable[[int], None]
) -> None:
    largest_file(100_000)
    with pytest.raises(UserError, match=r"cannot write the cached features: .*File too large$"):
        compute(tmp_path)


def test_a_cache_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write the cached features: .*Not a directory$"):
        compute(tmp_path / "file" / "cache")


class Interrupted(BaseException):
    """Nobody handles it, like a killed process."""


def test_several_places_in_one_pass_have_what_each_has_alone(
    tmp_path: Path, computed: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one of them was begun before."""
    monkeypatch.setattr(array_store, "SYNC_SECONDS", 0)
    model, data = model_of(CONFIG.model), noise()

    def interrupt(done: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        compute(tmp_path / "together", told=interrupt)
    keeps = [features(CONFIG, data, model, place, tmp_path / "together") for place in PLACES]
    together = load(keeps, CONFIG, data, model, strategy())
    assert_equal(together[1], computed)
    for place, arrays in zip(PLACES, together, strict=True):
        keep = features(CONFIG, data, model, place, tmp_path / "alone")
        (alone,) = load([keep], CONFIG, data, model, strategy())
        assert_equal(arrays, alone)
