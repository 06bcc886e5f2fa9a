"""Commands that take Hydra overrides: Hydra's own command line, with our rules for mistakes."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    CompactHydraException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_hpc.errors import ConfigError, nearest, one_of
from xray_hpc.launching.plan import sweep_name
from xray_hpc.models.registry import MODELS
from xray_hpc.resources import resource


@dataclass(frozen=True)
class Composed:
    """What Hydra made of the command line: the words that it overrode with, and the result.

    ``loader`` composes further configurations of the same files.
    """

    words: list[str]
    values: dict[str, Any]
    sweep_name: str
    loader: ConfigLoader


def compose_and_call(task: Callable[[Composed], int]) -> int:
    """Let Hydra compose the configuration, then call ``task`` with it; give the exit code.

    ``task`` is not called where Hydra does something else (``--help``, ``--cfg``, ``-m``).

    Raises:
        UserError: whatever Hydra finds wrong with the overrides, the nearest valid name named.
    """
    kept: list[tuple[list[str], DictConfig, str, ConfigLoader]] = []
    spans: list[bool] = []
    check_words()

    def keep(config: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        name = default_sweep_name(hydra_config)
        spans.append(hydra_config.runtime.choices.get("sweep") not in (None, "null"))
        words = list(hydra_config.overrides.task)
        kept.append((words, own_part(config), name, GlobalHydra.instance().config_loader()))

    # Hydra prints its errors itself and exits with 1, unless it is told to let them through.
    full_error = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        conf = str(resource("conf"))
        hydra.main(version_base="1.3", config_path=conf, config_name="config")(keep)()
        # Hydra would print a line of its own about what is wrong with a value.
        composed = [
            Composed(words, to_mapping(own), name, loader) for words, own, name, loader in kept
        ]
    except (HydraException, CompactHydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error)) from error
    finally:
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
    if any(spans):
        raise ConfigError("sweep= spans several runs; put -m in front of it")
    return task(composed[0]) if composed else 0


def options(loader: ConfigLoader, group: str) -> dict[str, dict[str, Any]]:
    """What each option of a group makes of the keys ``group``, the user's own options included.

    Raises:
        UserError: an option's file is wrong.
    """
    made = {}
    for name in loader.get_group_options(group):
        words = [f"{group}={name}"]
        try:
            config = loader.load_configuration("config", words, run_mode=RunMode.RUN)
            made[name] = to_mapping(own_part(config))[group]
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"{group}={name}: {explain(error)}") from error
    return made


def explain(error: Exception) -> str:
    """Word one of Hydra's errors in one line, with the nearest valid name where there is one."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return one_of(group or "config", name, error.options or [])
    if isinstance(error, OverrideParseException):
        return (
            f"'{error.override}' cannot be read as KEY=VALUE; put a value with ~ , = or spaces in "
            "it into quotes of its own: 'key=\"...\"'"
        )
    text = " ".join(str(error).split())
    if found := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"'{found[1]}' names several values; sweep over them with -m in front"
    if "cluster.extra" in text and "Could not override" in text:
        return "cluster.extra takes all of its options at once: 'cluster.extra={exclude: node7}'"
    if found := re.search(r"Interpolation key 'train\.learning_rates\.(\w+)' not found", text):
        return (
            f"train.learning_rates has no {found[1]}{nearest(found[1], MODELS)}; give "
            f"train.learning_rate, or '+train.learning_rates.{found[1]}' a number"
        )
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found[1]
        if key in _keys(default_config()):
            inside = re.search(r"full_key: (\S+)", str(error.__cause__))
            if inside and inside[1] != key:
                return f"{inside[1]} is not there yet; add it with '+{inside[1]}=...'"
            parent, _, last = key.rpartition(".")
            return f"{parent} is null here; give it whole: '{parent}={{{last}: ...}}'"
        if "/" in key or "No match in the defaults list" in text:
            return f"{key} is no group of the configuration{nearest(key, _groups())}"
        return f"{key} is unknown{nearest_key(key)}"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {text.split(' full_key:')[0]}"
    return text


def nearest_key(key: str) -> str:
    """The closest keys of the default configuration: those alike, or of the same last part."""
    known = list(_keys(default_config()))
    last = key.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == last]
    close = (
        same
        or difflib.get_close_matches(key, known, n=1)
        or [
            name
            for part in difflib.get_close_matches(last, {n.rpartition(".")[2] for n in known}, n=1)
            for name in known
            if name.rpartition(".")[2] == part
        ]
    )
    return f"; did you mean '{close[0]}'?" if close else f" (valid: {', '.join(_groups())})"


def default_config() -> Mapping[str, Any]:
    """The configuration that no override has changed, as a plain mapping."""
    from hydra import compose, initialize_config_dir

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(resource("conf")), version_base="1.3"):
        values = OmegaConf.to_container(compose("config"), resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")


def _groups() -> list[str]:
    return sorted(path.name for path in resource("conf").iterdir() if path.is_dir())


def own_part(config: DictConfig) -> DictConfig:
    """The configuration without Hydra's part, still closed to unknown keys."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    OmegaConf.set_struct(own, True)
    return own


def to_mapping(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration as a plain mapping."""
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def default_sweep_name(hydra_config: Any) -> str:
    """Name the sweep after what was chosen: its sweep, else its experiment, else its data."""
    choices = hydra_config.runtime.choices
    base = next(
        str(choices[group])
        for group in ("sweep", "experiment", "data")
        if choices.get(group) not in (None, "null")
    )
    words = [
        word
        for word in hydra_config.overrides.task
        if word not in (f"sweep={base}", f"experiment={base}", f"data={base}")
    ]
    return sweep_name(base, words)


def check_words(arguments: Sequence[str] | None = None) -> None:
    """Refuse what Hydra would take, and make something else of, or fail on with a traceback.

    That is ``-m`` together with what only shows the configuration; ``GROUP=null``; a list of a
    group's options, which it lays over one another, and ``+GROUP``; and, because the group is
    optional, a ``scale`` that is not there.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    shown = set(words) & {"--cfg", "-c", "--info", "-i"}
    if shown and set(words) & {"-m", "--multirun"}:
        raise ConfigError(f"{shown.pop()} shows one configuration; leave out -m and give one value")
    for word in words:
        key, equals, value = word.partition("=")
        group = key.lstrip("+")
        if not equals or group not in _groups():
            continue
        if group != key:
            raise ConfigError(f"{group} is chosen once; leave out the + of {word}")
        if value.startswith("["):
            raise ConfigError(f"{group} takes one option; sweep over several with -m {group}=a,b")
        options = value.split(",")
        if "null" in options:
            raise ConfigError(f"{group}=null chooses nothing; leave {group} out")
        if group == "scale" and not set(words) & {"--config-dir", "-cd"}:
            known = sorted(path.stem for path in (resource("conf") / "scale").iterdir())
            for option in options:
                if option not in known and "(" not in value:
                    raise ConfigError(one_of("scale", option, known))


def refuse_multirun(verb: str, arguments: Sequence[str] = tuple(sys.argv[1:])) -> None:
    """Refuse ``-m`` for a command that does one thing."""
    if {"-m", "--multirun"} & set(arguments):
        raise ConfigError(
            f"{verb} takes one configuration; sweep with python -m xray_hpc.launch -m"
        )
