"""Keep the text of overrides that Hydra would read as numbers or as a sweep.

``name=2024_01_15`` is not a number, and ``cluster.partition=a,b`` is a list of Slurm's: ``cluster``
cannot be swept.
"""

# ruff: noqa: N802 - the visitor's methods are named after the rules of Hydra's grammar
from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from typing import Any

from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
from hydra.core.override_parser.overrides_parser import create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

from xray_hpc.config.text_keys import is_text
from xray_hpc.errors import ConfigError

MAX_DEPTH = 20  # of lists and mappings: far below where the parser exceeds the recursion limit
MAX_DIGITS = 1000  # Python reads no whole number of more than 4,300
QUOTING = {*"'\"\\,[]{}()"}  # characters with a meaning between quotes, or instead of them


def quote_text(words: Sequence[str]) -> list[str]:
    """Return the overrides with quotes around each value that is a text and looks like none.

    Lists, mappings and the elements of a sweep included; not the numbers of ``range()`` and casts.
    Of ``cluster``, commas are part of a text.

    Raises:
        ConfigError: lists and mappings are nested more than ``MAX_DEPTH`` levels deep, a number
            has more than ``MAX_DIGITS`` digits, or a text is not UTF-8.
    """
    return [_quote(word) for word in words]


@functools.cache
def _quote(word: str) -> str:
    _check_word(word)
    listener = HydraErrorListener()
    lexer = OverrideLexer(InputStream(word))
    parser = OverrideParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(listener)
    visitor = _TextFinder()
    try:
        visitor.visit(parser.override())  # type: ignore[no-untyped-call]
    except HydraException:
        return _quote_whole(word)
    for start, end in reversed(visitor.found):
        word = f"{word[:start]}'{word[start:end]}'{word[end:]}"
    return word


def _check_word(word: str) -> None:
    """Raise ``ConfigError`` for an override that Hydra cannot parse or YAML cannot hold."""
    key = word.partition("=")[0]
    steps = [(c in "[{(") - (c in "]})") for c in word]
    if (depth := max(itertools.accumulate(steps), default=0)) > MAX_DEPTH:
        raise ConfigError(f"{key} has brackets {depth} levels deep; use at most {MAX_DEPTH}")
    if not word.isascii() and word.encode(errors="ignore").decode() != word:
        raise ConfigError(f"{word!a} is not UTF-8, as configurations must be; rename it")
    if re.search(rf"[0-9_]{{{MAX_DIGITS + 1}}}", word):
        raise ConfigError(f"{key} has a number of more than {MAX_DIGITS} digits; use fewer")


def _quote_whole(word: str) -> str:
    """Quote a text with characters that Hydra's grammar lacks, such as ``~``, ``=`` and ``ü``."""
    key, _, text = word.partition("=")
    if text and not QUOTING & {*text} and is_text(key.lstrip("+"), int):
        return f"{key}='{text}'"
    return word  # Hydra reports it


class _TextFinder(HydraOverrideVisitor):
    """Finds the positions of values that need quotes."""

    def __init__(self) -> None:
        super().__init__(create_functions())
        self.found: list[tuple[int, int]] = []
        self._path: list[str] = []

    def visitKey(self, ctx: Any) -> Any:
        key = super().visitKey(ctx)
        self._path = [key.key_or_group]
        return key

    def visitDictKeyValuePair(self, ctx: Any) -> Any:
        self._path.append(ctx.dictKey().getText().strip())
        pair = super().visitDictKeyValuePair(ctx)
        self._path.pop()
        return pair

    def visitFunction(self, ctx: Any) -> Any:
        before = len(self.found)
        value = super().visitFunction(ctx)
        if ctx.getChild(0).getText() != "choice":
            del self.found[before:]
        return value

    def visitSimpleChoiceSweep(self, ctx: Any) -> Any:
        before = len(self.found)
        sweep = super().visitSimpleChoiceSweep(ctx)
        key, text = self._path[0], ctx.getText()
        if key.startswith("cluster.") and is_text(key, int) and not {*"'\"\\"} & {*text}:
            self.found[before:] = [(ctx.start.start, ctx.stop.stop + 1)]
        return sweep

    def visitPrimitive(self, ctx: Any) -> Any:
        value = super().visitPrimitive(ctx)
        if is_text(".".join(self._path), type(value)):
            self.found.append((ctx.start.start, ctx.stop.stop + 1))
        return value
