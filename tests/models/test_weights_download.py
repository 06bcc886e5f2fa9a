"""Downloads from an HTTP server on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from xray_hpc.config.run_config import ModelSettings
from xray_hpc.errors import DataError
from xray_hpc.models import weights_download
from xray_hpc.models.registry import BACKBONES
from xray_hpc.models.weights_files import HDF5_SIGNATURE, imagenet_file

WEIGHTS = HDF5_SIGNATURE + bytes(3_000_000)
MOBILENET = ModelSettings("tl", "mobilenet_v2", "imagenet")


class Server(ThreadingHTTPServer):
    """Serves ``responses`` by file name and records requests; ``cut`` limits the bytes sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.responses: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.cut: int | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        body = self.server.responses.get(self.path.rpartition("/")[2])
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        monkeypatch.setattr(weights_download, "BASE", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's folder of weights, empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def publish(server: Server, monkeypatch: pytest.MonkeyPatch, name: str, md5: str | None) -> str:
    """Make ``server`` send ``WEIGHTS`` for the backbone, whose published checksum is ``md5``."""
    monkeypatch.setitem(BACKBONES, name, dataclasses.replace(BACKBONES[name], md5=md5))
    file = imagenet_file(name).name
    server.responses[file] = WEIGHTS
    return file


MD5 = hashlib.md5(WEIGHTS).hexdigest()


@pytest.mark.parametrize("md5", [MD5, None])
def test_download_weights_writes_missing_files_into_keras_home(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, md5: str | None
) -> None:
    file = publish(server, monkeypatch, "mobilenet_v2", md5)
    weights_download.download_weights(MOBILENET)
    assert server.requests == [f"/mobilenet_v2/{file}"]
    assert [path.name for path in folder.glob("*.h5")] == [file]
    assert (folder / file).read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("content", "warnings"), [(b"mine", 1), (WEIGHTS, 0)], ids=["other weights", "published"]
)
@pytest.mark.usefixtures("folder")
def test_download_weights_keeps_existing_files(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    warnings: int,
) -> None:
    publish(server, monkeypatch, "mobilenet_v2", MD5)
    path = imagenet_file("mobilenet_v2")
    path.write_bytes(content)
    weights_download.download_weights(MOBILENET)
    assert server.requests == []
    assert path.read_bytes() == content
    assert [str(path) in line for line in caplog.messages] == [True] * warnings


def test_download_weights_gets_the_files_of_every_backbone_of_a_stacked_model(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {publish(server, monkeypatch, name, MD5) for name in ("densenet169", "mobilenet_v2")}
    weights = {"densenet169": "imagenet", "mobilenet_v2": "imagenet", "resnet50v2": "none"}
    weights_download.download_weights(ModelSettings("stacked", backbones=weights))
    assert {path.name for path in folder.glob("*.h5")} == files


def test_download_weights_rejects_a_wrong_checksum(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, monkeypatch, "mobilenet_v2", "0" * 32)
    with pytest.raises(DataError, match=rf"md5 {MD5}, not 000"):
        weights_download.download_weights(MOBILENET)
    assert all(path.suffix == ".lock" for path in folder.iterdir())


@pytest.mark.parametrize("md5", [MD5, None])
def test_download_weights_leaves_nothing_of_a_truncated_download(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, md5: str | None
) -> None:
    publish(server, monkeypatch, "mobilenet_v2", md5)
    server.cut = 1_000_000
    with pytest.raises(DataError, match="1,000,000 of 3,000,008 bytes") as caught:
        weights_download.download_weights(MOBILENET)
    assert "\n" not in str(caught.value)
    assert all(path.suffix == ".lock" for path in folder.iterdir())


def test_download_weights_rejects_the_page_of_a_login_portal(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = publish(server, monkeypatch, "mobilenet_v2", None)
    server.responses[file] = b"<html>Please log in</html>"
    with pytest.raises(DataError, match="not an HDF5 file"):
        weights_download.download_weights(MOBILENET)
    assert all(path.suffix == ".lock" for path in folder.iterdir())


def test_download_weights_names_the_folder_if_the_address_is_not_found(
    server: Server, folder: Path
) -> None:
    with pytest.raises(DataError, match=rf"Not Found.*{folder}"):
        weights_download.download_weights(MOBILENET)


def test_download_weights_names_the_folder_if_the_server_is_unreachable(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discard = "http://127.0.0.1:9"  # a port without a server
    monkeypatch.setattr(weights_download, "BASE", discard)
    with pytest.raises(DataError, match=rf"Connection refused.*{folder}"):
        weights_download.download_weights(MOBILENET)
    assert all(path.suffix == ".lock" for path in folder.iterdir())


@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "demo"])
def test_weights_url_is_an_address_of_keras_applications(name: str) -> None:
    url = weights_download.weights_url(name)
    assert url.startswith("https://storage.googleapis.com/tensorflow/keras-applications/")
    assert url.endswith("_notop.h5") or url.endswith("_no_top.h5")
