"""Measure composing the configs of a sweep, by the launcher and by Hydra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks import sweep_commands
from tests.benchmarks.markdown_table import TIMES, Table, number, times
from tests.benchmarks.timing import Sample, median_cpu, time_call

SIZE = 1000
SAMPLE = 10


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield one table: all runs composed by the launcher, and a sample of them by Hydra."""
    from hydra import initialize_config_dir
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from xray_hpc.config.compose import compose_all
    from xray_hpc.package_folders import resource

    jobs = sweep_commands.jobs(SIZE)
    sample = jobs[:: SIZE // SAMPLE]
    factor = len(jobs) / len(sample)
    launcher, hydra = [], []
    with initialize_config_dir(str(resource("conf")), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
        for _ in range(repeat):
            launcher.append(time_call(lambda: list(compose_all(loader, master, jobs))))
            taken = time_call(lambda: [loader.load_sweep_config(master, words) for words in sample])
            hydra.append(Sample(taken.wall * factor, taken.cpu * factor))
    ratio = median_cpu(hydra) / median_cpu(launcher)
    yield Table(
        f"Composing the configs of {SIZE:,} runs",
        "Within one process, in turn. Hydra (`load_sweep_config`) reads and merges its files for "
        "every run; the launcher does so once per selection of files.",
        ("what", *TIMES, "CPU-ms per run"),
        [
            _row("launcher", launcher),
            _row(f"Hydra, extrapolated from {len(sample)} runs", hydra),
        ],
        [f"Hydra takes {number(ratio)} times the launcher's CPU time."],
    )


def _row(what: str, samples: Sequence[Sample]) -> Sequence[str]:
    return what, *times(samples), number(1000 * median_cpu(samples) / SIZE)
