"""Which code a sweep was launched from, and with what installed."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import platform
import re
import socket
import subprocess
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from xray_hpc.records.atomic_files import atomic_write, read_json, write_json
from xray_hpc.records.run_record import user_name

ROOT = Path(__file__).resolve().parents[2]
# What jobs run; the rest of the checkout is tests and documents.
CODE_FOLDERS = ("xray_hpc", "hydra_plugins", "jobs", "conf", "slurm_templates")
DIFF_LIMIT = 1_000_000
CUT_OFF = b"\n... cut off here: the whole diff has %d bytes\n"


@dataclass(frozen=True)
class CodeState:
    """The code of a launch.

    ``commit`` is ``None`` outside of a checkout. ``changes`` is a digest of how the tracked files
    differ from it, ``None`` where they do not, and ``diff`` that itself, as ``git apply`` takes
    it, or its first ``DIFF_LIMIT`` bytes and a line that says so. ``untracked`` are files of the
    code that git does not know. ``packages`` are the versions of all that is installed.
    """

    commit: str | None
    changes: str | None
    untracked: list[str]
    packages: dict[str, str]
    python: str
    host: str
    user: str
    diff: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """``<commit>[-<changes>]``."""
        commit = "installed" if self.commit is None else self.commit[:12]
        return f"{commit}-{self.changes}" if self.changes else commit


def git_state() -> dict[str, Any] | None:
    """The commit of this checkout and whether files differ from it; ``None`` if it is none."""
    try:
        if not is_checkout():
            return None
        commit = git("rev-parse", "HEAD").decode().strip()
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": dirty}


def is_checkout() -> bool:
    """Whether this package runs from a checkout of its own.

    It may be installed somewhere inside another project's.
    """
    try:
        return Path(git("rev-parse", "--show-toplevel").decode().strip()) == ROOT
    except (OSError, subprocess.SubprocessError):
        return False


def git(*arguments: str) -> bytes:
    """What git prints in the folder that this package runs from.

    Raises:
        OSError, SubprocessError: there is no git, it fails, or takes more than 20 s.
    """
    # Many jobs ask at once, and none is to lock the index of somebody at work.
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=20).stdout


def current_code_state() -> CodeState:
    """Look at the checkout and at what is installed."""
    state = git_state() or {"commit": None, "dirty": False}
    diff = _diff() if state["dirty"] else b""
    return CodeState(
        commit=state["commit"],
        changes=hashlib.sha256(diff).hexdigest()[:8] if diff else None,
        untracked=untracked_files() if state["commit"] else [],
        packages=installed_packages(),
        python=platform.python_version(),
        host=socket.gethostname(),
        user=user_name(),
        diff=diff if len(diff) <= DIFF_LIMIT else diff[:DIFF_LIMIT] + CUT_OFF % len(diff),
    )


def write_code_state(folder: Path, state: CodeState) -> str:
    """Write the state into ``folder``; give the name of its files, without their ends.

    ``<name>.json`` and, where the code was changed, ``<name>.diff``. The same state is written
    once; where another of the same code is there (other packages, another host), the name gets a
    number.
    """
    content = dataclasses.asdict(state)
    del content["diff"]
    for number in itertools.count(1):
        name = state.name if number == 1 else f"{state.name}_{number}"
        try:
            if read_json(folder / f"{name}.json") == content:
                return name
        except FileNotFoundError:
            break
    if state.diff:
        with atomic_write(folder / f"{name}.diff") as temporary:
            temporary.write_bytes(state.diff)
    write_json(folder / f"{name}.json", content)
    return name


def untracked_files() -> list[str]:
    """Files of the code, in a checkout, that git does not know and does not ignore."""
    names = git("ls-files", "-z", "--others", "--exclude-standard", "--", *CODE_FOLDERS)
    return [name for name in names.decode(errors="replace").split("\0") if name]


def installed_packages() -> dict[str, str]:
    """The version of each distribution that is installed, by name."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # Reading the two lines takes a tenth of the time of having all the metadata parsed.
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        said = dict(re.findall(r"^(Name|Version): *(\S+)", text, re.MULTILINE))
        if len(said) == 2:
            found.setdefault(said["Name"], said["Version"])  # the first on the path is imported
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _diff() -> bytes:
    """What the tracked files differ from the commit, whatever the user's settings of git."""
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
    return git("diff", "HEAD", "--binary", *plain)
