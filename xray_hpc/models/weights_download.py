"""Fetching published weights to where Keras keeps them."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from pathlib import Path

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.errors import DataError
from xray_hpc.models.registry import BACKBONES, HDF5, backbones, check_backbones, imagenet_folder
from xray_hpc.records.atomic_files import atomic_write

BASE = "https://storage.googleapis.com/tensorflow/keras-applications"
FOLDERS = {"densenet": "densenet", "mobilenet_v2": "mobilenet_v2", "resnet": "resnet"}
BLOCK = 1 << 20
TIMEOUT = 60  # seconds without a byte


def weights_url(backbone: str) -> str:
    """Where Keras publishes the backbone's ImageNet weights without its top."""
    folder = next(folder for prefix, folder in FOLDERS.items() if backbone.startswith(prefix))
    return f"{BASE}/{folder}/{BACKBONES[backbone].file}"


def fetch_weights(config: ModelConfig) -> None:
    """Download the ImageNet weights that the model's backbones start from, unless they are there.

    Raises:
        UserError: there is no such backbone, no way to the address, or the file is not the
            published one; nothing is left of it.
    """
    check_backbones(config)
    for name, weights in backbones(config).items():
        path = imagenet_folder() / BACKBONES[name].file
        if weights == BACKBONES[name].weights == "imagenet" and not path.is_file():
            _download(weights_url(name), path, BACKBONES[name].md5)


def _download(url: str, path: Path, md5: str | None) -> None:
    print(f"fetching {url}", flush=True)
    digest = hashlib.md5(usedforsecurity=False)
    received, first = 0, b""
    try:
        with (
            atomic_write(path) as temporary,
            urllib.request.urlopen(url, timeout=TIMEOUT) as source,
            temporary.open("wb") as target,
        ):
            while block := source.read(BLOCK):
                target.write(block)
                digest.update(block)
                received, first = received + len(block), first or block[: len(HDF5)]
            # http.client ends a body that is cut short as if it were whole.
            expected = int(source.headers.get("Content-Length", received))
            if received < expected:
                raise ConnectionError(f"it ended after {received:,} of {expected:,} bytes")
            if md5 is not None and digest.hexdigest() != md5:
                raise DataError(
                    f"{url} is not the published file (md5 {digest.hexdigest()}, not {md5})"
                )
            if first != HDF5:
                raise DataError(f"{url} gave something else than a file of weights (HDF5)")
    except (http.client.HTTPException, OSError) as error:
        why = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        raise DataError(
            f"no weights from {url} ({why}); fetch the file elsewhere and put it into {path.parent}"
        ) from error
