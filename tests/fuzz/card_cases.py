"""Predict with hostile model files; Keras itself loads few of them."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.damage import DAMAGES, DEEP, Damage
from tests.fuzz.image_cases import GOOD, seeds
from tests.fuzz.predict_without_keras import CARD, FILE, check_rows, predict, rows, write_model
from tests.fuzz.value_edits import ESCAPES, WRONG
from tests.fuzz.verdict import Verdict
from xray_hpc.models.keras_archive import CARD as MEMBER

VALUES: dict[str, tuple[Any, ...]] = {
    "classes": (
        *([], ["A"], ["A", "A"], ["", "B"], ["A", "=B"], [f"A{ESCAPES}", "B"], ["a,b", "c\nd"]),
        *(["A", "B", "C"], ["x" * 300, "B"], [str(n) for n in range(10_000)], ["label", "error"]),
    ),
    "threshold": (-1, 0, 1, 2, None, 1e308, float("nan"), float("inf"), "0.5", True),
    "image_size": (0, -1, 1, 7, 8, 4096, 4097, 10**6, 10**10, 1.5, "16"),
    "crop": (0, -1, 0.001, 0.1, 1.0001, 2, 1e308, float("nan"), float("-inf")),
    "channels": (0, 1, 2, 3, 4, -1, 1.0, True),
    "clahe": (-1, 0, 1e-9, 1e308, float("nan"), float("inf"), 2),
    "range": ([0, 0], [1, 0], [0, 1], [float("nan"), 1], [-1e308, 1e308], 7, 8, 33, "auto", [1]),
    "run": ("", ESCAPES, "x" * 5000, "../x"),
    "model": ("", ESCAPES, "../x", "unknown"),
}


@dataclass(frozen=True)
class CardCase:
    """A hostile model file.

    Attributes:
        group: The row of the table.
        name: What it is.
        make: Writes it.
    """

    group: str
    name: str
    make: Callable[[Path, Random], None]


def card_cases() -> list[CardCase]:
    """Return all cases."""
    return [*_values(), *_texts(), *_archives()]


def _values() -> Iterator[CardCase]:
    for key in asdict(CARD):
        for value in dict.fromkeys(map(_Wrapped, (*WRONG, *VALUES[key]))):

            def make(path: Path, random: Random, key: str = key, value: Any = value.value) -> None:
                write_model(path, json.dumps(asdict(CARD) | {key: value}).encode())

            yield CardCase("card", f"{key} of {value.value!r}"[:60], make)

        def without(path: Path, random: Random, key: str = key) -> None:
            card = asdict(CARD)
            del card[key]
            write_model(path, json.dumps(card).encode())

        yield CardCase("card", f"no {key}", without)


@dataclass(frozen=True, eq=False)
class _Wrapped:
    """A value that may not be hashable."""

    value: Any


def _texts() -> Iterator[CardCase]:
    whole = json.dumps(asdict(CARD)).encode()
    texts = {
        "empty": b"",
        "nested deeply": b"[" * DEEP + b"]" * DEEP,
        "nested deeply, in a key": b'{"run": ' + b"[" * DEEP,
        "a number of 10,000 digits": b'{"image_size": ' + b"9" * 10_000 + b"}",
        "invalid UTF-8": whole.replace(b"cnn", b"\xff\xfe"),
        "UTF-16": whole.decode().encode("utf-16"),
        "a BOM": b"\xef\xbb\xbf" + whole,
        "keys twice": whole[:-1] + b', "classes": ["X", "Y"]}',
        "a list": b"[]",
        "null": b"null",
        "text": b'"x"',
        "an unknown key": whole[:-1] + b', "nothing": 1}',
    }
    for name, text in texts.items():

        def make(path: Path, random: Random, text: bytes = text) -> None:
            write_model(path, text)

        yield CardCase("card", name, make)
    for megabytes in (2, 200, 1500):
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):

            def large(
                path: Path, random: Random, megabytes: int = megabytes, method: int = method
            ) -> None:
                write_model(path, b" " * (megabytes << 20) + whole, method)

            yield CardCase("card", f"{megabytes} MiB, method {method}", large)


def _archives() -> Iterator[CardCase]:
    for damage in DAMAGES:
        if damage.fits(Path(FILE)) and not damage.owner:
            for _ in range(8 if "bit" in damage.name or "cut" in damage.name else 1):

                def make(path: Path, random: Random, damage: Damage = damage) -> None:
                    write_model(path)
                    damage.apply(path, random)

                yield CardCase("model file", damage.name, make)
    for method in (1, 6, 12, 14, 93, 98, 65535):

        def unknown(path: Path, random: Random, method: int = method) -> None:
            _change_headers(path, 8, 10, struct.pack("<H", method))

        yield CardCase("model file", f"compression {method}", unknown)
    for flags in (1, 32, 64, 0x2000):

        def encrypted(path: Path, random: Random, flags: int = flags) -> None:
            _change_headers(path, 6, 8, struct.pack("<H", flags))

        yield CardCase("model file", f"flags {flags}", encrypted)

    def twice(path: Path, random: Random) -> None:
        import warnings

        write_model(path)
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
            warnings.simplefilter("ignore")
            archive.writestr(MEMBER, b"[]")

    def other(path: Path, random: Random) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../../x", b"x")

    def inside(path: Path, random: Random) -> None:
        made = io.BytesIO(seeds()["grey.png"])
        path.write_bytes(made.getvalue())

    for write in (twice, other, inside):
        yield CardCase("model file", write.__name__, write)


def _change_headers(path: Path, local: int, central: int, value: bytes) -> None:
    """Change a field of the local and of the central header of the card."""
    write_model(path)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", local), (b"PK\1\2", central)):
        at = content.index(mark) + offset
        content[at : at + 2] = value
    path.write_bytes(content)


class CardFuzzer:
    """Runs the cases in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        verdict = Verdict("", "")
        self.run(CardCase("", "", lambda path, random: write_model(path)), Random(0), verdict)
        if verdict.problems or verdict.outputs[0].code != 0:
            raise RuntimeError(f"a good model is refused: {verdict.outputs}")

    def run(self, case: CardCase, random: Random, verdict: Verdict) -> None:
        """Score a good image with the model."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        (self.folder / GOOD).write_bytes(seeds()["grey.png"])
        case.make(self.folder / FILE, random)
        outcome = verdict.add(predict(self.folder, GOOD))
        found = rows(self.folder)
        if outcome.code in (0, 1):
            if len(found) != 1:
                verdict.wrong(f"{len(found)} rows for an image")
            check_rows(verdict, outcome, found)
        elif found:
            verdict.wrong("predictions were written")
