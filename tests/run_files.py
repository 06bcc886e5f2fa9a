"""Compare the files that trainings of the same run leave."""

from __future__ import annotations

from xray_hpc.records.atomic_files import is_temporary_file
from xray_hpc.records.paths import RunPaths


def file_contents(paths: RunPaths) -> dict[str, bytes]:
    """Return the bytes of the files of a run that do not depend on when and where it was trained.

    Checkpoints, event files and temporary files of ``run.json`` are left out, too.
    """
    varying = (paths.record, paths.progress, paths.log)
    return {
        path.relative_to(paths.folder).as_posix(): path.read_bytes()
        for path in paths.folder.rglob("*")
        if path.is_file()
        and path not in varying
        and path.parent not in (paths.checkpoint_folder, paths.event_folder, paths.lease)
        and not (is_temporary_file(path) and path.name.endswith(paths.record.name))
    }


def differing_files(paths: RunPaths, others: RunPaths) -> list[str]:
    """Return the names of the files that only one run has, or that are not equal."""
    mine, theirs = file_contents(paths), file_contents(others)
    return sorted(name for name in mine | theirs if mine.get(name) != theirs.get(name))
