"""From Hydra's overrides to the runs of a sweep: composed, checked, named; nothing written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.schema import build, check
from xray_hpc.data.augmentation import needs_interpolation
from xray_hpc.data.index import Survey, survey
from xray_hpc.data.splits import check_folder_split, count_trainable
from xray_hpc.errors import ConfigError
from xray_hpc.features import cost
from xray_hpc.models import registry
from xray_hpc.records.frozen_run import FrozenRun, Inputs
from xray_hpc.records.paths import SweepPaths

RUN_KEYS = ("data", "model", "augment", "train", "seed")
SETTINGS_KEYS = ("cluster", "results", "cache", "name", "wait", "dry_run")


@dataclass(frozen=True)
class SweepSettings:
    """Where a sweep's runs run and where its files are.

    ``wait``: a launch on Slurm stays until they have ended. ``dry_run``: it only shows what it
    would do.
    """

    cluster: ClusterConfig
    results: Path
    cache: Path
    sweep: SweepPaths
    wait: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Plan:
    """The distinct runs of a sweep, each with the overrides that made it.

    ``notes`` says which combinations turned out to be the same run; ``combinations`` are the names
    of the runs in the order of the combinations that they were made of. ``kept`` has how many bytes
    of the cached features each run needs in the cache, where the images were looked at (a
    sweep that is resumed goes by its own files).
    """

    settings: SweepSettings
    runs: tuple[FrozenRun, ...]
    overrides: Mapping[str, list[str]]
    notes: tuple[str, ...] = ()
    combinations: tuple[str, ...] = ()
    kept: Mapping[str, int] = field(default_factory=dict)


def make_plan(
    composed: Iterable[tuple[Sequence[str], Mapping[str, Any]]], *, default_name: str
) -> Plan:
    """Check every composed configuration and make the runs of them.

    ``composed`` yields (overrides, configuration) pairs, the configuration a plain mapping.

    Raises:
        UserError: a configuration is wrong, or the combinations do not share their settings.
    """
    runs: dict[str, FrozenRun] = {}
    overrides: dict[str, list[str]] = {}
    made: list[str] = []
    kept: dict[str, int] = {}
    by_model: dict[str, list[str]] = {}
    idle: dict[str, dict[str, None]] = {}
    settings: SweepSettings | None = None
    said: dict[str, Any] = {}
    inputs = _Inputs()
    for words, values in composed:
        here = {key: value for key, value in values.items() if key not in RUN_KEYS}
        if settings is None:
            settings, said = read_settings(values, default_name), here
        elif here != said:
            raise ConfigError(
                f"{', '.join(SETTINGS_KEYS)} say how and where a sweep runs and cannot be swept; "
                "launch once for each value"
            )
        run, unused = read_run(values, settings.cache, inputs)
        asked = [word.split("=")[0].lstrip("+") for word in words]
        model = run.config.model.name
        idle.setdefault(model, {}).update(
            {key: None for key in asked for name in unused if f"{key}.".startswith(f"{name}.")}
        )
        by_model.setdefault(model, []).append(run.name)
        made.append(run.name)
        if run.name not in runs:
            runs[run.name] = run
            kept[run.name] = inputs.kept(run)
        overrides.setdefault(run.name, list(words))
    if settings is None:
        raise ConfigError("the sweep is empty; give it at least one value")
    notes = tuple(_notes(by_model, idle))
    return Plan(settings, tuple(runs.values()), overrides, notes, tuple(made), kept)


def _notes(
    combinations: Mapping[str, Sequence[str]], idle: Mapping[str, Iterable[str]]
) -> Iterator[str]:
    """Say of each model which keys do not apply to it and which combinations are one run."""
    for model, names in combinations.items():
        keys = list(idle[model])
        verb = "do" if len(keys) > 1 else "does"
        why = f"{' and '.join(keys)} {verb} not apply to {model}"
        made = len(set(names))
        if made < len(names):
            same = f"{len(names)} combinations make {made} run{'s' if made > 1 else ''}"
            yield f"{why}: {same}" if keys else f"{same} of {model}; the others are the same again"
        elif keys:
            yield f"{why}; left out"


def read_settings(values: Mapping[str, Any], default_name: str) -> SweepSettings:
    """Read and check the parts of a configuration that do not decide a result."""
    unknown = set(values) - set(RUN_KEYS) - set(SETTINGS_KEYS)
    if unknown:
        raise ConfigError(
            f"{sorted(unknown)[0]} is unknown (valid: {', '.join(RUN_KEYS + SETTINGS_KEYS)})"
        )
    for key in ("cluster", "results", "cache", "name"):
        if key not in values or (key in ("results", "cache") and not values[key]):
            raise ConfigError(
                f"{key} is {'not set' if key in values else 'missing'}; give it a value"
            )
    results = Path(str(values["results"])).expanduser().resolve()
    there = next(folder for folder in (results, *results.parents) if folder.exists())
    if not there.is_dir():
        raise ConfigError(f"results is {results}, but {there} is a file; name a folder")
    name = str(values["name"] or default_name)
    if not name or "/" in name or name.startswith(".") or not name.isprintable():
        raise ConfigError(f"name is {name!r}; it must be a folder's name, without '/'")
    cache = Path(str(values["cache"])).expanduser().resolve()
    cluster = build(ClusterConfig, values["cluster"], "cluster")
    switches = {key: values[key] for key in ("wait", "dry_run") if key in values}
    for key, value in switches.items():
        check(isinstance(value, bool), key, value, "be true or false")
    return SweepSettings(cluster, results, cache, SweepPaths(results / name), **switches)


def read_run(
    values: Mapping[str, Any], cache: Path, inputs: _Inputs | None = None
) -> tuple[FrozenRun, tuple[str, ...]]:
    """Make and check one run; also give the keys that do not apply to its model."""
    inputs = inputs or _Inputs()
    content = {key: values[key] for key in RUN_KEYS if key in values}
    if absent := [key for key in RUN_KEYS if not isinstance(content.get(key), Mapping | int)]:
        raise ConfigError(f"{absent[0]} is missing; give it a value")
    content["train"] = {k: v for k, v in content["train"].items() if k != "learning_rates"}
    data = dict(content["data"])
    if data.get("root"):
        data["root"] = str(Path(data["root"]).expanduser().resolve())
    config = build(RunConfig, content | {"data": data})
    model, moved = registry.resolve(config.model)
    idle = [f"model.{key}" for key in moved]
    settled, augment = _settle_data(config.data), _settle_augment(config)
    found = inputs.survey(settled, cache)
    check_folder_split(settled, sum(found.images["validation"]))
    model = dataclasses.replace(model, output=registry.output(model, found.classes))
    config = RunConfig(settled, model, augment, config.train, config.seed)
    registry.check(config, found.classes)
    if cost.feature_extractor(model) is None and config.train.features not in ("auto", "off"):
        idle.append("train.features")
    config = cost.resolve(config, count_trainable(found.images, settled))
    frozen = FrozenRun(config, Inputs(found.fingerprint, inputs.weights(model)), cache)
    if config.train.batch_size > (most := count_trainable(found.images, settled)):
        raise ConfigError(
            f"train.batch_size is {config.train.batch_size}, but there are only {most} images to "
            "train and validate on; use a smaller one"
        )
    return frozen, tuple(idle)


def _settle_data(data: DataConfig) -> DataConfig:
    """Put keys that do not apply to fixed values, so that they do not make another run of it."""
    if data.source != "demo":
        data = dataclasses.replace(data, demo_images=None, demo_seed=None, demo_classes=None)
    if data.split == "folder":
        seed = 0 if data.per_class is None else data.split_seed
        data = dataclasses.replace(data, split_seed=seed, validation_fraction=0.2)
    return data


def _settle_augment(config: RunConfig) -> AugmentConfig:
    """Augmentation likewise: a crop where there is nothing to cut, a fill where none is needed."""
    augment = config.augment
    if config.data.input_size == config.data.image_size:
        augment = dataclasses.replace(augment, crop=False)
    if not needs_interpolation(augment):
        augment = dataclasses.replace(augment, fill_mode=AugmentConfig.fill_mode)
    return augment


class _Inputs:
    """Data and weights, each looked at once a plan."""

    def __init__(self) -> None:
        self._surveys: dict[object, Survey] = {}
        self._weights: dict[object, dict[str, str]] = {}

    def survey(self, data: DataConfig, cache: Path) -> Survey:
        what = (data.source, data.root, data.demo_images, data.demo_seed, data.demo_classes)
        if what not in self._surveys:
            self._surveys[what] = survey(data, cache)
        return self._surveys[what]

    def kept(self, run: FrozenRun) -> int:
        """How many bytes of the cached features a run needs."""
        found, data = self.survey(run.config.data, run.cache).images, run.config.data
        return cost.kept_bytes(run.config, count_trainable(found, data), sum(found["test"]))

    def weights(self, model: ModelConfig) -> dict[str, str]:
        starts = tuple(registry.backbones(model).items())
        if starts not in self._weights:
            self._weights[starts] = registry.weights_digests(model)
        return self._weights[starts]


def data_sets(plan: Plan, names: Sequence[str]) -> list[str]:
    """The folder of one run for each distinct data set of the runs ``names``."""
    first: dict[object, str] = {}
    wanted = set(names)
    for run in plan.runs:
        if run.name in wanted:
            packed = dataclasses.replace(run.config.data, crop=1.0)  # is cut from what is packed
            folder = str(plan.settings.sweep.run(run.name).folder)
            first.setdefault((packed, run.inputs.data), folder)
    return list(first.values())


def shared_extractors(plan: Plan, names: Sequence[str]) -> list[str]:
    """The folder of one run for each feature extractor that is computed before the runs ``names``.

    None where no two of them share the pass over the images: a run alone does it itself.
    """
    wanted = set(names)
    groups = cost.passes(run for run in plan.runs if run.name in wanted)
    return [
        str(plan.settings.sweep.run(run.name).folder)
        for group in groups
        if len(group) > 1
        for run in cost.distinct(group)
    ]


def sweep_name(base: str, task_overrides: Sequence[str]) -> str:
    """Name a sweep that was given no name: the same command gives the same one.

    ``base`` is what the sweep is about (its sweep, experiment or data set); what the command adds
    to it is in the hash.
    """
    what = [word for word in task_overrides if _decides(word.lstrip("+~").split("=")[0])]
    if not what:
        return base
    return f"{base}-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:6]}"


def _decides(key: str) -> bool:
    """Whether a key is part of what a run is."""
    group, _, rest = key.partition(".")
    return group not in SETTINGS_KEYS and not (group == "train" and rest.startswith("checkpoint"))
