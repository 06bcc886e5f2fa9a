"""Mask secrets in the settings of a sweep, for the files and messages that are read by people.

A secret is a literal value that a shell line assigns to a variable (``export X=…``, ``setenv X …``,
``X=… command``), that follows an option such as ``--token``, or the password in an address.
References such as ``$HOME`` are no secrets; numbers, booleans, paths, options and the values of
variables such as ``OMP_PLACES`` count as secrets only if the name suggests one. So a group can read
each other's ``export LANG=en_US.UTF-8``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from xray_hpc.config.cluster_config import ClusterConfig

MASK = "<masked>"
SECRET_NAME = re.compile("TOKEN|PASS|PWD|SECRET|KEY|CREDENTIAL|AUTH|JWT", re.IGNORECASE)
_KNOWN_NAME = re.compile(
    r"LANG|LC_\w+|MPLBACKEND|PYTHON\w*|\w+_PROXY"
    r"|(?:NCCL|OMP|KMP|TF|CUDA|XLA|SLURM|I_MPI|UCX|OPENBLAS|MKL)_\w+",
    re.IGNORECASE,
)
_NAMED_OPTION = re.compile(  # in a mapping of the command line: {NAME: VALUE}
    rf"""[{{,]\s*["']?[\w-]*(?:{SECRET_NAME.pattern})[\w-]*["']?\s*:""", re.IGNORECASE
)
_COMMAND = r"\$\((?:[^()]|\([^()]*\))*\)"
_VALUE = (
    rf"""(?:{_COMMAND}|`[^`]*`?|\$\{{[^}}]*\}}?|\$'(?:[^'\\]|\\.)*'?|'[^']*'?|\\."""
    rf"""|"(?:{_COMMAND}|[^"\\]|\\.)*"?|\([^)]*\)?|[^\s;&|()<>"'\\`])+"""
)
_ASSIGNED = re.compile(
    r"""(?:(?P<quote>["'])|(?<![^\s;&|(){}\[\],:"'`]))"""
    r"(?P<name>[A-Za-z_]\w*(?:\[[^\]]*\])?)\+?\\?="
    rf"(?P<value>(?(quote)(?:\\.|(?!(?P=quote)).)*|{_VALUE}))"
    rf"|\bsetenv\s+(?P<name_2>\w+)\s+(?P<value_2>{_VALUE})",
    re.DOTALL,
)
_OPTION = re.compile(
    r"(?P<start>--?[\w-]*(?:token|passw|secret|api-?key|credential)[\w-]*[\s=]+)"
    rf"(?P<value>{_VALUE})",
    re.IGNORECASE | re.DOTALL,
)
_ADDRESS = re.compile(r"(?P<start>\w://[^/\s:@]*:)[^/\s@]+(?=@)")
_REFERENCE = rf"""(?:"?(?:\$(?:[A-Za-z_]\w*|\d|\{{\w+\}})|{_COMMAND}|`[^`]*`)"?)"""
_PATH = rf"(?:{_REFERENCE}*(?:/[^:]*)?|(?:~\w*|\.\.?)(?:/[^:]*)?)"
_PLAIN = r"-.*|\d+(?:[.,:]\d+)*|(?i:true|false|yes|no|on|off)"
_REFERENCES = re.compile(f"{_REFERENCE}*", re.DOTALL)
_HARMLESS = re.compile(
    rf""""?(?:{_PLAIN}|{_PATH}(?::{_PATH})*)"?|'(?:{_PLAIN}|[/~].*)?'""", re.DOTALL
)


def mask_text(line: str) -> str:
    """Return a shell line with :data:`MASK` in place of its secrets."""
    line = _OPTION.sub(_mask_option_value, _mask_assigned(line))
    return _ADDRESS.sub(lambda found: found["start"] + MASK, line)


def _mask_assigned(line: str) -> str:
    """Mask the values of variables, also of those that are assigned within another value."""
    parts, masked_to, position, known_to = [], 0, 0, 0
    while found := _ASSIGNED.search(line, position):
        group = "value" if found["name"] else "value_2"
        name, value = found["name"] or found["name_2"], found[group]
        position, end = found.span(group)
        # Such as granularity in KMP_AFFINITY=granularity=fine, not NAME in LANG=C,NAME=abc.
        known = name.islower() and position < known_to
        if _KNOWN_NAME.fullmatch(name):
            known, known_to = True, end
        if _REFERENCES.fullmatch(value) or (
            not SECRET_NAME.search(name) and (known or _HARMLESS.fullmatch(value))
        ):
            continue
        parts += [line[masked_to:position], MASK]
        masked_to = position = end
    return "".join([*parts, line[masked_to:]])


def _mask_option_value(found: re.Match[str]) -> str:
    return found[0] if _REFERENCES.fullmatch(found["value"]) else found["start"] + MASK


def mask_override(word: str) -> str:
    """Return a word of a command line, its value masked if that holds a secret."""
    key, sign, value = word.partition("=")
    named = SECRET_NAME.search(key) or _NAMED_OPTION.search(value)
    if sign and (named or mask_text(value) != value):
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
        value: a text, list or mapping. Parts without a mask are returned unchanged.
        private: the value before it was masked. A mask remains if no text in here gives it.
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
