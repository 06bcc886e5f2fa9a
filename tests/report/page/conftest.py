"""Fixtures of the page's content."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.report.page.fake_comparison import fake_content, wide_sweep
from xray_hpc.report.page.blocks import Section
from xray_hpc.report.page.content import PageContent
from xray_hpc.report.page.page_sections import page_sections
from xray_hpc.report.page.render_page import render_page


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> PageContent:
    """The content of a page on 18 finished runs and 3 others."""
    return fake_content(wide_sweep(tmp_path_factory.mktemp("sweep") / "lr-depth", 18))


@pytest.fixture(scope="session")
def sections(content: PageContent) -> Sequence[Section]:
    """The sections of :func:`content`."""
    return page_sections(content)


@pytest.fixture(scope="session")
def page(content: PageContent, sections: Sequence[Section]) -> str:
    """The page of :func:`content`."""
    return render_page(content.sweep, "21 runs.", sections)
