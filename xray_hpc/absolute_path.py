"""Absolute paths that other hosts of a cluster can use.

Links are not followed: an automounter or an administrator may have them point to other places on
each host, as ``/home/u`` to ``/export1/u`` on the file server alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from xray_hpc.errors import ConfigError


def absolute_path(path: Path | str) -> Path:
    """Return ``path`` absolute, with ``~`` expanded and links as they are.

    Only ``..`` behind a link needs the link followed: it is the parent of the link's target.

    Raises:
        ConfigError: the path begins with the home folder of an unknown user.
    """
    try:
        given = Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0].removeprefix("~")
        raise ConfigError(
            f"{path}: user {user!r} has no home folder; give the whole path"
        ) from error
    absolute = Path(os.path.normpath(given if given.is_absolute() else working_folder() / given))
    ups = [i for i, part in enumerate(given.parts, 1) if part == ".."]
    if ups:
        above = Path(*given.parts[: ups[-1]])
        rest = given.parts[ups[-1] :]
        if not _same_folder(Path(*absolute.parts[: len(absolute.parts) - len(rest)]), above):
            return given.resolve()
    return absolute


def working_folder() -> Path:
    """Return the current folder as the shell names it (``pwd -L``)."""
    named = os.environ.get("PWD", "")
    is_plain = os.path.isabs(named) and os.path.normpath(named) == named
    return Path(named) if is_plain and _same_folder(Path(named), Path()) else Path.cwd()


def shell_path(path: Path | str) -> Path:
    """Return a path that Python made from the real current folder as the shell names it."""
    try:
        return working_folder() / Path(path).relative_to(Path.cwd())
    except (OSError, ValueError):  # the current folder is gone, or does not contain the path
        return Path(path)


def _same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
