"""Absolute paths keep their links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xray_hpc.absolute_path import absolute_path, shell_path, working_folder
from xray_hpc.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a link to ``export1/u`` that the shell has followed."""
    (tmp_path / "export1" / "u" / "data").mkdir(parents=True)
    link = tmp_path / "home"
    link.symlink_to("export1/u")
    monkeypatch.chdir(link)
    monkeypatch.setenv("PWD", str(link))
    monkeypatch.setenv("HOME", str(link))
    return link


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data", "{home}/data"),
        ("./data/", "{home}/data"),
        ("~/data", "{home}/data"),
        ("{home}/data", "{home}/data"),
        ("{home}/new/folder", "{home}/new/folder"),
        (".", "{home}"),
        ("data/../data", "{home}/data"),
        ("{home}/data/..", "{home}"),
    ],
)
def test_absolute_path_keeps_links(home: Path, path: str, expected: str) -> None:
    assert absolute_path(path.format(home=home)) == Path(expected.format(home=home))


def test_absolute_path_refuses_the_home_of_an_unknown_user() -> None:
    with pytest.raises(ConfigError, match="~nosuch/data: user 'nosuch' has no home folder"):
        absolute_path("~nosuch/data")


@pytest.mark.parametrize("path", ["..", "../new/folder", "{home}/../x", "data/../../x"])
def test_absolute_path_follows_a_link_before_its_parent(home: Path, path: str) -> None:
    path = path.format(home=home)
    assert absolute_path(path) == Path(os.path.realpath(path))
    assert "export1" in str(absolute_path(path))


@pytest.mark.parametrize("named", ["", "relative", "/", "/nowhere", "{home}/.", "{home}/data/.."])
def test_working_folder_ignores_a_wrong_name_in_pwd(
    home: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    assert working_folder() == home
    monkeypatch.setenv("PWD", named.format(home=home))
    assert working_folder() == home.resolve()


def test_shell_path_renames_only_what_is_in_the_working_folder(home: Path) -> None:
    assert shell_path(home.resolve() / "bin" / "python") == home / "bin" / "python"
    assert shell_path("/usr/bin/python3") == Path("/usr/bin/python3")
