"""Download published weights into Keras's folder.

``keras.utils.get_file`` is not used: it needs TensorFlow, which login nodes should not load, writes
to the final path (a killed download leaves a partial file there), has no timeout, and falls back to
/tmp without a message where the folder is read-only.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import urllib.request
from pathlib import Path

from xray_hpc.config.run_config import ModelSettings
from xray_hpc.errors import DataError
from xray_hpc.models.check_model_config import check_backbones
from xray_hpc.models.registry import BACKBONES
from xray_hpc.models.weights_files import HDF5_SIGNATURE, file_digest, imagenet_file
from xray_hpc.records.atomic_files import atomic_write, remove_temporary_files
from xray_hpc.records.file_lock import file_lock

BASE = "https://storage.googleapis.com/tensorflow/keras-applications"
FOLDERS = ("densenet", "mobilenet_v2", "resnet")
BLOCK = 1 << 20
TIMEOUT = 60  # seconds without data

logger = logging.getLogger(__name__)


def weights_url(backbone: str) -> str:
    """Return the address of the backbone's ImageNet weights, without classification layers."""
    folder = next(folder for folder in FOLDERS if backbone.startswith(folder))
    return f"{BASE}/{folder}/{imagenet_file(backbone).name}"


def download_weights(config: ModelSettings) -> None:
    """Download the ImageNet weights of the model's backbones that are not in Keras's folder yet.

    A file appears whole or not at all. One that is there already stays; a warning says if it is not
    the published one.

    Raises:
        UserError: a backbone is unknown, the address cannot be reached, or the file differs from
            the published one.
    """
    check_backbones(config)
    for name, weights in config.backbone_weights.items():
        path, md5 = imagenet_file(name), BACKBONES[name].md5
        if weights != "imagenet" or BACKBONES[name].weights != "imagenet":
            continue
        if not path.is_file():
            _download(weights_url(name), path, md5)
        elif md5 is not None and file_digest(path, "md5") != md5:
            logger.warning(
                "%s has other weights than the published ones (md5 %s); remove it to download them",
                *(path, md5),
            )


def _download(url: str, path: Path, md5: str | None) -> None:
    lock = path.with_name(f".{path.name}.lock")
    try:
        with file_lock(lock, message=f"waiting for another process to download {url}"):
            if not path.is_file():
                remove_temporary_files(path.parent, path.name)
                _receive(url, path, md5)
    except (http.client.HTTPException, OSError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        raise DataError(
            f"cannot download {url} ({reason}); download it elsewhere and put it into {path.parent}"
        ) from error


def _receive(url: str, path: Path, md5: str | None) -> None:
    print(f"downloading {url}", flush=True)
    digest = hashlib.md5(usedforsecurity=False)
    received, first = 0, b""
    with (
        atomic_write(path) as temporary,
        urllib.request.urlopen(url, timeout=TIMEOUT) as source,
        temporary.open("wb") as target,
    ):
        while block := source.read(BLOCK):
            target.write(block)
            digest.update(block)
            received, first = received + len(block), first or block[: len(HDF5_SIGNATURE)]
        # http.client does not report a body that is cut short.
        expected = int(source.headers.get("Content-Length", received))
        if received < expected:
            raise ConnectionError(f"received {received:,} of {expected:,} bytes")
        if md5 is not None and digest.hexdigest() != md5:
            actual = digest.hexdigest()
            raise DataError(f"{url} is not the published file (md5 {actual}, not {md5})")
        if first != HDF5_SIGNATURE:
            raise DataError(f"{url} is not an HDF5 file")
