"""Fetching published weights to where Keras keeps them."""

from __future__ import annotations

import hashlib
import shutil
import urllib.error
import urllib.request

from xray_hpc.errors import UserError, one_of
from xray_hpc.models.registry import BACKBONES, imagenet_folder
from xray_hpc.runs.files import replacing

BASE = "https://storage.googleapis.com/tensorflow/keras-applications"
FOLDERS = {"densenet": "densenet", "mobilenet_v2": "mobilenet_v2", "resnet": "resnet"}


def weights_url(backbone: str) -> str:
    """Where Keras publishes the backbone's ImageNet weights without its top."""
    folder = next(folder for prefix, folder in FOLDERS.items() if backbone.startswith(prefix))
    return f"{BASE}/{folder}/{BACKBONES[backbone].file}"


def fetch_weights(backbone: str, base: str | None = None) -> None:
    """Download the ImageNet weights of ``backbone`` unless they are there.

    ``base`` replaces the address of the folder that holds the file, for a mirror.

    Raises:
        UserError: there is no such backbone, no way to the address, or the file is not the
            published one.
    """
    if backbone not in BACKBONES:
        raise UserError(one_of("model.backbone", backbone, BACKBONES))
    entry = BACKBONES[backbone]
    path = imagenet_folder() / entry.file
    if entry.weights != "imagenet" or path.is_file():
        return
    url = f"{base}/{entry.file}" if base else weights_url(backbone)
    print(f"fetching {url}", flush=True)
    with replacing(path) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=60) as source, temporary.open("wb") as target:
                shutil.copyfileobj(source, target)
        except (urllib.error.URLError, OSError) as error:
            raise UserError(
                f"no weights from {url} ({error}); fetch the file elsewhere and put it into "
                f"{path.parent}"
            ) from error
        found = hashlib.md5(temporary.read_bytes(), usedforsecurity=False).hexdigest()
        if entry.md5 is not None and found != entry.md5:
            raise UserError(f"{url} is not the published file (md5 {found}, not {entry.md5})")
