"""Who may have written a file, and so whether what it holds can be trusted.

This user and root are trusted with everything. The members of a group are trusted with what lies in
a folder that they share: one that this group may write and other users may not, where this user is
a member. So a group that works in one folder needs no flag. Nobody else is: the owner of a file can
change it at any time, with any content and the right checksums.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

FIRST_PROJECT_GROUP = 1000  # below are the groups of the system, such as users: often everybody


def is_trusted(path: Path | str, status: os.stat_result | None = None) -> bool:
    """Return whether a file is of this user, root or a group that shares its folder.

    A file that everybody may write is not, whoever owns it.

    Args:
        path: the file; links are followed.
        status: what ``os.fstat`` returned for the file, if it is open. Another file may have its
            name by now.

    Raises:
        OSError: the file or its folder does not exist or cannot be reached.
    """
    status = status or os.stat(path)
    if status.st_mode & stat.S_IWOTH:
        return False
    own = status.st_uid in (0, os.geteuid())
    return own or is_shared(Path(os.path.realpath(path)).parent)


def is_trusted_folder(folder: Path) -> bool:
    """Return whether this user trusts what others may put into a folder.

    Raises:
        OSError: the folder does not exist or cannot be reached.
    """
    status = os.stat(folder)
    own = status.st_uid in (0, os.geteuid())
    return not status.st_mode & stat.S_IWOTH and (own or is_shared(folder))


def is_own(status: os.stat_result) -> bool:
    """Return whether only this user or root may have written an open file.

    The rule for what is executed as this user: a group is trusted with data only.
    """
    others = stat.S_IWGRP | stat.S_IWOTH
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & others


def is_shared(folder: Path) -> bool:
    """Return whether a group of this user, and nobody else, may write to the folder of its owner.

    Raises:
        OSError: the folder does not exist or cannot be reached.
    """
    status = os.stat(folder)
    writers = stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
    mine = status.st_gid in (os.getegid(), *os.getgroups())
    return writers == stat.S_IWGRP and mine and status.st_gid >= FIRST_PROJECT_GROUP


def owner_name(path: Path | str) -> str:
    """Return the name of the owner of a file, or the number of one without a name.

    Raises:
        OSError: the file does not exist or cannot be reached.
    """
    return uid_name(os.stat(path).st_uid)


def denying_owner(path: str | os.PathLike[str]) -> str | None:
    """Return the name of who can give this user access to a path; ``None`` if none is needed.

    The owner of the file, or of the nearest folder above it, that this user may not use.
    """
    for one in (Path(path), *Path(path).parents):
        try:
            status = os.stat(one)
        except OSError:  # a folder above it denies this
            continue
        folder = os.X_OK if stat.S_ISDIR(status.st_mode) else 0
        if not os.access(one, os.R_OK | os.W_OK | folder):
            return uid_name(status.st_uid)
    return None


def uid_name(number: int) -> str:
    """Return the name of a user, or the number of one without a name, as in a container."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
