"""Give every key of the configuration values of wrong types, on the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.forked_command import run_command
from tests.fuzz.value_edits import ESCAPES
from tests.fuzz.verdict import Verdict
from xray_hpc.config.dataclass_conversion import default_values
from xray_hpc.config.run_config import RunSettings
from xray_hpc.config.sweep_settings import SweepSettings

VALUES = (
    *("", "null", "true", "x", "0", "-1", "1.5", "1e308", "-1e-320", "1e999", "nan", "inf", "-inf"),
    *(
        "9" * 30,
        "9" * 5000,
        "0x10",
        "0o7",
        "1_000",
        "1:30",
        "2020-01-01",
        "~",
        "???",
        "NULL",
        "yes",
    ),
    *("[]", "[1,2]", "[x]", "[null]", "[[1]]", "{}", "{a:1}", "{a:{b:[1]}}", "[1,[2,{c:3}]]"),
    *("[" * 300 + "]" * 300, "{a:" * 100 + "1" + "}" * 100, "[1", "{a", "'x", '"x"', "a b", "a=b"),
    *("${seed}", "${nothing}", "${oc.env:HOME}", "${", "a,b", "1,2", "range(3)", "choice(1,x)"),
    *("glob(*)", "int(x)", "float(1)", "x" * 300, "/dev/zero", "/dev/null/x", "~/x", "../x"),
    *("a\nb", f"'a{ESCAPES}b'", "\u202eabc", "é", "\udcff", "x;rm", "$(x)", "=1+1"),
)
MODELS = ("cnn", "tl", "ft", "stacked", "conv", "vgg", "lung")
GROUPS = ("model", "data", "augment", "train", "cluster", "experiment", "scale", "sweep")


@dataclass(frozen=True)
class TypeCase:
    """A key and a value for it, with the words of the command before."""

    key: str
    value: str
    model: str

    @property
    def name(self) -> str:
        """The key with its value."""
        return f"{self.key}={self.value[:60]!r} model={self.model}"

    @property
    def group(self) -> str:
        """The row of the table."""
        if "." not in self.key:
            return "groups and other keys"
        return "keys of cluster" if self.key.startswith("cluster.") else "keys of a run"

    @property
    def words(self) -> tuple[str, str]:
        """The overrides."""
        return f"model={self.model}", f"{self.key}={self.value}"


def type_cases() -> list[TypeCase]:
    """Return every key with every value."""
    keys = dict.fromkeys([*_keys(default_values(RunSettings) | default_values(SweepSettings))])
    names = [key for key in [*keys, *GROUPS, "nothing", "train.nothing"] if key != "dry_run"]
    return [
        TypeCase(key, value, MODELS[number % len(MODELS)])
        for number, key in enumerate(names)
        for value in VALUES
    ]


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")


class TypeFuzzer:
    """Runs the cases in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        verdict = Verdict("", "")
        self.run(TypeCase("seed", "1", "cnn"), Random(0), verdict)
        if verdict.problems or any(outcome.code != 0 for outcome in verdict.outputs):
            raise RuntimeError(f"a right value is refused: {verdict.outputs}")

    def run(self, case: TypeCase, random: Random, verdict: Verdict) -> None:
        """Run ``launch … dry_run=true`` and ``train … --cfg job``, which write nothing."""
        where = ("results=results", "cluster=none", "cluster.parallel=null")
        dry = verdict.add(
            run_command("launch", *where, *case.words, "dry_run=true", folder=self.folder)
        )
        shown = verdict.add(
            run_command("train", *where, *case.words, "--cfg", "job", folder=self.folder)
        )
        # Only a launch needs a sweep, and looks whether its folders can be made.
        launch_only = ("model", "name", "sweep", "cache", "results")
        if case.key not in launch_only and dry.code != shown.code:
            verdict.wrong(f"launch exits with {dry.code}, train --cfg with {shown.code}")
        if written := sorted(self.folder.iterdir()):
            verdict.wrong(f"a dry run wrote {written[0].name[:80]!r}")
            for path in written:
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True)
