from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data import decode as decoding
from xray_hpc.data.dataset import load_dataset, load_indexed
from xray_hpc.data.decode import (
    UNIDENTIFIED,
    OutOfMemoryError,
    UnreadableImageError,
    decode,
    decode_bytes,
    equalize,
)
from xray_hpc.data.index import build_index
from xray_hpc.errors import UserError

MakeConfig = Callable[..., DataConfig]
PARTS = ("train", "val", "test")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def stores(cache: Path) -> list[Path]:
    return sorted(cache.glob("images-*.h5"))


def test_load_dataset_returns_every_image_with_label_and_patient(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    data = load_dataset(data_config(tree, channels=3), cache)
    assert data.images.shape == (48, 8, 8, 3)
    assert data.images.dtype == np.uint8
    assert data.labels.dtype == np.int64
    assert data.classes == ("NORMAL", "PNEUMONIA")
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "train": 34,
        "validation": 8,
        "test": 6,
    }
    for i in (0, 20, 47):
        np.testing.assert_array_equal(data.images[i], decode(tree / data.files[i], 8, 3))
        assert data.labels[i] == ("PNEUMONIA" in data.files[i])
    assert data.patients[data.files.index("train/NORMAL/IM-0003-0002.jpeg")] == "IM-0003"


def test_load_dataset_reuses_the_image_store(
    tree: Path, cache: Path, data_config: MakeConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    first = load_dataset(data_config(tree), cache)
    assert "decoding images 48/48" in capfd.readouterr().err
    written = stores(cache)[0].stat().st_mtime_ns
    second = load_dataset(data_config(tree), cache)
    assert capfd.readouterr().err == ""
    assert stores(cache)[0].stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.images, second.images)
    assert first.files == second.files


def test_image_store_is_shared_by_all_splits(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    for split in ("patient", "random", "folder"):
        load_dataset(data_config(tree, split=split), cache)
    assert len(stores(cache)) == 1


def test_load_dataset_order_is_independent_of_cores(
    tree: Path, tmp_path: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_hpc.data.image_store.available_cores", lambda: 1)
    one = load_dataset(data_config(tree), tmp_path / "one")
    monkeypatch.setattr("xray_hpc.data.image_store.available_cores", lambda: 9)
    many = load_dataset(data_config(tree), tmp_path / "many")
    np.testing.assert_array_equal(one.images, many.images)


def test_image_store_of_several_blocks(
    tree: Path,
    cache: Path,
    data_config: MakeConfig,
    make_tree: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xray_hpc.data.stored_images.BLOCK_BYTES", 64 * 8 * 8)
    make_tree(tree, {"train/NORMAL": [f"IM-{n}-1.png" for n in range(1000, 1100)]})
    (tree / "train/NORMAL/IM-1050-1.png").write_bytes(b"")
    data = load_dataset(data_config(tree), cache)
    assert len(data.images) == 147
    for i in (63, 64, 110, 146):
        np.testing.assert_array_equal(data.images[i], decode(tree / data.files[i], 8, 1))


def test_image_store_resumes_after_an_interrupt(
    tree: Path, tmp_path: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 4 images: 8 of the 40 decoded before the interrupt are not stored yet."""
    monkeypatch.setattr("xray_hpc.data.stored_images.BLOCK_BYTES", 4 * 8 * 8)
    monkeypatch.setattr("xray_hpc.data.image_store.available_cores", lambda: 1)
    monkeypatch.setattr("xray_hpc.data.array_writer.SYNC_SECONDS", 0)
    for name in ("train/NORMAL/IM-0002-0001.jpeg", "train/PNEUMONIA/person9_virus_18.jpeg"):
        (tree / name).write_bytes(b"")
    config, cache = data_config(tree), tmp_path / "resumed"
    whole = load_dataset(config, tmp_path / "whole")
    decoded: list[Path] = []

    def decode(data: bytes, path: Path, *args: Any) -> np.ndarray:
        decoded.append(path)
        if len(decoded) == 40:
            raise KeyboardInterrupt
        return decode_bytes(data, path, *args)

    monkeypatch.setattr("xray_hpc.data.image_store.decode_bytes", decode)
    with pytest.raises(KeyboardInterrupt):
        load_dataset(config, cache)
    assert stores(cache) == []
    resumed = load_dataset(config, cache)
    assert len(decoded) < 40 + 48 - 30
    np.testing.assert_array_equal(resumed.images, whole.images)
    assert resumed.files == whole.files
    assert resumed.skipped == whole.skipped
    assert resumed.contents == whole.contents


def test_image_store_ignores_unused_rows_on_resume(
    tree: Path, cache: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_hpc.data.stored_images.BLOCK_BYTES", 8 * 8)
    monkeypatch.setattr("xray_hpc.data.array_writer.SYNC_SECONDS", 0)
    for n in (1, 2, 3):
        (tree / f"train/PNEUMONIA/person{n}_virus_{2 * n}.jpeg").write_bytes(b"")
    checked: list[list[int]] = []

    def check(_: object, positions: list[int], *args: object) -> None:
        checked.append(positions)
        if len(checked) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("xray_hpc.data.image_store._check_skipped", check)
    with pytest.raises(KeyboardInterrupt):
        load_dataset(data_config(tree), cache)
    load_dataset(data_config(tree), cache)
    assert checked[1] == checked[0]


def test_long_reason_of_a_skipped_image_ends_with_an_ellipsis(
    tree: Path, cache: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(data: bytes, path: Path, *args: Any) -> np.ndarray:
        if path.name == "person1_virus_2.jpeg":
            raise UnreadableImageError(path, "é" * 150)
        return decode_bytes(data, path, *args)

    monkeypatch.setattr("xray_hpc.data.image_store.decode_bytes", decode)
    ((_, reason),) = load_dataset(data_config(tree), cache).skipped
    assert reason == "é" * 98 + "…"


def test_load_dataset_skips_and_reports_unreadable_images(
    tree: Path, cache: Path, data_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"train/PNEUMONIA/person{n}_virus_{2 * n}.jpeg" for n in (1, 2, 3, 4)]
    for name in names:
        (tree / name).write_bytes(b"" if name == names[0] else b"no image")
    data = load_dataset(data_config(tree), cache)
    (note,) = data.notes
    assert f"4 unreadable images ({names[0]!r}: empty file; {names[1]!r}, {names[2]!r}" in note
    assert caplog.messages == [note]
    assert data.skipped == [
        (names[0], "empty file"),
        *((name, UNIDENTIFIED) for name in names[1:]),
    ]
    assert len(data.images) == 44
    assert not set(names) & set(data.files)
    assert sorted(np.concatenate(list(data.splits.values()))) == list(range(44))
    assert load_dataset(data_config(tree), cache).notes == [note]


def test_missing_decoder_is_an_error_not_a_skipped_image(
    tree: Path, cache: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the store would lack these images even after pydicom is installed."""
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tree / "train" / "NORMAL" / "IM-0001-0001.jpeg").rename(
        tree / "train" / "NORMAL" / "IM-0001-0001.dcm"
    )
    with pytest.raises(UserError, match="needs pydicom"):
        load_dataset(data_config(tree), cache)
    assert stores(cache) == []


def test_lack_of_memory_is_an_error_not_a_skipped_image(
    tree: Path, cache: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the contents of the store would depend on the machine that built it."""

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_square", fail)
        with pytest.raises(OutOfMemoryError) as caught:
            load_dataset(data_config(tree), cache)
    assert caught.value.path.is_relative_to(tree)
    assert stores(cache) == []
    assert load_dataset(data_config(tree), cache).skipped == []


def test_special_and_huge_files_that_replace_images_are_skipped(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    index = build_index(data_config(tree), cache)
    replaced = [tree / f"train/NORMAL/IM-{n:04d}-0001.jpeg" for n in (1, 2, 3)]
    for path in replaced:
        path.unlink()
    os.mkfifo(replaced[0])
    replaced[1].symlink_to("/dev/zero")
    replaced[2].touch()
    os.truncate(replaced[2], 2**40)
    reasons = [reason for _, reason in load_indexed(index, data_config(tree), cache).skipped]
    assert reasons == [
        "a FIFO, not a regular file",
        "a device, not a regular file",
        "larger than 256 MiB",
    ]


def test_more_than_ten_percent_unreadable_is_an_error(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    for n in range(1, 6):
        (tree / f"train/NORMAL/IM-{n:04d}-0001.jpeg").write_bytes(b"")
    with pytest.raises(UserError, match=r"5 unreadable images \(.*\) of 48"):
        load_dataset(data_config(tree), cache)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_class_without_readable_images_is_an_error(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    for image in (tree / "test/NORMAL").iterdir():
        image.write_bytes(b"")
    with pytest.raises(UserError, match=r"'NORMAL' has no readable image in test"):
        load_dataset(data_config(tree), cache)


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip_a_pixel(path: Path) -> None:
    with h5py.File(path, "r") as file:
        place = file["images"].id.get_offset()
    with path.open("r+b") as file:
        file.seek(place + 5)
        byte = file.read(1)[0]
        file.seek(place + 5)
        file.write(bytes([byte ^ 255]))


def exchange_labels(path: Path) -> None:
    """Swap the positions of two images in the index, and so their labels."""
    with h5py.File(path, "r") as file:
        place = file["positions"].id.get_offset()
    with path.open("r+b") as file:
        file.seek(place)
        first, second = file.read(8), file.read(8)
        file.seek(place)
        file.write(second + first)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def drop_a_part(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["positions"]


def other_data(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["key"] = "another"


@pytest.mark.parametrize(
    "damage", [cut, flip_a_pixel, exchange_labels, empty, drop_a_part, other_data]
)
def test_damaged_image_store_is_rebuilt_with_a_warning(
    tree: Path, cache: Path, data_config: MakeConfig, damage: Callable[[Path], None]
) -> None:
    whole = load_dataset(data_config(tree), cache).images.copy()
    damage(stores(cache)[0])
    again = load_dataset(data_config(tree), cache)
    np.testing.assert_array_equal(whole, again.images)
    assert len(again.notes) == 1
    assert "was damaged" in again.notes[0]
    assert load_dataset(data_config(tree), cache).notes == []


def test_images_are_a_read_only_map_of_the_store(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    """The runs on a node share one copy of the mapped file."""
    data = load_dataset(data_config(tree), cache)
    assert str(stores(cache)[0]) in Path("/proc/self/maps").read_text()
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 0


def test_images_survive_replacement_of_the_store(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    data = load_dataset(data_config(tree), cache)
    before, store = data.images.copy(), stores(cache)[0]
    store.with_name("other").write_bytes(bytes(store.stat().st_size))
    store.with_name("other").rename(store)
    np.testing.assert_array_equal(data.images, before)


def test_changed_image_gets_a_new_store(
    tree: Path, cache: Path, data_config: MakeConfig, make_image: Callable[..., None]
) -> None:
    before = load_dataset(data_config(tree), cache)
    make_image(tree / before.files[0], side=20)
    after = load_dataset(data_config(tree), cache)
    assert not np.array_equal(before.images[0], after.images[0])


def test_same_contents_in_two_splits_are_reported(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    copy = "test/NORMAL/IM-0050-0001.jpeg"
    shutil.copy(tree / "val/NORMAL/NORMAL2-IM-0001-0001.jpeg", tree / copy)
    assert load_dataset(data_config(tree, split="folder"), cache).notes == [
        "1 image with the same contents in more than one of train, validation, test, such as "
        f"'val/NORMAL/NORMAL2-IM-0001-0001.jpeg' (validation) and '{copy}' (test)"
    ]


def test_same_contents_in_two_classes_are_reported(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    """By a copy, by a link to the file, and by a link in a CSV file."""
    ill = tree / "train/PNEUMONIA"
    shutil.copy(tree / "train/NORMAL/IM-0001-0001.jpeg", ill / "person1_virus_2.jpeg")
    (ill / "person2_virus_4.jpeg").unlink()
    (ill / "person2_virus_4.jpeg").symlink_to(tree / "train/NORMAL/IM-0002-0001.jpeg")
    expected = (
        "2 images with the same contents in more than one class, such as "
        "'train/NORMAL/IM-0001-0001.jpeg' (NORMAL) and "
        "'train/PNEUMONIA/person1_virus_2.jpeg' (PNEUMONIA)"
    )
    assert load_dataset(data_config(tree, split="folder"), cache).notes == [expected]
    rows = [f"{p.relative_to(tree)},{p.parts[-2]},{p.parts[-3]}" for p in tree.rglob("*.jpeg")]
    (tree / "list.csv").write_text("\n".join(["path,label,split", *sorted(rows)]))
    config = data_config(tree / "list.csv", source="csv", split="folder")
    assert load_dataset(config, cache).notes == [expected]


def test_copies_in_the_same_split_and_class_are_reported(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    folder = tree / "train/NORMAL"
    for copy in ("IM-0001-0002.jpeg", "IM-0002-0001.jpeg"):
        shutil.copy(folder / "IM-0001-0001.jpeg", folder / copy)
    assert load_dataset(data_config(tree, split="folder"), cache).notes == [
        "1 image with copies in the same split and class, such as "
        "'train/NORMAL/IM-0001-0001.jpeg' (train) and 'train/NORMAL/IM-0001-0002.jpeg' (train)"
    ]


@pytest.mark.parametrize("name", ["normal", "Normal ", "NOR MAL"])
def test_classes_that_differ_in_case_or_blanks_are_reported(
    tree: Path, cache: Path, data_config: MakeConfig, make_tree: Callable[..., Path], name: str
) -> None:
    make_tree(tree, {f"{part}/{name}": [f"{part}{i}.png" for i in range(9)] for part in PARTS})
    notes = load_dataset(data_config(tree, split="folder"), cache).notes
    (note,) = [note for note in notes if "differ in case" in note]
    assert repr(name) in note
    assert "'NORMAL'" in note


def test_patient_in_train_and_test_is_reported(
    tree: Path, cache: Path, data_config: MakeConfig, make_image: Callable[..., None]
) -> None:
    make_image(tree / "test/NORMAL/IM-0001-0009.jpeg")
    (note,) = load_dataset(data_config(tree, split="folder"), cache).notes
    assert note.startswith("1 patient ('IM-0001') in both train and test: 1 of the 7 test images")


def test_csv_loads_the_same_images_as_the_folder(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    rows = ["path,label,split"]
    rows += [f"{p.relative_to(tree)},{p.parts[-2]},{p.parts[-3]}" for p in tree.rglob("*.jpeg")]
    (tree / "list.csv").write_text("\n".join(rows))
    listed = load_dataset(data_config(tree / "list.csv", source="csv"), cache)
    walked = load_dataset(data_config(tree), cache)
    assert set(listed.files) == set(walked.files)
    assert listed.classes == walked.classes


def save_16_bit(path: Path, largest: int) -> None:
    """Write an image of 0 to ``largest`` under the name of another."""
    ramp = np.linspace(0, largest, 64).round().astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(path, "PNG")


def test_wide_images_have_the_range_that_the_whole_set_needs(
    tree: Path, cache: Path, data_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"train/NORMAL/IM-000{n}-0001.jpeg" for n in (1, 2, 3)]
    for name, largest in zip(names, (500, 3000, 1023), strict=True):
        save_16_bit(tree / name, largest)
    data = load_dataset(data_config(tree), cache)
    assert data.range == 12
    largest = [data.images[data.files.index(name)].max() for name in names]
    assert largest == [round(value * 255 / 4095) for value in (500, 3000, 1023)]
    (note,) = data.notes
    assert note.startswith("12-bit values in 3 files of more than 8 bits: scaled by 4095")
    assert load_dataset(data_config(tree), cache).notes == [note]


def test_few_files_that_need_more_bits_than_the_others_are_named(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    files = sorted(tree.rglob("*.jpeg"))
    for path in files:
        save_16_bit(path, 65535 if path in files[4:6] else 4095)
    note = load_dataset(data_config(tree), cache).notes[0]
    assert note.startswith("2 of 48 files of more than 8 bits use 16 bits, such as '")
    assert "the others at most 12" in note
    assert note.endswith("data.range=[0,4095] clips the 2 instead")
    clipped = load_dataset(data_config(tree, range=(0.0, 4095.0)), cache)
    assert not any("bits" in note for note in clipped.notes)
    assert set(clipped.images.max(axis=(1, 2, 3))) == {255}


@pytest.mark.parametrize("given", [20, (0.0, 1e6), (5000.0, 6000.0), (-1e6, 1e6)])
def test_range_that_most_images_hardly_use_is_noted(
    tree: Path, cache: Path, data_config: MakeConfig, given: Any
) -> None:
    for number, path in enumerate(tree.rglob("*.jpeg")):
        save_16_bit(path, 65535 if number < 2 else 4095)
    note = load_dataset(data_config(tree, range=given), cache).notes[0]
    shown = given if isinstance(given, int) else f"[{given[0]:g},{given[1]:g}]"
    assert note.startswith(f"data.range is {shown}, of which most images use less than 1%")


def test_images_without_a_range_are_reported_once_with_the_key_to_set(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    for path in tree.rglob("*.jpeg"):
        Image.fromarray(np.zeros((8, 8), np.float32)).save(path, "TIFF")
    with pytest.raises(UserError) as caught:
        load_dataset(data_config(tree), cache)
    message = str(caught.value)
    assert message.count("data.range=[LOW,HIGH]") == 1
    assert "repair" not in message


def test_only_wide_images_that_need_fewer_bits_are_decoded_twice(
    tree: Path, cache: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, largest in ((1, 500), (2, 3000), (3, 2500)):
        save_16_bit(tree / f"train/NORMAL/IM-000{n}-0001.jpeg", largest)
    decoded: list[str] = []

    def decode(data: bytes, path: Path, *args: Any) -> object:
        decoded.append(path.name)
        return decode_bytes(data, path, *args)

    monkeypatch.setattr("xray_hpc.data.image_store.decode_bytes", decode)
    load_dataset(data_config(tree), cache)
    assert len(decoded) == 48 + 1
    assert decoded[-1] == "IM-0001-0001.jpeg"


def test_8_bit_images_are_decoded_once_and_have_no_range(
    tree: Path, cache: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []

    def decode(data: bytes, path: Path, *args: Any) -> object:
        decoded.append(path)
        return decode_bytes(data, path, *args)

    monkeypatch.setattr("xray_hpc.data.image_store.decode_bytes", decode)
    assert load_dataset(data_config(tree), cache).range is None
    assert len(decoded) == 48


def test_interrupted_second_pass_resumes_to_the_same_images(
    tree: Path, tmp_path: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 4 images; the interrupt comes after one block was decoded for the second time."""
    monkeypatch.setattr("xray_hpc.data.stored_images.BLOCK_BYTES", 4 * 8 * 8)
    monkeypatch.setattr("xray_hpc.data.image_store.available_cores", lambda: 1)
    monkeypatch.setattr("xray_hpc.data.array_writer.SYNC_SECONDS", 0)
    for n in range(1, 11):
        save_16_bit(tree / f"train/NORMAL/IM-{n:04d}-0001.jpeg", 500)
    save_16_bit(tree / "train/PNEUMONIA/person1_virus_2.jpeg", 4000)
    whole = load_dataset(data_config(tree), tmp_path / "whole")
    decoded: list[str] = []

    def decode(data: bytes, path: Path, *args: Any) -> object:
        decoded.append(path.name)
        if len(decoded) == 48 + 8:
            raise KeyboardInterrupt
        return decode_bytes(data, path, *args)

    monkeypatch.setattr("xray_hpc.data.image_store.decode_bytes", decode)
    with pytest.raises(KeyboardInterrupt):
        load_dataset(data_config(tree), tmp_path / "resumed")
    resumed = load_dataset(data_config(tree), tmp_path / "resumed")
    assert len(decoded) < 2 * 48
    np.testing.assert_array_equal(resumed.images, whole.images)
    assert resumed.range == whole.range == 12


@pytest.mark.parametrize(("given", "brightest"), [(16, 16), (12, 255), ((0, 2000), 255)])
def test_given_range_replaces_that_of_the_set(
    tree: Path, cache: Path, data_config: MakeConfig, given: Any, brightest: int
) -> None:
    for path in tree.rglob("*.jpeg"):
        save_16_bit(path, 4095)
    data = load_dataset(data_config(tree, range=given), cache)
    assert data.range == given
    assert data.images.max() == brightest
    assert not any("bits" in note for note in data.notes)


def test_each_range_has_its_own_store(tree: Path, cache: Path, data_config: MakeConfig) -> None:
    for given in ("auto", 12, (0.0, 100.0)):
        load_dataset(data_config(tree, range=given), cache)
    assert len(stores(cache)) == 3


def test_image_replaced_between_the_passes_is_an_error(
    tree: Path, cache: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, largest in ((1, 500), (2, 3000)):
        save_16_bit(tree / f"train/NORMAL/IM-000{n}-0001.jpeg", largest)
    seen: set[Path] = set()

    def decode(data: bytes, path: Path, *args: Any) -> object:
        data = b"" if path in seen else data
        seen.add(path)
        return decode_bytes(data, path, *args)

    monkeypatch.setattr("xray_hpc.data.image_store.decode_bytes", decode)
    with pytest.raises(UserError, match=r"IM-0001-0001.jpeg changed while it was read"):
        load_dataset(data_config(tree), cache)
    assert stores(cache) == []


def test_clahe_has_its_own_store(tree: Path, cache: Path, data_config: MakeConfig) -> None:
    plain, even = (load_dataset(data_config(tree, clahe=limit), cache) for limit in (None, 2.0))
    assert len(stores(cache)) == 2
    np.testing.assert_array_equal(even.images[3], equalize(plain.images[3], 2.0))


def test_per_class_leaves_other_images_in_no_split(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    data = load_dataset(data_config(tree, per_class=15, split="random"), cache)
    assert len(data.images) == 48
    rows = np.concatenate([data.splits["train"], data.splits["validation"]])
    assert np.bincount(data.labels[rows]).tolist() == [15, 15]
    assert len(data.splits["test"]) == 6


def test_per_class_larger_than_a_class_is_reported(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    assert load_dataset(data_config(tree, per_class=50), cache).notes == [
        "data.per_class is 50, but 'NORMAL' has only 21 images to draw from; took 21 of each class"
    ]


def test_too_little_disk_space_is_an_error_before_decoding(
    tree: Path, cache: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tree)._replace(free=10)
    monkeypatch.setattr("xray_hpc.data.cache_errors.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"no space left in .*cache for the decoded images, which"):
        load_dataset(data_config(tree), cache)
    assert stores(cache) == []


def test_disk_failure_leaves_no_file(
    tree: Path, cache: Path, data_config: MakeConfig, largest_file: Callable[[int], None]
) -> None:
    largest_file(100_000)
    with pytest.raises(UserError, match=r"cannot write the decoded images: .*File too large"):
        load_dataset(data_config(tree, image_size=64), cache)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_image_removed_after_indexing_is_an_error(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    index = build_index(data_config(tree), cache)
    (tree / index.entries[3].path).unlink()
    with pytest.raises(UserError, match=r"cannot read .*IM-0002-0002.jpeg: No such file"):
        load_indexed(index, data_config(tree), cache)
    assert stores(cache) == []


def test_concurrent_processes_build_one_store(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    program = (
        "import sys; from pathlib import Path; from xray_hpc.config.run_config import DataConfig;"
        "from xray_hpc.data.dataset import load_dataset;"
        "config = DataConfig(source='folder', root=sys.argv[1], image_size=8, channels=1,"
        "split='patient', validation_fraction=0.2, split_seed=42);"
        "print(load_dataset(config, Path(sys.argv[2])).images.sum())"
    )
    command = [sys.executable, "-c", program, str(tree), str(cache)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    results = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len({out for out, _ in results}) == 1
    assert sum("decoding images 48/48" in err for _, err in results) == 1


def test_dataset_does_not_import_tensorflow() -> None:
    program = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None;"
        "import xray_hpc.data.dataset, xray_hpc.data.dataset_figures, xray_hpc.data.stage_data"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
