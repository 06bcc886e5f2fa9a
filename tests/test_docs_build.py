"""The documentation builds without a warning, its generated pages included."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from xray_hpc.config.key_reference import describe_keys

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def committed_page() -> str:
    """The page of configuration keys, before a build writes it again."""
    return (DOCS / "reference" / "configuration.md").read_text()


@pytest.fixture(scope="module")
def pages(committed_page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    folder = tmp_path_factory.mktemp("docs")
    strict = ("--fail-on-warning", "--keep-going", "--nitpicky", "-q")
    command = [sys.executable, "-m", "sphinx", *strict, "-b", "html", str(DOCS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_configuration_page_lists_every_key(pages: Path) -> None:
    page = (pages / "reference" / "configuration.html").read_text()
    assert [key.key for key in describe_keys() if f">{key.key}<" not in page] == []


def test_building_leaves_the_committed_configuration_page_as_it_is(
    committed_page: str, pages: Path
) -> None:
    assert (DOCS / "reference" / "configuration.md").read_text() == committed_page


def test_pages_load_nothing_from_elsewhere(pages: Path) -> None:
    for page in pages.rglob("*.html"):
        text = page.read_text()
        assert 'src="http' not in text
        assert '<link rel="stylesheet" type="text/css" href="http' not in text
