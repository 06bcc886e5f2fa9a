"""Record the code and the installed packages that a sweep was launched with."""

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

from xray_hpc.errors import RecordError
from xray_hpc.records.atomic_files import atomic_write, read_json, write_json
from xray_hpc.records.run_record import GitState, user_name
from xray_hpc.shared_folder import make_subfolder

ROOT = Path(__file__).resolve().parents[2]
# The code that jobs run; the rest of the checkout is tests and documentation.
CODE_FOLDERS = ("xray_hpc", "hydra_plugins", "jobs", "conf", "slurm_templates")
DIFF_LIMIT = 1_000_000
TRUNCATED = b"\n... truncated: the whole diff has %d bytes\n"


@dataclass(frozen=True)
class CodeState:
    """The code of a launch."""

    commit: str | None  # None for an installed package
    changes: str | None  # digest of diff; None without changes
    untracked: list[str]  # files in CODE_FOLDERS
    packages: dict[str, str]  # version by name
    python: str
    host: str
    user: str
    # Changes of tracked files since the commit, for git apply; cut at DIFF_LIMIT
    diff: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """``<commit>[-<changes>]``."""
        commit = "installed" if self.commit is None else self.commit[:12]
        return f"{commit}-{self.changes}" if self.changes else commit


def git_state() -> GitState | None:
    """Return the state of this checkout; ``None`` outside of a checkout."""
    try:
        if not is_checkout():
            return None
        commit = git("rev-parse", "HEAD").decode().strip()
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
    return GitState(commit, dirty)


def is_checkout() -> bool:
    """Return whether this package runs from its own checkout, and not inside another project's."""
    try:
        return Path(git("rev-parse", "--show-toplevel").decode().strip()) == ROOT
    except (OSError, subprocess.SubprocessError):
        return False


def git(*arguments: str) -> bytes:
    """Return the output of a git command in this checkout; raise if it fails or takes over 20 s."""
    # Many jobs run git at once; none may lock the index of a user who is working in the checkout.
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=20).stdout


def current_code_state() -> CodeState:
    """Return the state of the checkout and of the installed packages."""
    state = git_state()
    diff = _diff() if state and state.dirty else b""
    return CodeState(
        commit=state.commit if state else None,
        changes=hashlib.sha256(diff).hexdigest()[:8] if diff else None,
        untracked=untracked_files() if state else [],
        packages=installed_packages(),
        python=platform.python_version(),
        host=socket.gethostname(),
        user=user_name(),
        diff=diff if len(diff) <= DIFF_LIMIT else diff[:DIFF_LIMIT] + TRUNCATED % len(diff),
    )


def write_code_state(folder: Path, state: CodeState) -> str:
    """Write ``<name>.json``, and ``<name>.diff`` if the code was changed, and return the name.

    An equal state is not written again. A different state of the same code (other packages or
    another host) gets a number appended to its name.
    """
    content = dataclasses.asdict(state)
    del content["diff"]
    make_subfolder(folder)
    for number in itertools.count(1):
        name = state.name if number == 1 else f"{state.name}_{number}"
        try:
            if read_json(folder / f"{name}.json") == content:
                return name
        except FileNotFoundError:
            break
        except (RecordError, IsADirectoryError):
            continue  # damaged
    if state.diff:
        with atomic_write(folder / f"{name}.diff") as temporary:
            temporary.write_bytes(state.diff)
    write_json(folder / f"{name}.json", content)
    return name


def untracked_files() -> list[str]:
    """Return the files in ``CODE_FOLDERS`` that git neither tracks nor ignores."""
    names = git("ls-files", "-z", "--others", "--exclude-standard", "--", *CODE_FOLDERS)
    return [name for name in names.decode(errors="replace").split("\0") if name]


def installed_packages() -> dict[str, str]:
    """Return the version of each installed distribution, by name."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # Reading the two lines takes a tenth of the time of parsing all metadata.
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        headers = dict(re.findall(r"^(Name|Version): *(\S+)", text, re.MULTILINE))
        if len(headers) == 2:
            found.setdefault(headers["Name"], headers["Version"])  # Python imports the first one
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _diff() -> bytes:
    """Return the changes of tracked files, whatever the user's git configuration."""
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
    return git("diff", "HEAD", "--binary", *plain)
