"""Run Python code as another user, which only root can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

CHEST = 12_000
"""The group of a project."""

# The imports come before the change of user, who may not be able to read this Python's files.
PROGRAM = """
import os, sys
{imports}
os.umask(0o022)
os.setgroups({groups})
os.setgid({group})
os.setuid({number})
{code}
"""


@dataclass(frozen=True)
class User:
    """A user with a group of its own, who may be a member of others."""

    number: int
    groups: tuple[int, ...] = (CHEST,)

    def start(
        self, imports: str, code: str, *arguments: object, environment: Mapping[str, str] = {}
    ) -> subprocess.Popen[str]:
        """Start ``code`` with the umask 022; ``imports`` are executed as root before."""
        program = PROGRAM.format(
            imports=imports, code=code, groups=self.groups, group=self.number, number=self.number
        )
        return subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            cwd="/",
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, imports: str, code: str, *arguments: object, environment: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        """Run ``code`` to its end."""
        process = self.start(imports, code, *arguments, environment=environment)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def own(self, path: Path, group: int, mode: int) -> None:
        """Give a file or folder to this user."""
        os.chown(path, self.number, group)
        path.chmod(mode)


ADA, BEN = User(12_001), User(12_002)
MALLORY = User(12_003, groups=())
"""Not in the group of the others."""


@contextmanager
def shared_folder(mode: int = 0o2775, owner: int = ADA.number) -> Iterator[Path]:
    """Create a folder of the project's group that all users reach, unlike ``tmp_path``."""
    folder = Path(tempfile.mkdtemp())
    try:
        os.chown(folder, owner, CHEST)
        folder.chmod(mode)
        yield folder
    finally:
        shutil.rmtree(folder)
