from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.dataset import load_dataset, load_indexed
from xray_hpc.data.decode import decode, equalize
from xray_hpc.data.index import build_index
from xray_hpc.errors import UserError

MakeConfig = Callable[..., DataConfig]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def packs(cache: Path) -> list[Path]:
    return sorted(cache.glob("images-*.h5"))


def test_a_loaded_set_holds_every_image_with_its_label_and_patient(
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


def test_the_second_load_reads_the_pack_and_gives_the_same(
    tree: Path, cache: Path, data_config: MakeConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    first = load_dataset(data_config(tree), cache)
    assert "packing images 48/48" in capfd.readouterr().err
    written = packs(cache)[0].stat().st_mtime_ns
    second = load_dataset(data_config(tree), cache)
    assert capfd.readouterr().err == ""
    assert packs(cache)[0].stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.images, second.images)
    assert first.files == second.files


def test_one_pack_serves_every_split(tree: Path, cache: Path, data_config: MakeConfig) -> None:
    for split in ("patient", "random", "folder"):
        load_dataset(data_config(tree, split=split), cache)
    assert len(packs(cache)) == 1


def test_many_workers_keep_the_order(tree: Path, tmp_path: Path, data_config: MakeConfig) -> None:
    one = load_dataset(data_config(tree), tmp_path / "one", workers=1)
    many = load_dataset(data_config(tree), tmp_path / "many", workers=9)
    np.testing.assert_array_equal(one.images, many.images)


def test_more_images_than_a_block_holds_are_packed_whole(
    tree: Path,
    cache: Path,
    data_config: MakeConfig,
    make_tree: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xray_hpc.data.array_store.BLOCK_BYTES", 64 * 8 * 8)
    make_tree(tree, {"train/NORMAL": [f"IM-{n}-1.png" for n in range(1000, 1100)]})
    (tree / "train/NORMAL/IM-1050-1.png").write_bytes(b"")
    data = load_dataset(data_config(tree), cache)
    assert len(data.images) == 147
    for i in (63, 64, 110, 146):
        np.testing.assert_array_equal(data.images[i], decode(tree / data.files[i], 8, 1))


def test_unreadable_images_are_skipped_counted_and_named(
    tree: Path, cache: Path, data_config: MakeConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    names = [f"train/PNEUMONIA/person{n}_virus_{2 * n}.jpeg" for n in (1, 2, 3, 4)]
    for name in names:
        (tree / name).write_bytes(b"" if name == names[0] else b"no image")
    data = load_dataset(data_config(tree), cache)
    note = (
        f"{tree}: skipped 4 unreadable images ({names[0]!r}: empty file; "
        f"{names[1]!r}: not an image; {names[2]!r}: not an image; ...)"
    )
    assert data.notes == [note]
    assert f"warning: {note}\n" in capfd.readouterr().err
    assert len(data.images) == 44
    assert not set(names) & set(data.files)
    assert sorted(np.concatenate(list(data.splits.values()))) == list(range(44))
    assert load_dataset(data_config(tree), cache).notes == [note]


def test_a_pack_is_not_made_without_the_images_that_another_installation_reads(
    tree: Path, cache: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be kept, and the images left out when pydicom is there at last."""
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tree / "train" / "NORMAL" / "IM-0001-0001.jpeg").rename(
        tree / "train" / "NORMAL" / "IM-0001-0001.dcm"
    )
    with pytest.raises(UserError, match=r"pip install 'xray_hpc\[dicom\]'"):
        load_dataset(data_config(tree), cache)
    assert packs(cache) == []


def test_more_than_a_tenth_unreadable_is_refused_and_leaves_nothing(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    for n in range(1, 6):
        (tree / f"train/NORMAL/IM-{n:04d}-0001.jpeg").write_bytes(b"")
    with pytest.raises(UserError, match=r"5 unreadable images \(.*\) of 48; more than 10% is too"):
        load_dataset(data_config(tree), cache)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_class_without_a_readable_image_is_refused(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    for image in (tree / "test/NORMAL").iterdir():
        image.write_bytes(b"")
    with pytest.raises(UserError, match=r"no readable image of class 'NORMAL' is left in test"):
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
    """Those of two images, which are taken from the index."""
    with h5py.File(path, "r") as file:
        place = file["kept"].id.get_chunk_info(0).byte_offset
    with path.open("r+b") as file:
        file.seek(place)
        first, second = file.read(8), file.read(8)
        file.seek(place)
        file.write(second + first)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def drop_a_part(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["kept"]


def other_data(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["key"] = "another"


@pytest.mark.parametrize(
    "damage", [cut, flip_a_pixel, exchange_labels, empty, drop_a_part, other_data]
)
def test_a_damaged_pack_is_made_again_with_a_warning(
    tree: Path, cache: Path, data_config: MakeConfig, damage: Callable[[Path], None]
) -> None:
    whole = load_dataset(data_config(tree), cache).images.copy()
    damage(packs(cache)[0])
    again = load_dataset(data_config(tree), cache)
    np.testing.assert_array_equal(whole, again.images)
    assert len(again.notes) == 1
    assert "was damaged" in again.notes[0]
    assert load_dataset(data_config(tree), cache).notes == []


def test_a_loaded_set_is_a_mapping_of_its_pack_which_it_cannot_change(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    """So that the runs on a node share the system's copy of the file."""
    data = load_dataset(data_config(tree), cache)
    assert str(packs(cache)[0]) in Path("/proc/self/maps").read_text()
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 0


def test_a_loaded_set_keeps_its_images_when_another_pack_takes_their_name(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    data = load_dataset(data_config(tree), cache)
    before, pack = data.images.copy(), packs(cache)[0]
    pack.with_name("other").write_bytes(bytes(pack.stat().st_size))
    pack.with_name("other").rename(pack)
    np.testing.assert_array_equal(data.images, before)


def test_a_changed_image_is_packed_anew(
    tree: Path, cache: Path, data_config: MakeConfig, make_image: Callable[..., None]
) -> None:
    before = load_dataset(data_config(tree), cache)
    make_image(tree / before.files[0], side=20)
    after = load_dataset(data_config(tree), cache)
    assert not np.array_equal(before.images[0], after.images[0])


def test_equal_contents_in_two_parts_are_reported(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    copy = "test/NORMAL/IM-0050-0001.jpeg"
    shutil.copy(tree / "val/NORMAL/NORMAL2-IM-0001-0001.jpeg", tree / copy)
    assert load_dataset(data_config(tree, split="folder"), cache).notes == [
        "1 image with the same contents in more than one of train, validation, test, such as "
        f"'val/NORMAL/NORMAL2-IM-0001-0001.jpeg' (validation) and '{copy}' (test)"
    ]


def test_a_patient_in_train_and_test_is_reported(
    tree: Path, cache: Path, data_config: MakeConfig, make_image: Callable[..., None]
) -> None:
    make_image(tree / "test/NORMAL/IM-0001-0009.jpeg")
    (note,) = load_dataset(data_config(tree, split="folder"), cache).notes
    assert note.startswith("1 patient ('IM-0001') in both train and test: 1 of the 7 test images")


def test_a_list_is_loaded_as_a_tree_is(tree: Path, cache: Path, data_config: MakeConfig) -> None:
    rows = ["path,label,split"]
    rows += [f"{p.relative_to(tree)},{p.parts[-2]},{p.parts[-3]}" for p in tree.rglob("*.jpeg")]
    (tree / "list.csv").write_text("\n".join(rows))
    listed = load_dataset(data_config(tree / "list.csv", source="csv"), cache)
    walked = load_dataset(data_config(tree), cache)
    assert set(listed.files) == set(walked.files)
    assert listed.classes == walked.classes


def test_evened_contrast_has_a_pack_of_its_own(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    plain, even = (load_dataset(data_config(tree, clahe=limit), cache) for limit in (None, 2.0))
    assert len(packs(cache)) == 2
    np.testing.assert_array_equal(even.images[3], equalize(plain.images[3], 2.0))


def test_images_that_are_not_drawn_are_in_no_part(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    data = load_dataset(data_config(tree, per_class=15, split="random"), cache)
    assert len(data.images) == 48
    rows = np.concatenate([data.splits["train"], data.splits["validation"]])
    assert np.bincount(data.labels[rows]).tolist() == [15, 15]
    assert len(data.splits["test"]) == 6


def test_a_class_too_small_for_the_subset_is_reported(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    assert load_dataset(data_config(tree, per_class=50), cache).notes == [
        "data.per_class is 50, but 'NORMAL' has only 21 images to draw from; took 21 of each class"
    ]


def test_no_room_is_said_before_packing_and_leaves_nothing(
    tree: Path, cache: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tree)._replace(free=10)
    monkeypatch.setattr("xray_hpc.data.cache_folder.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"no space left in .*cache for the packed images, which"):
        load_dataset(data_config(tree), cache)
    assert packs(cache) == []


def test_a_disk_that_fails_while_packing_leaves_nothing(
    tree: Path, cache: Path, data_config: MakeConfig, largest_file: Callable[[int], None]
) -> None:
    largest_file(100_000)
    with pytest.raises(UserError, match=r"cannot write the packed images: .*File too large"):
        load_dataset(data_config(tree, image_size=64), cache)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_an_image_gone_since_the_index_stops_the_packing(
    tree: Path, cache: Path, data_config: MakeConfig
) -> None:
    index = build_index(data_config(tree), cache)
    (tree / index.entries[3].path).unlink()
    with pytest.raises(UserError, match=r"cannot read .*IM-0002-0002.jpeg: No such file"):
        load_indexed(index, data_config(tree), cache)
    assert packs(cache) == []


def test_processes_that_start_together_pack_once(
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
    results = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len({out for out, _ in results}) == 1
    assert sum("packing images 48/48" in err for _, err in results) == 1


def test_loading_needs_no_tensorflow() -> None:
    program = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None;"
        "import xray_hpc.data.dataset, xray_hpc.data.dataset_figures, xray_hpc.data.dataset_summary"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
