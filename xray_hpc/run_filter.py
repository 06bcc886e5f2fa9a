"""The language that selects runs: ``model=ft and train.learning_rate<1e-4``.

Conditions are joined by ``and``. A condition is a key, an operator of ``= != < > <= >=``, and a
value: a number, a text or a glob. Nothing of it is executed, so that it can come from anywhere.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from xray_hpc.errors import ConfigError, nearest

_CONDITION = re.compile(r"\s*([^\s=!<>]+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Condition:
    """A comparison of the value of ``key`` with ``text``."""

    key: str
    operator: str
    text: str

    def matches(self, value: Any) -> bool:
        """Return whether a value fulfills the condition.

        An unknown value (``None``) is equal to ``null`` alone, and neither less nor greater.
        """
        if self.operator in _ORDER:
            left, right = _number(value), _number(self.text)
            return left is not None and right is not None and _ORDER[self.operator](left, right)
        return self._equals(value) == (self.operator == "=")

    def _equals(self, value: Any) -> bool:
        left, right = _number(value), _number(self.text)
        if left is not None and right is not None:
            return left == right
        return fnmatchcase(_text(value), self.text)


@dataclass(frozen=True)
class RunFilter:
    """Conditions that a run must all fulfill."""

    conditions: tuple[Condition, ...]

    @property
    def keys(self) -> list[str]:
        """The keys of the conditions."""
        return [condition.key for condition in self.conditions]

    def matches(self, values: Mapping[str, Any]) -> bool:
        """Return whether a run with these values by key fulfills all conditions."""
        return all(each.matches(values.get(each.key)) for each in self.conditions)

    def check_keys(self, known: Collection[str]) -> None:
        """Raise ``ConfigError`` if a key is not ``known``."""
        for key in self.keys:
            check_key(key, known)


def parse_filter(text: str) -> RunFilter:
    """Parse an expression.

    Raises:
        ConfigError: it is malformed.
    """
    conditions = []
    for part in re.split(r"(?:^|\s+)and(?:\s+|$)", text):
        match = _CONDITION.fullmatch(part)
        if match is None or not match[3] or match[3][0] in "=<>!":
            raise ConfigError(
                f"'{part}' is no condition; write one such as model=ft or seed<3, joined by 'and'"
            )
        condition = Condition(match[1], match[2], _unquoted(match[3]))
        if condition.operator in _ORDER and _number(condition.text) is None:
            raise ConfigError(f"'{part}' compares with '{condition.text}', which is no number")
        conditions.append(condition)
    return RunFilter(tuple(conditions))


def check_key(key: str, known: Collection[str]) -> None:
    """Raise ``ConfigError`` if a key is not ``known``; it suggests the nearest."""
    if key not in known:
        raise ConfigError(f"no run has a '{key}'{nearest(key, known)}")


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
