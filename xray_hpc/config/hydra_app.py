"""Run Hydra's command line, and return composed configurations as plain mappings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import yaml
from hydra import version
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.conf import HydraConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_hpc.absolute_path import absolute_path
from xray_hpc.command_line import Parser
from xray_hpc.config.annotated_help import annotated_help
from xray_hpc.config.config_source import use_own_source
from xray_hpc.config.dataclass_conversion import build, default_values
from xray_hpc.config.override_errors import check_arguments, explain
from xray_hpc.config.override_text import quote_text
from xray_hpc.config.run_config import RunSettings
from xray_hpc.config.sweep_settings import (
    RUN_KEYS,
    SweepSettings,
    derive_sweep_name,
    read_sweep_settings,
)
from xray_hpc.errors import ConfigError
from xray_hpc.package_folders import resource


class SharedNode(ConfigNode):
    """A stored config that is not copied with the store: Hydra copies the store at each lookup."""

    def __deepcopy__(self, memo: object) -> SharedNode:
        return self


# The first entry in the defaults list of conf/config.yaml.
DEFAULTS = OmegaConf.create(default_values(RunSettings) | default_values(SweepSettings))
ConfigStore.instance().repo["dataclass_defaults.yaml"] = SharedNode(
    "dataclass_defaults.yaml", DEFAULTS, group=None, package=None, provider="xray_hpc"
)
use_own_source()

HYDRA_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError)


@dataclass(frozen=True)
class Composed:
    """The configuration that Hydra composed from a command line.

    Attributes:
        overrides: The command's overrides.
        values: The resolved configuration.
        sweep_name: Name of the sweep if the configuration leaves it unset.
        loader: Composes more configurations from the same files.
    """

    overrides: list[str]
    values: dict[str, Any]
    sweep_name: str
    loader: ConfigLoader


def make_parser(verb: str) -> Parser:
    """Return a parser of Hydra's options and of overrides, in any order."""
    prog = f"python -m xray_hpc.{verb}"
    return Parser(prog=prog, parents=[get_args_parser()], add_help=False)


def compose_and_call(task: Callable[[Composed], int], arguments: argparse.Namespace) -> int:
    """Compose the configuration and return the exit code of ``task``.

    ``task`` is not called if Hydra does something else (``--help``, ``--cfg``, ``-m``).

    Args:
        arguments: Result of :func:`make_parser`'s parser.

    Raises:
        ConfigError: Hydra rejects an override; the message names the nearest valid one.
    """
    if arguments.config_dir:  # the shell expands the ~ of "--config-dir ~/x", not of "=~/x"
        arguments.config_dir = str(absolute_path(arguments.config_dir))
    check_arguments(arguments)
    arguments.overrides = quote_text(arguments.overrides)
    composed: list[tuple[DictConfig, HydraConf, ConfigLoader]] = []

    def store(config: DictConfig) -> None:
        # Hydra prints a line of its own about an error raised in here, so nothing is checked yet.
        loader = GlobalHydra.instance().config_loader()
        composed.append((own_part(config), HydraConfig.get(), loader))

    # Without this, Hydra prints its errors itself and exits with 1.
    full_error = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        conf = str(resource("conf"))
        version.setbase("1.3")
        with annotated_help() if arguments.help else nullcontext():
            _run_hydra(arguments, get_args_parser(), store, conf, "config")
        if arguments.cfg in ("job", "all"):  # it is shown now; Hydra has not called store
            without = {"cfg": None, "resolve": False, "package": None, "help": False}
            run = argparse.Namespace(**vars(arguments) | without | {"hydra_help": False})
            _run_hydra(run, get_args_parser(), store, conf, "config")
            _check(to_mapping(composed.pop()[0]))
        values = [to_mapping(config) for config, _, _ in composed]
    except HYDRA_ERRORS as error:
        raise ConfigError(explain(error)) from error
    finally:
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
    if not composed:
        return 0
    _, hydra_config, loader = composed[0]
    if hydra_config.runtime.choices.get("sweep") not in (None, "null"):
        raise ConfigError("sweep= spans several runs; add -m")
    overrides = list(hydra_config.overrides.task)
    return task(Composed(overrides, values[0], default_sweep_name(hydra_config), loader))


def _check(values: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` if a key is unknown or missing or a value invalid, as a launch does."""
    read_sweep_settings(values, "unnamed")
    build(RunSettings, {key: values[key] for key in RUN_KEYS if key in values})


def group_values(loader: ConfigLoader, group: str) -> dict[str, dict[str, Any]]:
    """Return what each option of a group, the user's own included, sets the group's keys to.

    Raises:
        ConfigError: The file of an option is invalid.
    """
    values = {}
    for name in loader.get_group_options(group):
        override = f"{group}={name}"
        try:
            config = loader.load_configuration("config", [override], run_mode=RunMode.RUN)
            values[name] = to_mapping(own_part(config))[group]
        except HYDRA_ERRORS as error:
            raise ConfigError(f"{override}: {explain(error)}") from error
    return values


def own_part(config: DictConfig) -> DictConfig:
    """Return the configuration without Hydra's part, still closed to unknown keys."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    OmegaConf.set_struct(own, True)
    return own


def to_mapping(config: DictConfig) -> dict[str, Any]:
    """Return the configuration as a plain mapping, interpolations resolved."""
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def default_sweep_name(hydra_config: Any) -> str:
    """Name the sweep after its sweep file, else its experiment, else its data set."""
    groups, choices = ("sweep", "experiment", "data"), hydra_config.runtime.choices
    base = next(str(choices[group]) for group in groups if choices.get(group) not in (None, "null"))
    named = [f"{group}={base}" for group in groups]
    return derive_sweep_name(base, [w for w in hydra_config.overrides.task if w not in named])


def parse_single(verb: str) -> argparse.Namespace:
    """Parse the arguments of a command that takes one configuration.

    Raises:
        ConfigError: ``-m`` is given.
    """
    arguments = make_parser(verb).parse_intermixed_args()
    if arguments.multirun:
        sweep = "python -m xray_hpc.launch -m"
        raise ConfigError(f"xray_hpc.{verb} takes one configuration; sweep with {sweep}")
    return arguments
