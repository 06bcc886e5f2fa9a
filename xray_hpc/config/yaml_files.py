"""Plain mappings as YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from xray_hpc.errors import ConfigError

# libyaml's where PyYAML was built with it: several times as fast.
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping that :func:`to_yaml` wrote; ``UserError`` names the file otherwise."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            f"{path} is not readable YAML ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no mapping")
    return {str(key): value for key, value in values.items()}


def to_yaml(values: Mapping[str, Any]) -> str:
    """The text that :func:`read_yaml` reads the same mapping from."""
    return str(yaml.dump(dict(values), Dumper=DUMPER, sort_keys=False, allow_unicode=True))
