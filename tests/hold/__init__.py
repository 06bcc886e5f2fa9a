"""Hold another process at a known point, so that a test does not race against it.

Python imports ``sitecustomize`` from ``PYTHONPATH`` when it starts. The one in ``site/`` adds an
audit hook, which waits when the process opens or renames a certain file for the n-th time.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

SITE = Path(__file__).parent / "site"
VARIABLE = "XRAY_HPC_TEST_HOLD"


@dataclass(frozen=True)
class Hold:
    """A point at which processes wait until it is released, or a signal asks them to exit.

    Attributes:
        file: exists while processes are to be held; give each hold a file of its own.
        program: a part of the command line of the processes.
        suffix: how the path of the opened or renamed file ends.
        event: the name of the audit event.
        count: the occurrence at which each process waits, from 1.
    """

    file: Path
    program: str
    suffix: str
    event: Literal["open", "os.rename"] = "os.rename"
    count: int = 1

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that is to be held, for a process of this machine."""
        return {"PYTHONPATH": str(SITE), VARIABLE: str(self.file)}

    @property
    def shell_lines(self) -> list[str]:
        """The same for a job script."""
        return [f"export PYTHONPATH=$PYTHONPATH:{SITE}", f"export {VARIABLE}={self.file}"]

    def begin(self) -> None:
        """Hold processes that start from now on."""
        point = asdict(self) | {"file": str(self.file)}
        self.file.write_text(json.dumps(point))

    def release(self) -> None:
        """Let all processes continue."""
        self.file.unlink()

    def block_starts(self) -> None:
        """Hold processes that start from now on before they do anything."""
        self._starts.touch()

    def allow_starts(self) -> None:
        """Let blocked processes start."""
        self._starts.unlink()

    def held(self) -> int:
        """Return how many processes have been held so far."""
        file = self.file.with_name(f"{self.file.name}.held")
        return len(file.read_text().splitlines()) if file.exists() else 0

    def wait_for(self, process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
        """Wait until ``process`` is held; it is the first one."""
        while not self.held():
            assert process.poll() is None, f"it ended before it opened or renamed {self.suffix}"
            time.sleep(0.01)

    @property
    def _starts(self) -> Path:
        return self.file.with_name(f"{self.file.name}.starts")
