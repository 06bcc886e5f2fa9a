"""Read ``model.keras`` and weights files, which somebody else may have made.

Keras writes an archive of a few members that are not compressed. Any other archive is rejected
before a member is read, so that nothing becomes larger than the file is.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import IO

import h5py

from xray_hpc.count_text import format_bytes
from xray_hpc.errors import DataError, StorageError
from xray_hpc.models.weights_files import MAX_WEIGHTS
from xray_hpc.regular_file import open_regular

CARD = "xray_hpc.json"
WEIGHTS = "model.weights.h5"
MAX_BYTES = {CARD: 2**20, "config.json": 2**24, "metadata.json": 2**16, WEIGHTS: MAX_WEIGHTS}
"""The members and their largest sizes in bytes."""

_ENCRYPTED = 1  # in ZipInfo.flag_bits
# What zipfile raises for damaged archives, besides OSError.
_DAMAGE = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    struct.error,
)


def read_member(keras_file: Path, name: str) -> bytes | None:
    """Return a member of a saved model, or ``None`` if it has none of that name.

    Its members must be named and sized as those that Keras and ``model_card`` write.

    Raises:
        DataError: it is not a saved model, or is damaged.
        StorageError: it cannot be read.
    """
    try:
        with open_regular(keras_file) as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise DataError(f"{keras_file} has two members of one name")
            for member in archive.infolist():
                _check_member(keras_file, member)
            return archive.read(name) if name in names else None
    except _DAMAGE as error:
        raise DataError(f"{keras_file} is damaged, or is not a saved Keras model") from error
    except OSError as error:
        raise StorageError(f"cannot read {keras_file}: {error.strerror}") from error


def _check_member(keras_file: Path, member: zipfile.ZipInfo) -> None:
    most = MAX_BYTES.get(member.filename)
    if most is None:
        raise DataError(f"{keras_file} has the member {member.filename!r}, which no run writes")
    where = f"{member.filename} in {keras_file}"
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
        raise DataError(f"{where} is compressed or encrypted; use the model.keras of a run")
    if member.file_size > most:
        raise DataError(
            f"{where} is larger than {format_bytes(most)}; use the model.keras of a run"
        )


def check_weights(file: IO[bytes]) -> None:
    """Check that all arrays of an HDF5 file are inside it, and no larger than it is.

    Raises:
        ValueError: an array is in another file, or is larger; the message names it.
        OSError: the file is damaged.
    """
    size, total = file.seek(0, 2), 0
    links: list[tuple[str, object]] = []
    with h5py.File(file) as weights:
        weights.visititems_links(lambda name, link: links.append((name, link)))
        for name, link in links:
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{name} is a link to another place")
            item = weights[name]
            if isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise ValueError(f"{name} is in another file")
                total += item.nbytes
            if total > size:
                raise ValueError(f"{name} is compressed, or larger than the file")
