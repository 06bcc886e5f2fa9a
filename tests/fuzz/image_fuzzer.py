"""Score hostile images beside a good one."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from tests.fuzz.image_cases import GOOD, ImageCase, seeds
from tests.fuzz.predict_without_keras import check_rows, predict, rows, write_model
from tests.fuzz.verdict import Verdict


class ImageFuzzer:
    """Runs the cases in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logits = {name: self._logit(name) for name in seeds()}
        if missing := [name for name, logit in self.logits.items() if not logit]:
            raise RuntimeError(f"good images are refused: {missing}")

    def run(self, case: ImageCase, random: Random, verdict: Verdict) -> None:
        """Score a good image and the hostile one.

        The good one has its score, the hostile one a row. One that is a copy of a good image has
        the score of its original.
        """
        self._write_good("grey.png", GOOD)
        given = case.make(self.folder, random)
        outcome = verdict.add(predict(self.folder, GOOD, given.relative_to(self.folder)))
        found = rows(self.folder)
        check_rows(verdict, outcome, found)
        scored = {row["path"]: row["logit"] for row in found}
        if outcome.code in (0, 1):
            if scored.get(GOOD) != self.logits["grey.png"]:
                verdict.wrong(f"the good image has {scored.get(GOOD)}")
            if len(found) < 2 and not given.is_dir():
                verdict.wrong("the hostile image has no row")
        if case.original:
            (file,) = given.iterdir() if given.is_dir() else [given]
            path = str(file.relative_to(self.folder)).encode(errors="backslashreplace").decode()
            expected = {GOOD: self.logits["grey.png"], path: self.logits[case.original]}
            if outcome.code != 0 or scored != expected or len(found) != 2:
                verdict.wrong(f"exit code {outcome.code}, {scored}, not {expected}")
        if (self.folder / "hit").exists():
            verdict.wrong("a name was run by a shell")

    def _write_good(self, seed: str, name: str) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        write_model(self.folder / "model.keras")
        (self.folder / name).write_bytes(seeds()[seed])

    def _logit(self, name: str) -> str:
        """Return the score of a good image; nothing if it is refused."""
        self._write_good(name, name)
        predict(self.folder, name)
        return "".join(row["logit"] for row in rows(self.folder))
