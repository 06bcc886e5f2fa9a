"""Two users of one cache: none stops the other, and none takes what anybody may have written."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.data.conftest import write_tree
from tests.hold import Hold
from tests.other_user import ADA, BEN, CHEST, MALLORY, User, needs_root, shared_folder
from xray_hpc.config.run_config import DataConfig

pytestmark = needs_root

ROOT = User(0)

IMPORTS = """
import json, logging, mmap, shutil, tempfile
from pathlib import Path
import h5py.h5fd, PIL.PngImagePlugin, PIL.JpegImagePlugin
from xray_hpc.config.run_config import DataConfig
from xray_hpc.data import image_store
from xray_hpc.data.dataset import load_dataset
from xray_hpc.errors import UserError
logging.basicConfig(format="%(levelname)s %(message)s")
"""
LOAD = """
config, cache = DataConfig(**json.loads(sys.argv[1])), Path(sys.argv[2])
try:
    images = load_dataset(config, cache).images
except UserError as error:
    sys.exit(str(error))
mapped = next(line.split()[-1] for line in open("/proc/self/maps") if "images-" in line)
print(mapped, int(images.sum()))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all users reach, with images in ``xrays`` and a home for each."""
    with shared_folder(0o755, owner=0) as folder:
        names = {
            "train": [f"IM-{n:04d}-0001.png" for n in range(1, 11)],
            "test": ["IM-0050-0001.png", "IM-0051-0001.png"],
        }
        write_tree(
            folder / "xrays",
            {f"{part}/{label}": names[part] for part in names for label in ("NORMAL", "PNEUMONIA")},
        )
        for user in (ADA, BEN, MALLORY):
            (folder / str(user.number)).mkdir()
            user.own(folder / str(user.number), user.number, 0o700)
        yield folder


Load = Callable[..., subprocess.CompletedProcess[str]]
Process = subprocess.Popen[str]


def arguments(folder: Path, data_config: Callable[..., DataConfig]) -> tuple[str, Path]:
    return json.dumps(asdict(data_config(folder / "xrays"))), folder / "cache"


def home(folder: Path, user: User) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(folder / str(user.number))}


@pytest.fixture
def load(folder: Path, data_config: Callable[..., DataConfig]) -> Load:
    """``load(user)`` loads the data set and returns the process."""

    def run(user: User, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = home(folder, user) | environment
        return user.run(IMPORTS, LOAD, *arguments(folder, data_config), environment=variables)

    return run


def make_cache(folder: Path, mode: int, owner: User = ADA) -> Path:
    (folder / "cache").mkdir()
    owner.own(folder / "cache", CHEST, mode)
    return folder / "cache"


def stores(folder: Path) -> list[Path]:
    return sorted(folder.glob("**/images-*.h5"))


def test_second_user_reads_what_the_first_has_decoded(folder: Path, load: Load) -> None:
    for mode in (0o2775, 0o2770):
        cache = make_cache(folder, mode)
        first, second = load(ADA), load(BEN)
        assert first.stdout == second.stdout != ""
        assert "cache" not in second.stderr
        assert stores(folder)[0].stat().st_uid == ADA.number
        shutil.rmtree(cache)


@contextmanager
def decoding(folder: Path, user: User, given: tuple[str, Path]) -> Iterator[tuple[Hold, Process]]:
    """Hold a process of ``user`` while it decodes."""
    hold = Hold(folder / "hold", "load_dataset", ".h5")
    (folder / "hold.held").touch(0o666)
    (folder / "hold.held").chmod(0o666)
    hold.begin()
    process = user.start(IMPORTS, LOAD, *given, environment=hold.environment | home(folder, user))
    try:
        hold.wait_for(process)
        yield hold, process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("mode", "owner", "first"), [(0o2775, ADA, ADA), (0o755, ROOT, ROOT)])
def test_second_user_waits_while_the_first_decodes_what_both_trust(
    folder: Path,
    data_config: Callable[..., DataConfig],
    mode: int,
    owner: User,
    first: User,
) -> None:
    make_cache(folder, mode, owner)
    given = arguments(folder, data_config)
    with decoding(folder, first, given) as (hold, process):
        second = BEN.start(IMPORTS, LOAD, *given, environment=home(folder, BEN))
        assert second.stderr is not None
        assert "waiting for another process" in second.stderr.readline()
        hold.release()
        assert process.communicate()[0] == second.communicate()[0] != ""
    assert [path.stat().st_uid for path in stores(folder)] == [first.number]


@pytest.mark.parametrize(
    ("mode", "owner", "first"), [(0o755, ADA, ADA), (0o777, ROOT, MALLORY), (0o1777, ROOT, MALLORY)]
)
def test_second_user_does_not_wait_for_what_it_would_not_trust(
    folder: Path,
    load: Load,
    data_config: Callable[..., DataConfig],
    mode: int,
    owner: User,
    first: User,
) -> None:
    """Whoever may read the lock can hold it for ever."""
    make_cache(folder, mode, owner)
    with decoding(folder, first, arguments(folder, data_config)):
        second = load(BEN)
    assert second.returncode == 0, second.stderr
    assert "waiting" not in second.stderr
    assert f" {folder / str(BEN.number)}/xray_hpc " in second.stderr
    assert [path.stat().st_uid for path in stores(folder)] == [BEN.number]


def test_second_user_continues_when_the_first_was_killed(
    folder: Path, load: Load, data_config: Callable[..., DataConfig]
) -> None:
    cache = make_cache(folder, 0o2775)
    with decoding(folder, ADA, arguments(folder, data_config)):
        pass
    for path in cache.iterdir():  # as versions without shared folders left them
        path.chmod(0o644)
    second = load(BEN)
    assert second.returncode == 0, second.stderr
    assert [path.stat().st_uid for path in stores(cache)] == [BEN.number]
    assert not list(cache.glob("*.partial"))


@pytest.mark.parametrize(
    ("mode", "owner", "maker"),
    [
        (0o755, ADA, ADA),  # she may change her store at any time
        (0o1777, ROOT, MALLORY),  # anybody may have made the store
        (0o777, ROOT, MALLORY),
        (0o755, ADA, None),  # the store is missing, and Ben cannot make it
    ],
)
def test_private_cache_replaces_a_store_that_cannot_be_trusted_or_written(
    folder: Path, load: Load, mode: int, owner: User, maker: User | None
) -> None:
    cache = make_cache(folder, mode, owner)
    if maker is not None:
        assert load(maker).returncode == 0
    before = sorted(path.name for path in cache.iterdir())
    for _ in range(2):
        done = load(BEN)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(str(folder / str(BEN.number) / "xray_hpc" / "images-"))
        assert done.stderr.count("WARNING") - done.stderr.count("identify a patient") == 1
        assert f" {folder / str(BEN.number)}/xray_hpc " in done.stderr
    assert sorted(path.name for path in cache.iterdir()) == before


def test_without_a_private_cache_one_line_names_owner_and_fix(folder: Path, load: Load) -> None:
    make_cache(folder, 0o755)
    done = load(BEN, **home(folder, ADA))
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert str(folder / "cache") in line
    assert f" {ADA.number})" in line
    assert "cache=" in line


def test_finished_store_of_root_in_a_read_only_folder_is_used(folder: Path, load: Load) -> None:
    make_cache(folder, 0o755, ROOT)
    assert load(ROOT).returncode == 0
    done = load(BEN)
    assert done.stdout.startswith(str(folder / "cache"))
    assert "cache" not in done.stderr


def test_unfinished_store_of_a_stranger_is_not_continued(folder: Path, load: Load) -> None:
    cache = make_cache(folder, 0o777, ROOT)
    assert load(MALLORY).returncode == 0
    (store,) = stores(cache)
    partial = store.with_name(f".{store.name}.partial")
    store.rename(partial)
    partial.chmod(0o666)
    assert load(BEN).returncode == 0
    assert [path.stat().st_uid for path in stores(cache)] == [BEN.number]
    assert not partial.exists()


def test_link_in_the_place_of_an_unfinished_store_is_not_followed(folder: Path, load: Load) -> None:
    cache = make_cache(folder, 0o777, ROOT)
    assert load(BEN).returncode == 0
    (store,) = stores(cache)
    victim = folder / str(BEN.number) / "thesis"
    victim.write_text("content")
    BEN.own(victim, BEN.number, 0o600)
    store.unlink()
    store.with_name(f".{store.name}.partial").symlink_to(victim)
    assert load(BEN).returncode == 0
    assert victim.read_text() == "content"
