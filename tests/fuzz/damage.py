"""Damage a file or a folder, as a crash, a disk, an editor or another user may."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz import value_edits
from tests.fuzz.value_edits import ESCAPES, Apply, cells, edit

DEEP = 100_000  # nested brackets


@dataclass(frozen=True)
class Damage:
    """A kind of damage.

    Attributes:
        name: Its name in the table of results.
        apply: Damages a path, with random choices.
        suffixes: The files that it fits, by their ends; ``/`` is a folder.
        owner: Whether the damage is one of access, which only shows to another user than root.
        hidden: Whether size and times of the file stay, so that only its content can tell.
    """

    name: str
    apply: Apply
    suffixes: tuple[str, ...] = ("",)
    owner: bool = False
    hidden: bool = False

    def fits(self, path: Path) -> bool:
        """Return whether the damage can be done to this file or folder."""
        name = "/" if path.is_dir() else path.name
        return (name == "/") == ("/" in self.suffixes) and name.endswith(self.suffixes)


def _bytes(change: Callable[[bytes, Random], bytes]) -> Apply:
    return lambda path, random: _rewrite(path, change(path.read_bytes(), random))


def _rewrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _flip(content: bytes, random: Random) -> bytes:
    if not content:
        return b"\x01"
    changed = bytearray(content)
    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _flip_silently(path: Path, random: Random) -> None:
    times = path.stat()
    _rewrite(path, _flip(path.read_bytes(), random))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(max(len(content), 1))]


def _cut_at_line(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(lines[: random.randrange(max(len(lines), 1))])


def _zeros(content: bytes, random: Random) -> bytes:
    """Replace the end by zeros, as a crash of the file system leaves it."""
    start = random.randrange(max(len(content), 1))
    return content[:start] + bytes(len(content) - start)


def _insert(text: bytes) -> Apply:
    def change(content: bytes, random: Random) -> bytes:
        at = random.randrange(len(content) + 1)
        return content[:at] + text + content[at:]

    return _bytes(change)


def _instead(make: Callable[[Path], object]) -> Apply:
    def apply(path: Path, random: Random) -> None:
        _remove(path)
        make(path)

    return apply


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


NAMES = (
    f"x{ESCAPES}",
    "a\nb",
    "=1+1",
    "-x",
    "x" * 255,
    " ",
    "cnn-",
    "9" * 40,
    os.fsdecode(b"\xff"),
)


def _hostile_names(path: Path, random: Random) -> None:
    """Add folders and files of hostile names."""
    for name in NAMES:
        (path / name).mkdir()
        (path / name / "run.json").write_text("{}")
        (path / f"{name[:200]}.csv").write_text("x")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(40 << 30)


def _other_owner(mode: int) -> Apply:
    def apply(path: Path, random: Random) -> None:
        os.chown(path, 0, 0)
        path.chmod(mode)

    return apply


JSON, YAML, RECORDS = (".json", ".jsonl"), (".yaml",), (".json", ".jsonl", ".yaml")
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
DAMAGES = (
    Damage("empty", _bytes(lambda content, random: b"")),
    Damage("cut", _bytes(_cut)),
    Damage("cut at a line", _bytes(_cut_at_line)),
    Damage("end of zeros", _bytes(_zeros)),
    Damage("bit flipped", _bytes(_flip)),
    Damage("bit flipped, same times", _flip_silently, hidden=True),
    Damage("garbage", _bytes(lambda content, random: random.randbytes(len(content) + 1))),
    Damage("invalid UTF-8", _insert(b"\xff\xfe\xc3\x28")),
    Damage("escapes", _insert(ESCAPES.encode())),
    Damage("a line of 2 MB", _insert(b"x" * 2_000_000)),
    Damage("missing", _instead(lambda path: None)),
    Damage("a folder", _instead(lambda path: path.mkdir())),
    Damage("a link to itself", _instead(lambda path: path.symlink_to(path.name))),
    Damage("a link to nothing", _instead(lambda path: path.symlink_to("nothing"))),
    Damage("a link to a device", _instead(lambda path: path.symlink_to("/dev/zero"))),
    Damage("a FIFO", _instead(lambda path: os.mkfifo(path))),
    Damage("40 GB, sparse", _instead(_sparse)),
    Damage("another user's", _other_owner(0o600), owner=True),
    Damage("unreadable", lambda path, random: path.chmod(0), owner=True),
    Damage("a value of a wrong type", edit(value_edits.wrong_type), RECORDS),
    Damage("a value changed", edit(value_edits.new_value), RECORDS),
    Damage("a key missing", edit(value_edits.without_key), RECORDS),
    Damage("escapes in a value", edit(value_edits.escapes), RECORDS),
    Damage(
        "a root of a wrong type",
        _bytes(
            lambda content, random: random.choice(
                (b"[]", b"1", b'"x"', b"null", b"{}", b"[[]]", b"true", b"NaN", b"[{}]")
            )
        ),
        RECORDS,
    ),
    Damage("nested deeply", _bytes(lambda content, random: b"[" * DEEP + b"]" * DEEP), RECORDS),
    Damage(
        "a number of 10,000 digits",
        _bytes(lambda content, random: b'{"epochs": ' + b"9" * 10_000 + b"}"),
        RECORDS,
    ),
    Damage("aliases that multiply", _bytes(lambda content, random: BOMB.encode()), YAML),
    Damage(
        "a tag of Python",
        _bytes(lambda content, random: content + b"x: !!python/object/apply:os.getcwd []\n"),
        YAML,
    ),
    Damage("a cell changed", cells(value_edits.edit_cell), (".csv",)),
    Damage("a cell of a wrong type", cells(value_edits.wrong_cell), (".csv",)),
    Damage("a row missing", cells(value_edits.drop_row), (".csv",)),
    Damage("a row twice", cells(value_edits.double_row), (".csv",)),
    Damage("rows shuffled", cells(value_edits.swap_rows), (".csv",)),
    Damage("a column missing", cells(value_edits.drop_column), (".csv",)),
    Damage("missing", _instead(lambda path: None), ("/",)),
    Damage("a file", _instead(lambda path: path.write_text("x")), ("/",)),
    Damage("a link to itself", _instead(lambda path: path.symlink_to(path.name)), ("/",)),
    Damage("a FIFO", _instead(lambda path: os.mkfifo(path)), ("/",)),
    Damage("another user's", _other_owner(0o700), ("/",), owner=True),
    Damage("unreadable", lambda path, random: path.chmod(0), ("/",), owner=True),
    Damage("hostile names inside", _hostile_names, ("/",)),
    Damage("not to be entered", lambda path, random: path.chmod(0o444), ("/",), owner=True),
)
