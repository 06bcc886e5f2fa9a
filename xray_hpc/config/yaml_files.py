"""Read and write mappings as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from xray_hpc.errors import ConfigError

# libyaml's classes are several times as fast, where PyYAML was built with it.
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigError: The file is missing or unreadable, or holds something else.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            f"{path} is not readable YAML ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} does not hold a mapping")
    return {str(key): value for key, value in values.items()}


def to_yaml(values: Mapping[str, Any]) -> str:
    """Return a mapping as the YAML text from which :func:`read_yaml` reads it."""
    return str(yaml.dump(dict(values), Dumper=DUMPER, sort_keys=False, allow_unicode=True))
