"""Hydra plugins: a sweeper and a launcher that hand a whole sweep to ``xray_hpc.launch``.

Every Hydra program that starts imports this module, so heavy imports are postponed. Hydra executes
it before it is in ``sys.modules``, where dataclasses cannot resolve postponed annotations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class XraySweeper(BasicSweeper):
    """Hydra's basic sweeper, but it hands all jobs to the launcher at once.

    It writes no files and composes nothing: the launcher composes each set of group choices once,
    instead of each run.
    """

    def sweep(self, arguments: list[str]) -> Any:
        assert self.launcher is not None
        assert self.hydra_context is not None
        if self.max_batch_size is not None:
            from xray_hpc.errors import ConfigError

            raise ConfigError(
                "hydra.sweeper.max_batch_size has no effect: arrays are split by the cluster's "
                "limits, and cluster.parallel limits the runs at once; leave it out"
            )
        from xray_hpc.config.override_text import quote_text

        words = [*quote_text(self._parse_config()), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        (jobs,) = self.split_arguments(parser.parse_overrides(words), None)
        if any("choice(" in word for word in words):  # Hydra leaves out the quotes inside
            jobs = [quote_text(job) for job in jobs]
        return self.launcher.launch(jobs, initial_job_idx=0)


class XrayLauncher(Launcher):
    """Launch the jobs of a sweep with ``xray_hpc.launch``."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config = config
        self.hydra_context = hydra_context

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from xray_hpc.config.compose import HydraSweep
        from xray_hpc.launch import launch_sweep

        loader = self.hydra_context.config_loader
        return launch_sweep(HydraSweep(loader, self.config, job_overrides))


@dataclass
class SweeperConf:
    _target_: str = "hydra_plugins.xray_hpc_launching.XraySweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


@dataclass
class LauncherConf:
    _target_: str = "hydra_plugins.xray_hpc_launching.XrayLauncher"


_store = ConfigStore.instance()
_store.store(group="hydra/sweeper", name="xray_hpc", node=SweeperConf, provider="xray_hpc")
_store.store(group="hydra/launcher", name="xray_hpc", node=LauncherConf, provider="xray_hpc")
