"""Create files and folders that the members of a group can use together.

Under the usual umask only its owner can write a file. What is created in a folder that a group
shares (see ``file_owner``) belongs to that group, which may read and write it as it may the folder.
Elsewhere the umask decides.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from xray_hpc.file_owner import is_shared

# Permissions that a file does not give, whatever its folder gives.
GUARDED = 0o022  # only its owner writes it, because it decides what a process executes
PRIVATE = 0o077  # only its owner reads it


def share(descriptor: int, folder: Path, deny: int = 0) -> None:
    """Let the group that shares ``folder`` use a file or folder in it, if it is this user's.

    Args:
        descriptor: the file or folder, open. Its name may be a member's link to another file.
        folder: the folder that holds it.
        deny: permissions that the group does not get.
    """
    if not is_shared(folder):
        return
    status, group = os.fstat(descriptor), os.stat(folder).st_gid
    access = (0o2070 if stat.S_ISDIR(status.st_mode) else 0o060) & ~deny
    if status.st_uid != os.geteuid() or (
        status.st_gid == group and status.st_mode & access == access
    ):
        return
    with contextlib.suppress(OSError):  # some file systems have no such permissions
        if status.st_gid != group:  # the folder is not setgid
            os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) | access)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents unless they exist; share each as its parent is shared.

    Raises:
        OSError: a folder cannot be created, or a file has its name.
    """
    if folder.is_dir():
        return
    try:
        make_subfolder(folder)
    except FileNotFoundError:
        make_folder(folder.parent)
        make_subfolder(folder)


def make_subfolder(folder: Path) -> None:
    """Create a folder in an existing one unless it exists, and share it.

    Use it for what a run or a sweep holds: when that was renamed, it is not made anew.

    Raises:
        OSError: the folder cannot be created, or a file has its name.
    """
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        share_folder(folder)


def share_folder(folder: Path) -> None:
    """Let the group that shares the parent of a folder use it, if it is this user's.

    Raises:
        OSError: it does not exist any more, or is a link.
    """
    if not is_shared(folder.parent):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        share(descriptor, folder.parent)
    finally:
        os.close(descriptor)


def create_file(path: Path) -> None:
    """Create an empty file in an existing folder unless it exists, and share it."""
    with contextlib.suppress(FileExistsError):
        open_new(path).close()


def open_new(path: Path, deny: int = 0) -> BinaryIO:
    """Create a file in an existing folder, share it, and open it for writing.

    Nobody but the owner gets the permissions ``deny``.

    Raises:
        FileExistsError: the file exists.
        OSError: it cannot be created.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags, 0o666 & ~deny), "wb")
    share(file.fileno(), path.parent, deny)
    return file
