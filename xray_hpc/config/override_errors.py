"""One-line messages for invalid overrides, with the nearest valid name."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_hpc.config.sweep_settings import SWEEP_KEYS
from xray_hpc.errors import ConfigError, closest, nearest, one_of
from xray_hpc.package_folders import resource


def check_arguments(arguments: Namespace) -> None:
    """Check command-line arguments that Hydra would misread or reject with a traceback.

    Raises:
        ConfigError: Options that exclude each other; ``GROUP=null``; ``+GROUP``; a number for
            a group, or a list of its options, which Hydra would merge; or an unknown ``scale``,
            which Hydra ignores because that group is optional.
    """
    modes = ("cfg", "info", "run", "shell_completion")
    given = [f"--{mode.replace('_', '-')}" for mode in modes if getattr(arguments, mode)]
    if given and arguments.multirun:
        raise ConfigError(f"{given[0]} takes one configuration; leave out -m and give one value")
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} exclude each other; give one of them")
    for option in ("resolve", "package"):
        if getattr(arguments, option) and not (arguments.cfg or arguments.help):
            raise ConfigError(f"--{option} belongs to --cfg; add --cfg job")
    shells = re.compile(r"(install|uninstall|query)=(bash|fish|zsh)")
    if arguments.shell_completion and not shells.fullmatch(" ".join(arguments.overrides)):
        raise ConfigError("--shell-completion takes one of install=bash, install=fish, install=zsh")
    if arguments.experimental_rerun:
        raise ConfigError("--experimental-rerun has no effect here; use launch --resume SWEEP")
    for word in arguments.overrides:
        key, equals, value = word.partition("=")
        group = key.lstrip("+")
        if equals and not group:
            raise ConfigError(f"'{word}' has no key; give KEY=VALUE")
        if not equals or group not in _groups():
            continue
        if group != key:
            raise ConfigError(f"{group} is chosen once; leave out the + of {word}")
        if value.startswith("["):
            raise ConfigError(f"{group} takes one option; sweep over several with -m {group}=a,b")
        if re.match(r"(int|float|bool)\(", value):
            raise ConfigError(f"{word} is not the name of an option; give one of {group}'s")
        options = value.split(",")
        if any(option.strip().lower() == "null" for option in options):
            raise ConfigError(f"{group}=null chooses nothing; leave {group} out")
        if group == "scale" and not arguments.config_dir:
            for option in options:
                if option not in _options("scale") and "(" not in value:
                    raise ConfigError(one_of("scale", option, _options("scale")))


def explain(error: Exception) -> str:
    """Return one of Hydra's errors as one line, with the nearest valid name if there is one."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if not error.options:
            return f"the configuration has no file {error.missing_cfg_file}.yaml"
        return one_of(group, name, error.options)
    if isinstance(error, OverrideParseException):
        return (
            f"'{error.override}' cannot be read as KEY=VALUE; quote a value that contains "
            "~ , = or spaces: 'key=\"...\"'"
        )
    # Hydra and OmegaConf raise one class for many mistakes, so only the text tells them apart.
    text = " ".join(str(error).split())
    if found := re.search(r"Ambiguous value for argument '(.+?)' 1\. ", text):
        key = found[1].partition("=")[0]
        if key.partition(".")[0] in SWEEP_KEYS:
            return f"{key} applies to the whole sweep and takes one value, not {found[1]}"
        return f"'{found[1]}' names several values; add -m to sweep over them"
    if "cluster.extra" in text and "Could not override" in text:
        return "cluster.extra takes all of its options at once: 'cluster.extra={exclude: node7}'"
    if found := re.search(r"Interpolation key 'train\.learning_rates\.(\w+)' not found", text):
        model = found[1]
        return (
            f"train.learning_rates has no {model}{nearest(model, _options('model'))}; give "
            f"train.learning_rate, or '+train.learning_rates.{model}' a number"
        )
    if found := re.search(r"Could not override '([^']+)'", text):
        return _explain_key(found[1], error)
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {text.split(' full_key:')[0]}"
    return text


def _explain_key(key: str, error: Exception) -> str:
    """Explain why a key cannot be overridden."""
    if key in _known_keys():
        inside = re.search(r"full_key: (\S+)", str(error.__cause__))
        if inside and inside[1] != key:
            return f"{inside[1]} does not exist yet; add it with '+{inside[1]}=...'"
        parent, _, last = key.rpartition(".")
        return f"{parent} is null here; set it as a whole: '{parent}={{{last}: ...}}'"
    if "/" in key or "No match in the defaults list" in str(error):
        return f"{key} is not a configuration group{nearest(key, _groups())}"
    return f"{key} is unknown{_nearest_key(key)}"


def _nearest_key(key: str) -> str:
    """Suggest a key with the same or a similar last part, else a similar key, else list keys.

    The keys are those of the innermost section that exists, or the groups.
    """
    known = _known_keys()
    by_last = {name.rpartition(".")[2]: name for name in reversed(known)}
    last = key.rpartition(".")[2]
    found = by_last.get(last) or closest(key, known) or by_last.get(closest(last, by_last) or "")
    if found:
        return f"; did you mean '{found}'?"
    section, siblings = key, list[str]()
    while not siblings and (section := section.rpartition(".")[0]):
        siblings = [name for name in known if name.rpartition(".")[0] == section]
    valid = [name.rpartition(".")[2] for name in siblings] or _groups()
    return f" (valid{f' in {section}' if siblings else ''}: {', '.join(valid)})"


def _known_keys() -> list[str]:
    """Return the keys of the configuration without any override."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(resource("conf")), version_base="1.3"):
        return list(_keys(OmegaConf.to_container(compose("config"), resolve=False)))


def _keys(values: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")


def _groups() -> list[str]:
    return sorted(path.name for path in resource("conf").iterdir() if path.is_dir())


def _options(group: str) -> list[str]:
    return sorted(path.stem for path in (resource("conf") / group).glob("*.yaml"))
