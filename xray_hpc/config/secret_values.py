"""Mask secrets in the settings of a sweep, for the files and messages that are read by people.

A secret is a literal value that a shell line assigns to a variable (``export X=…``, ``setenv X …``,
``X=… command``), that follows an option such as ``--token``, or the password in an address.
References such as ``$HOME/bin`` are no secrets; numbers, options and paths are some only if the
variable is named like one. So a group can read each other's ``export OMP_NUM_THREADS=4``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from xray_hpc.config.cluster_config import ClusterConfig

MASK = "<masked>"
SECRET_NAME = re.compile("TOKEN|PASS|PWD|SECRET|KEY|CREDENTIAL|AUTH", re.IGNORECASE)
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|\$\([^)]*\)?|\\.|[^\s;&|()<>"'\\])+"""
_ASSIGNED = re.compile(
    rf"""(?<![^\s;&|(){{}}\[\],"'`])(?P<name>[A-Za-z_]\w*)(?P<sign>\+?\\?=)(?P<value>{_VALUE})"""
    rf"|\bsetenv\s+(?P<name_2>\w+)(?P<sign_2>\s+)(?P<value_2>{_VALUE})"
)
_OPTION = re.compile(
    rf"(?P<start>--?[\w-]*(?:token|passw|secret|api-?key|credential)[\w-]*[\s=]+){_VALUE}",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?P<start>\w://[^/\s:@]*:)[^/\s@]+(?=@)")
_REFERENCE = re.compile(r'"?\$(?:\w|\{\w+\}|\()')
_HARMLESS = re.compile(
    r"""["']?(?:[-/~.]|\d+(?:\.\d+)?\b|(?i:true|false|yes|no|on|off)\b|["']?$)"""
)


def mask_text(line: str) -> str:
    """Return a shell line with :data:`MASK` in place of its secrets."""
    line = _ASSIGNED.sub(_mask_assigned, line)
    line = _OPTION.sub(lambda found: found["start"] + MASK, line)
    return _ADDRESS.sub(lambda found: found["start"] + MASK, line)


def _mask_assigned(found: re.Match[str]) -> str:
    name, sign, value = (found[key] or found[f"{key}_2"] for key in ("name", "sign", "value"))
    named = SECRET_NAME.search(name)
    if _REFERENCE.match(value) or (not named and _HARMLESS.match(value)):
        return found[0]
    return found[0].removesuffix(sign + value) + sign + MASK


def mask_override(word: str) -> str:
    """Return a word of a command line, its value masked if that holds a secret."""
    key, sign, value = word.partition("=")
    if sign and (SECRET_NAME.search(key) or mask_text(value) != value):
        return f"{key}={MASK}"
    return word


def mask_cluster(cluster: ClusterConfig) -> ClusterConfig:
    """Return the settings without their secrets; equal to ``cluster`` if it has none."""
    extra = cluster.extra and {name: _mask_option(name, at) for name, at in cluster.extra.items()}
    return dataclasses.replace(
        cluster,
        setup=tuple(map(mask_text, cluster.setup)),
        container=cluster.container and mask_text(cluster.container),
        extra=extra,
    )


def _mask_option(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return MASK if SECRET_NAME.search(name) else mask_text(value)


def restore_secrets(value: Any, private: Any) -> Any:
    """Return a masked value of a YAML file with its secrets.

    Args:
        value: a text, list or mapping; what is not masked in it is returned as it is.
        private: the value before it was masked. A text stays masked if there is none here that
            :func:`mask_cluster` masks so.
    """
    if isinstance(value, Mapping):
        known = private if isinstance(private, Mapping) else {}
        return {name: _restore(at, [known.get(name)], name) for name, at in value.items()}
    if isinstance(value, list):
        left = list(private) if isinstance(private, list) else []
        return [_restore(text, left) for text in value]
    return _restore(value, [private])


def _restore(text: Any, private: list[Any], name: str = "") -> Any:
    """Take the first text out of ``private`` that is masked as ``text`` is."""
    if is_masked(text):
        for i, at in enumerate(private):
            if isinstance(at, str) and _mask_option(name, at) == text:
                return private.pop(i)
    return text


def is_masked(value: Any) -> bool:
    """Return whether a secret was masked in a value of a YAML file."""
    if isinstance(value, Mapping):
        return any(map(is_masked, value.values()))
    if isinstance(value, list):
        return any(map(is_masked, value))
    return isinstance(value, str) and MASK in value
