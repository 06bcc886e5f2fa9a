"""What the runs of a sweep differ in, and short labels that tell them apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from xray_hpc.report.run_result import RunResult

LEARNING_RATE = "train.learning_rate"
UNFREEZE = "model.unfreeze"
SEED = "seed"
EXPERIMENT = "experiment"

# What a run computes; where its files are kept and their hashes are no swept values.
SECTIONS = ("data", "model", "augment", "train", "seed")
# Words that say nothing of it: a sweep's parts are words themselves, the model has a column.
ASIDE = ("cluster", "results", "cache", "name", "hydra", "sweep", "model")
# Words without a dot choose a group. These decide the keys below them; others, as an experiment
# or the data (which bring a scale), may decide any.
ONLY_THEIR_OWN = ("augment", "train", "seed")
SHORT = {LEARNING_RATE: "lr"}
FEATURES = "train.features"  # follows from the model, and changes no result that is shown


def swept_keys(runs: Sequence[RunResult]) -> list[str]:
    """What runs differ in: the groups that they choose, then dotted keys in the config's order.

    The model's name is left out (it has a column of its own). A run without a readable config
    says nothing.
    """
    known = [run for run in runs if run.config]
    differing = _differing(known)
    words = _swept_words(known, differing)
    return [*(word for word in words if word not in differing), *differing]


def compared_keys(runs: Sequence[RunResult]) -> list[str]:
    """What the sweep compares: those of :func:`swept_keys` that the command line varied.

    And those in which runs of one model differ though the words that may decide them are the
    same, as when a sweep went on after a file in ``conf/`` was changed.
    """
    known = [run for run in runs if run.config]
    differing = _differing(known)
    words = _swept_words(known, differing)
    return [
        *(word for word in words if word not in differing),
        *(
            key
            for key in differing
            if key in words or (key != FEATURES and _unexplained(key, known, words))
        ),
    ]


def value(run: RunResult, key: str) -> Any:
    """The run's value of a config key, or the option that it chose of a group.

    ``None`` where the key does not apply to it. A run without a config gives what was planned.
    """
    known, word = run.config.get(key), run.overrides.get(key)
    if known is not None or (key in run.config and word != "null"):
        return known
    return word


def _differing(runs: Sequence[RunResult]) -> list[str]:
    texts = [run.config_texts for run in runs]
    # Of a thousand runs' keys nearly all are the same; sets find the others at once.
    unlike = {key for one in texts for key, _ in one.items() ^ texts[0].items()}
    return [
        key
        for key in dict.fromkeys(key for run in runs for key in run.config)
        if key in unlike
        and key.split(".")[0] in SECTIONS
        and key != "model.name"
        and len({one.get(key, "None") for one in texts}) > 1
    ]


def _swept_words(runs: Sequence[RunResult], differing: Sequence[str]) -> list[str]:
    """Keys of the command line whose words differ between runs, and with them the configs."""
    return [
        word
        for word in dict.fromkeys(word for run in runs for word in run.overrides)
        if (word.startswith("model.") or word.split(".")[0] not in ASIDE)
        and len({run.overrides.get(word) for run in runs}) > 1
        and any(_may_decide(word, key) for key in differing)
    ]


def _may_decide(word: str, key: str) -> bool:
    if "." in word or word in ONLY_THEIR_OWN:
        return key == word or key.startswith(f"{word}.")
    return True


def _unexplained(key: str, runs: Sequence[RunResult], words: Sequence[str]) -> bool:
    """Whether runs differ in ``key`` that share their model and all words that may decide it."""
    deciding = [word for word in words if _may_decide(word, key)]
    values = defaultdict(set)
    for run in runs:
        alike = (run.model, *(run.overrides.get(word) for word in deciding))
        values[alike].add(run.config_texts.get(key, "None"))
    return any(len(seen) > 1 for seen in values.values())


def short(key: str) -> str:
    """A key's name for table heads and legends: ``train.learning_rate`` is ``lr``."""
    return SHORT.get(key, key.rpartition(".")[2])


def show_value(value: Any) -> str:
    """A config value as the command line has it: ``1e-05``, ``null``, ``true``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def labels(runs: Sequence[RunResult], keys: Sequence[str]) -> dict[str, str]:
    """A label for each run's name: its model and its values of ``keys``.

    An experiment is called by its name alone, and not at all where the model has the same. Runs
    that would share a label get their names added.
    """
    said = {run.name: _label(run, keys) for run in runs}
    times = Counter(said.values())
    return {
        name: label if times[label] == 1 else f"{label} ({name.rpartition('-')[2]})"
        for name, label in said.items()
    }


def _label(run: RunResult, keys: Sequence[str]) -> str:
    parts = [run.model]
    for key in keys:
        if (shown := value(run, key)) is None or (key == EXPERIMENT and shown == run.model):
            continue
        parts.append(shown if key == EXPERIMENT else f"{short(key)} {show_value(shown)}")
    return ", ".join(parts)
