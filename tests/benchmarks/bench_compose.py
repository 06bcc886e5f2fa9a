"""How long the configurations of a sweep take to compose: the launcher's way, and Hydra's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks import sweep_commands
from tests.benchmarks.markdown_table import TIMES, Table, number, times
from tests.benchmarks.timing import Sample, median_cpu, timed

SIZE = 1000
PART = 10


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """One table: the runs composed by the launcher and, a part of them, by Hydra, in turn."""
    from hydra import initialize_config_dir
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from xray_hpc.config.compose import compose_all
    from xray_hpc.resources import resource

    jobs = sweep_commands.jobs(SIZE)
    part = jobs[:: SIZE // PART]
    factor = len(jobs) / len(part)
    ours, hydras = [], []
    with initialize_config_dir(str(resource("conf")), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
        for _ in range(repeat):
            ours.append(timed(lambda: list(compose_all(loader, master, jobs))))
            taken = timed(lambda: [loader.load_sweep_config(master, words) for words in part])
            hydras.append(Sample(taken.wall * factor, taken.cpu * factor))
    ratio = median_cpu(hydras) / median_cpu(ours)
    yield Table(
        f"Composing the configurations of {SIZE:,} runs",
        "Within one process, in turn. Hydra reads and merges its files anew for every run "
        "(`load_sweep_config`); the launcher once for each choice of files.",
        ("what", *TIMES, "CPU-ms a run"),
        [
            _row("as the launcher does", ours),
            _row(f"Hydra's own way, extrapolated from {len(part)} runs", hydras),
        ],
        [f"Hydra's own way takes {number(ratio)} times the launcher's CPU time."],
    )


def _row(what: str, samples: Sequence[Sample]) -> Sequence[str]:
    return what, *times(samples), number(1000 * median_cpu(samples) / SIZE)
