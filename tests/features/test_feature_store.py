"""Cached features are computed once, also by concurrent and killed processes."""

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

from tests.features.small_features import (
    CONFIG,
    CUTS,
    assert_equal,
    cached_model,
    changed,
    compute,
    feature_source,
    features_file,
    random_data,
    start_process,
)
from tests.other_user import ADA, User, needs_root
from xray_hpc.config.run_config import AugmentConfig, ModelConfig
from xray_hpc.data import array_writer
from xray_hpc.errors import LeaseLostError, LockedError, UserError
from xray_hpc.features import feature_store
from xray_hpc.features.feature_plan import cached_bytes
from xray_hpc.features.feature_store import FeatureArrays, cached_features, load_or_compute
from xray_hpc.records.file_lock import file_lock
from xray_hpc.training.train_run import prepare_devices

IDENTITY = replace(CONFIG, augment=AugmentConfig(views=1))


@pytest.fixture(scope="module", autouse=True)
def _prepared_devices() -> Iterator[None]:
    prepare_devices()
    yield
    cached_model.cache_clear()


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> FeatureArrays:
    return compute(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_cached_bytes_estimates_the_size_of_the_file(tmp_path: Path, dtype: str) -> None:
    config = changed(train_features=dtype)
    size = sum(array.nbytes for array in features_file(tmp_path, config).arrays.values())
    assert cached_bytes(config, 70, 20) == pytest.approx(size, rel=0.1)


def wait_for(text: str, log: Path) -> None:
    ends = time.monotonic() + 300
    while not log.exists() or text not in log.read_text():
        assert time.monotonic() < ends, f"{text!r} is missing in {log}"
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
def test_settings_that_change_features_have_their_own_file(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert features_file(tmp_path, changed(**changes)).path != features_file(tmp_path).path


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
def test_settings_of_the_head_and_the_training_share_a_file(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert features_file(tmp_path, changed(**changes)) == features_file(tmp_path)


def test_extractors_that_end_at_the_same_layer_share_a_file(
    tmp_path: Path,
) -> None:
    frozen = ModelConfig(
        "tl", "demo", "demo", head_units=4, head_dropout=0.1, preprocessing="backbone"
    )
    assert features_file(tmp_path, changed(model=frozen)) == features_file(
        tmp_path, changed(model_unfreeze=1)
    )


def test_seed_changes_the_file_only_with_augmentation(tmp_path: Path) -> None:
    assert features_file(tmp_path, replace(IDENTITY, seed=4)) == features_file(tmp_path, IDENTITY)


def test_each_kind_of_gpu_has_its_own_file(tmp_path: Path) -> None:
    paths = {features_file(tmp_path, gpus=gpus).path for gpus in ([], ["H200"], ["H200"] * 2)}
    assert len(paths) == 2


def test_other_images_and_other_splits_have_their_own_files(tmp_path: Path) -> None:
    data = random_data()
    turned = {**data.splits, "train": data.splits["train"][::-1]}
    others = [replace(data, contents="other images"), replace(data, splits=turned)]
    others.append(replace(data, range=12))
    paths = {features_file(tmp_path, data=one).path for one in [data, *others]}
    assert len(paths) == 4


def test_computed_features_are_read_by_the_next_run(
    tmp_path: Path, computed: FeatureArrays, capfd: pytest.CaptureFixture[str]
) -> None:
    compute(tmp_path)
    assert "computing features of images 140/140" in capfd.readouterr().err
    assert_equal(compute(tmp_path), computed)
    assert "computing" not in capfd.readouterr().err


def test_concurrent_processes_compute_once(tmp_path: Path, computed: FeatureArrays) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    cache = tmp_path / "cache"
    one = start_process(first, cache, "wait")
    wait_for("blocks: 2\n", first)
    other = start_process(second, cache)
    path = features_file(cache).path
    wait_for(f"waiting for another process to compute {path}\n", second)
    (tmp_path / "go").touch()
    for process in (one, other):
        process.join(300)
        assert process.exitcode == 0
    assert "blocks: 4\n" in first.read_text()
    assert "computing" not in second.read_text()
    assert_equal(compute(cache), computed)


def test_process_resumes_after_another_was_killed(
    tmp_path: Path, computed: FeatureArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = start_process(tmp_path / "log", tmp_path / "cache", "die")
    killed.join(300)
    assert killed.exitcode == -9
    left = {path.suffix for path in (tmp_path / "cache").iterdir()}
    assert left == {".lock", ".partial"}
    monkeypatch.setattr(array_writer, "SYNC_SECONDS", 0)
    synced: list[int] = []
    assert_equal(compute(tmp_path / "cache", on_progress=synced.append), computed)
    assert synced == [3, 4]


def test_damaged_file_is_computed_again(
    tmp_path: Path, computed: FeatureArrays, caplog: pytest.LogCaptureFixture
) -> None:
    compute(tmp_path)
    path = features_file(tmp_path).path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert_equal(compute(tmp_path), computed)
    (record,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert f"{path} is damaged (train[64:100]" in record.getMessage()


def test_damaged_file_that_another_process_has_replaced_is_used(
    tmp_path: Path, computed: FeatureArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(tmp_path / "intact")
    intact, path = features_file(tmp_path / "intact").path, features_file(tmp_path).path
    path.write_bytes(intact.read_bytes()[:1000])

    @contextmanager
    def locked_after_another(lock: Path, **options: Any) -> Iterator[None]:
        shutil.copy(intact, path)
        yield

    monkeypatch.setattr(feature_store, "cache_lock", locked_after_another)
    monkeypatch.setattr(
        feature_store, "compute_blocks", lambda *args: pytest.fail("computed again")
    )
    assert_equal(compute(tmp_path), computed)


@pytest.mark.parametrize("error", [LeaseLostError("taken"), LockedError("another lock")])
def test_error_while_computing_is_not_taken_for_a_busy_lock(
    tmp_path: Path, error: UserError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise error

    monkeypatch.setattr(feature_store, "compute_blocks", fail)
    with pytest.raises(type(error)) as caught:
        compute(tmp_path)
    assert caught.value is error


def test_missing_disk_space_is_reported_before_computing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr("xray_hpc.data.cache_errors.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"no space left in .* for the cached features"):
        compute(tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


@pytest.fixture
def largest_file() -> Iterator[Callable[[int], None]]:
    """``largest_file(n)`` makes the system reject writes beyond n bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_failed_write_is_reported_as_a_user_error(
    tmp_path: Path, largest_file: Callable[[int], None]
) -> None:
    largest_file(100_000)
    with pytest.raises(UserError, match="File too large"):
        compute(tmp_path)


def test_unwritable_cache_is_reported_as_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Not a directory"):
        compute(tmp_path / "file" / "cache")


class Interrupted(BaseException):
    """Not handled by anyone, like a kill."""


def test_several_cuts_in_one_pass_equal_each_cut_alone(
    tmp_path: Path, computed: FeatureArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if one of them was partly computed before."""
    monkeypatch.setattr(array_writer, "SYNC_SECONDS", 0)
    source = feature_source()

    def interrupt(blocks: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        compute(tmp_path / "together", on_progress=interrupt)
    files = [cached_features(source, cut, tmp_path / "together", []) for cut in CUTS]
    together = load_or_compute(files, source)
    assert_equal(together[1], computed)
    for cut, arrays in zip(CUTS, together, strict=True):
        file = cached_features(source, cut, tmp_path / "alone", [])
        (alone,) = load_or_compute([file], source)
        assert_equal(arrays, alone)


@needs_root
def test_features_of_another_user_are_computed_into_a_private_cache(
    tmp_path: Path,
    computed: FeatureArrays,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    cache = tmp_path / "cache"
    compute(cache)
    path = features_file(cache).path
    ADA.own(path, ADA.number, 0o644)
    written = path.stat().st_mtime_ns
    for _ in range(2):
        assert_equal(compute(cache), computed)
    assert path.stat().st_mtime_ns == written
    assert (tmp_path / "home" / "xray_hpc" / path.name).exists()
    (record,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert f"{path} is {ADA.number}'s" in record.getMessage()


@needs_root
@pytest.mark.parametrize(("owner", "mode"), [(ADA, 0o755), (User(0), 0o777)])
def test_process_that_is_not_trusted_is_not_waited_for(
    tmp_path: Path,
    computed: FeatureArrays,
    monkeypatch: pytest.MonkeyPatch,
    owner: User,
    mode: int,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    cache = tmp_path / "cache"
    cache.mkdir()
    path = features_file(cache).path
    with file_lock(path.with_name(f".{path.name}.lock")):
        owner.own(cache, owner.number, mode)
        assert_equal(compute(cache), computed)
    assert not path.exists()
    assert (tmp_path / "home" / "xray_hpc" / path.name).exists()
