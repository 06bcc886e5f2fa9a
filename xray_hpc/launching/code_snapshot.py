"""Copy the code for a sweep's jobs, so that later edits do not change what they execute."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from xray_hpc.errors import ConfigError, StorageError
from xray_hpc.file_owner import is_own, uid_name
from xray_hpc.package_folders import resource
from xray_hpc.records.code_state import CODE_FOLDERS, ROOT, git, is_checkout, untracked_files
from xray_hpc.shared_folder import GUARDED, make_subfolder
from xray_hpc.system_errors import advice


def take_snapshot(folder: Path) -> Path:
    """Copy the code into a subfolder of ``folder`` named by its digest, and return that.

    In a git checkout the tracked files are copied as they are in the work tree; otherwise the
    files of the installed package. A job executes the copy with :func:`snapshot_environment`.

    Raises:
        StorageError: the copy cannot be written.
    """
    contents = {name: (path.read_bytes(), _mode(path)) for name, path in sorted(_files())}
    digest = hashlib.sha256()
    for name, (content, mode) in contents.items():
        digest.update(f"{name}\0{mode}\0{len(content)}\0".encode())
        digest.update(content)
    target = folder / digest.hexdigest()[:12]
    if target.exists() and not is_own(target.lstat()):
        # Its owner could change it before this user's jobs execute it.
        target = folder / f"{target.name}-{uid_name(os.geteuid())}"
    if target.is_dir():
        return _own(target)
    try:
        make_subfolder(folder)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as temporary:
            for name, (content, mode) in contents.items():
                _write(Path(temporary, "code", name), content, mode)
            for path in (Path(temporary, "code"), *Path(temporary, "code").rglob("*")):
                path.chmod(path.stat().st_mode & ~GUARDED)
            Path(temporary, "code").rename(target)
    except OSError as error:
        if not target.is_dir():  # another launch may have created the same snapshot meanwhile
            problem = f"cannot copy the code to {target} ({error.strerror})"
            raise StorageError(f"{problem}; {advice(error)}, and launch again") from error
    return _own(target)


def _own(snapshot: Path) -> Path:
    """Return a snapshot that nobody else can change; raise ``StorageError`` for another one."""
    status = snapshot.lstat()
    if not is_own(status):
        problem = f"{snapshot} can be changed by others ({uid_name(status.st_uid)} owns it)"
        raise StorageError(f"{problem}; remove it, and launch again")
    return snapshot


def snapshot_environment(snapshot: Path) -> dict[str, str]:
    """Return the environment variables that make a process import the code of a snapshot."""
    folders = [str(snapshot), os.environ.get("PYTHONPATH", "")]
    # Without PYTHONSAFEPATH, `python -m` (as trainings start) searches the working folder first.
    return {"PYTHONPATH": os.pathsep.join(filter(None, folders)), "PYTHONSAFEPATH": "1"}


def check_snapshot() -> list[str]:
    """Return a note on files that a snapshot leaves out.

    Raises:
        ConfigError: the jobs would import the code in the working folder, not the snapshot.
    """
    if sys.version_info < (3, 11) and Path("xray_hpc").is_dir():
        problem = "cluster.snapshot needs Python 3.11 or later in a folder that contains xray_hpc"
        raise ConfigError(f"{problem}; launch from another folder")
    if not (is_checkout() and (names := untracked_files())):
        return []
    return [f"cluster.snapshot leaves out {', '.join(names)}, not tracked by git; use git add"]


def _files() -> Iterator[tuple[str, Path]]:
    """Yield each code file's name in the snapshot and its path."""
    if is_checkout():
        for name in git("ls-files", "-z", "--", *CODE_FOLDERS).decode().split("\0"):
            if name and (ROOT / name).is_file():  # a tracked file may be deleted
                yield name, ROOT / name
        return
    packages = ("xray_hpc", "hydra_plugins")
    inside = {name: resource(name) for name in CODE_FOLDERS if name not in packages}
    package = Path(__file__).resolve().parents[1]
    for path in _below(package):
        if not any(folder in path.parents for folder in inside.values()):
            yield f"xray_hpc/{path.relative_to(package)}", path
    for name, folder in inside.items():
        yield from ((f"{name}/{path.relative_to(folder)}", path) for path in _below(folder))
    # hydra_plugins is a namespace that other projects share.
    for path in (package.parent / "hydra_plugins").glob("xray_hpc_*.py"):
        yield f"hydra_plugins/{path.name}", path


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def _mode(path: Path) -> int:
    return 0o777 if os.access(path, os.X_OK) else 0o666


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)
