from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.conftest import link_in_many_ways
from xray_hpc.data.folder_index import MAX_DEPTH, SEARCHED, read_folder_index
from xray_hpc.data.index_entry import IgnoredFiles
from xray_hpc.errors import DataError, UserError

MakeTree = Callable[..., Path]
SMALL = {
    "train/NORMAL": ["a.png", "b.png"],
    "train/PNEUMONIA": ["c.png", "d.png"],
    "test/NORMAL": ["e.png"],
    "test/PNEUMONIA": ["f.png"],
}


@pytest.fixture
def small(tmp_path: Path, make_tree: MakeTree) -> Path:
    return make_tree(tmp_path / "data", SMALL)


def paths(root: Path) -> list[str]:
    return [entry.path for entry in read_folder_index(root)[2]]


def test_read_folder_index_orders_by_split_class_and_name(small: Path) -> None:
    root, classes, entries, ignored = read_folder_index(small)
    assert root == small
    assert classes == ("NORMAL", "PNEUMONIA")
    assert [(entry.path, entry.label, entry.split) for entry in entries] == [
        ("train/NORMAL/a.png", 0, "train"),
        ("train/NORMAL/b.png", 0, "train"),
        ("train/PNEUMONIA/c.png", 1, "train"),
        ("train/PNEUMONIA/d.png", 1, "train"),
        ("test/NORMAL/e.png", 0, "test"),
        ("test/PNEUMONIA/f.png", 1, "test"),
    ]
    assert entries[0].size == (small / "train/NORMAL/a.png").stat().st_size
    assert ignored == {}


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Val", "VALIDATION"])
def test_read_folder_index_validation_folder(small: Path, make_tree: MakeTree, name: str) -> None:
    make_tree(small, {f"{name}/NORMAL": ["v.png"]})
    splits = {entry.path: entry.split for entry in read_folder_index(small)[2]}
    assert splits[f"{name}/NORMAL/v.png"] == "validation"


@pytest.mark.parametrize(("train", "test"), [("training", "testing"), ("Train", "Test")])
def test_read_folder_index_other_names_of_train_and_test(
    small: Path, train: str, test: str
) -> None:
    (small / "train").rename(small / train)
    (small / "test").rename(small / test)
    splits = [
        (path.split("/")[0], entry.split)
        for entry in read_folder_index(small.parent)[2]
        for path in [entry.path]
    ]
    assert splits == [(train, "train")] * 4 + [(test, "test")] * 2


def test_read_folder_index_rejects_two_folders_of_one_split(
    small: Path, make_tree: MakeTree
) -> None:
    make_tree(small, {"val/NORMAL": ["v.png"], "valid/NORMAL": ["v.png"]})
    with pytest.raises(UserError, match="'val' and 'valid' both hold validation images; keep one"):
        read_folder_index(small)


def test_read_folder_index_finds_the_data_set_one_level_down(small: Path) -> None:
    root, _, entries, _ = read_folder_index(small.parent)
    assert root == small
    assert len(entries) == 6


def test_read_folder_index_ignores_a_nested_copy(small: Path, make_tree: MakeTree) -> None:
    make_tree(small / "data", SMALL)
    _, _, entries, ignored = read_folder_index(small.parent)
    assert len(entries) == 6
    assert ignored["nested copy of the data set"].count == 6


def test_read_folder_index_counts_ignored_files(small: Path, make_tree: MakeTree) -> None:
    make_tree(
        small,
        {
            "__MACOSX/train/NORMAL": ["._a.png"],
            "train/NORMAL": ["._a.png", ".DS_Store", ".hidden.png", "Thumbs.db", "notes.txt"],
            "train": ["stray.png"],
            "train/.ipynb_checkpoints": ["x.png"],
            "figures": ["x.png", "y.png"],
        },
    )
    _, _, entries, ignored = read_folder_index(small)
    assert len(entries) == 6
    assert {reason: files.count for reason, files in ignored.items()} == {
        "hidden or system files": 3,
        "macOS metadata": 3,
        "no image suffix": 1,
        "outside the class folders": 1,
        "outside train, val and test": 2,
    }
    assert ignored["no image suffix"].examples == ["train/NORMAL/notes.txt"]


def test_read_folder_index_includes_subfolders_of_a_class(small: Path, make_tree: MakeTree) -> None:
    make_tree(small, {"train/PNEUMONIA/virus": ["x.png"]})
    assert "train/PNEUMONIA/virus/x.png" in paths(small)


@pytest.mark.parametrize("name", ["x.TIF", "x.dcm", "x.DICOM", "x.Jpg"])
def test_read_folder_index_image_suffixes(small: Path, make_tree: MakeTree, name: str) -> None:
    make_tree(small, {"train/NORMAL": [name]})
    assert f"train/NORMAL/{name}" in paths(small)


@pytest.mark.parametrize(
    "name",
    ["a b.png", "it's.png", 'say "x".png', "a,b.png", "$(touch x).png", "line\nend.png", "ß😀.PNG"],
)
def test_read_folder_index_accepts_special_characters(
    small: Path, make_tree: MakeTree, name: str
) -> None:
    make_tree(small, {"train/NORMAL": [name]})
    assert f"train/NORMAL/{name}" in paths(small)


def test_read_folder_index_rejects_names_that_are_not_utf8(small: Path) -> None:
    source = os.fsencode(small / "train/NORMAL/a.png")
    os.link(source, os.fsencode(small / "train/NORMAL") + b"/\xff.png")
    with pytest.raises(UserError, match=r"^'train/NORMAL/\\udcff.png' has a name .* rename") as e:
        read_folder_index(small)
    assert "\n" not in str(e.value)


def test_read_folder_index_ignores_broken_links_and_pipes(small: Path) -> None:
    (small / "train/NORMAL/gone.png").symlink_to("nowhere.png")
    os.mkfifo(small / "train/NORMAL/pipe.png")
    _, _, entries, ignored = read_folder_index(small)
    assert len(entries) == 6
    assert ignored["broken links and special files"].count == 2


def test_read_folder_index_follows_links(small: Path) -> None:
    (small / "train/NORMAL").rename(small.parent / "elsewhere")
    (small / "train/NORMAL").symlink_to(small.parent / "elsewhere")
    (small / "train/PNEUMONIA/link.png").symlink_to("c.png")
    assert len(paths(small)) == 7


def test_read_folder_index_follows_links_to_folders_in_a_class(small: Path) -> None:
    (small / "train/NORMAL").rename(small.parent / "elsewhere")
    (small / "train/NORMAL").mkdir()
    (small / "train/NORMAL/hospital").symlink_to(small.parent / "elsewhere")
    _, _, entries, ignored = read_folder_index(small)
    assert [entry.path for entry in entries[:2]] == [
        "train/NORMAL/hospital/a.png",
        "train/NORMAL/hospital/b.png",
    ]
    assert ignored == {}


@pytest.mark.parametrize("target", [".", "..", "../..", "sub", "../../../data", "/"])
def test_read_folder_index_does_not_follow_links_in_a_circle(small: Path, target: str) -> None:
    folder = small / "train/NORMAL/sub"
    folder.mkdir()
    if target == "sub":  # a link to itself
        (folder / "sub").symlink_to("sub")
    elif target == "/":  # two links to each other
        other = small.parent / "other"
        other.mkdir()
        (other / "back").symlink_to(folder)
        (folder / "there").symlink_to(other)
    else:
        (folder / "back").symlink_to(target, target_is_directory=True)
    _, _, entries, ignored = read_folder_index(small)
    assert len(entries) == 6
    assert sum(files.count for files in ignored.values()) == 1


def test_read_folder_index_follows_a_link_to_a_folder_once(small: Path) -> None:
    """Folders with two links each to the next: there are 2**30 ways to the last."""
    link_in_many_ways(small / "train/NORMAL", small.parent / "many", 30)
    _, _, entries, ignored = read_folder_index(small)
    assert sum(entry.path.endswith("last.png") for entry in entries) == 1
    assert ignored[SEARCHED].count == 30


@pytest.mark.parametrize("link", ["alias", "zlink", "a/alias", "z/z/zlink"])
def test_read_folder_index_lists_a_linked_folder_under_its_own_name(
    small: Path, make_tree: MakeTree, link: str
) -> None:
    make_tree(small, {"train/NORMAL/p1": ["x.png"]})
    before = read_folder_index(small)
    path = small / "train/NORMAL" / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(small / "train/NORMAL/p1", target_is_directory=True)
    after = read_folder_index(small)
    assert after[2] == before[2]
    assert after[3] == {SEARCHED: IgnoredFiles(1, [f"train/NORMAL/{link}"])}


def test_read_folder_index_refuses_very_deep_folders(small: Path) -> None:
    folder = small / "train/NORMAL" / "/".join(["d"] * 150)
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=rf"^{small}/train/NORMAL/d/.* {MAX_DEPTH} "):
        read_folder_index(small)


def test_read_folder_index_names_a_broken_link_to_a_folder(small: Path) -> None:
    (small / "train/NORMAL/hospital").symlink_to("gone")
    ignored = read_folder_index(small)[3]
    assert ignored["broken links and special files"].examples == ["train/NORMAL/hospital"]


@pytest.mark.parametrize("name", [".DS_Store", "._x.jpeg", ".x.jpeg", "Thumbs.db", "@eaDir"])
def test_files_of_the_system_are_neither_images_nor_classes(
    small: Path, make_tree: MakeTree, name: str
) -> None:
    for folder in ("train/NORMAL", "train", "."):
        if name == "@eaDir":
            make_tree(small, {f"{folder}/{name}/a.png": ["SYNOPHOTO_THUMB_M.jpg"]})
        else:
            (small / folder / name).touch()
    _, classes, entries, ignored = read_folder_index(small)
    assert classes == ("NORMAL", "PNEUMONIA")
    assert len(entries) == 6
    assert set(ignored) <= {"macOS metadata", "hidden or system files"}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"train/A": ["x.png"]}, r"has no folder 'test'"),
        ({"test/A": ["x.png"], "Trian/A": ["x.png"]}, r"no folder 'train'; did you mean 'Trian'"),
        ({"Train/A": ["x.png"], "text/A": ["x.png"]}, r"no folder 'test'; did you mean 'text'"),
        (
            {"train/A": ["x.png"], "train/B": ["x.png"], "test/A": ["x.png"]},
            r"class 'B' is in train but not in test",
        ),
        (
            {f"{s}/{c}": ["x.png"] for s, c in [("train", "NORMAL"), ("train", "ILL")]}
            | {f"{s}/{c}": ["x.png"] for s, c in [("test", "Normal"), ("test", "ILL")]},
            r"class 'NORMAL' is in train but not in test; did you mean 'Normal'\?",
        ),
        (
            {"train/A": ["x.png"], "train/B": [], "test/A": ["x.png"], "test/B": ["x.png"]},
            r"class 'B' has no images in train; add some",
        ),
        (
            {"train/A": ["x.png"], "train/B": ["x.png"], "test/A": ["x.png"], "test/B": []},
            r"class 'B' has no images in test",
        ),
        ({"train/A": ["x.png"], "test/A": ["x.png"]}, r"found 1 class \('A'\)"),
        ({"train": [], "test": []}, r"found 0 classes \(none\)"),
        (
            {f"{s}/{c}": ["x.png"] for s in ("train", "test", "val") for c in "AB"}
            | {"val/BB": ["x.png"]},
            r"class 'BB' is in validation but not in train",
        ),
    ],
)
def test_read_folder_index_rejects_invalid_folders(
    tmp_path: Path, make_tree: MakeTree, folders: dict[str, list[str]], message: str
) -> None:
    make_tree(tmp_path, folders)
    with pytest.raises(UserError, match=message):
        read_folder_index(tmp_path)


def test_read_folder_index_rejects_two_data_sets(tmp_path: Path, make_tree: MakeTree) -> None:
    make_tree(tmp_path / "one", SMALL)
    make_tree(tmp_path / "two", SMALL)
    with pytest.raises(UserError, match=r"\('one', 'two'\)"):
        read_folder_index(tmp_path)
