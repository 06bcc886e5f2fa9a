"""Read and write mappings as YAML, with plain values read as on the command line.

YAML 1.1 reads ``12:00:00`` as 43200, ``on`` as true and ``012`` as 10. Here, numbers, booleans and
null are those of Hydra's override grammar, everything else is text, and so is every value of a
key that holds text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from xray_hpc.config.text_keys import is_text
from xray_hpc.errors import ConfigError
from xray_hpc.regular_file import read_with_status
from xray_hpc.system_errors import advice

MOST_NODES = 1_000_000  # as many as YAML_LIMIT allows without aliases
YAML_LIMIT = 1 << 24  # bytes; a sweep.yaml has 20 for each run
_TAG = "tag:yaml.org,2002:"
_INTEGER, _DIGITS = "(?:0|[1-9](?:_?[0-9])*)", "[0-9](?:_?[0-9])*"
# The type of a plain value by its first character, as PyYAML looks it up.
_TYPES = [
    ("null", "~|(?i:null)|", ["~", "n", "N", ""]),
    ("bool", "(?i:true|false)", "tTfF"),
    ("int", rf"[-+]?{_INTEGER}", "-+0123456789"),
    (
        "float",
        rf"[-+]?(?:{_INTEGER}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][-+]?{_DIGITS})?"
        r"|[-+]?\.(?i:inf)|\.(?i:nan)",
        "-+.0123456789",
    ),
    ("merge", "<<", "<"),
]
_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _name, _pattern, _first in _TYPES:
    for _character in _first:
        found = (_TAG + _name, re.compile(f"^(?:{_pattern})$"))
        _RESOLVERS.setdefault(_character, []).append(found)
_KINDS = {
    _TAG + name: kind
    for name, kind in {"int": int, "float": float, "bool": bool, "null": type(None)}.items()
}


# libyaml's classes are several times as fast, where PyYAML was built with it.
class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    yaml_implicit_resolvers = _RESOLVERS


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers = _RESOLVERS
    prefix = ""
    nodes = 0

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        self._prepare(node, self.prefix, ())
        return node

    def _prepare(self, node: Any, key: str, outer: tuple[int, ...]) -> None:
        """Make text of the values of keys that hold text; refuse a key that is given twice."""
        self.nodes += 1
        if self.nodes > MOST_NODES:
            problem = f"more than {MOST_NODES:,} values, or aliases that multiply"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        if id(node) in outer:
            problem = "an alias contains itself"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        inner = (*outer, id(node))
        if isinstance(node, yaml.ScalarNode):
            if node.tag in _KINDS and is_text(key, _KINDS[node.tag]):
                node.tag = f"{_TAG}str"
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._prepare(item, key, inner)
        elif isinstance(node, yaml.MappingNode):
            given = set[str]()
            for name, value in node.value:
                text = str(name.value)
                if name.tag == f"{_TAG}str" and text in given:
                    problem = f"the key '{text}' is given twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=name.start_mark)
                given.add(text)
                self._prepare(value, f"{key}.{text}" if key else text, inner)


def read_yaml(path: Path, prefix: str = "") -> dict[str, Any]:
    """Read a YAML file that holds a mapping, or nothing.

    Args:
        prefix: Dotted key below which the file's keys lie.

    Raises:
        ConfigError: The file is missing or unreadable, or holds something else.
    """
    return read_owned_yaml(path, prefix)[0]


def read_owned_yaml(path: Path, prefix: str = "") -> tuple[dict[str, Any], os.stat_result]:
    """Read a YAML file as :func:`read_yaml` does; also return its status: owner and permissions."""
    try:
        content, status = read_with_status(path, YAML_LIMIT)
        values = parse_yaml(content.decode(), prefix)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML ({error.problem})") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is not readable YAML (nested too deeply)") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); {advice(error)}") from error
    except (yaml.YAMLError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{path} is not readable YAML ({problem})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} does not hold a mapping")
    return {str(key): value for key, value in values.items()}, status


def parse_yaml(text: str, prefix: str = "") -> Any:
    """Return the content of a YAML document, ``{}`` if it is empty.

    Raises:
        yaml.YAMLError: The text is not valid YAML.
    """
    loader = _Loader(text)
    loader.prefix = prefix
    try:
        values = loader.get_single_data()
    finally:
        loader.dispose()
    return {} if values is None else values


def to_yaml(values: Mapping[str, Any]) -> str:
    """Return a mapping as the YAML text from which :func:`read_yaml` reads it.

    Raises:
        ConfigError: a text is not UTF-8, as the name of a folder may be.
    """
    try:
        return str(yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True))
    except UnicodeEncodeError as error:
        raise ConfigError(f"{error.object!a} is not UTF-8, as YAML must be; rename it") from error
