"""A copy of the code that a sweep's jobs run, so that later edits do not change them."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from xray_hpc.errors import ConfigError, StorageError
from xray_hpc.records.code_state import CODE_FOLDERS, ROOT, git, is_checkout, untracked_files
from xray_hpc.resources import resource


def take(folder: Path) -> Path:
    """Copy the code into a folder below ``folder``, named for its contents; give that.

    The tracked files are copied as they stand in the checkout, or the package's files where it
    was installed. A job runs from the copy with its :func:`environment`.

    Raises:
        UserError: it cannot be written.
    """
    contents = {name: (path.read_bytes(), _mode(path)) for name, path in sorted(_files())}
    digest = hashlib.sha256()
    for name, (content, mode) in contents.items():
        digest.update(f"{name}\0{mode}\0{len(content)}\0".encode())
        digest.update(content)
    target = folder / digest.hexdigest()[:12]
    if target.is_dir():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as temporary:
            for name, (content, mode) in contents.items():
                _write(Path(temporary, "code", name), content, mode)
            _move(Path(temporary, "code"), target)
    except OSError as error:
        raise StorageError(f"cannot copy the code to {target} ({error.strerror})") from error
    return target


def environment(copy: Path) -> dict[str, str]:
    """What a process needs in its environment to import all from a copy, and so its children."""
    places = [str(copy), os.environ.get("PYTHONPATH", "")]
    # Otherwise `python -m`, with which a training is started, looks into its folder first.
    return {"PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONSAFEPATH": "1"}


def check() -> list[str]:
    """Note what a copy would lack that this process may have.

    Raises:
        UserError: jobs would import the code in the folder of the launch, not the copy.
    """
    if sys.version_info < (3, 11) and Path("xray_hpc").is_dir():
        raise ConfigError(
            "cluster.snapshot needs Python 3.11 for a launch in a folder that holds xray_hpc; "
            "launch from another folder"
        )
    if not (is_checkout() and (names := untracked_files())):
        return []
    return [f"cluster.snapshot leaves out {', '.join(names)}, which git does not know: git add it"]


def _files() -> Iterator[tuple[str, Path]]:
    """The files of the code, by their names in the copy."""
    if is_checkout():
        for name in git("ls-files", "-z", "--", *CODE_FOLDERS).decode().split("\0"):
            if name and (ROOT / name).is_file():  # it may be deleted
                yield name, ROOT / name
        return
    inside = {
        name: resource(name) for name in CODE_FOLDERS if name not in ("xray_hpc", "hydra_plugins")
    }
    package = Path(__file__).resolve().parents[1]
    for path in _below(package):
        if not any(folder in path.parents for folder in inside.values()):
            yield f"xray_hpc/{path.relative_to(package)}", path
    for name, folder in inside.items():
        yield from ((f"{name}/{path.relative_to(folder)}", path) for path in _below(folder))
    # Other projects have theirs in the same folder.
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


def _move(source: Path, target: Path) -> None:
    """Move the folder in one step, unless another launch was faster with the same."""
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():
            raise
