from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import link_in_many_ways
from xray_hpc.data.folder_index import NO_SUFFIX, SEARCHED
from xray_hpc.data.index_entry import IgnoredFiles
from xray_hpc.data.named_images import (
    ImageFile,
    find_image_files,
    read_list,
)
from xray_hpc.errors import UserError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def paths(*named: str, listed: list[str] | None = None) -> list[str]:
    return [item.path for item in find_image_files(named, listed or [])[0]]


def test_find_image_files_searches_folders_recursively(here: Path) -> None:
    touch("x/b.PNG", "x/a/2.jpeg", "x/a/10.jpeg", "x/c.tif")
    assert paths("x") == ["x/a/10.jpeg", "x/a/2.jpeg", "x/b.PNG", "x/c.tif"]


def test_find_image_files_ignores_hidden_and_system_files(here: Path) -> None:
    touch("x/a.png", "x/.hidden.png", "x/._a.png", "x/.cache/b.png", "x/__MACOSX/x/._a.png")
    touch("x/Thumbs.db", "x/.DS_Store")
    assert paths("x") == ["x/a.png"]
    assert paths("x/.cache", "x/.hidden.png") == ["x/.cache/b.png", "x/.hidden.png"]


def test_find_image_files_counts_other_files(here: Path) -> None:
    touch("x/a.png", "x/b.txt", "x/c")
    assert find_image_files(["x"])[1] == {NO_SUFFIX: IgnoredFiles(2, ["x/b.txt", "x/c"])}


def test_find_image_files_accepts_a_file_of_any_name(here: Path) -> None:
    touch("IM000001", "x/IM000002")
    assert paths("IM000001", "x/IM000002") == ["IM000001", "x/IM000002"]


def test_find_image_files_follows_links_but_not_in_a_circle(here: Path) -> None:
    touch("x/a.png", "y/b.png")
    Path("x/y.png").symlink_to("../y", target_is_directory=True)
    Path("x/round").symlink_to(".", target_is_directory=True)
    Path("x/b.png").symlink_to("../y/b.png")
    Path("link").symlink_to("y", target_is_directory=True)
    assert paths("x", "link") == ["x/a.png", "x/b.png", "x/y.png/b.png", "link/b.png"]


def test_find_image_files_follows_a_link_to_a_folder_once(here: Path) -> None:
    """Folders with two links each to the next: there are 2**30 ways to the last."""
    Path("x").mkdir()
    link_in_many_ways(Path("x"), here / "many", 30)
    found, ignored = find_image_files(["x"])
    assert [Path(file.path).name for file in found] == ["last.png"]
    assert ignored[SEARCHED].count == 30


@pytest.mark.parametrize("link", ["alias", "zlink", "a/alias", "z/z/zlink"])
def test_find_image_files_finds_a_linked_folder_under_its_own_name(here: Path, link: str) -> None:
    touch("x/p1/a.png", "x/p1/b/c.png", "x/p2/a.png")
    Path("x", link).parent.mkdir(parents=True, exist_ok=True)
    Path("x", link).symlink_to(here / "x/p1", target_is_directory=True)
    found, ignored = find_image_files(["x"])
    assert [file.path for file in found] == ["x/p1/a.png", "x/p1/b/c.png", "x/p2/a.png"]
    assert ignored == {SEARCHED: IgnoredFiles(1, [f"x/{link}"])}


def test_find_image_files_searches_a_folder_inside_two_links_once(here: Path) -> None:
    touch("y/z/a.png", "y/b.png")
    Path("x").mkdir()
    Path("x/1").symlink_to(here / "y/z", target_is_directory=True)
    Path("x/2").symlink_to(here / "y", target_is_directory=True)
    found, ignored = find_image_files(["x"])
    assert [file.path for file in found] == ["x/1/a.png", "x/2/b.png"]
    assert ignored == {SEARCHED: IgnoredFiles(1, ["x/2/z"])}


def test_find_image_files_reports_very_deep_folders(here: Path) -> None:
    touch("x/a.png")
    Path("x", *["d"] * 150).mkdir(parents=True)
    found, _ = find_image_files(["x"])
    assert found[0] == ImageFile("x/a.png")
    assert [file.error for file in found[1:]] == ["more than 100 folders deep"]


def test_find_image_files_unreadable_content_of_a_folder_has_an_error(here: Path) -> None:
    touch("x/a.png")
    Path("x/b.png").symlink_to("gone.png")
    os.mkfifo("x/c.png")
    found, _ = find_image_files(["x"])
    assert found == [
        ImageFile("x/a.png"),
        ImageFile("x/b.png", "a broken link"),
        ImageFile("x/c.png", "neither a file nor a folder"),
    ]


def test_find_image_files_missing_path_of_a_list_has_an_error(here: Path) -> None:
    touch("x/a.png", "b.png")
    found, _ = find_image_files(["b.png", "-"], ["x", "c.png"])
    assert [item.path for item in found] == ["b.png", "x/a.png", "c.png"]
    assert found[2].error == f"no 'c.png' in {here}; did you mean 'b.png'?"


def test_find_image_files_missing_name_has_an_error(here: Path) -> None:
    touch("x/a.png")
    found, _ = find_image_files(["x", "y"])
    assert [bool(item.error) for item in found] == [False, True]
    for names in (["y", "z"], ["-"]):
        found, _ = find_image_files(names, ["y", "z"])
        assert found == [ImageFile(name, f"no '{name}' in {here}") for name in ("y", "z")]


def test_find_image_files_reports_the_misspelt_folder(here: Path) -> None:
    touch("chest_xray/test/a.png")
    found, _ = find_image_files(["chets_xray/test/a.png", "chest_xray/tset"])
    assert [file.error for file in found] == [
        f"no 'chets_xray' in {here}; did you mean 'chest_xray'?",
        f"no 'tset' in {here / 'chest_xray'}; did you mean 'test'?",
    ]


def test_find_image_files_rejects_no_images(here: Path) -> None:
    touch("x/.hidden.png")
    with pytest.raises(UserError, match=r"no images in x, standard input$"):
        find_image_files(["x", "-"])


@given(st.lists(st.binary(min_size=1).filter(lambda path: not set(path) & set(b"\0\r\n"))))
def test_read_list_separators(names: list[bytes]) -> None:
    decoded = [os.fsdecode(name) for name in names]
    assert read_list(b"\n".join(names)) == decoded
    assert read_list(b"".join(name + b"\r\n" for name in names)) == decoded
    assert read_list(b"".join(name + b"\0" for name in names)) == decoded


def test_read_list_nul_separated_paths_may_contain_newlines() -> None:
    assert read_list(b"two\nlines.png\0") == ["two\nlines.png"]
