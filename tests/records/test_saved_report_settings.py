from __future__ import annotations

from pathlib import Path

import pytest

from xray_hpc.config.report_settings import ReportSettings
from xray_hpc.errors import ConfigError
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.saved_report_settings import read_report_settings


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    return SweepPaths(tmp_path)


@pytest.mark.parametrize("text", [None, "name: s\n", "report: {}\n"])
def test_settings_that_are_not_saved_have_their_defaults(
    sweep: SweepPaths, text: str | None
) -> None:
    if text is not None:
        sweep.sweep_yaml.write_text(text)
    assert read_report_settings(sweep) == ReportSettings("val_loss", True)


def test_overrides_replace_saved_settings_one_by_one(sweep: SweepPaths) -> None:
    sweep.sweep_yaml.write_text("report: {select: val_auc, images: false}\n")
    assert read_report_settings(sweep) == ReportSettings("val_auc", False)
    assert read_report_settings(sweep, images=True) == ReportSettings("val_auc", True)
    assert read_report_settings(sweep, select="val_mcc", images=None).images is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("report: [", "not valid YAML"),
        ("report: 3", "report is 3; it must be a mapping"),
        ("report: {image: false}", r"report\.image is unknown; did you mean 'images'"),
        ("report: {select: val_los}", r"report\.select 'val_los' is unknown.*'val_loss'"),
        ("report: {images: 1}", r"report\.images is 1"),
    ],
)
def test_damaged_settings_are_not_replaced_by_defaults_that_show_images(
    sweep: SweepPaths, text: str, message: str
) -> None:
    sweep.sweep_yaml.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_report_settings(sweep, images=None)
    assert str(sweep.sweep_yaml) in str(caught.value)


def test_a_damaged_file_is_not_needed_if_all_settings_are_given(sweep: SweepPaths) -> None:
    sweep.sweep_yaml.write_text("report: [")
    assert read_report_settings(sweep, select="val_auc", images=False).select == "val_auc"
