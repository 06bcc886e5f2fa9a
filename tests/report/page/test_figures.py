"""Tests of the figure files."""

from __future__ import annotations

import dataclasses
import re
import resource
from collections.abc import Sequence
from pathlib import Path

import altair as alt
import pytest

from xray_hpc.report.page import figures
from xray_hpc.report.page.blocks import Section
from xray_hpc.report.page.chart import Chart, specification
from xray_hpc.report.page.figures import write_figures
from xray_hpc.report.page.vega_process import VegaTask


@pytest.fixture(scope="session")
def charts(sections: Sequence[Section]) -> list[Chart]:
    return [chart for section in sections for chart in section.charts()]


@pytest.fixture
def ranking(charts: list[Chart]) -> Chart:
    return next(chart for chart in charts if chart.name == "ranking")


def test_write_figures_draws_every_chart_as_vectors(tmp_path: Path, charts: list[Chart]) -> None:
    files = write_figures(tmp_path / "figures", charts)
    pdfs = [file for file in files if file.suffix == ".pdf"]
    assert [file.stem for file in pdfs] == [chart.name for chart in charts]
    for file in pdfs:
        content = file.read_bytes()
        assert content.startswith(b"%PDF-")
        assert b"/Font" in content
        assert b"/Subtype /Image" not in content
    assert {file.name for file in files if file.suffix == ".png"} == {
        *("ranking.png", "roc_test.png")
    }


def test_write_figures_gives_the_same_bytes_twice(tmp_path: Path, ranking: Chart) -> None:
    first = write_figures(tmp_path / "first", [ranking])
    second = write_figures(tmp_path / "second", [ranking])
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_write_figures_uses_one_font_so_that_bytes_are_equal(
    tmp_path: Path, charts: list[Chart]
) -> None:
    for file in write_figures(tmp_path, charts):
        if file.suffix == ".pdf":
            assert len(set(re.findall(rb"/BaseFont /\w+\+(\S+)", file.read_bytes()))) == 1, file


def test_write_figures_continues_where_memory_is_limited(
    tmp_path: Path, ranking: Chart, capsys: pytest.CaptureFixture[str]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, before[1]))
    try:
        files = write_figures(tmp_path, [ranking])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert files == {}
    assert capsys.readouterr().err.startswith("warning: ")


def test_write_figures_draws_only_what_changed(
    tmp_path: Path, ranking: Chart, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(ranking, name="other")
    write_figures(tmp_path, [ranking, other])
    (tmp_path / "other.pdf").write_bytes(b"%PDF-damaged")
    drawn = list[VegaTask]()

    def recording(tasks: list[VegaTask]) -> list[bytes]:
        drawn.extend(tasks)
        return [b"%PDF-new"] * len(tasks)

    monkeypatch.setattr(figures, "run_vega", recording)
    write_figures(tmp_path, [ranking, other])
    assert [task.kind for task in drawn] == ["pdf"]
    assert (tmp_path / "other.pdf").read_bytes() == b"%PDF-new"


def test_write_figures_removes_those_of_an_earlier_report(tmp_path: Path, ranking: Chart) -> None:
    (tmp_path / "loss.pdf").write_bytes(b"%PDF-old")
    (tmp_path / "notes.txt").write_text("mine")
    write_figures(tmp_path, [ranking])
    assert not (tmp_path / "loss.pdf").exists()
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize("name", ["\x00", "\x1b[1m", "\ufffe", "\ud800", "$a^b$ <i>&\n\u202e"])
def test_a_chart_of_names_that_xml_lacks_is_drawn(tmp_path: Path, name: str) -> None:
    chart = alt.Chart(alt.NamedData("rows")).mark_point().encode(x=alt.X("name:N"))
    spec = specification(chart, name, {"rows": [{"name": name}]}, shown=[name])
    (file,) = write_figures(tmp_path, [Chart("names", "", "", spec)])
    assert file.read_bytes().startswith(b"%PDF-")


def test_a_chart_describes_itself_and_names_its_data(charts: list[Chart]) -> None:
    for chart in charts:
        assert chart.spec["description"] == chart.caption
        assert all(isinstance(rows, list) for rows in chart.spec["datasets"].values())
