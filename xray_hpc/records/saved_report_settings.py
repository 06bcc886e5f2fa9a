"""The report's settings in ``sweep.yaml``, read without Hydra."""

from __future__ import annotations

import os
from typing import Any

from xray_hpc.config.dataclass_conversion import build
from xray_hpc.config.report_settings import ReportSettings
from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.errors import ConfigError
from xray_hpc.records.paths import SweepPaths


def read_report_settings(sweep: SweepPaths, **overrides: Any) -> ReportSettings:
    """Return the settings of a sweep's report, the defaults where it has none.

    Args:
        overrides: settings to use instead of the saved ones, unless they are ``None``. With all of
            them given, ``sweep.yaml`` is not read.

    Raises:
        ConfigError: ``sweep.yaml`` cannot be read or has an invalid setting. It may say that no
            image of a patient may be shown, so that the defaults are not safe.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    saved: Any = {}
    needed = ReportSettings.__dataclass_fields__.keys() - given.keys()
    if needed and os.path.lexists(sweep.sweep_yaml):
        saved = read_yaml(sweep.sweep_yaml).get("report", {})
        if not isinstance(saved, dict):
            raise ConfigError(f"{sweep.sweep_yaml}: report is {saved!r}; it must be a mapping")
    try:
        return build(ReportSettings, {**saved, **given}, "report")
    except ConfigError as error:
        raise ConfigError(f"{sweep.sweep_yaml}: {error}") from error
