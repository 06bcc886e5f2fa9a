from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.errors import StorageError, UserError
from xray_hpc.records.atomic_files import (
    atomic_write,
    read_json,
    storage_errors,
    write_csv,
    write_json,
    write_text,
)


def test_atomic_write_creates_the_file_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == ".h5"
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_write_does_not_create_the_folder_of_a_removed_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(FileNotFoundError):
        write_text(folder / "run.json", "")
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(FileNotFoundError), atomic_write(folder / "run.json"):
        folder.rename(tmp_path / "renamed")
    assert not folder.exists()


def write_half(path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("half of the new")
        raise ZeroDivisionError


def test_atomic_write_keeps_the_old_file_if_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_keeps_the_old_file_if_killed(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_text(path, "old")
    program = (
        "import os, sys; from pathlib import Path; "
        "from xray_hpc.records.atomic_files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), 9)"
    )
    died = subprocess.run([sys.executable, "-c", program, str(path)], timeout=300)
    assert died.returncode == -9
    assert path.read_text() == "old"


def test_atomic_write_names_the_file_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither ``fsync`` nor ``write`` names it, and the temporary name says nothing."""
    path = tmp_path / "x.txt"
    write_text(path, "old")

    def fail(_: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Disk quota exceeded") as caught:
        write_text(path, "new")
    assert (caught.value.errno, caught.value.filename) == (errno.EDQUOT, str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_uses_default_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "")
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_atomic_write_does_not_change_the_umask_of_other_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flip(mask: int) -> int:
        raise AssertionError("the umask is that of the whole process")

    monkeypatch.setattr(os, "umask", flip)
    write_text(tmp_path / "ours", "")


def test_write_text_uses_utf8_and_lf(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "Röntgen\n2\n")
    assert (tmp_path / "x").read_bytes() == "Röntgen\n2\n".encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(value=st.dictionaries(st.text(), json_values, max_size=4))
def test_json_round_trip(
    value: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_write_json_rejects_nan_and_infinity(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"auc": number})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "contents",
    [
        *(b"", b"{", b"[1]", b"\xff", b"3"),
        b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"number": 1%s}' % (b"0" * 19),
        b'{"number": -1%s}' % (b"0" * 5000),
        b'{"text": "\\ud800"}',
    ],
)
def test_read_json_error_names_the_file(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(contents)
    with pytest.raises(UserError, match=r"run.json (is not JSON|is not a JSON object)"):
        read_json(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink(path, path)])
def test_read_json_of_no_regular_file_is_an_os_error(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "run.json")
    with pytest.raises(OSError, match=r"run\.json"):
        read_json(tmp_path / "run.json")


def test_storage_errors_are_those_of_files_in_the_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"x cannot be used"), storage_errors(tmp_path):
        (tmp_path / "x").read_bytes()
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path / "sweep"):
        (tmp_path / "x").read_bytes()


def test_write_csv_quotes_text_like_a_formula_and_no_number(tmp_path: Path) -> None:
    frame = pd.DataFrame({"=n": [-1, 2], "x": [-0.5, 0.5], "file": ["-1.png", None]})
    write_csv(tmp_path / "x.csv", frame)
    assert (tmp_path / "x.csv").read_text() == "'=n,x,file\n-1,-0.5,'-1.png\n2,0.5,\n"
    assert list(frame) == ["=n", "x", "file"]


def test_write_csv_keeps_every_digit_and_quotes_names(tmp_path: Path) -> None:
    frame = pd.DataFrame({"y": [0.1 + 0.2, 1e-300], "file": ['a,"b".png', "c\nd.png"]})
    write_csv(tmp_path / "x.csv", frame)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "x.csv"), frame)
    assert b"\r" not in (tmp_path / "x.csv").read_bytes()


def test_write_csv_quotes_a_carriage_return(tmp_path: Path) -> None:
    frame = pd.DataFrame({"file": ["a\rb.png", "c.png"]})
    write_csv(tmp_path / "x.csv", frame)
    assert (tmp_path / "x.csv").read_bytes() == b'file\n"a\rb.png"\nc.png\n'
