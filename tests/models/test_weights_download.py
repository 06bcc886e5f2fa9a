"""Weights fetched from a server on this machine, good ones and bad."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.errors import UserError
from xray_hpc.models import weights_download
from xray_hpc.models.registry import BACKBONES, HDF5

WEIGHTS = HDF5 + bytes(3_000_000)
MOBILENET = ModelConfig("tl", "mobilenet_v2", "imagenet")


class Server(ThreadingHTTPServer):
    """Gives ``answers`` by the last part of the address, and notes what it was asked for.

    A connection is cut after ``cut`` bytes of the answer.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut: int | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.answers.get(self.path.rpartition("/")[2])
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
    """Where Keras keeps its weights: empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def publish(server: Server, monkeypatch: pytest.MonkeyPatch, name: str, md5: str | None) -> str:
    """Have ``server`` give ``WEIGHTS`` for the backbone; ``md5`` is the published one's."""
    entry = dataclasses.replace(BACKBONES[name], md5=md5)
    monkeypatch.setitem(BACKBONES, name, entry)
    server.answers[entry.file] = WEIGHTS
    return entry.file


MD5 = hashlib.md5(WEIGHTS).hexdigest()


@pytest.mark.parametrize("md5", [MD5, None])
def test_missing_weights_are_put_where_keras_looks_for_them(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, md5: str | None
) -> None:
    file = publish(server, monkeypatch, "mobilenet_v2", md5)
    weights_download.fetch_weights(MOBILENET)
    assert server.asked == [f"/mobilenet_v2/{file}"]
    assert [path.name for path in folder.iterdir()] == [file]
    assert (folder / file).read_bytes() == WEIGHTS


def test_weights_that_are_there_are_left_alone(server: Server, folder: Path) -> None:
    (folder / BACKBONES["mobilenet_v2"].file).write_bytes(b"mine")
    weights_download.fetch_weights(MOBILENET)
    assert server.asked == []
    assert (folder / BACKBONES["mobilenet_v2"].file).read_bytes() == b"mine"


def test_a_stacked_model_fetches_those_of_each_backbone_that_starts_from_them(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {publish(server, monkeypatch, name, MD5) for name in ("densenet169", "mobilenet_v2")}
    starts = {"densenet169": "imagenet", "mobilenet_v2": "imagenet", "resnet50v2": "none"}
    weights_download.fetch_weights(ModelConfig("stacked", backbones=starts))
    assert {path.name for path in folder.iterdir()} == files


def test_a_file_that_is_not_the_published_one_is_refused(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, monkeypatch, "mobilenet_v2", "0" * 32)
    with pytest.raises(UserError, match=rf"not the published file \(md5 {MD5}, not 000"):
        weights_download.fetch_weights(MOBILENET)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("md5", [MD5, None])
def test_nothing_is_left_of_a_download_that_was_cut(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, md5: str | None
) -> None:
    publish(server, monkeypatch, "mobilenet_v2", md5)
    server.cut = 1_000_000
    with pytest.raises(UserError, match="ended after 1,000,000 of 3,000,008 bytes") as caught:
        weights_download.fetch_weights(MOBILENET)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []


def test_the_page_of_a_login_portal_is_no_weights(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = publish(server, monkeypatch, "mobilenet_v2", None)
    server.answers[file] = b"<html>Please log in</html>"
    with pytest.raises(UserError, match="gave something else than a file of weights"):
        weights_download.fetch_weights(MOBILENET)
    assert list(folder.iterdir()) == []


def test_an_address_that_answers_no_says_where_to_put_the_file(
    server: Server, folder: Path
) -> None:
    with pytest.raises(UserError, match=rf"Not Found\).*put it into {folder}"):
        weights_download.fetch_weights(MOBILENET)


def test_no_way_to_the_server_says_where_to_put_the_file(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        weights_download, "BASE", "http://127.0.0.1:9"
    )  # the port of discard: nobody there
    with pytest.raises(UserError, match=rf"Connection refused.*put it into {folder}"):
        weights_download.fetch_weights(MOBILENET)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "demo"])
def test_every_backbone_has_an_address(name: str) -> None:
    url = weights_download.weights_url(name)
    assert url.startswith("https://storage.googleapis.com/tensorflow/keras-applications/")
    assert url.endswith("_notop.h5") or url.endswith("_no_top.h5")
